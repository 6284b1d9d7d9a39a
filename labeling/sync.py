"""Between the catalog and Label Studio: offer what a round's ledger holds, pull what was answered.

The catalog is the truth. Offering can be repeated at any point: images that have a task are known
by their mark in the task's data, and are looked for before anything is sent. Pulling can be
repeated too: annotations are upserted by their id, and the cursor moves only after the rows it
stands for.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from curation.catalog import annotations, remote, rounds
from curation.catalog import images as image_rows
from curation.catalog.bulk import batched
from curation.catalog.remote import RemoteQueue
from curation.errors import LabelStudioError
from curation.progress import Report, silent
from curation.records import LedgerRow, RoundRecord
from curation.workspace import Project
from labeling import answers, interfaces, queues, tasks
from labeling.connection import Connection, validation_errors
from labeling.queues import Shelf

PUSHED_AT_ONCE = 1000
PULLED_AT_ONCE = 500
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

    Raises:
        LabelStudioError: something of it was refused; what is there already is found at the next
            call.
    """
    with project.catalog.read() as reading:
        reserve_rows = rounds.ledger(reading, round.id, queue="reserve")
        batch_rows = rounds.ledger(reading, round.id, queue="batch")
    if reserve_rows:
        queue = queues.ensure(project, connection, "reserve")
        _push(project, connection, queue, round, reserve_rows, shelf=shelf, report=report)
    if batch_rows:
        queue = queues.ensure(project, connection, "batch")
        _push(project, connection, queue, round, batch_rows, shelf=shelf, report=report)
        _put_in_order(connection, queue, round)


def _put_in_order(connection: Connection, queue: RemoteQueue, round: RoundRecord) -> None:
    """Serves the round's images by its pre-labels, also in a project that was served otherwise."""
    connection.update_project(
        queue.remote_id,
        sampling="uncertainty",
        model_version=model_version(round),
        show_predictions=True,
    )


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
    known = _reconcile(project, connection, queue, rows)
    with project.catalog.read() as reading:
        waiting = set(rounds.waiting(reading, project.id, queue=queue.queue))
    # What was pushed and is gone, with its project or by hand, goes out again while it is wanted.
    pending = [
        row
        for row in rows
        if not row.pushed or (row.image_id not in known and row.image_id in waiting)
    ]
    shown = queues.show_images(
        project,
        connection,
        queue,
        [row.image_id for row in pending if row.image_id not in known],
        shelf,
    )
    interface = interfaces.understood(queue.interface)
    hints = {
        row.image_id: _prediction(project, round, queue, row, size or len(rows)) for row in pending
    }
    _validate(queue, [hint for hint in hints.values() if hint])
    made = 0
    done = len(rows) - len(pending)
    for batch in batched(pending, PUSHED_AT_ONCE):
        fresh = [row for row in batch if row.image_id not in known]
        numbers = connection.import_tasks(
            queue.remote_id,
            [
                tasks.task(
                    tasks.mark(project.record.seed, row.image_id),
                    name=shown[row.image_id][0],
                    url=shown[row.image_id][1],
                    predictions=[hint] if (hint := hints[row.image_id]) else [],
                    interface=interface,
                )
                for row in fresh
            ],
        )
        added = {row.image_id: task_id for row, task_id in zip(fresh, numbers, strict=True)}
        queues.bind_tasks(project, queue, added)
        connection.import_predictions(
            queue.remote_id,
            list(_missing_predictions(connection, round, batch, hints, known)),
        )
        if queue.queue == "reserve":
            there = {row.image_id: (known | added)[row.image_id] for row in batch}
            twice = _answered_twice(project, list(there))
            connection.set_overlap([there[key] for key in twice], answers=2)
        with project.catalog.write() as writing:
            rounds.mark_pushed(writing, round.id, [row.image_id for row in batch])
        made += len(fresh)
        done += len(batch)
        report(done, len(rows), f"push {queue.queue}")
    return made


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


def _validate(queue: RemoteQueue, predictions: list[dict[str, Any]]) -> None:
    wrong = validation_errors(queue.interface, [p for p in predictions if p["result"]])
    if wrong:
        raise LabelStudioError(
            f"{len(wrong)} pre-labels do not fit the labeling interface; the first: {wrong[0][1]}. "
            "Nothing was pushed."
        )


def _missing_predictions(
    connection: Connection,
    round: RoundRecord,
    batch: Sequence[LedgerRow],
    hints: dict[int, dict[str, Any] | None],
    known: dict[int, int],
) -> Iterable[dict[str, Any]]:
    """Pre-labels of this round for images whose task was there before, unless they have them."""
    version = model_version(round)
    for row in batch:
        hint = hints[row.image_id]
        if row.image_id not in known or not hint:
            continue
        task = connection.task(known[row.image_id])
        if not any(found.get("model_version") == version for found in task.predictions):
            yield {"task": task.id, **hint}


def _answered_twice(project: Project, image_ids: list[int]) -> list[int]:
    with project.catalog.read() as reading:
        draws = image_rows.draws(reading, image_ids)
    # The lowest bit tells the halves apart; the next ones are as random and independent of it.
    return [key for key in image_ids if (draws[key] >> 1) % SECOND_ANSWERS == 0]


def _reconcile(
    project: Project, connection: Connection, queue: RemoteQueue, rows: Sequence[LedgerRow]
) -> dict[int, int]:
    """Task ids by image id, including tasks of an earlier push whose reply was lost."""
    with project.catalog.read() as reading:
        known = remote.tasks(reading, queue.id)
    wanted = {row.image_id for row in rows} - set(known)
    if not wanted:
        return known
    newest = max(known.values(), default=0)
    lost = {
        image_id: task_id
        for task_id, said in connection.task_ids(queue.remote_id, after=newest)
        if (image_id := tasks.marked(said, project.record.seed)) is not None and image_id in wanted
    }
    if lost:
        queues.bind_tasks(project, queue, lost)
    return {**known, **lost}


def pull(project: Project, connection: Connection, *, report: Report = silent) -> dict[str, int]:
    """Brings every answer given since the last pull into the catalog, and the labels up to it.

    Returns:
        images: how many images have changed answers; annotations: how many answers stand now.
    """
    changed: set[int] = set()
    for queue in queues.find(project, connection).values():
        changed |= _pull_queue(project, connection, queue, report)
    with project.catalog.read() as reading:
        standing = annotations.count(reading, project.id)
    return {"images": len(changed), "annotations": standing}


def _pull_queue(
    project: Project, connection: Connection, queue: RemoteQueue, report: Report
) -> set[int]:
    since = datetime.fromisoformat(queue.cursor) if queue.cursor else None
    news = connection.changed_tasks(queue.remote_id, since=since)
    changed: set[int] = set()
    seen = 0
    for batch in batched(news.tasks, PULLED_AT_ONCE):
        changed |= answers.store(project, connection, queue, batch)
        seen += len(batch)
        report(seen, 0, f"pull {queue.queue}")
    with project.catalog.write() as writing:
        remote.set_cursor(writing, queue.id, news.cursor.isoformat())
    return changed


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
        sent += _send_again(project, connection, queue, shelf=shelf, report=report)
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
            _put_in_order(connection, queue, round)
        sent += made
    return sent
