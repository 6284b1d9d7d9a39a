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
    retry_rejected: Annotated[
        bool,
        typer.Option("--retry-rejected", help="Look again at images that could not be read."),
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what a model says of each image in a folder, with calibrated confidence.

    Any number of images. When interrupted, the same command goes on. Images that cannot be read
    are listed with the reason; once they are mended, --retry-rejected looks at them again.

    Example: labelloop predict photos --out predictions.csv

    Example: labelloop predict photos --out predictions.csv --retry-rejected
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
            retry_rejected=retry_rejected,
            report=report,
        )
    lines = [f"Model: {result['says']} It ran in {_words(result['engine'])}."]
    lines.append(
        f"{counted(result['predicted'], 'image')} in {result['seconds']:,.1f} s "
        f"({result['images_per_second']:,.0f} a second)."
    )
    if result["already"]:
        lines.append(f"{result['already']:,} were in the file already.")
    if result["retried"]:
        lines.append(f"{result['retried']:,} that were rejected before were tried again.")
    lines.append(f"Written: {result['out']}")
    if result["rejected"]:
        lines.append(
            f"{counted(result['rejected'], 'image')} rejected: the column `rejected` says why. "
            "Mend them, then run the same command with --retry-rejected."
        )
    session.show(result, as_json=as_json, lines=lines)


def _words(engine: str) -> str:
    """An engine and its precision for people: openvino-bf16-behind-9 is bf16 after 9 layers."""
    name, _, layers = engine.partition("-behind-")
    return name.replace("-", ", ") + (f" after its first {layers} convolutions" if layers else "")
