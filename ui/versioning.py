"""Versions of the dataset, as every face shows them; see `curation.snapshots` and `versions`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from curation import snapshots, versions
from curation.errors import InputError
from curation.progress import Report, silent
from curation.snapshots import Filters, Snapshot
from curation.workspace import Project

MOST_CHANGES = 10_000


def filters(*, labeled: bool, classes: Sequence[str], where: Sequence[str]) -> Filters:
    """What the user typed.

    Raises:
        InputError: a condition is not `column=value`.
    """
    conditions = dict(condition.partition("=")[::2] for condition in where)
    wrong = [condition for condition in where if "=" not in condition]
    if wrong:
        raise InputError(f"--where {wrong[0]!r}: give a column and a value, as in studio=a.")
    return Filters(labeled=labeled, classes=tuple(classes), metadata=conditions)


def create(
    project: Project,
    *,
    labeled: bool = False,
    classes: Sequence[str] = (),
    where: Sequence[str] = (),
    report: Report = silent,
) -> dict[str, Any]:
    """Freezes the dataset as it is now."""
    wanted = filters(labeled=labeled, classes=classes, where=where)
    made = snapshots.create(project, filters=wanted, report=report)
    return {"snapshot": made.id, **_summary(made), "next": "labelloop export --format csv OUT"}


def every(project: Project) -> dict[str, Any]:
    """All snapshots, oldest first."""
    return {
        "snapshots": [{"snapshot": one.id, **_summary(one)} for one in snapshots.every(project)]
    }


def _summary(snapshot: Snapshot) -> dict[str, Any]:
    header = snapshot.header
    return {
        "images": header["images"],
        "labels": header.get("labels", header["images"]),
        "parent": header["parent"],
        "filters": header["filters"],
        "created_at": header["created_at"],
    }


def show(project: Project, snapshot: str = "") -> dict[str, Any]:
    """One snapshot's whole header; the newest by default."""
    found = snapshots.get(project, snapshot)
    return {"snapshot": found.id, **found.header}


def diff(project: Project, old: str = "", new: str = "") -> dict[str, Any]:
    """What differs: between a snapshot and its parent, or between two.

    Raises:
        NotFound: there is no such snapshot.
        InputError: the snapshot has no parent.
    """
    # One id is the older side, and the newest snapshot the other.
    newer = snapshots.get(project, new)
    if not old and newer.header["parent"] is None:
        raise InputError(f"{newer.id} is the first snapshot; there is nothing to compare it with.")
    older = snapshots.get(project, old or newer.header["parent"])
    counts = Counter(dict.fromkeys(versions.KINDS, 0))
    changes: list[dict[str, Any]] = []
    for change in versions.diff(project, older, newer):
        counts[change.kind] += 1
        if len(changes) < MOST_CHANGES:
            changes.append(asdict(change))
    return {"old": older.id, "new": newer.id, "counts": dict(counts), "changes": changes}


def verify(
    project: Project, snapshot: str = "", *, images: bool = True, report: Report = silent
) -> dict[str, Any]:
    """Hashes a snapshot and its images again."""
    found = snapshots.get(project, snapshot)
    checked = versions.verify(project, found, images=images, report=report)
    return {"snapshot": found.id, "ok": checked.ok, **asdict(checked)}


def restore(project: Project, snapshot: str = "", *, report: Report = silent) -> dict[str, Any]:
    """Brings labels and exclusions back to what they were."""
    found = snapshots.get(project, snapshot)
    return {"snapshot": found.id, **asdict(versions.restore(project, found, report=report))}


def card(
    project: Project,
    folder: Path,
    *,
    snapshot: str = "",
    about: Path | None = None,
    with_map: bool = True,
    report: Report = silent,
) -> dict[str, Any]:
    """Writes a data card of the dataset as it is now, or as it was in a snapshot."""
    from curation import card as cards

    made = cards.write(
        project, folder, snapshot=snapshot, about=about, with_map=with_map, report=report
    )
    return {
        "snapshot": made.snapshot.id,
        "markdown": str(made.markdown),
        "html": str(made.html),
        "pictures": [str(path) for path in made.pictures],
    }
