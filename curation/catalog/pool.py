"""The pool: the unlabeled images that may be chosen."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, union

from curation.catalog import splits
from curation.catalog.annotations import closes
from curation.catalog.schema import annotations, images, labels
from curation.records import PoolRow


def find(connection: Connection, project_id: int) -> list[PoolRow]:
    """The unlabeled images that may be chosen: one per group, none that models are judged by."""
    first = ids(project_id).subquery()
    rows = connection.execute(
        select(images.c.id, images.c.group_id, images.c.location, images.c.name)
        .join(first, first.c.id == images.c.id)
        .order_by(images.c.id)
    )
    return [PoolRow(row.id, row.group_id, row.location, row.name) for row in rows]


def count(connection: Connection, project_id: int) -> int:
    """How many images the pool holds."""
    return connection.scalar(select(func.count()).select_from(ids(project_id).subquery())) or 0


def _closed_groups(project_id: int) -> Any:
    """Groups with a member in the reserve, held out, labeled, or that people have dealt with."""
    member = images.c.project_id == project_id
    return union(
        select(images.c.group_id).where(member, images.c.reserve.is_not(None)),
        select(images.c.group_id).join(labels, labels.c.image_id == images.c.id).where(member),
        select(images.c.group_id)
        .join(annotations, annotations.c.image_id == images.c.id)
        .where(member, closes()),
        splits.held_out(project_id),
    )


def ids(project_id: int) -> Select[Any]:
    """A query for the pool's image ids: the first usable one of each open group."""
    closed = _closed_groups(project_id).subquery()
    return (
        select(func.min(images.c.id).label("id"))
        .outerjoin(closed, closed.c.group_id == images.c.group_id)
        .where(
            images.c.project_id == project_id, images.c.state == "ok", closed.c.group_id.is_(None)
        )
        .group_by(images.c.group_id)
    )


def contains_image() -> ColumnElement[bool]:
    """The same as `ids`, asked of one image after the other: for pages, which need only a few."""
    other = images.alias()
    labeled = select(labels.c.image_id).where(labels.c.image_id == other.c.id).exists()
    answered = (
        select(annotations.c.id).where(annotations.c.image_id == other.c.id, closes()).exists()
    )
    earlier = and_(other.c.state == "ok", other.c.id < images.c.id)
    held_out = splits.is_held_out(other.c.id)
    closing = or_(other.c.reserve.is_not(None), earlier, labeled, answered, held_out)
    closed = select(other.c.id).where(other.c.group_id == images.c.group_id, closing).exists()
    return and_(images.c.state == "ok", ~closed)
