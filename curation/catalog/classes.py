"""Classes that change: renamed, merged, put into another order.

A class keeps its id for as long as it is one. What it was called before stays known in
`class_aliases`, so that answers given under that name count. A merged class keeps its row, out of
the order: what people said before still has its name.
"""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Table, bindparam, delete, func, insert, select, update

from curation.catalog import audit
from curation.catalog.bulk import ROWS, batched, insert_new
from curation.catalog.projects import check_classes, check_free, get, put_in_order
from curation.catalog.schema import (
    annotations,
    class_aliases,
    classes,
    corrections,
    issues,
    label_boxes,
    label_classes,
    labels,
    predictions,
    round_images,
)
from curation.errors import InputError
from curation.records import ProjectRecord


@dataclass(frozen=True)
class Merged:
    """What a merge came to.

    Attributes:
        record: the project afterwards.
        labels: how many labels name the remaining class in place of a merged one.
        annotations: how many answers do.
        several: images among them whose label rests on several answers, which may agree on
            something else now.
    """

    record: ProjectRecord
    labels: int
    annotations: int
    several: tuple[int, ...]


def rename(connection: Connection, project_id: int, old: str, new: str) -> ProjectRecord:
    """Gives a class another name; its labels and all answers to it stay.

    Raises:
        InputError: there is no class `old`, or `new` is no usable name, or means another class.
    """
    record = get(connection, project_id)
    key = find(record, old)
    new = unicodedata.normalize("NFC", new)
    (old,) = record.class_names((key,))
    if new == old:
        return record
    if new in record.classes:
        raise InputError(
            f"There is a class {new!r} already. To make one of both: "
            f"`labelloop classes merge {old!r} --into {new!r}`."
        )
    check_classes([new if name == old else name for name in record.classes])
    check_free(record, new, class_id=key)
    connection.execute(update(classes).where(classes.c.id == key).values(name=new))
    connection.execute(
        delete(class_aliases).where(
            class_aliases.c.project_id == project_id, class_aliases.c.name == new
        )
    )
    connection.execute(insert(class_aliases).values(project_id=project_id, name=old, class_id=key))
    audit.append(connection, project_id, act="rename-class", subject={"from": old, "to": new})
    return get(connection, project_id)


def move(connection: Connection, project_id: int, name: str, place: int) -> ProjectRecord:
    """Puts a class at another place of the order, counted from 1.

    Raises:
        InputError: there is no such class or place, or it is the one for none of the others.
    """
    record = get(connection, project_id)
    key = find(record, name)
    places = len(record.classes) - (record.none_of_these is not None)
    if key == record.none_of_these:
        raise InputError(f"The class {name!r} stands for none of the others and stays the last.")
    if not 1 <= place <= places:
        raise InputError(f"There is no place {place} for {name!r}. Give 1 to {places}.")
    others = [one for one in record.class_ids if one != key]
    put_in_order(connection, record, [*others[: place - 1], key, *others[place - 1 :]])
    audit.append(connection, project_id, act="move-class", subject={"class": name, "to": place})
    return get(connection, project_id)


def merge(connection: Connection, project_id: int, names: Sequence[str], *, into: str) -> Merged:
    """Makes several classes one, and everything that names them follow.

    What people said in the past (`annotation_versions`) and snapshots stay as they are.

    Raises:
        InputError: a class is unknown, named twice, or to be merged into itself; or fewer than two
            would be left.
    """
    record = get(connection, project_id)
    target = find(record, into)
    gone = [find(record, name) for name in names]
    if not gone or len(set(gone)) < len(gone) or target in gone:
        raise InputError(
            f"Cannot merge {', '.join(map(repr, names)) or 'nothing'} into {into!r}. Name one or "
            "more other classes, each once."
        )
    left = [key for key in record.class_ids if key not in gone]
    if len(left) < 2:
        raise InputError(
            f"Only {into!r} would be left, and a project needs at least two classes. Add others "
            "first with `labelloop classes add`."
        )
    images = _follow_in_labels(connection, gone, target)
    answers = _follow_in_answers(connection, project_id, gone, target)
    _follow_elsewhere(connection, project_id, gone, target)
    for key, name in zip(gone, record.class_names(gone), strict=True):
        connection.execute(
            update(classes)
            .where(classes.c.id == key)
            .values(position=-key, merged_into_id=target, kind="class")
        )
        connection.execute(
            update(class_aliases).where(class_aliases.c.class_id == key).values(class_id=target)
        )
        connection.execute(
            insert(class_aliases).values(project_id=project_id, name=name, class_id=target)
        )
    merged = get(connection, project_id)
    put_in_order(connection, merged, left)
    audit.append(
        connection,
        project_id,
        act="merge-classes",
        subject={
            "from": list(record.class_names(gone)),
            "into": record.class_names((target,))[0],
            "labels": len(images),
            "annotations": answers,
        },
    )
    return Merged(
        record=get(connection, project_id),
        labels=len(images),
        annotations=answers,
        several=tuple(_of_several(connection, images)),
    )


def find(record: ProjectRecord, name: str) -> int:
    """The id of the class of this name.

    Raises:
        InputError: there is none; a former name is told what the class is called now.
    """
    name = unicodedata.normalize("NFC", name)
    if name not in record.classes:
        (now,) = record.current_names((name,))
        called = f"It is called {now!r} now. " if now != name else ""
        raise InputError(
            f"There is no class {name!r}. {called}The classes are {', '.join(record.classes)}."
        )
    return record.ids_by_name[name]


def count_labels(connection: Connection, project_id: int) -> dict[int, int]:
    """How many labels name each class, by class id; those that nobody bears are left out."""
    rows = connection.execute(
        select(label_classes.c.class_id, func.count())
        .where(label_classes.c.project_id == project_id)
        .group_by(label_classes.c.class_id)
    )
    return {key: n for key, n in rows}


# Merge --------------------------------------------------------------------------------------------


def _follow_in_labels(connection: Connection, gone: Sequence[int], target: int) -> list[int]:
    """The images whose label named a merged class."""
    theirs = label_classes.c.class_id.in_(gone)
    rows = connection.execute(
        select(label_classes.c.image_id, label_classes.c.project_id).where(theirs).distinct()
    ).all()
    connection.execute(delete(label_classes).where(theirs))
    for batch in batched(rows):
        # An image may bear several of them, and the remaining one as well.
        insert_new(
            connection, label_classes, [{**row._mapping, "class_id": target} for row in batch]
        )
    connection.execute(
        update(label_boxes).where(label_boxes.c.class_id.in_(gone)).values(class_id=target)
    )
    return sorted(row.image_id for row in rows)


def _of_several(connection: Connection, image_ids: Sequence[int]) -> Iterator[int]:
    for batch in batched(image_ids):
        yield from connection.scalars(
            select(labels.c.image_id)
            .where(labels.c.image_id.in_(batch), labels.c.answers > 1)
            .order_by(labels.c.image_id)
        )


def _follow_in_answers(
    connection: Connection, project_id: int, gone: Sequence[int], target: int
) -> int:
    """Answers as they stand; how many named a merged class."""

    def follow(row: Any) -> dict[str, Any] | None:
        said = _each(row.classes, gone, target)
        if said == row.classes:
            return None
        boxes = [[_now(int(key), gone, target), *place] for key, *place in row.boxes or ()]
        return {"classes": said, "boxes": None if row.boxes is None else boxes}

    changed = 0
    key, after = annotations.c.id, 0
    while rows := connection.execute(
        select(key, annotations.c.classes, annotations.c.boxes)
        .where(annotations.c.project_id == project_id, key > after)
        .order_by(key)
        .limit(_BLOCK)
    ).all():
        changed += _write(connection, annotations, [key], rows, follow)
        after = rows[-1].id
    return changed


def _follow_elsewhere(
    connection: Connection, project_id: int, gone: Sequence[int], target: int
) -> None:
    """Predictions, pre-labels, suggestions, and doubts put before reviewers."""
    for column in (
        predictions.c.class_id,
        round_images.c.prelabel_class_id,
        issues.c.suggested_class_id,
        corrections.c.suggested_class_id,
    ):
        table = column.table
        connection.execute(
            update(table)
            .where(table.c.project_id == project_id, column.in_(gone))
            .values({column.name: target})
        )
    # A suggestion to call an image what it is called now is no finding any more.
    connection.execute(
        update(issues)
        .where(
            issues.c.project_id == project_id,
            issues.c.suggested_class_id == target,
            issues.c.image_id.in_(
                select(label_classes.c.image_id).where(label_classes.c.class_id == target)
            ),
        )
        .values(is_issue=False)
    )

    def follow(row: Any) -> dict[str, Any] | None:
        said = sorted(_each(row.classes, gone, target))
        return None if said == row.classes else {"classes": said}

    keys = [corrections.c.number, corrections.c.image_id]
    rows = connection.execute(
        select(*keys, corrections.c.classes).where(corrections.c.project_id == project_id)
    ).all()
    for batch in batched(rows):
        _write(connection, corrections, keys, batch, follow)


_BLOCK = 10 * ROWS


def _write(
    connection: Connection,
    table: Table,
    keys: Sequence[Column[Any]],
    rows: Sequence[Any],
    follow: Callable[[Any], dict[str, Any] | None],
) -> int:
    """Writes what `follow` makes of the rows, where it makes anything; how many that were."""
    wanted = [
        {f"the_{key.name}": row._mapping[key.name] for key in keys} | values
        for row in rows
        if (values := follow(row)) is not None
    ]
    if wanted:
        here = [key == bindparam(f"the_{key.name}") for key in keys]
        connection.execute(update(table).where(*here), wanted)
    return len(wanted)


def _each(said: Sequence[int], gone: Sequence[int], target: int) -> list[int]:
    """Class ids as they stand now, in the order given, each once."""
    return list(dict.fromkeys(_now(key, gone, target) for key in said))


def _now(key: int, gone: Sequence[int], target: int) -> int:
    return target if key in gone else key
