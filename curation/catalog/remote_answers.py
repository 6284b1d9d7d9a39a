"""Answers by the numbers that Label Studio gave them, and what becomes of those numbers."""

from collections.abc import Iterable

from sqlalchemy import ColumnElement, Connection, and_, func, select, update

from curation.catalog.bulk import batched
from curation.catalog.schema import annotations, remote_projects, remote_tasks
from curation.records import Queue


def newest(connection: Connection, project_id: int, queue: Queue) -> str:
    """When the newest answer of a queue was given or changed there; empty for none."""
    found = connection.scalar(
        select(func.max(annotations.c.remote_updated_at)).where(*_standing(project_id, queue))
    )
    return str(found or "")


def since(
    connection: Connection, project_id: int, queue: Queue, moment: str
) -> dict[int, tuple[int, str]]:
    """Image and time of the answers of a queue that are newer than this, by their number there."""
    rows = connection.execute(
        select(
            annotations.c.remote_id, annotations.c.image_id, annotations.c.remote_updated_at
        ).where(*_standing(project_id, queue), annotations.c.remote_updated_at > moment)
    )
    return {row.remote_id: (row.image_id, row.remote_updated_at) for row in rows}


def doubles(connection: Connection, project_id: int) -> int:
    """How many answers there are beyond what Label Studio was told to ask for, image by image.

    They are kept as any other. A server that gives an image to two people at the same moment makes
    them; so does somebody who answers an image that others have finished.
    """
    given = (
        select(
            (func.count() - func.max(remote_tasks.c.overlap)).label("more"),
        )
        .select_from(annotations)
        .join(
            remote_projects,
            and_(
                remote_projects.c.project_id == annotations.c.project_id,
                remote_projects.c.queue == annotations.c.queue,
            ),
        )
        .join(
            remote_tasks,
            and_(
                remote_tasks.c.remote_project_id == remote_projects.c.id,
                remote_tasks.c.image_id == annotations.c.image_id,
            ),
        )
        .where(
            annotations.c.project_id == project_id,
            annotations.c.remote_id > 0,
            annotations.c.state.in_(("answered", "unsure")),
        )
        .group_by(remote_tasks.c.remote_project_id, remote_tasks.c.image_id)
        .subquery()
    )
    return connection.scalar(select(func.sum(given.c.more)).where(given.c.more > 0)) or 0


def let_go(connection: Connection, project_id: int, remote_ids: Iterable[int]) -> None:
    """Keeps these answers for good, whatever their numbers come to mean; see `detach`."""
    for batch in batched(remote_ids):
        connection.execute(
            update(annotations)
            .where(annotations.c.project_id == project_id, annotations.c.remote_id.in_(batch))
            .values(remote_id=-annotations.c.id)
        )


def _standing(project_id: int, queue: Queue) -> tuple[ColumnElement[bool], ...]:
    return (
        annotations.c.project_id == project_id,
        annotations.c.queue == queue,
        annotations.c.remote_id > 0,
        annotations.c.state != "deleted",
    )
