"""Commands about what annotators are told."""

from pathlib import Path
from typing import Annotated

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    nouns = typer.Typer(no_args_is_help=True, help="What annotators are told to look for.")
    nouns.command("set")(set_)
    nouns.command("show")(show)
    app.add_typer(nouns, name="guidelines")


def set_(
    file: Annotated[Path, typer.Argument(metavar="FILE.md", help="A Markdown file.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell annotators what this file says, in Label Studio and in the app.

    Pictures are named as ![words](file.png), lie beside the file or below its folder, and are
    copied, scaled to at most 800 pixels; all together may take 2 MB. HTML is shown as it is
    written. An empty file takes the guidelines away.

    Example: labelloop guidelines set guidelines.md
    """
    from ui.guiding import set_guidelines

    result = set_guidelines(session.project(workspace), file)
    lines = [
        f"Kept {result['characters']:,} characters and {result['pictures']} pictures "
        f"({result['bytes'] / 1000:,.0f} kB, scaled to at most 800 pixels).",
        result["says"],
    ]
    session.show(result, as_json=as_json, lines=lines)


def show(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Print the guidelines as they are kept; names of pictures are seen from the workspace.

    Example: labelloop guidelines show
    """
    from ui.guiding import show_guidelines

    result = show_guidelines(session.project(workspace))
    lines = [result["guidelines"] or "None yet. Set them with `labelloop guidelines set FILE.md`."]
    session.show(result, as_json=as_json, lines=lines)
