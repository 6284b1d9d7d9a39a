"""Rounds, the steps they have done, and the ledger of what they send to people."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from curation.catalog import asking
from curation.catalog.annotations import settles
from curation.catalog.bulk import ROWS, batched, insert_new
from curation.catalog.schema import annotations, images, labels, round_images, round_steps, rounds
from curation.errors import NotFound
from curation.records import LedgerRow, Queue, RoundRecord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def start(connection: Connection, project_id: int, settings: dict[str, Any]) -> RoundRecord:
    """Begins the next round, numbered from 0."""
    number = connection.scalar(
        select(func.coalesce(func.max(rounds.c.number), -1) + 1).where(
            rounds.c.project_id == project_id
        )
    )
    connection.execute(
        insert(rounds).values(
            project_id=project_id, number=number, state="running", settings=settings, record={}
        )
    )
    return get(connection, project_id, int(number or 0))


def get(connection: Connection, project_id: int, number: int) -> RoundRecord:
    """The round of this number.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(
        select(rounds).where(rounds.c.project_id == project_id, rounds.c.number == number)
    ).first()
    if row is None:
        raise NotFound(f"No round {number} in this project. `labelloop rounds list` shows them.")
    return _record(row)


def every(connection: Connection, project_id: int) -> list[RoundRecord]:
    """All rounds, oldest first."""
    rows = connection.execute(
        select(rounds).where(rounds.c.project_id == project_id).order_by(rounds.c.number)
    )
    return [_record(row) for row in rows]


def latest(connection: Connection, project_id: int) -> RoundRecord | None:
    """The newest round, or none."""
    row = connection.execute(
        select(rounds)
        .where(rounds.c.project_id == project_id)
        .order_by(rounds.c.number.desc())
        .limit(1)
    ).first()
    return None if row is None else _record(row)


def _record(row: Any) -> RoundRecord:
    values = {
        key: row._mapping[key]
        for key in (
            ["id", "number", "state", "settings", "record", "run_id", "created_at", "finished_at"]
        )
    }
    return RoundRecord(**values)


def note(connection: Connection, round_id: int, facts: dict[str, Any]) -> None:
    """Adds to the record of what came of a round; a key given again is replaced."""
    record = connection.scalar(select(rounds.c.record).where(rounds.c.id == round_id)) or {}
    connection.execute(
        update(rounds).where(rounds.c.id == round_id).values(record={**record, **facts})
    )


def set_run(connection: Connection, round_id: int, run_id: str) -> None:
    """Names the model that this round trained."""
    connection.execute(update(rounds).where(rounds.c.id == round_id).values(run_id=run_id))


def finish(connection: Connection, round_id: int, state: str) -> None:
    """Ends the computing part: the round now waits for people, or was cancelled."""
    connection.execute(
        update(rounds)
        .where(rounds.c.id == round_id)
        .values(state=state, finished_at=func.current_timestamp())
    )


def steps(connection: Connection, round_id: int) -> dict[str, dict[str, Any]]:
    """The steps that are done, in order: seconds and result by name."""
    rows = connection.execute(
        select(round_steps)
        .where(round_steps.c.round_id == round_id)
        .order_by(round_steps.c.position)
    )
    return {row.name: {"seconds": row.seconds, "result": row.result} for row in rows}


def finish_step(
    connection: Connection, round_id: int, name: str, *, seconds: float, result: dict[str, Any]
) -> None:
    """Records that a step is done, in the transaction that holds what it did."""
    position = connection.scalar(
        select(func.count()).select_from(round_steps).where(round_steps.c.round_id == round_id)
    )
    connection.execute(
        insert(round_steps).values(
            round_id=round_id, name=name, position=position, seconds=seconds, result=result
        )
    )


def plan(connection: Connection, project_id: int, round_id: int, rows: Sequence[LedgerRow]) -> None:
    """Writes what will be sent, before any of it is pushed."""
    for batch in batched(rows):
        insert_new(
            connection,
            round_images,
            [
                {
                    "round_id": round_id,
                    "project_id": project_id,
                    "image_id": row.image_id,
                    "queue": row.queue,
                    "rank": row.rank,
                    "score": row.score,
                    "reason": row.reason,
                    "probability": row.probability,
                    "prelabel_class_id": row.prelabel_class_id,
                    "prelabel_confidence": row.prelabel_confidence,
                    "answers": row.answers,
                }
                for row in batch
            ],
        )


@dataclass(frozen=True, eq=False)
class Sent:
    """Which images a round sends to a queue, in its order; nine bytes an image.

    Attributes:
        ids: (N,) of the images.
        pushed: (N,) whether Label Studio holds their tasks already.
    """

    ids: "NDArray[np.int64]"
    pushed: "NDArray[np.bool_]"


def sent(connection: Connection, round_id: int, queue: Queue) -> Sent:
    """The images of `ledger`, without what is said of them."""
    import numpy as np

    rows = connection.execute(
        select(round_images.c.image_id, round_images.c.pushed)
        .where(round_images.c.round_id == round_id, round_images.c.queue == queue)
        .order_by(round_images.c.rank),
        execution_options={"yield_per": ROWS},
    )
    kind = np.dtype([("id", np.int64), ("pushed", np.bool_)])
    found = np.fromiter(((row.image_id, row.pushed) for row in rows), kind)
    return Sent(found["id"].copy(), found["pushed"].copy())


def ledger(
    connection: Connection,
    round_id: int,
    *,
    queue: Queue | None = None,
    image_ids: Sequence[int] | None = None,
) -> list[LedgerRow]:
    """What a round sends, in the order of the queues; of at most `ROWS` images if they are given.

    Those of a large round would not fit into memory together; see `sent`.
    """
    query = select(round_images).where(round_images.c.round_id == round_id)
    if queue:
        query = query.where(round_images.c.queue == queue)
    if image_ids is not None:
        query = query.where(round_images.c.image_id.in_(image_ids))
    rows = connection.execute(query.order_by(round_images.c.queue, round_images.c.rank))
    names = list(LedgerRow.__dataclass_fields__)
    return [LedgerRow(**{name: row._mapping[name] for name in names}) for row in rows]


def mark_pushed(connection: Connection, round_id: int, image_ids: Sequence[int]) -> None:
    """Notes that Label Studio holds tasks for these images."""
    for batch in batched(image_ids):
        connection.execute(
            update(round_images)
            .where(round_images.c.round_id == round_id, round_images.c.image_id.in_(batch))
            .values(pushed=True)
        )


def waiting(connection: Connection, project_id: int, *, queue: Queue | None = None) -> list[int]:
    """Images sent to people that nobody has answered or skipped yet, in the order of sending.

    Those that everybody who could be asked was unsure of wait for nobody.
    """
    query = (
        select(round_images.c.image_id)
        .where(*_unanswered(connection, project_id, queue))
        .join(images, images.c.id == round_images.c.image_id)
        .order_by(round_images.c.round_id, round_images.c.rank)
    )
    return list(dict.fromkeys(connection.scalars(query)))


def count_waiting(connection: Connection, project_id: int, *, queue: Queue | None = None) -> int:
    """How many images `waiting` gives."""
    query = (
        select(func.count(func.distinct(round_images.c.image_id)))
        .where(*_unanswered(connection, project_id, queue))
        .join(images, images.c.id == round_images.c.image_id)
    )
    return connection.scalar(query) or 0


def _unanswered(
    connection: Connection, project_id: int, queue: Queue | None
) -> Iterator[ColumnElement[bool]]:
    most = asking.settings(connection, project_id).most
    settled = (
        select(annotations.c.image_id)
        .where(
            annotations.c.image_id == round_images.c.image_id,
            settles(),
            annotations.c.remote_id.is_not(None),
        )
        .exists()
    )
    yield from (round_images.c.project_id == project_id, images.c.state == "ok", ~settled)
    yield ~asking.nobody_left(round_images.c.image_id, project_id, most=most)
    if queue:
        yield round_images.c.queue == queue


def progress(connection: Connection, round_id: int) -> dict[str, dict[str, int]]:
    """How many images of each queue were sent, and how many of them bear people's label."""
    rows = connection.execute(
        select(
            round_images.c.queue,
            func.count().label("sent"),
            func.count(labels.c.image_id).label("labeled"),
        )
        .outerjoin(
            labels,
            (labels.c.image_id == round_images.c.image_id) & (labels.c.origin == "people"),
        )
        .where(round_images.c.round_id == round_id)
        .group_by(round_images.c.queue)
    )
    return {row.queue: {"sent": row.sent, "labeled": row.labeled} for row in rows}


def of_image(connection: Connection, image_id: int) -> list[dict[str, Any]]:
    """The rounds that sent an image to people, oldest first."""
    rows = connection.execute(
        select(
            rounds.c.number,
            round_images.c.queue,
            round_images.c.rank,
            round_images.c.score,
            round_images.c.reason,
            rounds.c.created_at,
        )
        .join(rounds, rounds.c.id == round_images.c.round_id)
        .where(round_images.c.image_id == image_id)
        .order_by(rounds.c.number)
    )
    return [dict(row._mapping) for row in rows]
