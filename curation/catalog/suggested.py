"""Images of the pool by what the newest model takes them for."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from curation.catalog import pool
from curation.catalog.bulk import batched
from curation.catalog.schema import images, predictions


@dataclass(frozen=True, slots=True)
class Suggested:
    """One image of the pool and how sure the model is of it, 0 to 1; `run_id` names the model."""

    image_id: int
    confidence: float
    run_id: str


def counts(connection: Connection, project_id: int) -> dict[int, int]:
    """How many images of the pool the model takes for each class, by class id."""
    in_pool = pool.ids(project_id).subquery()
    rows = connection.execute(
        select(predictions.c.class_id, func.count())
        .join(in_pool, in_pool.c.id == predictions.c.image_id)
        .group_by(predictions.c.class_id)
    )
    return {class_id: count for class_id, count in rows}


def surest(connection: Connection, project_id: int, class_id: int, *, most: int) -> list[Suggested]:
    """The images of the pool that the model takes for a class, the surest first."""
    rows = connection.execute(
        select(predictions.c.image_id, predictions.c.confidence, predictions.c.run_id)
        .join(images, images.c.id == predictions.c.image_id)
        .where(
            predictions.c.project_id == project_id,
            predictions.c.class_id == class_id,
            pool.contains_image(),
        )
        .order_by(predictions.c.confidence.desc(), predictions.c.image_id)
        .limit(most)
    )
    return [Suggested(row.image_id, row.confidence, row.run_id) for row in rows]


def still_open(connection: Connection, image_ids: list[int]) -> set[int]:
    """Those of these images that are in the pool now."""
    found: set[int] = set()
    for batch in batched(image_ids):
        query = select(images.c.id).where(images.c.id.in_(batch), pool.contains_image())
        found.update(connection.scalars(query))
    return found
