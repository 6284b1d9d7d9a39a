"""Labels: what annotations agree on, what was propagated from a copy, what a machine was believed.

A propagated label is nobody's answer: it stands for as long as the answers in its group agree, and
gives way to every answer to the image itself. So does a machine's, which somebody accepted in bulk:
it is no evidence of its own, is never in the reserve, and goes to no copy.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, union

from curation.catalog import splits
from curation.catalog.bulk import batched
from curation.catalog.schema import classes, images, label_boxes, label_classes, labels
from curation.records import Box, LabelRow

PROPAGATED = "propagated"
MACHINE = "machine"
NOBODYS = (PROPAGATED, MACHINE)
"""Origins of labels that no answer to their image stands behind."""


def put(connection: Connection, project_id: int, rows: Sequence[dict[str, object]]) -> None:
    """Replaces the labels of these images; labels propagated from them follow.

    Args:
        rows: image_id, classes (ids), origin (people or import), confidence (0 to 1), answers (how
            many it rests on), version_id (the newest of them), and boxes where the task is `boxes`.
    """
    _write(connection, project_id, rows)
    mend(connection, [int(str(row["image_id"])) for row in rows])


def _write(connection: Connection, project_id: int, rows: Sequence[dict[str, object]]) -> None:
    for batch in batched(rows):
        _delete(connection, [int(str(row["image_id"])) for row in batch])
        connection.execute(
            insert(labels),
            [
                {"project_id": project_id, "source_id": None}
                | {k: v for k, v in row.items() if k not in {"classes", "boxes"}}
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
        drawn = [
            {"image_id": row["image_id"], "position": position, **asdict(box)}
            for row in batch
            for position, box in enumerate(_boxes(row.get("boxes")))
        ]
        if drawn:
            connection.execute(insert(label_boxes), drawn)


def _ids(value: object) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else ()


def _boxes(value: object) -> tuple[Box, ...]:
    return tuple(value) if isinstance(value, tuple | list) else ()


def remove(connection: Connection, image_ids: Sequence[int]) -> None:
    """Makes these images unlabeled; labels propagated from them go, or follow from another copy."""
    _delete(connection, image_ids)
    mend(connection, image_ids)


def _delete(connection: Connection, image_ids: Sequence[int]) -> None:
    for batch in batched(image_ids):
        for table in (label_boxes, label_classes, labels):
            connection.execute(delete(table).where(table.c.image_id.in_(batch)))


def propagate(connection: Connection, project_id: int, sources: dict[int, LabelRow]) -> None:
    """Gives images the label of a copy; see `agreed`.

    Args:
        sources: the label by the id of the image that gets it.
    """
    for batch in batched(sources.items()):
        versions = _versions(connection, {source.image_id for _, source in batch})
        _write(
            connection,
            project_id,
            [
                {
                    "image_id": image_id,
                    "classes": source.classes,
                    "origin": PROPAGATED,
                    "confidence": source.confidence,
                    "answers": 0,
                    "version_id": versions[source.image_id],
                    "source_id": source.image_id,
                }
                for image_id, source in batch
            ],
        )


def _versions(connection: Connection, image_ids: Iterable[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for batch in batched(image_ids):
        query = select(labels.c.image_id, labels.c.version_id).where(labels.c.image_id.in_(batch))
        found.update({row.image_id: row.version_id for row in connection.execute(query)})
    return found


def agreed(
    connection: Connection, group_ids: Iterable[int], *, sources: Sequence[int] = ()
) -> dict[int, LabelRow | None]:
    """What the answers in each of these groups agree on; `None` where they do not.

    Groups without any answer and groups with a member in the reserve are left out: the reserve's
    labels come from people alone and go nowhere.

    Args:
        sources: images that count also when they have been excluded meanwhile.

    Returns:
        By group id the label of its member with the smallest id.
    """
    found: dict[int, LabelRow | None] = {}
    for batch in batched(group_ids):
        reserved = set(
            connection.scalars(
                select(images.c.group_id).where(
                    images.c.group_id.in_(batch), images.c.reserve.is_not(None)
                )
            )
        )
        open_groups = [key for key in batch if key not in reserved]
        counted = or_(images.c.state == "ok", images.c.id.in_(sources))
        answered = images.c.group_id.in_(open_groups) & labels.c.origin.not_in(NOBODYS) & counted
        for row in _read(connection, answered).values():
            first = found.setdefault(row.group_id, row)
            if first is not None and first.classes != row.classes:
                found[row.group_id] = None
    return found


def mend(connection: Connection, image_ids: Sequence[int]) -> None:
    """Makes propagated labels follow, after the labels or the groups of these images changed.

    They take the label that the answers in their group agree on now, and go where there is none.
    """
    for batch in batched(image_ids):
        # Two questions, since no index answers both at once.
        theirs = select(images.c.group_id).where(images.c.id.in_(batch))
        found = (
            select(labels.c.image_id, labels.c.project_id, labels.c.source_id, images.c.group_id)
            .join(images, images.c.id == labels.c.image_id)
            .where(labels.c.origin == PROPAGATED)
        )
        rows = connection.execute(
            union(
                found.where(images.c.group_id.in_(theirs)),
                found.where(labels.c.source_id.in_(batch)),
            )
        ).all()
        if not rows:
            continue
        sources = sorted({row.source_id for row in rows})
        now = agreed(connection, {row.group_id for row in rows}, sources=sources)
        before = get(connection, [row.image_id for row in rows])
        changed: dict[int, LabelRow] = {}
        gone: list[int] = []
        for row in rows:
            source = now.get(row.group_id)
            if source is None:
                gone.append(row.image_id)
            elif (source.image_id, source.classes) != (
                row.source_id,
                before[row.image_id].classes,
            ):
                changed[row.image_id] = source
        _delete(connection, gone)
        propagate(connection, rows[0].project_id, changed)


def take_back(
    connection: Connection, image_ids: Sequence[int], *, origin: str = PROPAGATED
) -> list[int]:
    """Makes those of these images unlabeled whose label is of this origin; returns which."""
    taken: list[int] = []
    for batch in batched(image_ids):
        query = select(labels.c.image_id).where(
            labels.c.image_id.in_(batch), labels.c.origin == origin
        )
        found = list(connection.scalars(query))
        _delete(connection, found)
        taken += found
    return taken


def accept(
    connection: Connection, project_id: int, rows: Mapping[int, tuple[int, float]], *, version: int
) -> None:
    """Labels images as a machine said.

    Args:
        rows: class id and how sure the machine is, 0 to 1, by id of an image without any label.
        version: newest annotation version.
    """
    _write(
        connection,
        project_id,
        [
            {
                "image_id": image_id,
                "classes": (class_id,),
                "origin": MACHINE,
                "confidence": confidence,
                "answers": 0,
                "version_id": version,
            }
            for image_id, (class_id, confidence) in rows.items()
        ],
    )


def give_way(connection: Connection, project_id: int) -> None:
    """Takes machines' labels from the groups that have a member in the reserve."""
    reserved = select(images.c.group_id).where(
        images.c.project_id == project_id, images.c.reserve.is_not(None)
    )
    found = connection.scalars(
        select(labels.c.image_id)
        .join(images, images.c.id == labels.c.image_id)
        .where(
            labels.c.project_id == project_id,
            labels.c.origin == MACHINE,
            images.c.group_id.in_(reserved),
        )
    )
    take_back(connection, list(found), origin=MACHINE)


def source_of(connection: Connection, image_id: int) -> int | None:
    """The copy that this image's label was propagated from, if it was."""
    return sources_of(connection, [image_id]).get(image_id)


def sources_of(connection: Connection, image_ids: Sequence[int]) -> dict[int, int]:
    """By image the copy that its label was propagated from, for those of these where it was."""
    found: dict[int, int] = {}
    for batch in batched(image_ids):
        query = select(labels.c.image_id, labels.c.source_id).where(
            labels.c.image_id.in_(batch), labels.c.source_id.is_not(None)
        )
        found.update({row.image_id: row.source_id for row in connection.execute(query)})
    return found


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


def count_propagated(connection: Connection, project_id: int) -> int:
    """How many of the usable labeled images have their label from a copy."""
    return count_of_origin(connection, project_id, PROPAGATED)


def count_of_origin(connection: Connection, project_id: int, origin: str) -> int:
    """How many of the usable labeled images have a label of this origin."""
    return (
        connection.scalar(
            select(func.count())
            .select_from(labels)
            .join(images, images.c.id == labels.c.image_id)
            .where(
                labels.c.project_id == project_id,
                labels.c.origin == origin,
                images.c.state == "ok",
            )
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
        .where(classes.c.project_id == project_id, classes.c.merged_into_id.is_(None))
        .order_by(classes.c.position)
    )
    return {name: n for name, n in rows}


def get(connection: Connection, image_ids: Sequence[int]) -> dict[int, LabelRow]:
    """The labels of those of these images that have one."""
    found: dict[int, LabelRow] = {}
    for batch in batched(image_ids):
        found.update(_read(connection, labels.c.image_id.in_(batch)))
    return found


def boxes_of(connection: Connection, image_ids: Sequence[int]) -> dict[int, tuple[Box, ...]]:
    """The boxes of those of these images that have some, in the order they were drawn."""
    found: dict[int, tuple[Box, ...]] = {}
    for batch in batched(image_ids):
        query = select(label_boxes).where(label_boxes.c.image_id.in_(batch))
        for row in connection.execute(
            query.order_by(label_boxes.c.image_id, label_boxes.c.position)
        ):
            box = Box(row.class_id, row.x, row.y, row.width, row.height)
            found[row.image_id] = (*found.get(row.image_id, ()), box)
    return found


def every(connection: Connection, project_id: int) -> list[LabelRow]:
    """All labels of usable images, the reserve's included, in the order of image ids."""
    here = (labels.c.project_id == project_id) & (images.c.state == "ok")
    return list(_read(connection, here).values())


def for_training(connection: Connection, project_id: int) -> list[LabelRow]:
    """The labels a model may learn from: of usable images in groups without a reserve member.

    Nor with one in validation or test of the split `default`.

    Propagated ones are left out: one answer would count as often as its image has copies, both in
    the training and in the number of labels that a learning curve runs over. Machines' labels are
    learned from apart: see `of_machines`.
    """
    here = _learnable(project_id) & labels.c.origin.not_in(NOBODYS)
    return list(_read(connection, here).values())


def of_machines(connection: Connection, project_id: int) -> list[LabelRow]:
    """Machines' labels that a model may learn from: under the same conditions as `for_training`.

    Nor of groups in which somebody has answered, since the answer tells more.
    """
    other = images.alias()
    theirs = labels.alias()
    answered = (
        select(other.c.group_id)
        .join(theirs, theirs.c.image_id == other.c.id)
        .where(theirs.c.project_id == project_id, theirs.c.origin.not_in(NOBODYS))
    )
    here = (
        _learnable(project_id) & (labels.c.origin == MACHINE) & images.c.group_id.not_in(answered)
    )
    return list(_read(connection, here).values())


def _learnable(project_id: int) -> ColumnElement[bool]:
    reserved = select(images.c.group_id).where(
        images.c.project_id == project_id, images.c.reserve.is_not(None)
    )
    return and_(
        labels.c.project_id == project_id,
        images.c.state == "ok",
        images.c.group_id.not_in(reserved),
        images.c.group_id.not_in(splits.held_out(project_id)),
    )


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
