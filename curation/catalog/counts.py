"""How many images bear a label or a prediction, by class and slice: counted by the database."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Label,
    Select,
    and_,
    func,
    literal,
    select,
    union,
)
from sqlalchemy.sql.selectable import Subquery

from curation.catalog import pool, splits
from curation.catalog.labels import NOBODYS
from curation.catalog.schema import image_metadata, images, label_classes, labels, predictions


@dataclass(frozen=True)
class LabelCount:
    """Usable labeled images that are alike in all of this.

    Attributes:
        class_id: none for images that bear no class, as multi-label ones may.
        slice: value of the column that was asked for; empty for none.
        origin: people, import, propagated or machine.
        for_training: whether a model may learn from them: see `labels.for_training`.
        n: how many.
    """

    class_id: int | None
    slice: str
    origin: str
    for_training: bool
    n: int


def labeled(connection: Connection, project_id: int, *, column: str = "") -> list[LabelCount]:
    """Labeled images by class, slice and origin; an image of several classes counts in each."""
    training = and_(
        labels.c.origin.not_in(NOBODYS), images.c.group_id.not_in(_kept_back(project_id))
    )
    seen = (
        select(
            label_classes.c.class_id,
            _slice(),
            labels.c.origin,
            training.label("training"),
        )
        .select_from(labels)
        .join(images, images.c.id == labels.c.image_id)
        .outerjoin(label_classes, label_classes.c.image_id == labels.c.image_id)
        .outerjoin(image_metadata, _is_value(column))
        .where(labels.c.project_id == project_id, images.c.state == "ok")
        .subquery()
    )
    keys = (seen.c.class_id, seen.c.slice, seen.c.origin, seen.c.training)
    rows = connection.execute(select(*keys, func.count().label("n")).group_by(*keys))
    return [
        LabelCount(row.class_id, row.slice, row.origin, bool(row.training), row.n) for row in rows
    ]


def usable(connection: Connection, project_id: int, *, column: str) -> dict[str, int]:
    """Usable images by slice, labeled or not."""
    seen = (
        select(_slice())
        .select_from(images)
        .outerjoin(image_metadata, _is_value(column))
        .where(images.c.project_id == project_id, images.c.state == "ok")
        .subquery()
    )
    return _by_slice(connection, seen)


def in_slices(connection: Connection, project_id: int, *, column: str) -> dict[str, int]:
    """Usable labeled images that a model may learn from, by slice; each counts once."""
    seen = (
        select(_slice())
        .select_from(images)
        .join(labels, labels.c.image_id == images.c.id)
        .outerjoin(image_metadata, _is_value(column))
        .where(
            images.c.project_id == project_id,
            images.c.state == "ok",
            labels.c.origin.not_in(NOBODYS),
            images.c.group_id.not_in(_kept_back(project_id)),
        )
        .subquery()
    )
    return _by_slice(connection, seen)


def predicted(
    connection: Connection, project_id: int, *, column: str = ""
) -> dict[tuple[int, str], int]:
    """Images of the pool by the class that the newest model gives them, and slice."""
    seen = (
        _pool(project_id, column)
        .add_columns(predictions.c.class_id)
        .join(predictions, predictions.c.image_id == images.c.id)
        .subquery()
    )
    keys = (seen.c.class_id, seen.c.slice)
    rows = connection.execute(select(*keys, func.count().label("n")).group_by(*keys))
    return {(row.class_id, row.slice): row.n for row in rows}


def predicting_run(connection: Connection, project_id: int) -> str | None:
    """The run whose model predicted; none where no model has."""
    query = select(predictions.c.run_id).where(predictions.c.project_id == project_id).limit(1)
    return connection.scalar(query)


def pool_slices(connection: Connection, project_id: int, *, column: str) -> dict[str, int]:
    """Images of the pool by slice, predicted or not."""
    return _by_slice(connection, _pool(project_id, column).subquery())


def _pool(project_id: int, column: str) -> Select[Any]:
    first = pool.ids(project_id).subquery()
    return (
        select(_slice())
        .select_from(images)
        .join(first, first.c.id == images.c.id)
        .outerjoin(image_metadata, _is_value(column))
    )


def _kept_back(project_id: int) -> CompoundSelect[Any]:
    """Groups with a member that models are judged by."""
    reserved = select(images.c.group_id).where(
        images.c.project_id == project_id, images.c.reserve.is_not(None)
    )
    return union(reserved, splits.held_out(project_id))


def _slice() -> Label[str]:
    return func.coalesce(image_metadata.c.value, literal("")).label("slice")


def _by_slice(connection: Connection, seen: Subquery) -> dict[str, int]:
    rows = connection.execute(
        select(seen.c.slice, func.count().label("n")).group_by(seen.c.slice).order_by(seen.c.slice)
    )
    return {row.slice: row.n for row in rows}


def _is_value(column: str) -> ColumnElement[bool]:
    """The row of an image's metadata that holds this column; no row where it is empty."""
    return and_(image_metadata.c.image_id == images.c.id, image_metadata.c.key == column)
