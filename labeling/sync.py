"""Between the catalog and Label Studio: offer what a round's ledger holds, pull what was answered.

The catalog is the truth. Offering can be repeated at any point, and so can pulling.
"""

from collections.abc import Sequence
from typing import Any

from curation.catalog import annotations, remote, rounds
from curation.catalog import images as image_rows
from curation.catalog.remote import RemoteQueue
from curation.progress import Report, silent
from curation.records import LedgerRow, RoundRecord
from curation.workspace import Project
from labeling import answers, corrections, interfaces, push, queues, tasks
from labeling.connection import Connection
from labeling.push import Parcel
from labeling.queues import Shelf

SECOND_ANSWERS = 5  # every fifth image of the reserve, at random


def model_version(round: RoundRecord) -> str:
    """What the pre-labels of a round are called in Label Studio; no two rounds share one."""
    return f"round-{round.number}"


def offer(
    project: Project,
    connection: Connection,
    round: RoundRecord,
    *,
    shelf: Shelf,
    report: Report = silent,
) -> None:
    """Puts the round's ledger before people, in its order; twice is the same as once.

    Labels in doubt whose image is in the reserve by now are not shown to reviewers any more.

    Raises:
        LabelStudioError: something of it was refused; what is there already is found at the next
            call.
    """
    corrections.withdraw(project, connection)
    with project.catalog.read() as reading:
        reserve_rows = rounds.ledger(reading, round.id, queue="reserve")
        batch_rows = rounds.ledger(reading, round.id, queue="batch")
    if reserve_rows:
        queue = queues.ensure(project, connection, "reserve")
        _push(project, connection, queue, round, reserve_rows, shelf=shelf, report=report)
    if batch_rows:
        queue = queues.ensure(project, connection, "batch")
        _push(project, connection, queue, round, batch_rows, shelf=shelf, report=report)
        push.put_in_order(connection, queue, model_version(round))


def _push(
    project: Project,
    connection: Connection,
    queue: RemoteQueue,
    round: RoundRecord,
    rows: Sequence[LedgerRow],
    *,
    shelf: Shelf,
    report: Report,
    size: int = 0,
) -> int:
    """Sends what is not there yet.

    Args:
        size: how many images the round sent in all, which the ranks are places among; as many as
            there are rows if 0.

    Returns:
        How many tasks were made.
    """
    parcels = [
        Parcel(
            row.image_id,
            pushed=row.pushed,
            prediction=_prediction(project, round, queue, row, size or len(rows)),
        )
        for row in rows
    ]

    def done(there: dict[int, int]) -> None:
        if queue.queue == "reserve":
            twice = _answered_twice(project, list(there))
            connection.set_overlap([there[key] for key in twice], answers=2)
        with project.catalog.write() as writing:
            rounds.mark_pushed(writing, round.id, list(there))

    return push.send(project, connection, queue, parcels, shelf=shelf, done=done, report=report)


def _prediction(
    project: Project, round: RoundRecord, queue: RemoteQueue, row: LedgerRow, size: int
) -> dict[str, Any] | None:
    """The pre-label that also gives an image its place; the reserve's queue has none at all."""
    if queue.queue == "reserve":
        return None
    hint = () if row.prelabel_class_id is None else (row.prelabel_class_id,)
    return tasks.prediction(
        project.record.class_names(hint),
        confidence=row.prelabel_confidence,
        model_version=model_version(round),
        rank=row.rank,
        size=size,
        interface=interfaces.understood(queue.interface),
    )


def _answered_twice(project: Project, image_ids: list[int]) -> list[int]:
    with project.catalog.read() as reading:
        draws = image_rows.draws(reading, image_ids)
    # The lowest bit tells the halves apart; the next ones are as random and independent of it.
    return [key for key in image_ids if (draws[key] >> 1) % SECOND_ANSWERS == 0]


def pull(project: Project, connection: Connection, *, report: Report = silent) -> dict[str, int]:
    """Brings every answer given since the last pull into the catalog, and the labels up to it.

    Returns:
        images: how many images have changed answers; annotations: how many answers stand now.
    """
    changed: set[int] = set()
    for queue in queues.find(project, connection).values():
        changed |= answers.pull(project, connection, queue, report=report)
    with project.catalog.read() as reading:
        standing = annotations.count(reading, project.id)
    return {"images": len(changed), "annotations": standing}


def sweep(project: Project, connection: Connection) -> int:
    """Forgets tasks that were deleted in Label Studio, so that their images can be sent again.

    Their answers stay: whoever deletes a task does not take back what was said.

    Returns:
        How many tasks are gone.
    """
    gone = 0
    for queue in queues.find(project, connection).values():
        # First what we know: a task that is pushed meanwhile is not one that is gone.
        with project.catalog.read() as reading:
            known = remote.tasks(reading, queue.id)
        there = dict(connection.task_ids(queue.remote_id))
        seed = project.record.seed
        lost = [
            image_id
            for image_id, task_id in known.items()
            if task_id not in there or tasks.marked(there[task_id], seed) not in (None, image_id)
        ]
        queues.forget_tasks(project, queue, lost)
        gone += len(lost)
    return gone


def rebuild(
    project: Project, connection: Connection, *, shelf: Shelf, report: Report = silent
) -> dict[str, int]:
    """Makes projects that vanished anew, and sends again what still waits and has no task.

    What people answered stays. A round that was interrupted sends its own images when it goes on.

    Returns:
        projects: how many were made; images: how many were sent again.
    """
    gone = queues.vanished(project, connection)
    for former in gone:
        queues.renew(project, connection, former)
    sweep(project, connection)
    sent = 0
    for queue in queues.find(project, connection).values():
        again = corrections.send if queue.queue == "correction" else _send_again
        sent += again(project, connection, queue, shelf=shelf, report=report)
    return {"projects": len(gone), "images": sent}


def _send_again(
    project: Project, connection: Connection, queue: RemoteQueue, *, shelf: Shelf, report: Report
) -> int:
    with project.catalog.read() as reading:
        ended = [one for one in rounds.every(reading, project.id) if one.state != "running"]
        ledgers = {one.number: rounds.ledger(reading, one.id, queue=queue.queue) for one in ended}
    newest = {row.image_id: number for number, rows in ledgers.items() for row in rows}
    sent = 0
    for round in ended:
        rows = ledgers[round.number]
        last = [row for row in rows if newest[row.image_id] == round.number]
        made = _push(
            project,
            connection,
            queue,
            round,
            last,
            shelf=shelf,
            report=report,
            size=len(rows),
        )
        if made and queue.queue == "batch":
            push.put_in_order(connection, queue, model_version(round))
        sent += made
    return sent
