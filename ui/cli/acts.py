"""Commands that change many images at once, and undo it."""

from typing import Annotated

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption

_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    app.command("exclude")(exclude)
    app.command("restore")(restore)


ImagesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[IMAGE]...", help="Names, as imported.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


def exclude(
    images: ImagesArgument = None,
    kind: Annotated[
        str,
        typer.Option(metavar="K,...", help="Kinds of issues, as `labelloop issues` finds them."),
    ] = "",
    reason: Annotated[str, typer.Option(help="Why, for those who ask later.")] = "",
    dry_run: DryRunOption = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take images out of the dataset; `labelloop restore` brings them back.

    One image of each group of copies always stays.

    Example: labelloop exclude --kind exact-duplicate,near-duplicate --dry-run
    """
    from ui import findings

    result = findings.exclude(
        session.project(workspace),
        kinds=findings.split_kinds(kind),
        images=images or [],
        reason=reason,
        dry_run=dry_run,
    )
    lines = [f"{'Would exclude' if dry_run else 'Excluded'} {result['excluded']:,} images."]
    lines += listed(result["images"])
    if result["kept"]:
        lines.append(f"Kept {result['kept']:,} of which no other copy would be left.")
    if result["act"] is not None:
        lines.append(f"Undo: labelloop restore --act {result['act']}")
    session.show(result, as_json=as_json, lines=lines)


def restore(
    images: ImagesArgument = None,
    act: Annotated[
        int | None, typer.Option(help="The act to undo; the newest one if left out.")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Undo the newest act that excluded images or gave labels, or bring named images back.

    Example: labelloop restore --act 3
    """
    from ui import findings

    result = findings.restore(session.project(workspace), act=act, images=images or [])
    undone = f" (act {result['act']})" if result["act"] is not None else ""
    count = result["restored"]
    if result["kind"] in _LABELS:
        lines = [f"Took the {_LABELS[result['kind']]} back from {count:,} images{undone}."]
    else:
        lines = [f"Brought back {count:,} images{undone}."]
    lines += listed(result["images"])
    if result["passed_over"]:
        lines.append(f"{result['passed_over']:,} were left alone: they have changed meanwhile.")
    session.show(result, as_json=as_json, lines=lines)


_LABELS = {"propagate": "propagated label", "accept": "machine's label"}


def listed(names: list[str]) -> list[str]:
    """The first of the names, a line each, and how many more there are."""
    lines = [f"  {name}" for name in names[:_SHOWN]]
    if len(names) > _SHOWN:
        lines.append(f"  ... and {len(names) - _SHOWN:,} more (--json lists all)")
    return lines
