"""Annotators and what each of them answered, with every earlier answer kept."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, insert, or_, select, update

from curation.catalog.bulk import batched, insert_new, insert_one
from curation.catalog.schema import annotation_versions, annotations, annotators
from curation.records import Box, Queue, RemoteAnswer

IMPORT = "imported labels"


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
    """Each annotator with the number of answers and skips and the median seconds, busiest first."""
    rows = connection.execute(
        select(annotators).where(annotators.c.project_id == project_id).order_by(annotators.c.id)
    ).all()
    found = []
    for row in rows:
        mine = annotations.c.annotator_id == row.id
        counts = {
            state: n
            for state, n in connection.execute(
                select(annotations.c.state, func.count()).where(mine).group_by(annotations.c.state)
            )
        }
        timed = (mine, annotations.c.seconds.is_not(None), annotations.c.state == "answered")
        n = connection.scalar(select(func.count()).select_from(annotations).where(*timed)) or 0
        median = connection.scalar(
            select(annotations.c.seconds)
            .where(*timed)
            .order_by(annotations.c.seconds)
            .offset(n // 2)
            .limit(1)
        )
        found.append(
            {
                "name": row.name,
                "kind": row.kind,
                "state": row.state,
                "remote_user_id": row.remote_user_id,
                "answered": counts.get("answered", 0),
                "skipped": counts.get("skipped", 0),
                "median_seconds": median,
            }
        )
    return sorted(found, key=lambda annotator: -annotator["answered"])


def set_annotator_state(connection: Connection, project_id: int, name: str, state: str) -> bool:
    """Disables an annotator, or takes one back; false if there is none of that name."""
    result = connection.execute(
        update(annotators)
        .where(annotators.c.project_id == project_id, annotators.c.name == name)
        .values(state=state)
    )
    return bool(result.rowcount)


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
            classes = list(answer.classes)
            if before is not None and answer.state == "deleted":
                classes = list(before.classes)  # what was deleted stays readable
            if before is not None and (before.state, before.classes) == (answer.state, classes):
                continue
            _write(
                connection,
                None if before is None else before.id,
                {
                    "project_id": project_id,
                    "image_id": answer.image_id,
                    "annotator_id": annotator_ids[answer.remote_user_id],
                    "remote_id": answer.remote_id,
                    "state": answer.state,
                    "classes": classes,
                    "seconds": answer.seconds,
                    "prelabel": answer.prelabel,
                    "model_version": answer.model_version,
                    "remote_updated_at": answer.updated_at,
                    "queue": answer.queue,
                },
            )
            changed.add(answer.image_id)
    return changed


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
                for key in ("project_id", "image_id", "annotator_id", "remote_id", "classes")
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
            state=values["state"],
            classes=values["classes"],
            boxes=values.get("boxes"),
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


def reviews(connection: Connection, image_ids: Sequence[int]) -> dict[int, list[tuple[int, ...]]]:
    """What reviewers say of these images now, as class ids; what was said last comes last."""
    found: dict[int, list[tuple[int, ...]]] = {}
    for batch in batched(image_ids):
        said = func.max(annotation_versions.c.id).label("said")
        newest = (
            select(annotation_versions.c.annotation_id, said)
            .where(annotation_versions.c.image_id.in_(batch))
            .group_by(annotation_versions.c.annotation_id)
            .subquery()
        )
        rows = connection.execute(
            select(annotations.c.image_id, annotations.c.classes)
            .join(newest, newest.c.annotation_id == annotations.c.id)
            .where(annotations.c.queue == "correction", annotations.c.state == "answered")
            .order_by(newest.c.said)
        )
        for row in rows:
            found.setdefault(row.image_id, []).append(tuple(row.classes))
    return found


def said(connection: Connection, project_id: int) -> list[tuple[int, str, tuple[int, ...]]]:
    """What people say of the images they were asked about: image id, annotator, class ids.

    Without reviewers' answers, who were shown what others had said.
    """
    rows = connection.execute(
        select(annotations.c.image_id, annotators.c.name, annotations.c.classes)
        .join(annotators, annotators.c.id == annotations.c.annotator_id)
        .where(
            annotators.c.project_id == project_id,
            annotators.c.kind == "person",
            annotations.c.state == "answered",
            annotations.c.queue.is_distinct_from("correction"),
        )
        .order_by(annotations.c.id)
    )
    return [(row.image_id, row.name, tuple(sorted(row.classes))) for row in rows]


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

    A snapshot that was gone back to may take a label away, and leaves the answer and its task.
    """
    return or_(is_skip(), and_(annotations.c.state == "answered", annotations.c.remote_id > 0))


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
        .where(annotations.c.project_id == project_id, annotations.c.state == "answered")
    )
    if people_only:
        query = query.where(annotators.c.kind != "import")
    return connection.scalar(query) or 0
