"""Pages of images by what is known of them."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from curation.catalog import pool
from curation.catalog.images import RECORD
from curation.catalog.schema import image_metadata, images, label_classes, labels, predictions
from curation.records import ImageRecord


def page(
    connection: Connection,
    project_id: int,
    *,
    after: int = 0,
    size: int = 60,
    status: str = "any",
    class_id: int | None = None,
    predicted_id: int | None = None,
    slices: dict[str, str] | None = None,
    name_contains: str = "",
) -> list[ImageRecord]:
    """One page of images with id above `after`, in the order of ids.

    Args:
        status: any, labeled, pool, reserve, quarantined or excluded.
    """
    query = select(*RECORD).where(images.c.project_id == project_id, images.c.id > after)
    for condition in _conditions(
        pool.contains_image(), status, class_id, predicted_id, slices, name_contains
    ):
        query = query.where(condition)
    rows = connection.execute(query.order_by(images.c.id).limit(size))
    return [ImageRecord(**row._mapping) for row in rows]


def count(
    connection: Connection,
    project_id: int,
    *,
    status: str = "any",
    class_id: int | None = None,
    predicted_id: int | None = None,
    slices: dict[str, str] | None = None,
    name_contains: str = "",
) -> int:
    """How many images the same filters of `page` find."""
    query = select(func.count()).select_from(images).where(images.c.project_id == project_id)
    in_pool = images.c.id.in_(pool.ids(project_id))
    for condition in _conditions(in_pool, status, class_id, predicted_id, slices, name_contains):
        query = query.where(condition)
    return connection.scalar(query) or 0


def _conditions(
    in_pool: ColumnElement[bool],
    status: str,
    class_id: int | None,
    predicted_id: int | None,
    slices: dict[str, str] | None,
    name_contains: str,
) -> Iterable[Any]:
    labeled = select(labels.c.image_id).where(labels.c.image_id == images.c.id).exists()
    by_status = {
        "labeled": labeled,
        "pool": in_pool,
        "reserve": images.c.reserve.is_not(None),
        "quarantined": images.c.state == "quarantined",
        "excluded": images.c.state == "excluded",
    }
    if status != "any":
        yield by_status[status]
    if class_id is not None:
        yield (
            select(label_classes.c.image_id)
            .where(label_classes.c.image_id == images.c.id, label_classes.c.class_id == class_id)
            .exists()
        )
    if predicted_id is not None:
        yield (
            select(predictions.c.image_id)
            .where(predictions.c.image_id == images.c.id, predictions.c.class_id == predicted_id)
            .exists()
        )
    for key, value in (slices or {}).items():
        here = and_(image_metadata.c.image_id == images.c.id, image_metadata.c.key == key)
        found = select(image_metadata.c.image_id).where(here)
        # A missing value is a slice of its own, asked for by the empty string.
        yield (
            found.where(image_metadata.c.value == value).exists()
            if value
            else or_(~found.exists(), found.where(image_metadata.c.value == "").exists())
        )
    if name_contains:
        yield images.c.name.icontains(name_contains, autoescape=True)
