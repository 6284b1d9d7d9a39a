"""Annotators and what each of them answered, with every earlier answer kept."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    cast,
    func,
    insert,
    or_,
    select,
    update,
)

from curation.catalog.bulk import ROWS, batched, insert_new, insert_one
from curation.catalog.schema import (
    annotation_versions,
    annotations,
    annotators,
    images,
    label_classes,
    labels,
)
from curation.errors import NotFound
from curation.records import Box, Queue, RemoteAnswer

IMPORT = "imported labels"
KNOWN = "known answers"
"""Whose annotations are the answers to gold questions: nobody's, who has no log-in anywhere."""


def add_annotator(
    connection: Connection,
    project_id: int,
    name: str,
    *,
    kind: str = "person",
    remote_user_id: int | None = None,
) -> int:
    """The id of the annotator of this name, added where it is new."""
    insert_new(
        connection,
        annotators,
        [
            {
                "project_id": project_id,
                "name": name,
                "kind": kind,
                "remote_user_id": remote_user_id,
            }
        ],
    )
    return int(
        connection.scalars(
            select(annotators.c.id).where(
                annotators.c.project_id == project_id, annotators.c.name == name
            )
        ).one()
    )


def annotator_of_user(
    connection: Connection, project_id: int, remote_user_id: int, *, name: str
) -> int:
    """The annotator behind a Label Studio user, added under `name` where it is new."""
    mine = (annotators.c.project_id == project_id, annotators.c.remote_user_id == remote_user_id)
    found = connection.scalar(select(annotators.c.id).where(*mine))
    if found is not None:
        return int(found)
    taken = connection.scalar(
        select(annotators.c.remote_user_id).where(
            annotators.c.project_id == project_id, annotators.c.name == name
        )
    )
    if taken is not None:
        name = f"{name} ({remote_user_id})"
    added = add_annotator(connection, project_id, name, remote_user_id=remote_user_id)
    connection.execute(
        update(annotators).where(annotators.c.id == added).values(remote_user_id=remote_user_id)
    )
    return added


def list_annotators(connection: Connection, project_id: int) -> list[dict[str, Any]]:
    """Each annotator with what they did and the median seconds, busiest first.

    Nobody stands for the answers to gold questions. What was set aside counts as nothing else.
    Answers and skips are those of all queues. Reviews are the answers among them that were given in
    the correction queue; their pre-labels, which are labels in doubt, count neither as shown nor as
    accepted.
    """
    medians = _medians(connection, project_id)
    answered = annotations.c.state == "answered"
    asked = and_(answered, annotations.c.queue.is_distinct_from("correction"))
    counted = {
        "answered": answered,
        "skipped": annotations.c.state == "skipped",
        "unsure": and_(annotations.c.unsure, annotations.c.state.in_(("answered", "unsure"))),
        "set_aside": annotations.c.state == "aside",
        "reviews": and_(answered, annotations.c.queue == "correction"),
        "prelabels_shown": and_(asked, annotations.c.prelabel != "none"),
        "prelabels_accepted": and_(asked, annotations.c.prelabel == "accepted"),
    }
    given = (
        select(
            annotations.c.annotator_id,
            *(func.count().filter(what).label(name) for name, what in counted.items()),
        )
        .where(annotations.c.project_id == project_id)
        .group_by(annotations.c.annotator_id)
        .subquery()
    )
    rows = connection.execute(
        select(
            annotators.c.id,
            annotators.c.name,
            annotators.c.kind,
            annotators.c.state,
            annotators.c.remote_user_id,
            *(func.coalesce(given.c[name], 0).label(name) for name in counted),
        )
        .outerjoin(given, given.c.annotator_id == annotators.c.id)
        .where(annotators.c.project_id == project_id, annotators.c.name != KNOWN)
        .order_by(func.coalesce(given.c.answered, 0).desc(), annotators.c.id)
    )
    return [
        {
            **{key: value for key, value in row._mapping.items() if key != "id"},
            "median_seconds": medians.get(row.id),
        }
        for row in rows
    ]


def _medians(connection: Connection, project_id: int) -> dict[int, float]:
    """By annotator the middle one of the seconds that answers took."""
    whose = annotations.c.annotator_id
    ranked = (
        select(
            annotations.c.annotator_id,
            annotations.c.seconds,
            func.row_number()
            .over(partition_by=whose, order_by=annotations.c.seconds)
            .label("rank"),
            func.count().over(partition_by=whose).label("n"),
        )
        .where(*_timed(project_id))
        .subquery()
    )
    rows = connection.execute(
        select(ranked.c.annotator_id, ranked.c.seconds).where(ranked.c.rank == ranked.c.n // 2 + 1)
    )
    return {row.annotator_id: row.seconds for row in rows}


def _timed(project_id: int) -> tuple[ColumnElement[bool], ...]:
    return (
        annotations.c.project_id == project_id,
        annotations.c.state == "answered",
        annotations.c.seconds.is_not(None),
    )


def seconds(connection: Connection, project_id: int) -> Iterator[tuple[str, list[float]]]:
    """One annotator after the other, with the seconds that their answers took, ascending."""
    rows = connection.execute(
        select(annotators.c.name, annotations.c.seconds)
        .join_from(annotations, annotators, annotators.c.id == annotations.c.annotator_id)
        .where(*_timed(project_id))
        .order_by(annotations.c.annotator_id, annotations.c.seconds),
        execution_options={"yield_per": ROWS},
    )
    for name, mine in groupby(rows, key=itemgetter(0)):
        yield name, [seconds for _, seconds in mine]


def accounts(connection: Connection, project_id: int) -> list[dict[str, Any]]:
    """Each annotator's name, kind, state and remote_user_id, without what they did."""
    rows = connection.execute(
        select(
            annotators.c.name, annotators.c.kind, annotators.c.state, annotators.c.remote_user_id
        )
        .where(annotators.c.project_id == project_id)
        .order_by(annotators.c.id)
    )
    return [dict(row._mapping) for row in rows]


def annotator_names(connection: Connection, project_id: int) -> dict[int, str]:
    """The names of all annotators, by id."""
    rows = connection.execute(
        select(annotators.c.id, annotators.c.name).where(annotators.c.project_id == project_id)
    )
    return {row.id: row.name for row in rows}


def names_of_no_person(connection: Connection, project_id: int) -> set[str]:
    """The names of annotators that are not people, such as that of imported labels."""
    rows = select(annotators.c.name).where(
        annotators.c.project_id == project_id, annotators.c.kind != "person"
    )
    return {IMPORT, *connection.scalars(rows)}


def id_of(connection: Connection, project_id: int, name: str) -> int:
    """The id of an annotator.

    Raises:
        NotFound: nobody bears this name.
    """
    found = connection.scalar(
        select(annotators.c.id).where(
            annotators.c.project_id == project_id, annotators.c.name == name
        )
    )
    if found is None:
        raise NotFound(f"No annotator {name!r}. `labelloop annotators list` shows them all.")
    return int(found)


def set_annotator_state(connection: Connection, project_id: int, name: str, state: str) -> bool:
    """Makes an annotator active, disabled or paused; false if there is none of that name.

    What they answered is left as it is; see `set_aside` and `bring_back`.
    """
    result = connection.execute(
        update(annotators)
        .where(annotators.c.project_id == project_id, annotators.c.name == name)
        .values(state=state)
    )
    return bool(result.rowcount)


def bind_user(connection: Connection, project_id: int, name: str, remote_user_id: int) -> None:
    """Remembers the log-in of an annotator of whom none was known."""
    connection.execute(
        update(annotators)
        .where(
            annotators.c.project_id == project_id,
            annotators.c.name == name,
            annotators.c.remote_user_id.is_(None),
        )
        .values(remote_user_id=remote_user_id)
    )


def judge_anew(connection: Connection, annotator_id: int) -> None:
    """Forgives a person the answers to gold questions that they gave so far."""
    newest = select(func.coalesce(func.max(annotations.c.id), 0)).scalar_subquery()
    connection.execute(
        update(annotators).where(annotators.c.id == annotator_id).values(judged_after=newest)
    )


def as_rows(boxes: Sequence[Box]) -> list[list[float]]:
    """Boxes as the column `boxes` holds them."""
    return [[box.class_id, box.x, box.y, box.width, box.height] for box in boxes]


def put_remote(
    connection: Connection,
    project_id: int,
    answers: Sequence[RemoteAnswer],
    *,
    annotator_ids: dict[int, int],
) -> set[int]:
    """Brings the catalog to what Label Studio says now; the same call twice changes nothing.

    What paused annotators say is set aside at once.

    Args:
        annotator_ids: our annotator ids by Label Studio's user ids.

    Returns:
        The images whose answers changed.
    """
    changed: set[int] = set()
    latest = {answer.remote_id: answer for answer in answers}  # a page may repeat an annotation
    for batch in batched(latest.values(), 500):
        rows = connection.execute(
            select(annotations).where(
                annotations.c.project_id == project_id,
                annotations.c.remote_id.in_([answer.remote_id for answer in batch]),
            )
        )
        known = {row.remote_id: row for row in rows}
        for answer in batch:
            before = known.get(answer.remote_id)
            if before is None and answer.state == "deleted":
                continue
            if before is not None and before.remote_updated_at > answer.updated_at:
                continue  # a pull beside this one, which read later, was first to write
            said = _said(answer)
            if before is not None and answer.state == "deleted":
                # What was deleted stays readable.
                said = {name: before._mapping[name] for name in _SAID} | {"state": "deleted"}
            if before is not None and _says_the_same(before, said):
                continue
            _write(
                connection,
                None if before is None else before.id,
                {
                    "project_id": project_id,
                    "image_id": answer.image_id,
                    "annotator_id": annotator_ids[answer.remote_user_id],
                    "remote_id": answer.remote_id,
                    **said,
                    "seconds": answer.seconds,
                    "prelabel": answer.prelabel,
                    "model_version": answer.model_version,
                    "remote_updated_at": answer.updated_at,
                    "queue": answer.queue,
                },
            )
            changed.add(answer.image_id)
    for annotator_id in _paused(connection, set(annotator_ids.values())) if changed else ():
        set_aside(connection, annotator_id, among=changed)
    return changed


def _says_the_same(before: Any, said: dict[str, Any]) -> bool:
    """Whether an annotation says what is stored; what is set aside stays so whatever it was."""
    stored = {name: before._mapping[name] for name in said}
    if before.state == "aside" and said["state"] != "deleted":
        stored["state"] = said["state"]
    return stored == said


def _paused(connection: Connection, annotator_ids: Iterable[int]) -> list[int]:
    query = select(annotators.c.id).where(
        annotators.c.id.in_(sorted(annotator_ids)), annotators.c.state == "paused"
    )
    return list(connection.scalars(query))


def set_aside(
    connection: Connection, annotator_id: int, *, among: Iterable[int] | None = None
) -> set[int]:
    """Takes what a person said out of the count; it stays in the history, and can be brought back.

    Args:
        annotator_id: whose answers.
        among: only those to these images; all if none are given.

    Returns:
        The images concerned.
    """
    return _restate(
        connection, annotator_id, dict.fromkeys(("answered", "unsure", "skipped"), "aside"), among
    )


def bring_back(connection: Connection, annotator_id: int) -> set[int]:
    """The inverse of `set_aside`: every answer counts as what it was; returns the images."""
    changed: set[int] = set()
    newest = (
        select(func.max(annotation_versions.c.id))
        .where(
            annotation_versions.c.annotation_id == annotations.c.id,
            annotation_versions.c.state != "aside",
        )
        .correlate(annotations)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(annotations.c.id, annotation_versions.c.state)
        .join(annotation_versions, annotation_versions.c.id == newest)
        .where(annotations.c.annotator_id == annotator_id, annotations.c.state == "aside")
    ).all()
    for state in {row.state for row in rows}:
        ids = [row.id for row in rows if row.state == state]
        changed |= _restate(connection, annotator_id, {"aside": state}, None, ids=ids)
    return changed


def _restate(
    connection: Connection,
    annotator_id: int,
    states: Mapping[str, str],
    among: Iterable[int] | None,
    *,
    ids: Sequence[int] | None = None,
) -> set[int]:
    """Changes states of a person's annotations, each change a version; returns the images."""
    columns = [annotations.c[name] for name in ("id", "project_id", "image_id", *_SAID)]
    query = select(*columns).where(
        annotations.c.annotator_id == annotator_id, annotations.c.state.in_(list(states))
    )
    only = None if ids is None else set(ids)
    images_only = None if among is None else set(among)
    rows = [
        row
        for row in connection.execute(query).all()
        if (only is None or row.id in only) and (images_only is None or row.image_id in images_only)
    ]
    for batch in batched(rows):
        for state in {states[row.state] for row in batch}:
            theirs = [row.id for row in batch if states[row.state] == state]
            connection.execute(
                update(annotations).where(annotations.c.id.in_(theirs)).values(state=state)
            )
        connection.execute(
            insert(annotation_versions),
            [
                {
                    "project_id": row.project_id,
                    "annotation_id": row.id,
                    "image_id": row.image_id,
                    **{name: row._mapping[name] for name in _SAID},
                    "state": states[row.state],
                }
                for row in batch
            ],
        )
    return {row.image_id for row in rows}


def mark_deleted(connection: Connection, project_id: int, remote_ids: Iterable[int]) -> set[int]:
    """Tombstones annotations that vanished from Label Studio; returns the images concerned."""
    changed: set[int] = set()
    for batch in batched(remote_ids):
        rows = connection.execute(
            select(annotations).where(
                annotations.c.project_id == project_id,
                annotations.c.remote_id.in_(batch),
                annotations.c.state != "deleted",
            )
        ).all()
        for row in rows:
            values = {
                key: row._mapping[key]
                for key in ("project_id", "image_id", "annotator_id", "remote_id", *_SAID)
            }
            _write(connection, row.id, {**values, "state": "deleted"})
            changed.add(row.image_id)
    return changed


def remote_ids(connection: Connection, image_ids: Sequence[int]) -> dict[int, set[int]]:
    """Label Studio's ids of the live annotations of these images, by image; see `detach`."""
    found: dict[int, set[int]] = {image_id: set() for image_id in image_ids}
    for batch in batched(image_ids):
        rows = connection.execute(
            select(annotations.c.image_id, annotations.c.remote_id).where(
                annotations.c.image_id.in_(batch),
                annotations.c.remote_id > 0,
                annotations.c.state != "deleted",
            )
        )
        for row in rows:
            found[row.image_id].add(row.remote_id)
    return found


def detach(connection: Connection, project_id: int, image_ids: Sequence[int], queue: Queue) -> None:
    """Keeps the answers to these images for good, since their tasks are gone from Label Studio.

    Their numbers there become negative: a later task without them does not count as a deletion, and
    a new Label Studio may give the same numbers out again. Answers that were given in another queue
    stay bound to the task there.
    """
    for batch in batched(image_ids):
        connection.execute(
            update(annotations)
            .where(
                annotations.c.project_id == project_id,
                annotations.c.image_id.in_(batch),
                annotations.c.remote_id > 0,
                or_(annotations.c.queue == queue, annotations.c.queue.is_(None)),
            )
            .values(remote_id=-annotations.c.id)
        )


_SAID = ("state", "classes", "boxes", "unsure", "comment")
"""What the current answer and every version of it hold alike."""


def _said(answer: RemoteAnswer) -> dict[str, Any]:
    return {
        "state": answer.state,
        "classes": list(answer.classes),
        "boxes": None if answer.boxes is None else as_rows(answer.boxes),
        "unsure": answer.unsure,
        "comment": answer.comment,
    }


def _write(connection: Connection, annotation_id: int | None, values: dict[str, Any]) -> None:
    if annotation_id is None:
        key = insert_one(connection, annotations, values)
    else:
        key = annotation_id
        connection.execute(
            update(annotations).where(annotations.c.id == annotation_id).values(**values)
        )
    connection.execute(
        insert(annotation_versions).values(
            project_id=values["project_id"],
            annotation_id=key,
            image_id=values["image_id"],
            **{name: values[name] for name in _SAID},
        )
    )


def live(
    connection: Connection, image_ids: Sequence[int]
) -> dict[int, list[tuple[str, tuple[int, ...]]]]:
    """What stands answered now: per image the (kind of annotator, class ids), oldest first."""
    found: dict[int, list[tuple[str, tuple[int, ...]]]] = {}
    for batch in batched(image_ids):
        rows = connection.execute(
            select(annotations.c.image_id, annotators.c.kind, annotations.c.classes)
            .join(annotators, annotators.c.id == annotations.c.annotator_id)
            .where(annotations.c.image_id.in_(batch), annotations.c.state == "answered")
            .order_by(annotations.c.id)
        )
        for row in rows:
            found.setdefault(row.image_id, []).append((row.kind, tuple(row.classes)))
    return found


@dataclass(frozen=True, slots=True)
class Given:
    """One answer that stands.

    Attributes:
        kind: of annotator: person, import or oracle.
        boxes: none where nothing was drawn, or the task is not `boxes`.
        review: when it was said if a reviewer said it, counted up; none for all others.
    """

    annotator_id: int
    kind: str
    classes: tuple[int, ...]
    boxes: tuple[Box, ...] = ()
    review: int | None = None


def given(connection: Connection, image_ids: Sequence[int]) -> dict[int, list[Given]]:
    """What stands answered now, with who said it; oldest first."""
    found: dict[int, list[Given]] = {}
    for batch in batched(image_ids):
        reviewed = {row.id: row.said for row in _reviews(connection, batch)}
        rows = connection.execute(
            select(
                annotations.c.id,
                annotations.c.image_id,
                annotations.c.annotator_id,
                annotators.c.kind,
                annotations.c.classes,
                annotations.c.boxes,
            )
            .join(annotators, annotators.c.id == annotations.c.annotator_id)
            .where(annotations.c.image_id.in_(batch), annotations.c.state == "answered")
            .order_by(annotations.c.id)
        )
        for row in rows:
            found.setdefault(row.image_id, []).append(
                Given(
                    row.annotator_id,
                    row.kind,
                    tuple(row.classes),
                    _boxes(row.boxes),
                    reviewed.get(row.id),
                )
            )
    return found


def _boxes(stored: Sequence[Sequence[float]] | None) -> tuple[Box, ...]:
    """The column `boxes` as boxes; see `as_rows`."""
    return tuple(Box(int(class_id), *place) for class_id, *place in stored or ())


def reviews(connection: Connection, image_ids: Sequence[int]) -> dict[int, list[tuple[int, ...]]]:
    """What reviewers say of these images now, as class ids; what was said last comes last."""
    found: dict[int, list[tuple[int, ...]]] = {}
    for batch in batched(image_ids):
        for row in _reviews(connection, batch):
            found.setdefault(row.image_id, []).append(tuple(row.classes))
    return found


def _reviews(connection: Connection, image_ids: Sequence[int]) -> Sequence[Any]:
    """Reviewers' answers (id, image_id, classes, said) in the order in which they were said."""
    said = func.max(annotation_versions.c.id).label("said")
    newest = (
        select(annotation_versions.c.annotation_id, said)
        .where(annotation_versions.c.image_id.in_(image_ids))
        .group_by(annotation_versions.c.annotation_id)
        .subquery()
    )
    return connection.execute(
        select(annotations.c.id, annotations.c.image_id, annotations.c.classes, newest.c.said)
        .join(newest, newest.c.annotation_id == annotations.c.id)
        .where(annotations.c.queue == "correction", annotations.c.state == "answered")
        .order_by(newest.c.said)
    ).all()


def said(connection: Connection, project_id: int) -> list[tuple[int, str, tuple[int, ...]]]:
    """What people say of the images they were asked about: image id, annotator, class ids.

    Without reviewers' answers, who were shown what others had said.
    """
    rows = connection.execute(
        _asked(project_id, annotations.c.image_id, annotators.c.name, annotations.c.classes)
    )
    return [(row.image_id, row.name, tuple(sorted(row.classes))) for row in rows]


def drawn(connection: Connection, project_id: int) -> list[tuple[int, str, tuple[Box, ...]]]:
    """As `said`, with the boxes instead of the classes; nothing drawn is an answer as well."""
    rows = connection.execute(
        _asked(project_id, annotations.c.image_id, annotators.c.name, annotations.c.boxes)
    )
    return [(row.image_id, row.name, _boxes(row.boxes)) for row in rows]


def votes(connection: Connection, project_id: int) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """As `said`, one by one, with the annotator's id."""
    rows = connection.execute(
        _asked(project_id, annotations.c.image_id, annotators.c.id, annotations.c.classes),
        execution_options={"yield_per": ROWS},
    )
    return ((row.image_id, row.id, tuple(row.classes)) for row in rows)


def count_votes(connection: Connection, project_id: int) -> int:
    """How many rows `votes` gives."""
    rows = _asked(project_id, annotations.c.id).order_by(None).subquery()
    return connection.scalar(select(func.count()).select_from(rows)) or 0


def _asked(project_id: int, *columns: ColumnElement[Any]) -> Select[Any]:
    """These columns of what people said unprompted, oldest first."""
    return (
        select(*columns)
        .join_from(annotations, annotators, annotators.c.id == annotations.c.annotator_id)
        .where(
            annotators.c.project_id == project_id,
            annotators.c.kind == "person",
            annotations.c.state == "answered",
            annotations.c.queue.is_distinct_from("correction"),
        )
        .order_by(annotations.c.id)
    )


def co_answered(
    connection: Connection, project_id: int
) -> Iterator[list[tuple[str, tuple[int, ...]]]]:
    """Of each image that two people or more answered: who says what, as `said`, oldest first."""
    asked = (
        annotations.c.project_id == project_id,
        annotations.c.state == "answered",
        annotations.c.queue.is_distinct_from("correction"),
    )
    several = (
        select(annotations.c.image_id)
        .where(*asked)
        .group_by(annotations.c.image_id)
        .having(func.count() > 1)
    )
    rows = connection.execute(
        select(
            annotations.c.image_id,
            annotators.c.name,
            cast(annotations.c.classes, Text).label("classes"),
        )
        .join_from(annotations, annotators, annotators.c.id == annotations.c.annotator_id)
        .where(*asked, annotators.c.kind == "person", annotations.c.image_id.in_(several))
        .order_by(annotations.c.image_id, annotations.c.id),
        execution_options={"yield_per": ROWS},
    )
    for _, mine in groupby(rows, key=itemgetter(0)):
        # Of two answers of one person the last.
        said = {name: _class_ids(classes) for _, name, classes in mine}
        if len(said) > 1:
            yield list(said.items())


def against_labels(
    connection: Connection, project_id: int, name: str
) -> Iterator[tuple[tuple[int, ...], list[int]]]:
    """What a person says of images whose label rests on two people or more, and that label.

    As class ids, ascending. Without what they said as a reviewer, since that decides the label.
    """
    other = annotations.alias()
    people = (
        select(func.count(other.c.annotator_id.distinct()))
        .join_from(other, annotators, annotators.c.id == other.c.annotator_id)
        .where(
            other.c.image_id == annotations.c.image_id,
            other.c.state == "answered",
            annotators.c.kind == "person",
        )
        .scalar_subquery()
    )
    me = (
        select(annotators.c.id)
        .where(annotators.c.project_id == project_id, annotators.c.name == name)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(
            annotations.c.image_id,
            cast(annotations.c.classes, Text).label("classes"),
            label_classes.c.class_id,
        )
        .join_from(annotations, labels, labels.c.image_id == annotations.c.image_id)
        .outerjoin(label_classes, label_classes.c.image_id == annotations.c.image_id)
        .where(
            annotations.c.project_id == project_id,
            annotations.c.annotator_id == me,
            annotations.c.state == "answered",
            annotations.c.queue.is_distinct_from("correction"),
            labels.c.origin == "people",
            people > 1,
        )
        .order_by(annotations.c.image_id, annotations.c.id),
        execution_options={"yield_per": ROWS},
    )
    for _, mine in groupby(rows, key=itemgetter(0)):
        found = list(mine)
        label = {row.class_id for row in found if row.class_id is not None}
        yield _class_ids(found[-1].classes), sorted(label)


@lru_cache(maxsize=4096)
def _class_ids(stored: str) -> tuple[int, ...]:
    """The column `classes`, read as text: few different ones come again and again."""
    return tuple(sorted(set(json.loads(stored))))


def answered_images(connection: Connection, project_id: int) -> list[int]:
    """The images that somebody answered who is no import, in the order of their ids."""
    return list(
        connection.scalars(
            select(annotations.c.image_id)
            .join(annotators, annotators.c.id == annotations.c.annotator_id)
            .where(
                annotations.c.project_id == project_id,
                annotators.c.kind != "import",
                annotations.c.state == "answered",
            )
            .distinct()
            .order_by(annotations.c.image_id)
        )
    )


def unsure_images(connection: Connection, project_id: int) -> list[int]:
    """Images of which somebody is unsure, and that nobody else has answered surely or reviewed.

    In the order of their ids. Some have a label, of an answer that somebody was unsure of; others
    have none, since nobody named a class.
    """
    other = annotations.alias()
    settled = (
        select(other.c.id)
        .where(
            other.c.image_id == annotations.c.image_id,
            or_(other.c.annotator_id != annotations.c.annotator_id, other.c.queue == "correction"),
            other.c.state == "answered",
            ~other.c.unsure,
            # An imported label is what people are asked about.
            other.c.annotator_id.in_(select(annotators.c.id).where(annotators.c.kind != "import")),
        )
        .exists()
    )
    return list(
        connection.scalars(
            select(annotations.c.image_id)
            .join(images, images.c.id == annotations.c.image_id)
            .where(
                annotations.c.project_id == project_id,
                annotations.c.unsure,
                annotations.c.state.in_(("answered", "unsure")),
                images.c.state == "ok",
                ~settled,
            )
            .distinct()
            .order_by(annotations.c.image_id)
        )
    )


def is_skip() -> ColumnElement[bool]:
    """Whether a person passed on the image itself.

    A reviewer's skip passes on a doubt about its label, and leaves everything else as it was.
    """
    return and_(
        annotations.c.state == "skipped", annotations.c.queue.is_distinct_from("correction")
    )


def settles() -> ColumnElement[bool]:
    """Whether this answer or skip is a reason not to ask about its image any more."""
    return or_(annotations.c.state == "answered", is_skip())


def closes() -> ColumnElement[bool]:
    """Whether nobody is shown this answer's image again, even if it has no label.

    A snapshot that was gone back to may take a label away, and leaves the answer and its task. Who
    is unsure leaves a task that others are asked in, so that it need not be chosen once more.
    """
    looked = annotations.c.state.in_(("answered", "unsure"))
    return or_(is_skip(), and_(looked, annotations.c.remote_id > 0))


def newest_version(connection: Connection, project_id: int) -> int:
    """The id of the newest answer; grows with every new, changed or deleted one."""
    return (
        connection.scalar(
            select(func.max(annotation_versions.c.id)).where(
                annotation_versions.c.project_id == project_id
            )
        )
        or 0
    )


def history(connection: Connection, image_id: int) -> list[dict[str, Any]]:
    """Every answer that was ever given to an image, oldest first."""
    rows = connection.execute(
        select(
            annotation_versions.c.state,
            annotation_versions.c.classes,
            annotation_versions.c.unsure,
            annotation_versions.c.comment,
            annotation_versions.c.created_at,
            annotators.c.name.label("annotator"),
            annotations.c.seconds,
            annotations.c.prelabel,
            annotations.c.queue,
        )
        .join(annotations, annotations.c.id == annotation_versions.c.annotation_id)
        .join(annotators, annotators.c.id == annotations.c.annotator_id)
        .where(annotation_versions.c.image_id == image_id)
        .order_by(annotation_versions.c.id)
    )
    return [dict(row._mapping) for row in rows]


def count(connection: Connection, project_id: int, *, people_only: bool = True) -> int:
    """How many answers stand, skips and deleted ones left out."""
    query = (
        select(func.count())
        .select_from(annotations)
        .join(annotators, annotators.c.id == annotations.c.annotator_id)
        .where(
            annotations.c.project_id == project_id,
            annotations.c.state == "answered",
            annotators.c.name != KNOWN,
        )
    )
    if people_only:
        query = query.where(annotators.c.kind != "import")
    return connection.scalar(query) or 0
