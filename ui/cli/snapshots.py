"""Commands for the dataset's versions."""

from typing import Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption
from ui.web.views.wording import counted

_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    noun = typer.Typer(no_args_is_help=True, help="Versions of the dataset.")
    noun.command("create")(create)
    noun.command("list")(list_)
    noun.command("show")(show)
    noun.command("diff")(diff)
    noun.command("verify")(verify)
    noun.command("restore")(restore)
    app.add_typer(noun, name="snapshot")


SnapshotArgument = Annotated[
    str, typer.Argument(metavar="[ID]", help="Its id or the start of it; the newest if left out.")
]


def create(
    labeled: Annotated[bool, typer.Option("--labeled", help="Only labeled images.")] = False,
    label: Annotated[
        str, typer.Option(metavar="A,B", help="Only images that bear one of these classes.")
    ] = "",
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="Only images with this metadata; repeatable."),
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Freeze the dataset as it is now: images, labels, splits, exclusions, metadata.

    The same dataset gives the same snapshot.

    Example: labelloop snapshot create
    """
    from ui import versioning

    project = session.project(workspace)
    with session.progress() as report:
        result = versioning.create(
            project,
            labeled=labeled,
            classes=[name.strip() for name in label.split(",") if name.strip()],
            where=where or [],
            report=report,
        )
    lines = [
        f"{result['snapshot']}: {counted(result['images'], 'image')}, {result['labels']:,} labeled."
    ]
    if result["parent"] and result["parent"] != result["snapshot"]:
        lines.append(f"What changed: labelloop snapshot diff {result['parent']}")
    lines.append(f"Next: {result['next']}")
    session.show(result, as_json=as_json, lines=lines)


def list_(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List all snapshots, oldest first.

    Example: labelloop snapshot list
    """
    from ui import versioning

    result = versioning.every(session.project(workspace))
    lines = [
        f"{one['snapshot']}  {one['created_at'][:16].replace('T', ' ')}  "
        f"{one['images']:>9,} images  {one['labels']:>9,} labeled"
        + (f"  (from {one['parent']})" if one["parent"] else "")
        + ("  a part of the images" if one["filters"] else "")
        for one in result["snapshots"]
    ]
    session.show(
        result,
        as_json=as_json,
        lines=lines or ["There is no snapshot yet. Make one: labelloop snapshot create"],
    )


def show(
    snapshot: SnapshotArgument = "", workspace: WorkspaceOption = None, as_json: JsonOption = False
) -> None:
    """Say what a snapshot holds and where it comes from.

    Example: labelloop snapshot show
    """
    from ui import versioning

    result = versioning.show(session.project(workspace), snapshot)
    lines = [
        f"{result['snapshot']}, made {result['created_at']} by labelloop {result['labelloop']}",
        f"From: {result['parent'] or 'nothing before it'}",
        f"Images: {result['images']:,}" + _states(result.get("states", {})),
    ]
    by_class = result.get("labels_by_class", {})
    lines.append(
        f"Labels: {result.get('labels', 0):,}"
        + (f" ({', '.join(f'{name} {n:,}' for name, n in by_class.items())})" if by_class else "")
    )
    if result["splits"]:
        parts = ", ".join(f"{name} {n:,}" for name, n in result["splits"].items())
        lines.append(f"Labeled images by part: {parts}")
    if result["filters"]:
        lines.append(f"Only: {result['filters']}")
    lines += [f"Plan in force: {kind}" for kind in result.get("plans", {})]
    lines.append(f"SHA-256: {result['sha256']}")
    session.show(result, as_json=as_json, lines=lines)


def _states(states: dict[str, int]) -> str:
    others = [f"{n:,} {state}" for state, n in states.items() if state != "ok"]
    return f" ({', '.join(others)})" if others else ""


def diff(
    old: Annotated[
        str,
        typer.Argument(metavar="[OLD]", help="The older one; if left out, the parent of NEW."),
    ] = "",
    new: Annotated[
        str, typer.Argument(metavar="[NEW]", help="The newer one; the newest if left out.")
    ] = "",
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which images were added, removed, relabeled, moved, excluded or changed.

    Example: labelloop snapshot diff s-1f2e
    """
    from ui import versioning

    result = versioning.diff(session.project(workspace), old, new)
    counts = {kind: n for kind, n in result["counts"].items() if n}
    said = ", ".join(f"{n:,} {kind}" for kind, n in counts.items()) or "nothing differs"
    lines = [f"From {result['old']} to {result['new']}: {said}."]
    lines += [f"  {_change(change)}" for change in result["changes"][:_SHOWN]]
    if sum(counts.values()) > _SHOWN:
        lines.append(f"  ... and {sum(counts.values()) - _SHOWN:,} more (--json lists them)")
    session.show(result, as_json=as_json, lines=lines)


def _change(change: dict[str, Any]) -> str:
    if change["before"] and change["after"]:
        return f"{change['kind']} {change['image']}: {change['before']} -> {change['after']}"
    return f"{change['kind']} {change['image']}: {change['before'] or change['after']}"


def verify(
    snapshot: SnapshotArgument = "",
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="Also read every image again.")
    ] = True,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hash a snapshot and its images again; exit code 1 where anything differs.

    Example: labelloop snapshot verify
    """
    from ui import versioning

    project = session.project(workspace)
    with session.progress() as report:
        result = versioning.verify(project, snapshot, images=images, report=report)
    lines = []
    if result["manifest"]:
        lines.append(
            f"{result['snapshot']} is damaged: {result['manifest']}. Bring the snapshots folder "
            "back from a backup."
        )
    for kind, says in (("changed", "of which the bytes changed"), ("missing", "unreadable now")):
        if found := result[kind]:
            lines.append(f"{counted(len(found), 'image')} {says}:")
            lines += [f"  {name}" for name in found[:_SHOWN]]
            if len(found) > _SHOWN:
                lines.append(f"  ... and {len(found) - _SHOWN:,} more (--json lists them)")
    if result["ok"]:
        read = f", {counted(result['checked'], 'image')} read again" if images else ""
        lines.append(f"{result['snapshot']} is as it was made{read}.")
    session.show(result, as_json=as_json, lines=lines)
    if not result["ok"]:
        raise typer.Exit(1)


def restore(
    snapshot: SnapshotArgument = "", workspace: WorkspaceOption = None, as_json: JsonOption = False
) -> None:
    """Make labels and exclusions what they were; answers and images are kept.

    A snapshot of how it is now is made first; restoring that one undoes this.

    Example: labelloop snapshot restore s-1f2e
    """
    from ui import versioning

    project = session.project(workspace)
    with session.progress() as report:
        result = versioning.restore(project, snapshot, report=report)
    said = [
        f"{result[key]:,} {says}"
        for key, says in (
            ("labeled", "labels brought back"),
            ("relabeled", "labels changed back"),
            ("unlabeled", "unlabeled again"),
            ("excluded", "excluded"),
            ("included", "taken back in"),
        )
        if result[key]
    ]
    lines = [f"Back at {result['snapshot']}: {', '.join(said) or 'nothing differed'}."]
    if result["passed_over"]:
        lines.append(
            f"Passed over: {counted(result['passed_over'], 'image')} that came later, are gone, or "
            "cannot be read."
        )
    if result["answered"]:
        lines.append(
            f"{counted(result['answered'], 'image')} lost the label that people gave. They are not "
            "asked again; undo brings it back."
        )
    if said:
        lines.append(f"Undo: labelloop snapshot restore {result['before']}")
    session.show(result, as_json=as_json, lines=lines)
