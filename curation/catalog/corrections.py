"""The ledger of labels that reviewers are asked to confirm or correct.

Each offering that brings something new is a numbered list, and holds what still waits of the list
before it; so the newest list is all that is asked now, in one order. A label counts as judged when
a reviewer confirmed it, set it, or passed it on; asking again takes another label. Images of the
reserve are never asked about: who answers those must not be shown a label.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, update

from curation.catalog import annotations, images, labels
from curation.catalog.bulk import batched, insert_new
from curation.catalog.schema import annotation_versions, corrections
from curation.catalog.schema import annotations as annotation_rows

Classes = tuple[int, ...]


@dataclass(frozen=True)
class Doubt:
    """A label that may be wrong.

    Attributes:
        image_id: of the image.
        score: 0 to 1, higher is worse.
        classes: class ids of the label in doubt.
        suggested_class_id: what it should be, where somebody knows.
        reason: one clause for people, with the values.
    """

    image_id: int
    score: float
    classes: Classes
    suggested_class_id: int | None
    reason: str


@dataclass(frozen=True)
class Listed:
    """One doubt of a list, at its rank; `version_id`: reviews of it are newer than this."""

    doubt: Doubt
    number: int
    rank: int
    version_id: int
    pushed: bool


@dataclass(frozen=True)
class Decision:
    """What an offering comes to.

    Attributes:
        doubts: the new list, worst first; empty where nothing is new.
        fresh: images of the list that the one before does not hold.
        already: how many wait already, or were judged as they are.
        left_out: how many are labeled otherwise by now, cannot be shown, or are in the reserve.
        outdated: images that wait although the like has become true of them since.
        version_id: the newest annotation version that this rests on.
    """

    doubts: tuple[Doubt, ...]
    fresh: tuple[int, ...]
    already: int
    left_out: int
    outdated: tuple[int, ...]
    version_id: int


def decide(
    connection: Connection, project_id: int, doubts: Sequence[Doubt], *, most: int | None = None
) -> Decision:
    """Which of these doubts are worth a reviewer's time, beside those that wait; writes nothing.

    A doubt about a propagated label is one about the label it comes from: one answer mends both.

    Args:
        doubts: those that come first are taken first.
        most: how many may wait in all, before nothing more is taken.
    """
    doubts = _about_sources(connection, doubts)
    open_rows = [row.doubt for row in _open(connection, project_id)]
    wanted = [doubt.image_id for doubt in doubts]
    now = _askable(connection, [*wanted, *(doubt.image_id for doubt in open_rows)])
    judged = _judged(connection, project_id)
    waits = [doubt for doubt in open_rows if now.get(doubt.image_id) == doubt.classes]
    taken = {doubt.image_id for doubt in waits}
    fresh: dict[int, Doubt] = {}
    already = left_out = 0
    for doubt in doubts:
        key = doubt.image_id
        label = _ordered(doubt.classes)
        if now.get(key) != label:
            left_out += 1
        elif key in taken or key in fresh or label in judged.get(key, ()):
            already += 1
        elif most is None or len(taken) + len(fresh) < most:
            fresh[key] = doubt
    merged = sorted([*waits, *fresh.values()], key=lambda doubt: -doubt.score)
    return Decision(
        doubts=tuple(merged) if fresh else (),
        fresh=tuple(fresh),
        already=already,
        left_out=left_out,
        outdated=tuple(
            doubt.image_id for doubt in open_rows if doubt.image_id not in taken | set(fresh)
        ),
        version_id=annotations.newest_version(connection, project_id),
    )


def _about_sources(connection: Connection, doubts: Sequence[Doubt]) -> list[Doubt]:
    sources = labels.sources_of(connection, [doubt.image_id for doubt in doubts])
    askable = _askable(connection, list(sources.values()))
    return [
        replace(doubt, image_id=source) if source in askable else doubt
        for doubt in doubts
        for source in [sources.get(doubt.image_id)]
    ]


def write(connection: Connection, project_id: int, decision: Decision) -> None:
    """Makes a decision's list the newest; without anything fresh the one before stays."""
    number = _newest_number(connection, project_id) + 1
    for batch in batched(enumerate(decision.doubts)):
        insert_new(
            connection,
            corrections,
            [
                {
                    "project_id": project_id,
                    "number": number,
                    "image_id": doubt.image_id,
                    "rank": rank,
                    "score": doubt.score,
                    "classes": list(_ordered(doubt.classes)),
                    "suggested_class_id": doubt.suggested_class_id,
                    "reason": doubt.reason,
                    "version_id": decision.version_id,
                }
                for rank, doubt in batch
            ],
        )


def newest(connection: Connection, project_id: int) -> list[Listed]:
    """The newest list in its order, answered or not; empty where nothing was ever offered."""
    rows = connection.execute(
        select(corrections)
        .where(
            corrections.c.project_id == project_id,
            corrections.c.number == _newest_number(connection, project_id),
        )
        .order_by(corrections.c.rank)
    )
    return [
        Listed(
            _doubt(row),
            number=row.number,
            rank=row.rank,
            version_id=row.version_id,
            pushed=row.pushed,
        )
        for row in rows
    ]


def _doubt(row: Any) -> Doubt:
    return Doubt(row.image_id, row.score, tuple(row.classes), row.suggested_class_id, row.reason)


def mark_pushed(
    connection: Connection, project_id: int, number: int, image_ids: Sequence[int]
) -> None:
    """Notes that Label Studio holds tasks for these images of a list."""
    for batch in batched(image_ids):
        connection.execute(
            update(corrections)
            .where(
                corrections.c.project_id == project_id,
                corrections.c.number == number,
                corrections.c.image_id.in_(batch),
            )
            .values(pushed=True)
        )


def waiting(connection: Connection, project_id: int) -> list[int]:
    """Images that no reviewer has answered or skipped yet, worst first.

    Those that were labeled otherwise meanwhile do not count: what was to be judged is gone. Nor do
    those that joined the reserve.
    """
    rows = [row.doubt for row in _open(connection, project_id)]
    now = _askable(connection, [doubt.image_id for doubt in rows])
    return [doubt.image_id for doubt in rows if now.get(doubt.image_id) == doubt.classes]


def outdated(connection: Connection, project_id: int) -> list[int]:
    """Images of the newest list without a review that do not wait any more; see `waiting`."""
    still = set(waiting(connection, project_id))
    rows = [row.doubt.image_id for row in _open(connection, project_id)]
    return [image_id for image_id in rows if image_id not in still]


def reviewed(connection: Connection, project_id: int) -> set[int]:
    """Images whose label, as it is now, a reviewer has judged."""
    judged = _judged(connection, project_id)
    now = _labels(connection, list(judged))
    return {key for key, said in judged.items() if now.get(key) in said}


def of_image(connection: Connection, image_id: int) -> list[tuple[Doubt, datetime]]:
    """The doubts about an image's label and when each was first listed, oldest first."""
    found: list[tuple[Doubt, datetime]] = []
    for row in connection.execute(
        select(corrections).where(corrections.c.image_id == image_id).order_by(corrections.c.number)
    ):
        doubt = _doubt(row)
        # The next list holds what still waits, too.
        if not found or found[-1][0] != doubt:
            found.append((doubt, row.created_at))
    return found


def _open(connection: Connection, project_id: int) -> list[Listed]:
    """The rows of the newest list without a review since."""
    last = _last_reviews(connection, project_id)
    rows = newest(connection, project_id)
    return [row for row in rows if last.get(row.doubt.image_id, 0) <= row.version_id]


def _judged(connection: Connection, project_id: int) -> dict[int, set[Classes]]:
    """By image: the labels that reviewers gave, and those that they were asked about."""
    last = _last_reviews(connection, project_id)
    found: dict[int, set[Classes]] = {
        key: {_ordered(classes) for classes in said}
        for key, said in annotations.reviews(connection, list(last)).items()
    }
    asked = connection.execute(
        select(corrections.c.image_id, corrections.c.classes, corrections.c.version_id).where(
            corrections.c.project_id == project_id
        )
    )
    for row in asked:
        if last.get(row.image_id, 0) > row.version_id:
            found.setdefault(row.image_id, set()).add(tuple(row.classes))
    return found


def _last_reviews(connection: Connection, project_id: int) -> dict[int, int]:
    """Version of the newest answer or skip of a reviewer that stands, by image."""
    rows = connection.execute(
        select(annotation_rows.c.image_id, func.max(annotation_versions.c.id).label("version_id"))
        .join(annotation_versions, annotation_versions.c.annotation_id == annotation_rows.c.id)
        .where(
            annotation_rows.c.project_id == project_id,
            annotation_rows.c.queue == "correction",
            annotation_rows.c.state.not_in(("deleted", "aside")),
        )
        .group_by(annotation_rows.c.image_id)
    )
    return {row.image_id: row.version_id for row in rows}


def _newest_number(connection: Connection, project_id: int) -> int:
    """The number of the newest list, from 1; 0 where there is none."""
    query = select(func.max(corrections.c.number)).where(corrections.c.project_id == project_id)
    return connection.scalar(query) or 0


def _labels(connection: Connection, image_ids: Sequence[int]) -> dict[int, Classes]:
    """The labels of those of these images that can be shown and are labeled."""
    known = images.get_many(connection, image_ids)
    found = labels.get(connection, [key for key, image in known.items() if image.state == "ok"])
    return {key: _ordered(row.classes) for key, row in found.items()}


def _askable(connection: Connection, image_ids: Sequence[int]) -> dict[int, Classes]:
    """The labels of those of these images that a reviewer may be asked about."""
    known = images.get_many(connection, image_ids)
    return _labels(connection, [key for key, image in known.items() if not image.reserve])


def _ordered(classes: Sequence[int]) -> Classes:
    return tuple(sorted(classes))
