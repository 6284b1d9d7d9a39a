"""What the detectors said of each image at their last look."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select, and_, delete, func, insert, or_, select

from curation.catalog import audit
from curation.catalog.bulk import batched
from curation.catalog.schema import images, issues

if TYPE_CHECKING:
    from curation.issues.table import Issue

LOOK = "find-issues"
"""What a look is called in the audit log."""

_AT_ONCE = 10_000


@dataclass(frozen=True)
class IssueRow:
    """One row of the table, with the image's name; the rest as in `curation.issues.table.Issue`."""

    image_id: int
    name: str
    kind: str
    score: float
    is_issue: bool
    reason: str
    related: tuple[int, ...]
    suggested_class_id: int | None


def replace(
    connection: Connection, project_id: int, kinds: Sequence[str], rows: Iterable["Issue"]
) -> int:
    """Writes what the detectors of these kinds found in place of what they found before.

    Args:
        rows: of these kinds only, in any order; read as they come.

    Returns:
        How many rows were written.
    """
    connection.execute(
        delete(issues).where(issues.c.project_id == project_id, issues.c.kind.in_(kinds))
    )
    written = 0
    for batch in batched(rows):
        connection.execute(
            insert(issues),
            [
                {
                    "project_id": project_id,
                    "image_id": int(row.image_id),
                    "kind": row.kind,
                    "score": float(row.score),
                    "is_issue": bool(row.is_issue),
                    "reason": row.reason,
                    "related": [int(key) for key in row.related],
                    "suggested_class_id": row.suggested_class_id,
                }
                for row in batch
            ],
        )
        written += len(batch)
    return written


def note_look(
    connection: Connection, project_id: int, kinds: Sequence[str], image_count: int
) -> None:
    """Writes into the audit log that the detectors of these kinds looked at so many images."""
    subject = {"kinds": list(kinds), "images": image_count}
    audit.append(connection, project_id, act=LOOK, subject=subject)


def was_looked(connection: Connection, project_id: int) -> bool:
    """Whether any detector ever looked, whatever it found."""
    return audit.has(connection, project_id, LOOK)


def find(
    connection: Connection,
    project_id: int,
    *,
    kinds: Sequence[str] | None = None,
    only_issues: bool = True,
    usable_only: bool = True,
    after: IssueRow | None = None,
    most: int | None = None,
) -> Iterator[IssueRow]:
    """Rows kind by kind in the order of the alphabet, the worst first within each.

    Args:
        kinds: all if none are named.
        only_issues: leave out the images that a detector holds for innocent.
        usable_only: leave out the images that are excluded, quarantined or missing by now.
        after: the row that a page before ended with.
        most: stop after so many rows.
    """
    for kind in sorted(kinds if kinds is not None else _kinds(connection, project_id)):
        if after is not None and kind < after.kind:
            continue
        last = after if after is not None and kind == after.kind else None
        while most is None or most > 0:
            size = _AT_ONCE if most is None else min(most, _AT_ONCE)
            query = _of_kind(project_id, kind, only_issues=only_issues, usable_only=usable_only)
            if last is not None:
                lower = issues.c.score < last.score
                same = and_(issues.c.score == last.score, issues.c.image_id < last.image_id)
                query = query.where(or_(lower, same))
            order = (issues.c.score.desc(), issues.c.image_id.desc())
            rows = [
                _row(row._mapping) for row in connection.execute(query.order_by(*order).limit(size))
            ]
            yield from rows
            if most is not None:
                most -= len(rows)
            if len(rows) < size:
                break
            last = rows[-1]


def _kinds(connection: Connection, project_id: int) -> list[str]:
    query = select(issues.c.kind).where(issues.c.project_id == project_id).distinct()
    return list(connection.scalars(query))


_COLUMNS = (
    issues.c.image_id,
    images.c.name,
    issues.c.kind,
    issues.c.score,
    issues.c.is_issue,
    issues.c.reason,
    issues.c.related,
    issues.c.suggested_class_id,
)


def _of_kind(
    project_id: int, kind: str, *, only_issues: bool, usable_only: bool
) -> Select[tuple[Any, ...]]:
    query = (
        select(*_COLUMNS)
        .join(images, images.c.id == issues.c.image_id)
        .where(issues.c.project_id == project_id, issues.c.kind == kind)
    )
    if only_issues:
        query = query.where(issues.c.is_issue)
    if usable_only:
        query = query.where(images.c.state == "ok")
    return query


def _row(values: Any) -> IssueRow:
    return IssueRow(**{**values, "related": tuple(values["related"])})


def count_by_kind(connection: Connection, project_id: int) -> dict[str, int]:
    """How many usable images have an issue of each kind; 0 for kinds looked for and not found."""
    rows = connection.execute(
        select(issues.c.kind, func.count())
        .join(images, images.c.id == issues.c.image_id)
        .where(issues.c.project_id == project_id, issues.c.is_issue, images.c.state == "ok")
        .group_by(issues.c.kind)
    )
    counts: dict[str, int] = {kind: count for kind, count in rows}
    return {kind: counts.get(kind, 0) for kind in sorted(_kinds(connection, project_id))}


def of_image(connection: Connection, image_id: int) -> list[IssueRow]:
    """All rows of one image: its issues first, the worst of them on top."""
    rows = connection.execute(
        select(*_COLUMNS)
        .join(images, images.c.id == issues.c.image_id)
        .where(issues.c.image_id == image_id)
        .order_by(issues.c.is_issue.desc(), issues.c.score.desc(), issues.c.kind)
    )
    return [_row(row._mapping) for row in rows]
