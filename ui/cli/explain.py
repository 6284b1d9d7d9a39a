"""The command that says why a model says what it says."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption

_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    app.command("explain")(explain)


def explain(
    image: Annotated[
        str,
        typer.Argument(
            metavar="[IMAGE]", help="An image by its path as imported, or any picture on disk."
        ),
    ] = "",
    mistakes: Annotated[
        bool, typer.Option("--mistakes", help="What the model is surest of and wrong about.")
    ] = False,
    run: Annotated[
        str, typer.Option(metavar="RUN", help="Its id or a tag; the champion, else the newest.")
    ] = "",
    of: Annotated[
        str, typer.Option("--class", metavar="CLASS", help="The class to explain, or to look at.")
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A .png for the heat, or a .html for the mistakes."),
    ] = None,
    neighbours: Annotated[
        int, typer.Option(help="Training images to name that the model holds for most alike.")
    ] = 5,
    part: Annotated[
        str, typer.Option(help="With --mistakes: of validation, or of test.")
    ] = "validation",
    count: Annotated[
        int, typer.Option(help="With --mistakes: so many of each class, up to 100.")
    ] = 12,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where a model looks (Grad-CAM), which training images it goes by, or where it is wrong.

    Example: labelloop explain shirts/0042.jpg --out why.png

    Example: labelloop explain --mistakes --class shirt --out mistakes.html
    """
    from curation.errors import InputError
    from ui import explaining

    if bool(image) == mistakes:
        raise InputError(
            "Name one image, as in `labelloop explain photo.jpg`, or ask for --mistakes; not both."
        )
    project = session.project(workspace)
    target = out.expanduser() if out else None
    with session.progress() as report:
        if mistakes:
            result = explaining.mistakes(
                project, run=run, of=of, part=part, count=count, out=target, report=report
            )
        else:
            result = explaining.explain(
                project, image, run=run, of=of, out=target, neighbours=neighbours, report=report
            )
    lines = _of_mistakes(result) if mistakes else _of_image(result)
    session.show(result, as_json=as_json, lines=lines)


def _of_image(result: dict[str, Any]) -> list[str]:
    """What the model says of an image, and what it goes by."""
    said = ", ".join(f"{name} {p:.2f}" for name, p in result["probabilities"].items())
    lines = [f"{result['image']}: {said}", f"By {result['says']}"]
    if result["neighbours"]:
        lines.append("The most like it, of what it learned from:")
        lines += [
            f"  {one['similarity']:.3f}  {one['image']}  ({', '.join(one['labels']) or 'none'})"
            for one in result["neighbours"]
        ]
    if result["blind"]:
        lines.append(f"No place in the picture speaks for {result['explained']}.")
    if result["out"]:
        lines.append(f"What speaks for {result['explained']} is bright in {result['out']}.")
    else:
        lines.append("See where it looks: --out why.png")
    return lines


def _of_mistakes(result: dict[str, Any]) -> list[str]:
    """How many mistakes there are, and the surest of them."""
    lines = [
        f"{result['run']} is wrong about {result['wrong']:,} of {result['images']:,} images of "
        f"{result['part']}. The surest mistakes:"
    ]
    worst = sorted(result["mistakes"], key=lambda one: -one["confidence"])[:_SHOWN]
    if not worst:
        return [f"{lines[0].split('.')[0]}."]
    lines += [
        f"  {one['confidence']:.3f}  {one['image']}: labeled {', '.join(one['labels']) or 'none'}, "
        f"predicted {', '.join(one['predicted']) or 'none'}"
        for one in worst
    ]
    if result["out"]:
        lines.append(f"All of them with their pictures: open {result['out']} in a browser.")
    else:
        lines.append("With their pictures: --out mistakes.html")
    lines.append("Labels may be wrong, too: labelloop issues --kind wrong-label --to-label-studio")
    return lines
