"""Gold questions: images whose answer is known, asked of everybody once among all others.

The known answer is an annotation of nobody's, in the correction queue, so that it decides the label
as a reviewer does, and its history is kept with all others. A reviewer who decides otherwise later
overrules it: such an image is neither asked nor counted any more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, delete, func, insert, select, update

from curation.catalog import annotations, labels
from curation.catalog.bulk import batched, insert_one
from curation.catalog.schema import (
    annotation_versions,
    annotators,
    golds,
    images,
    remote_tasks,
    round_images,
)
from curation.catalog.schema import annotations as annotation_rows
from curation.catalog.schema import labels as label_rows

Origin = Literal["person", "people"]
Classes = tuple[int, ...]

DOUBTFUL_FROM = 3
"""How many people must have answered a question before most of them make its answer doubtful."""


@dataclass(frozen=True)
class Gold:
    """One image whose answer is known.

    Attributes:
        image_id: of the image.
        classes: ids of the known answer, ascending.
        origin: whether one person said so, or people who agree.
        since: id of the known answer's annotation; answers that count are newer.
        label: class ids of the label now; none where there is none.
        usable: whether the image can be shown.
    """

    image_id: int
    classes: Classes
    origin: Origin
    since: int
    label: Classes | None
    usable: bool

    @property
    def overruled(self) -> bool:
        """Whether the label was decided otherwise since."""
        return self.label != self.classes


@dataclass(frozen=True)
class Answer:
    """What a person said to a gold question."""

    image_id: int
    annotator_id: int
    annotator: str
    classes: Classes


def put(
    connection: Connection, project_id: int, known: dict[int, Classes], *, origin: Origin
) -> set[int]:
    """Makes these images gold questions, or changes their known answers.

    The labels are left for whoever settles them.

    Args:
        known: class ids by image.

    Returns:
        The images whose known answer is new or another one.
    """
    nobody = annotations.add_annotator(connection, project_id, annotations.KNOWN, kind="oracle")
    changed: set[int] = set()
    for batch in batched(known.items()):
        before = {
            gold.image_id: gold for gold in every(connection, project_id, [key for key, _ in batch])
        }
        for image_id, said in batch:
            classes = tuple(sorted(said))
            if image_id in before and before[image_id].classes == classes:
                continue
            values = {
                "project_id": project_id,
                "image_id": image_id,
                "annotator_id": nobody,
                "state": "answered",
                "classes": list(classes),
                "queue": "correction",
            }
            if image_id in before:
                _delete(connection, [before[image_id]])
            key = insert_one(connection, annotation_rows, values)
            _version(connection, key, values)
            row = {"image_id": image_id, "project_id": project_id, "annotation_id": key}
            connection.execute(insert(golds), [{**row, "origin": origin}])
            changed.add(image_id)
    return changed


def remove(connection: Connection, project_id: int, image_ids: Sequence[int]) -> set[int]:
    """Makes images ordinary ones again; their known answers stay in the history as deleted."""
    found = every(connection, project_id, image_ids)
    _delete(connection, found)
    return {gold.image_id for gold in found}


def _delete(connection: Connection, found: Iterable[Gold]) -> None:
    for gold in found:
        connection.execute(delete(golds).where(golds.c.image_id == gold.image_id))
        connection.execute(
            update(annotation_rows)
            .where(annotation_rows.c.id == gold.since)
            .values(state="deleted")
        )
        row = connection.execute(
            select(annotation_rows).where(annotation_rows.c.id == gold.since)
        ).one()
        _version(connection, gold.since, dict(row._mapping))


def _version(connection: Connection, annotation_id: int, values: dict[str, Any]) -> None:
    kept = {name: values[name] for name in ("project_id", "image_id", "state", "classes")}
    connection.execute(insert(annotation_versions).values(annotation_id=annotation_id, **kept))


def every(
    connection: Connection, project_id: int, image_ids: Sequence[int] | None = None
) -> list[Gold]:
    """The gold questions of a project, or those of these images, oldest first."""
    query = (
        select(
            golds.c.image_id,
            golds.c.origin,
            golds.c.annotation_id,
            annotation_rows.c.classes,
            images.c.state,
        )
        .join(annotation_rows, annotation_rows.c.id == golds.c.annotation_id)
        .join(images, images.c.id == golds.c.image_id)
        .where(golds.c.project_id == project_id)
        .order_by(golds.c.annotation_id)
    )
    if image_ids is not None:
        query = query.where(golds.c.image_id.in_(image_ids))
    rows = connection.execute(query).all()
    now = labels.get(connection, [row.image_id for row in rows])
    return [
        Gold(
            image_id=row.image_id,
            classes=tuple(sorted(row.classes)),
            origin=row.origin,
            since=row.annotation_id,
            label=tuple(sorted(now[row.image_id].classes)) if row.image_id in now else None,
            usable=row.state == "ok",
        )
        for row in rows
    ]


def answers(connection: Connection, project_id: int) -> list[Answer]:
    """What people said to gold questions since they are ones, each person's last answer to each.

    Nothing that somebody said before they were taken back counts. Answers that were set aside count
    here: they tell how good their annotator is.
    """
    rows = connection.execute(
        select(
            annotation_rows.c.image_id,
            annotation_rows.c.annotator_id,
            annotators.c.name,
            annotation_rows.c.classes,
            annotation_rows.c.unsure,
        )
        .join(golds, golds.c.image_id == annotation_rows.c.image_id)
        .join(annotators, annotators.c.id == annotation_rows.c.annotator_id)
        .where(
            golds.c.project_id == project_id,
            annotation_rows.c.id > golds.c.annotation_id,
            annotation_rows.c.id > annotators.c.judged_after,
            annotation_rows.c.state.in_(("answered", "aside")),
            annotators.c.kind == "person",
            annotation_rows.c.queue.is_distinct_from("correction"),
        )
        .order_by(annotation_rows.c.id)
    )
    return list(
        {
            (row.image_id, row.annotator_id): Answer(
                row.image_id, row.annotator_id, row.name, tuple(sorted(row.classes))
            )
            for row in rows
            # Who is unsure and names no class has not answered wrongly.
            if row.classes or not row.unsure
        }.values()
    )


def doubtful(known: Sequence[Gold], said: Sequence[Answer]) -> set[int]:
    """Images whose known answer most people contradict: rather it is wrong than all of them.

    >>> one = Gold(1, (5,), "person", 9, (5,), True)
    >>> doubtful([one], [Answer(1, who, "", (6,)) for who in range(3)])
    {1}
    >>> doubtful([one], [Answer(1, who, "", (6,)) for who in range(2)])
    set()
    """
    truth = {gold.image_id: gold.classes for gold in known}
    asked = dict.fromkeys(truth, 0)
    wrong = dict.fromkeys(truth, 0)
    for answer in said:
        if answer.image_id in truth:
            asked[answer.image_id] += 1
            wrong[answer.image_id] += answer.classes != truth[answer.image_id]
    return {key for key, n in asked.items() if n >= DOUBTFUL_FROM and 2 * wrong[key] > n}


def scores(connection: Connection, project_id: int) -> dict[str, tuple[int, int]]:
    """By annotator how many gold questions were answered rightly, and of how many.

    Overruled and doubtful questions count for nobody.
    """
    known = [gold for gold in every(connection, project_id) if not gold.overruled]
    said = answers(connection, project_id)
    out = doubtful(known, said)
    truth = {gold.image_id: gold.classes for gold in known if gold.image_id not in out}
    found: dict[str, tuple[int, int]] = {}
    for answer in said:
        if answer.image_id in truth:
            right, n = found.get(answer.annotator, (0, 0))
            found[answer.annotator] = right + (answer.classes == truth[answer.image_id]), n + 1
    return found


def due(connection: Connection, project_id: int, *, people: Sequence[str]) -> list[int]:
    """Gold questions worth asking now: those that the fewest of these people have answered.

    Of equals the one that was sent to people least often. Left out are those that all of them have
    answered, that cannot be shown, and whose answer is in doubt.
    """
    known = every(connection, project_id)
    said = answers(connection, project_id)
    out = doubtful(known, said)
    ask = set(people)
    answered = {gold.image_id: 0 for gold in known}
    for image_id, who in _looked(connection, project_id):
        if who in ask:
            answered[image_id] += 1
    sent = dict.fromkeys(answered, 0)
    for image_id, times in connection.execute(
        select(round_images.c.image_id, func.count())
        .join(golds, golds.c.image_id == round_images.c.image_id)
        .where(golds.c.project_id == project_id, round_images.c.project_id == project_id)
        .group_by(round_images.c.image_id)
    ):
        sent[image_id] = times
    left = [
        gold.image_id
        for gold in known
        if gold.usable
        and not gold.overruled
        and gold.image_id not in out
        and (answered[gold.image_id] < len(ask) or not ask)
    ]
    return sorted(left, key=lambda key: (answered[key], sent[key]))


def under_asked(connection: Connection, project_id: int, *, people: int) -> set[int]:
    """Gold questions whose tasks do not go to so many people yet."""
    query = (
        select(golds.c.image_id)
        .join(remote_tasks, remote_tasks.c.image_id == golds.c.image_id)
        .where(golds.c.project_id == project_id, remote_tasks.c.overlap < people)
    )
    return set(connection.scalars(query))


def _looked(connection: Connection, project_id: int) -> set[tuple[int, str]]:
    """Who can be asked no more, since they answered an image: (image id, name)."""
    rows = connection.execute(
        select(annotation_rows.c.image_id, annotators.c.name)
        .join(golds, golds.c.image_id == annotation_rows.c.image_id)
        .join(annotators, annotators.c.id == annotation_rows.c.annotator_id)
        .where(
            golds.c.project_id == project_id,
            annotation_rows.c.state != "deleted",
            annotators.c.kind == "person",
        )
    )
    return {(row.image_id, row.name) for row in rows}


def agreed(connection: Connection, project_id: int, *, people: int) -> list[tuple[int, Classes]]:
    """Images outside the reserve that so many people answered, who all said the same.

    Those that most people answered come first. Images of which somebody was unsure, that a reviewer
    decided, or that are gold questions already, are left out.
    """
    said = (
        select(
            annotation_rows.c.image_id,
            func.count(annotation_rows.c.annotator_id.distinct()).label("people"),
        )
        .join(annotators, annotators.c.id == annotation_rows.c.annotator_id)
        .join(images, images.c.id == annotation_rows.c.image_id)
        .where(
            annotation_rows.c.project_id == project_id,
            annotation_rows.c.state == "answered",
            ~annotation_rows.c.unsure,
            annotation_rows.c.queue.is_distinct_from("correction"),
            annotators.c.kind == "person",
            images.c.state == "ok",
            images.c.reserve.is_(None),
            images.c.id.not_in(select(golds.c.image_id).where(golds.c.project_id == project_id)),
        )
        .group_by(annotation_rows.c.image_id)
        .having(func.count(annotation_rows.c.annotator_id.distinct()) >= people)
        .subquery()
    )
    ids = connection.scalars(
        select(said.c.image_id)
        .join(label_rows, label_rows.c.image_id == said.c.image_id)
        .where(label_rows.c.origin == "people")
        .order_by(said.c.people.desc(), said.c.image_id)
    ).all()
    found: list[tuple[int, Classes]] = []
    for batch in batched(ids):
        given = annotations.given(connection, batch)
        for image_id in batch:
            theirs = [one for one in given[image_id] if one.kind != "import"]
            named = {tuple(sorted(one.classes)) for one in theirs}
            if len(named) == 1 and all(one.review is None for one in theirs):
                found.append((image_id, named.pop()))
    return found
