"""How many people are asked about an image, and when there is nobody left to ask.

An image is open while those who looked at it disagree, or are all unsure; it is asked of one person
more until the label is confident enough or as many as the settings allow have looked.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    and_,
    func,
    or_,
    select,
)

from curation.catalog import plans
from curation.catalog.bulk import batched, insert_or_update
from curation.catalog.schema import (
    annotations,
    annotators,
    images,
    labels,
    second_opinions,
)

PLAN = "asking"
OPINIONS = ("answered", "unsure")


@dataclass(frozen=True)
class Asking:
    """What a project asks of people beyond one answer to each image.

    Attributes:
        confident: the label's confidence, 0 to 1, at which nobody else is asked where people
            disagree.
        most: how many people look at an image at most, unless more are asked for by hand.
        gold_rate: questions with a known answer, as a share of a batch.
        gold_limit: the share of right answers to them, below which an annotator is warned, and
            paused.
        pause: whether labelloop pauses by itself; otherwise it warns only.
    """

    confident: float = 0.9
    most: int = 3
    gold_rate: float = 0.05
    gold_limit: float = 0.7
    pause: bool = True

    def as_json(self) -> dict[str, Any]:
        """Plain values, for a plan."""
        return asdict(self)


def settings(connection: Connection, project_id: int) -> Asking:
    """What is in force in a project."""
    stored = plans.in_force(connection, project_id).get(PLAN, {})
    known = {field.name for field in fields(Asking)}
    return Asking(**{name: value for name, value in stored.items() if name in known})


def put_settings(connection: Connection, project_id: int, wanted: Asking) -> None:
    """Puts settings in force."""
    plans.put(connection, project_id, PLAN, wanted.as_json())


def active(connection: Connection, project_id: int) -> list[str]:
    """The names of the people who answer: those with a log-in who have answered anything."""
    query = select(annotators.c.name).where(annotators.c.id.in_(active_ids(project_id)))
    return list(connection.scalars(query.order_by(annotators.c.id)))


def active_ids(project_id: int) -> Select[Any]:
    """A query for the ids of the same."""
    return select(annotators.c.id).where(
        annotators.c.project_id == project_id,
        annotators.c.kind == "person",
        annotators.c.state == "active",
        annotators.c.remote_user_id.is_not(None),
    )


def nobody_left(image_id: Column[int], project_id: int, *, most: int) -> ColumnElement[bool]:
    """Whether all who could say what an image shows were unsure, so that it waits for nobody.

    True where as many as are allowed looked at it, or every active annotator did. An image that
    somebody answered or skipped is settled already, and need not be asked about here.

    Args:
        image_id: the column of the query that this is part of.
        project_id: whose image it is.
        most: how many people look at an image at most.
    """
    mine = annotations.c.image_id == image_id
    doubted = select(annotations.c.id).where(mine, annotations.c.state == "unsure").exists()
    looked = (
        select(func.count(annotations.c.annotator_id.distinct()))
        .where(mine, annotations.c.state.in_(OPINIONS))
        .scalar_subquery()
    )
    somebody_else = (
        active_ids(project_id)
        .where(
            ~select(annotations.c.id)
            .where(mine, annotations.c.annotator_id == annotators.c.id, _stands())
            .correlate(annotators, image_id.table)  # which is two levels up
            .exists()
        )
        .exists()
    )
    return and_(doubted, or_(looked >= most, ~somebody_else))


def _stands() -> ColumnElement[bool]:
    return annotations.c.state.in_((*OPINIONS, "skipped"))


def want(connection: Connection, project_id: int, opinions: dict[int, int]) -> None:
    """Notes how many people are to look at images in all, in this order.

    A number given before is replaced, and keeps its place.
    """
    last = select(func.max(second_opinions.c.place)).where(
        second_opinions.c.project_id == project_id
    )
    first = (connection.scalar(last) or 0) + 1
    for batch in batched(enumerate(opinions.items(), first)):
        insert_or_update(
            connection,
            second_opinions,
            [
                {"image_id": key, "project_id": project_id, "opinions": count, "place": place}
                for place, (key, count) in batch
            ],
            changing="opinions",
        )


def wanted(connection: Connection, project_id: int) -> dict[int, int]:
    """How many people are to look at images, where somebody asked for it; oldest wish first."""
    rows = connection.execute(
        select(second_opinions.c.image_id, second_opinions.c.opinions)
        .where(second_opinions.c.project_id == project_id)
        .order_by(second_opinions.c.place)
    )
    return {row.image_id: row.opinions for row in rows}


def opinions(connection: Connection, image_ids: Sequence[int]) -> dict[int, int]:
    """How many people looked at these images and said something that stands, reviews left out."""
    found = dict.fromkeys(image_ids, 0)
    for batch in batched(image_ids):
        rows = connection.execute(
            select(annotations.c.image_id, func.count(annotations.c.annotator_id.distinct()))
            .join(annotators, annotators.c.id == annotations.c.annotator_id)
            .where(
                annotations.c.image_id.in_(batch),
                annotations.c.state.in_(OPINIONS),
                annotations.c.queue.is_distinct_from("correction"),
                annotators.c.kind != "import",
            )
            .group_by(annotations.c.image_id)
        )
        found.update({image_id: count for image_id, count in rows})
    return found


def disputed_images(connection: Connection, project_id: int, *, below: float) -> list[int]:
    """Images whose label rests on several answers and is less confident than this, least first."""
    return list(
        connection.scalars(
            select(labels.c.image_id)
            .join(images, images.c.id == labels.c.image_id)
            .where(
                labels.c.project_id == project_id,
                labels.c.origin == "people",
                labels.c.answers > 1,
                labels.c.confidence < below,
                images.c.state == "ok",
            )
            .order_by(labels.c.confidence, labels.c.image_id)
        )
    )
