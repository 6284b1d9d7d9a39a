"""What a snapshot writes down, read block by block in the order of image ids."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from curation.catalog.schema import (
    groups,
    image_metadata,
    images,
    label_boxes,
    label_classes,
    labels,
)
from curation.records import Box

BLOCK = 10_000


@dataclass(slots=True)
class Row:
    """One image, whatever its state, with all that is known of it now.

    Attributes:
        classes: class ids in ascending order; none where the image is unlabeled.
        reserve: calibration or holdout; empty for none.
    """

    image_id: int
    name: str
    sha256: str
    state: str
    reason: str
    width: int
    height: int
    group_id: int
    group: str
    reserve: str
    classes: tuple[int, ...] | None = None
    boxes: tuple[Box, ...] = ()
    origin: str = ""
    confidence: float = 0.0
    metadata: dict[str, str] = field(default_factory=dict)


def blocks(connection: Connection, project_id: int, *, size: int = BLOCK) -> Iterator[list[Row]]:
    """All images of a project, at most `size` at a time."""
    after = 0
    while found := _images(connection, project_id, after, size):
        _add_labels(connection, project_id, found)
        _add_metadata(connection, project_id, found)
        yield list(found.values())
        after = next(reversed(found))


def _images(connection: Connection, project_id: int, after: int, most: int) -> dict[int, Row]:
    rows = connection.execute(
        select(
            images.c.id,
            images.c.name,
            images.c.sha256,
            images.c.state,
            images.c.reason,
            images.c.width,
            images.c.height,
            images.c.group_id,
            groups.c.key,
            images.c.reserve,
        )
        .outerjoin(groups, groups.c.id == images.c.group_id)
        .where(images.c.project_id == project_id, images.c.id > after)
        .order_by(images.c.id)
        .limit(most)
    ).all()
    # By position, since half a million look-ups by name take a second.
    return {
        key: Row(
            key,
            name,
            sha256 or "",
            state,
            reason,
            width or 0,
            height or 0,
            group_id or 0,
            group or "",
            reserve or "",
        )
        for key, name, sha256, state, reason, width, height, group_id, group, reserve in rows
    }


# By ranges of ids and not by the ids themselves: fewer variables, and a range of each primary key.


def _add_labels(connection: Connection, project_id: int, found: dict[int, Row]) -> None:
    first, last = next(iter(found)), next(reversed(found))
    given = connection.execute(
        select(labels.c.image_id, labels.c.origin, labels.c.confidence).where(
            labels.c.image_id.between(first, last), labels.c.project_id == project_id
        )
    )
    for image_id, origin, confidence in given.all():
        row = found[image_id]
        row.origin, row.confidence, row.classes = origin, confidence, ()
    borne = connection.execute(
        select(label_classes.c.image_id, label_classes.c.class_id)
        .where(
            label_classes.c.image_id.between(first, last),
            label_classes.c.project_id == project_id,
        )
        .order_by(label_classes.c.image_id, label_classes.c.class_id)
    )
    for image_id, class_id in borne.all():
        row = found[image_id]
        row.classes = (*(row.classes or ()), class_id)
    for drawn in connection.execute(
        select(label_boxes)
        .where(label_boxes.c.image_id.between(first, last))
        .order_by(label_boxes.c.image_id, label_boxes.c.position)
    ):
        if row_of := found.get(drawn.image_id):  # ids of several projects interleave
            box = Box(drawn.class_id, drawn.x, drawn.y, drawn.width, drawn.height)
            row_of.boxes = (*row_of.boxes, box)


def _add_metadata(connection: Connection, project_id: int, found: dict[int, Row]) -> None:
    first, last = next(iter(found)), next(reversed(found))
    values = connection.execute(
        select(image_metadata.c.image_id, image_metadata.c.key, image_metadata.c.value).where(
            image_metadata.c.image_id.between(first, last),
            image_metadata.c.project_id == project_id,
        )
    )
    for image_id, key, value in values.all():
        found[image_id].metadata[key] = value


def groups_of_the_reserve(connection: Connection, project_id: int) -> set[int]:
    """The groups with a member in the reserve."""
    query = select(images.c.group_id).where(
        images.c.project_id == project_id, images.c.reserve.is_not(None)
    )
    return set(connection.scalars(query))
