"""Commands about copies: how well they are found, what people say of them, labels they share."""

from typing import Annotated

import typer

from ui.cli import session
from ui.cli.acts import DryRunOption, ImagesArgument, listed
from ui.cli.session import JsonOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    nouns = typer.Typer(
        no_args_is_help=True, help="Copies: measure how well they are found, judge, share labels."
    )
    nouns.command("calibrate")(calibrate)
    nouns.command("judge")(judge)
    nouns.command("propagate")(propagate)
    app.add_typer(nouns, name="duplicates")


def calibrate(
    precision: Annotated[
        float, typer.Option(help="Share of the pairs found that must be copies, below 1.")
    ] = 0.99,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Plant copies of your own images, measure what is found of them, and set the threshold.

    The project itself is not changed, except for the threshold that `labelloop issues` then uses.

    Example: labelloop duplicates calibrate --precision 0.99
    """
    from curation.copies import calibration

    project = session.project(workspace)
    with session.progress() as report:
        found = calibration.calibrate(project, precision=precision, report=report)
    session.show(calibration.as_json(found), as_json=as_json, lines=calibration.says(found))


def judge(
    first: Annotated[str, typer.Argument(metavar="IMAGE", help="One image, as imported.")],
    second: Annotated[str, typer.Argument(metavar="IMAGE", help="The other one.")],
    verdict: Annotated[str, typer.Argument(metavar="copy|not-copy", help="What they are.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether two images are copies; it outranks the detector from the next look on.

    Example: labelloop duplicates judge shirts/1.jpg shirts/2.jpg not-copy
    """
    from curation import acts
    from curation.catalog.groups import Verdict
    from ui import wiring

    verdicts: tuple[Verdict, ...] = ("copy", "not-copy")
    said = wiring.choice(verdict, verdicts, "The verdict")
    acts.judge(session.project(workspace), first, second, said)
    session.show(
        {"images": [first, second], "verdict": said},
        as_json=as_json,
        lines=[f"Noted: {said}. Groups follow with the next `labelloop issues`."],
    )


def propagate(
    images: ImagesArgument = None,
    dry_run: DryRunOption = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give copies of labeled images the same label, marked as such; `restore` undoes it.

    Where the answers to the copies disagree nothing happens. With IMAGE only their groups.

    Example: labelloop duplicates propagate --dry-run
    """
    from ui import findings

    result = findings.propagate(session.project(workspace), images=images or [], dry_run=dry_run)
    count = result["propagated"]
    lines = [f"{'Would label' if dry_run else 'Labeled'} {count:,} copies of labeled images."]
    lines += listed(result["images"])
    if result["conflicts"]:
        lines.append(
            f"Passed over {result['conflicts']:,} whose copies are labeled differently; "
            "`labelloop issues --kind group-conflict` shows them."
        )
    if result["act"] is not None:
        lines.append(f"Undo: labelloop restore --act {result['act']}")
    session.show(result, as_json=as_json, lines=lines)
