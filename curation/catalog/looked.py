"""Images of which it may be open whether more people are to be asked, and what was said of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CompoundSelect, Connection, Select, func, select, union

from curation.catalog.asking import OPINIONS, Asking, active_ids, settings
from curation.catalog.bulk import batched
from curation.catalog.schema import (
    annotations,
    annotators,
    golds,
    images,
    labels,
    remote_tasks,
    round_images,
    second_opinions,
)
from curation.records import Queue


@dataclass(frozen=True)
class Looked:
    """One image that has a task, and how many people looked at it.

    Attributes:
        image_id: of the image.
        task_id: its number in Label Studio.
        overlap: how many answers the task is to get, as far as Label Studio was told.
        there: how many people's answers Label Studio holds, also those set aside here.
        answered: how many people's answers stand.
        opinions: the same, with those who are unsure and name no class.
        sure: how many stand and are sure.
        skipped: whether somebody passed on the image.
        reviewed: whether a reviewer has decided.
        agree: whether all answers that stand name the same classes.
        confidence: the label's, 0 to 1; 0 where there is none.
        planned: how many answers its round asks for.
        wanted: how many opinions somebody asked for by hand; 0 if nobody did.
        left: how many active annotators have not looked at it.
        gold: whether its answer is known, and each of them is to be asked.
    """

    image_id: int
    task_id: int
    overlap: int
    there: int
    answered: int
    opinions: int
    sure: int
    skipped: bool
    reviewed: bool
    agree: bool
    confidence: float
    planned: int
    wanted: int
    left: int
    gold: bool


def find(
    connection: Connection,
    project_id: int,
    queue_id: int,
    queue: Queue,
    *,
    among: Iterable[int] | None = None,
) -> Iterator[Looked]:
    """The images of a queue of which it may be open whether more people are to be asked.

    Those that somebody is unsure of, that people disagree on, whose answers were set aside, that
    somebody wants to hear more of, and those with a known answer.

    Args:
        queue_id: of the queue.
        queue: its name.
        among: only those of these images; all if none are given.
    """
    rows = _tasks(connection, project_id, queue_id, among)
    people = set(connection.scalars(active_ids(project_id)))
    for batch in batched(rows):
        ids = [row.image_id for row in batch]
        said = _said(connection, ids)
        sure = dict(_pairs(connection, select(labels.c.image_id, labels.c.confidence), ids))
        planned = dict(
            _pairs(
                connection,
                select(round_images.c.image_id, func.max(round_images.c.answers))
                .where(round_images.c.project_id == project_id)
                .group_by(round_images.c.image_id),
                ids,
            )
        )
        wanted = dict(
            _pairs(connection, select(second_opinions.c.image_id, second_opinions.c.opinions), ids)
        )
        known = {key for (key,) in _pairs(connection, select(golds.c.image_id), ids)}
        for row in batch:
            yield _looked(
                row,
                said.get(row.image_id, []),
                queue=queue,
                confidence=sure.get(row.image_id, 0.0),
                planned=planned.get(row.image_id, 1),
                wanted=wanted.get(row.image_id, 0),
                gold=row.image_id in known,
                people=people,
            )


def _tasks(
    connection: Connection, project_id: int, queue_id: int, among: Iterable[int] | None
) -> list[Any]:
    """The tasks (image_id, task_id, overlap) of images that `find` is about."""
    image_id = remote_tasks.c.image_id
    query = (
        select(image_id, remote_tasks.c.task_id, remote_tasks.c.overlap)
        .join(images, images.c.id == image_id)
        .where(remote_tasks.c.remote_project_id == queue_id, images.c.state == "ok")
        .order_by(remote_tasks.c.task_id)
    )
    if among is None:
        rules = settings(connection, project_id)
        return list(connection.execute(query.where(image_id.in_(_candidates(project_id, rules)))))
    return [
        row
        for batch in batched(among)
        for row in connection.execute(query.where(image_id.in_(batch)))
    ]


def _candidates(project_id: int, rules: Asking) -> CompoundSelect[Any]:
    here = annotations.c.project_id == project_id
    return union(
        select(annotations.c.image_id).where(here, annotations.c.unsure),
        select(labels.c.image_id).where(
            labels.c.project_id == project_id,
            labels.c.origin == "people",
            labels.c.answers.between(2, rules.most - 1),
            labels.c.confidence < rules.confident,
        ),
        select(annotations.c.image_id)
        .join(annotators, annotators.c.id == annotations.c.annotator_id)
        .where(here, annotators.c.state == "paused", annotations.c.state == "aside"),
        select(second_opinions.c.image_id).where(second_opinions.c.project_id == project_id),
        select(golds.c.image_id).where(golds.c.project_id == project_id),
    )


def _pairs(
    connection: Connection,
    query: Select[Any],
    ids: Sequence[int],
) -> list[Any]:
    """Rows about these images, whose ids are the first column."""
    rows = connection.execute(query.where(query.selected_columns[0].in_(ids)))
    return [tuple(row) for row in rows]


def _said(connection: Connection, ids: Sequence[int]) -> dict[int, list[Any]]:
    """The answers of people to these images, deleted ones left out; by image, oldest first."""
    found: dict[int, list[Any]] = {}
    rows = connection.execute(
        select(
            annotations.c.image_id,
            annotations.c.annotator_id,
            annotations.c.state,
            annotations.c.classes,
            annotations.c.unsure,
            annotations.c.queue,
            annotations.c.remote_id,
        )
        .join(annotators, annotators.c.id == annotations.c.annotator_id)
        .where(
            annotations.c.image_id.in_(ids),
            annotations.c.state != "deleted",
            annotators.c.kind != "import",
        )
        .order_by(annotations.c.id)
    )
    for row in rows:
        found.setdefault(row.image_id, []).append(row)
    return found


def _looked(
    task: Any,
    said: Sequence[Any],
    *,
    queue: Queue,
    confidence: float,
    planned: int,
    wanted: int,
    gold: bool,
    people: set[int],
) -> Looked:
    asked = [row for row in said if row.queue != "correction"]
    last = {row.annotator_id: row for row in asked if row.state in OPINIONS}
    answered = [row for row in last.values() if row.state == "answered"]
    here = {
        row.annotator_id
        for row in asked
        if row.queue == queue and (row.remote_id or 0) > 0 and row.state != "skipped"
    }
    return Looked(
        image_id=task.image_id,
        task_id=task.task_id,
        overlap=task.overlap,
        there=len(here),
        answered=len(answered),
        opinions=len(last),
        sure=sum(not row.unsure for row in answered),
        skipped=any(row.state == "skipped" for row in asked),
        reviewed=any(row.queue == "correction" and row.state == "answered" for row in said),
        agree=len({tuple(sorted(row.classes)) for row in answered}) < 2,
        confidence=confidence,
        planned=planned,
        wanted=wanted,
        left=len(people - {row.annotator_id for row in asked}),
        gold=gold,
    )
