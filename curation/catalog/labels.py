"""Labels: what the annotations of an image agree on."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select

from curation.catalog.bulk import batched
from curation.catalog.schema import classes, images, label_classes, labels
from curation.records import LabelRow


def put(connection: Connection, project_id: int, rows: Sequence[dict[str, object]]) -> None:
    """Replaces the labels of these images.

    Args:
        rows: image_id, classes (ids), origin (people or import), confidence (0 to 1), answers (how
            many it rests on) and version_id (the newest of them).
    """
    for batch in batched(rows):
        remove(connection, [int(str(row["image_id"])) for row in batch])
        connection.execute(
            insert(labels),
            [
                {"project_id": project_id} | {k: v for k, v in row.items() if k != "classes"}
                for row in batch
            ],
        )
        pairs = [
            {"image_id": row["image_id"], "class_id": class_id, "project_id": project_id}
            for row in batch
            for class_id in _ids(row["classes"])
        ]
        if pairs:
            connection.execute(insert(label_classes), pairs)


def _ids(value: object) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else ()


def remove(connection: Connection, image_ids: Sequence[int]) -> None:
    """Makes these images unlabeled."""
    for batch in batched(image_ids):
        connection.execute(delete(label_classes).where(label_classes.c.image_id.in_(batch)))
        connection.execute(delete(labels).where(labels.c.image_id.in_(batch)))


def count(connection: Connection, project_id: int) -> int:
    """How many usable images are labeled."""
    return (
        connection.scalar(
            select(func.count())
            .select_from(labels)
            .join(images, images.c.id == labels.c.image_id)
            .where(labels.c.project_id == project_id, images.c.state == "ok")
        )
        or 0
    )


def count_by_class(connection: Connection, project_id: int) -> dict[str, int]:
    """How many usable images bear each class, in the order of the project's classes."""
    counted = (
        select(label_classes.c.class_id, func.count().label("n"))
        .join(images, images.c.id == label_classes.c.image_id)
        .where(label_classes.c.project_id == project_id, images.c.state == "ok")
        .group_by(label_classes.c.class_id)
        .subquery()
    )
    rows = connection.execute(
        select(classes.c.name, func.coalesce(counted.c.n, 0))
        .outerjoin(counted, counted.c.class_id == classes.c.id)
        .where(classes.c.project_id == project_id)
        .order_by(classes.c.position)
    )
    return {name: n for name, n in rows}


def get(connection: Connection, image_ids: Sequence[int]) -> dict[int, LabelRow]:
    """The labels of those of these images that have one."""
    found: dict[int, LabelRow] = {}
    for batch in batched(image_ids):
        found.update(_read(connection, labels.c.image_id.in_(batch)))
    return found


def every(connection: Connection, project_id: int) -> list[LabelRow]:
    """All labels of usable images, the reserve's included, in the order of image ids."""
    here = (labels.c.project_id == project_id) & (images.c.state == "ok")
    return list(_read(connection, here).values())


def for_training(connection: Connection, project_id: int) -> list[LabelRow]:
    """The labels a model may learn from: of usable images in groups without a reserve member."""
    reserved = select(images.c.group_id).where(
        images.c.project_id == project_id, images.c.reserve.is_not(None)
    )
    here = (
        (labels.c.project_id == project_id)
        & (images.c.state == "ok")
        & images.c.group_id.not_in(reserved)
    )
    return list(_read(connection, here).values())


def _read(connection: Connection, condition: ColumnElement[bool]) -> dict[int, LabelRow]:
    rows = connection.execute(
        select(
            labels.c.image_id,
            images.c.group_id,
            labels.c.origin,
            labels.c.confidence,
            label_classes.c.class_id,
        )
        .join(images, images.c.id == labels.c.image_id)
        .outerjoin(label_classes, label_classes.c.image_id == labels.c.image_id)
        .where(condition)
        .order_by(labels.c.image_id, label_classes.c.class_id)
    )
    found: dict[int, LabelRow] = {}
    for row in rows:
        before = found[row.image_id].classes if row.image_id in found else ()
        found[row.image_id] = LabelRow(
            image_id=row.image_id,
            group_id=row.group_id,
            classes=before if row.class_id is None else (*before, row.class_id),
            origin=row.origin,
            confidence=row.confidence,
        )
    return found
