"""The command that finds images like another one."""

from typing import Annotated

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    app.command("similar")(similar)


def similar(
    image: Annotated[
        str,
        typer.Argument(
            metavar="[IMAGE]", help="An image by its path as imported, or any picture on disk."
        ),
    ] = "",
    text: Annotated[
        str, typer.Option(metavar="WORDS", help="Search by words instead (needs labelloop[clip]).")
    ] = "",
    count: Annotated[int, typer.Option(help="How many images to find.")] = 10,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the images that look most like one, or that show what words say.

    Example: labelloop similar shirts/0042.jpg --count 5
    """
    from curation.errors import InputError

    if bool(image) == bool(text):
        raise InputError(
            "Name one image, as in `labelloop similar photo.jpg`, or give --text WORDS; not both."
        )
    project = session.project(workspace)
    with session.progress() as report:
        if text:
            from curation import text_search

            result = text_search.search(project, text, count=count, report=report)
        else:
            from curation.similar import similar as find

            result = find(project, image, count=count, report=report)
    lines = [f"{row['similarity']:.3f}  {row['image']}" for row in result["neighbours"]]
    session.show(result, as_json=as_json, lines=lines or ["No other image to compare with."])
