"""The command that lets a model answer about images."""

from pathlib import Path
from typing import Annotated

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption
from ui.web.views.wording import counted


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    app.command("predict")(predict)


def predict(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Images; also one image, or a CSV of paths."),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Written there: .csv, .jsonl or .parquet.")
    ] = Path("predictions.csv"),
    run: Annotated[
        str, typer.Option(help="A run's id or tag; the champion, else the newest run.")
    ] = "",
    top: Annotated[int, typer.Option(metavar="K", help="Also the K likeliest classes.")] = 0,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also the probability of every class.")
    ] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="In fp32 torch: the reference, and slower.")
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what a model says of each image in a folder, with calibrated confidence.

    Any number of images. When interrupted, the same command goes on. Images that cannot be read
    are listed with the reason.

    Example: labelloop predict photos --out predictions.csv
    """
    from ui import models

    project = session.project(workspace)
    with session.progress() as report:
        result = models.predict(
            project,
            folder,
            out,
            run=run,
            top=top,
            probabilities=probabilities,
            exact=exact,
            report=report,
        )
    lines = [f"Model: {result['says']} It ran in {result['engine']}."]
    lines.append(
        f"{counted(result['predicted'], 'image')} in {result['seconds']:,.1f} s "
        f"({result['images_per_second']:,.0f} a second)."
    )
    if result["already"]:
        lines.append(f"{result['already']:,} were in the file already.")
    if result["rejected"]:
        lines.append(f"{result['rejected']:,} cannot be read; the column `rejected` says why.")
    lines.append(f"Written: {result['out']}")
    session.show(result, as_json=as_json, lines=lines)
