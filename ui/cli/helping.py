"""Commands about what models do for people who label: below `labelloop label`."""

from typing import Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption


def register(nouns: typer.Typer) -> None:
    """Adds these commands to those of `labelloop label`."""
    nouns.command("prelabels")(prelabels)
    nouns.command("bulk")(bulk)
    nouns.command("live")(live)


def prelabels(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Say what pre-labels save people, how often they are accepted, and how far they sway them.

    Each round holds the pre-labels of some images back, drawn at random, and compares the answers.
    Of several answers to an image the first counts. Brackets are 95 % intervals.

    Example: labelloop label prelabels
    """
    from ui.helping import measure

    result = measure(session.project(workspace))
    session.show(result, as_json=as_json, lines=_prelabel_lines(result))


def bulk(
    class_name: Annotated[str, typer.Argument(metavar="[CLASS]", help="What they are.")] = "",
    images: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE]...", help="Names; those that look alike if left out."),
    ] = None,
    leave_out: Annotated[
        str, typer.Option("--except", metavar="IMAGE,...", help="Names that are something else.")
    ] = "",
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many to take.")] = 48,
    person: Annotated[
        str, typer.Option("--as", metavar="NAME", help="Whose answers they are; ours if left out.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the images.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take the newest one back.")] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Label many images at once that the model takes for a class, as answers of one person.

    Of the images it is surest of, those are taken that look most like the first one. List them
    with --dry-run and look at them, or tick them on the app's page Bulk. It takes a round with a
    model.

    Example: labelloop label bulk shirt --except 017.jpg,113.jpg
    """
    from ui import bulk as many

    project = session.project(workspace)
    if undo:
        with session.progress() as report:
            result = many.undo(project, report=report)
        line = f"Took {result['undone']:,} answers {result['class']!r} back."
        session.show(result, as_json=as_json, lines=[line])
        return
    if not class_name:
        raise typer.BadParameter("Name a class, or --undo.")
    with session.progress() as report:
        result = many.accept(
            project,
            class_name,
            images or [],
            leave_out=[name.strip() for name in leave_out.split(",") if name.strip()],
            count=count,
            person=person,
            dry_run=dry_run,
            report=report,
        )
    lines = [f"  {name}" for name in result["images"]] if dry_run else []
    lines.append(
        f"{len(result['images']):,} images would be accepted as {class_name!r}."
        if dry_run
        else f"{result['accepted']:,} images are {class_name!r}, says {result['person']}. "
        "Undo: labelloop label bulk --undo"
        if result["accepted"]
        else f"No image waits that the model takes for {class_name!r}."
    )
    session.show(result, as_json=as_json, lines=lines)


def _prelabel_lines(result: dict[str, Any]) -> list[str]:
    lines = [result["says"]]
    seconds, said = result["seconds"], result["says_what_the_model_says"]
    for key, title in (("shown", "with pre-label"), ("held_back", "held back")):
        if result["images"][key]:
            time = seconds[key]
            each = f"{time['value']:.1f} s each (median), " if time["value"] is not None else ""
            lines.append(
                f"  {title}: {result['images'][key]:,} images, {each}as the model says: "
                f"{session.percent(said[key])}"
            )
    if result["acceptance"]["n"]:
        lines.append(f"  pre-labels accepted unchanged: {session.percent(result['acceptance'])}")
    return lines


def live(
    state: Annotated[
        str, typer.Argument(metavar="[on|off]", help="Says how it is if left out.")
    ] = "",
    rounds: Annotated[
        bool,
        typer.Option("--rounds", help="Start Training in Label Studio starts a round."),
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have the champion pre-label tasks without one when somebody opens them in Label Studio.

    What rounds send has its pre-labels anyway. Needs `labelloop up`, whose worker answers.

    Example: labelloop label live on
    """
    from ui.helping import set_live, show_live

    project = session.project(workspace)
    result = set_live(project, state, rounds=rounds) if state else show_live(project)
    session.show(result, as_json=as_json, lines=[result["says"]])
