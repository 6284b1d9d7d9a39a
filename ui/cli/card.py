"""The command that writes a data card."""

from pathlib import Path
from typing import Annotated

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    app.command("card")(card)


def card(
    folder: Annotated[
        Path, typer.Argument(metavar="[OUT]", help="The folder to write to; made if missing.")
    ] = Path("card"),
    snapshot: Annotated[
        str, typer.Option(metavar="ID", help="What to describe; the dataset as it is now.")
    ] = "",
    about: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="What the dataset is for, in your words.")
    ] = None,
    with_map: Annotated[
        bool, typer.Option("--map/--no-map", help="Draw the map, which needs embeddings.")
    ] = True,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a data card: README.md with the front matter of Hugging Face, card.html, pictures.

    Example: labelloop card ~/parts-card --about purpose.md
    """
    from ui import versioning

    project = session.project(workspace)
    with session.progress() as report:
        result = versioning.card(
            project,
            folder.expanduser(),
            snapshot=snapshot,
            about=about,
            with_map=with_map,
            report=report,
        )
    lines = [
        f"Described {result['snapshot']} in {result['markdown']} and {result['html']}"
        + (f", with {len(result['pictures'])} pictures." if result["pictures"] else "."),
        f"Look at it: open {result['html']} in a browser.",
    ]
    session.show(result, as_json=as_json, lines=lines)
