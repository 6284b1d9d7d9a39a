"""Between the catalog and Label Studio: offer what a round's ledger holds, pull what people said.

The catalog is the truth. Offering can be repeated at any point: images that have a task are known by
their id in the task's data, and are looked for before anything is sent. Pulling can be repeated too:
annotations are upserted by their id, and the cursor moves only with the rows it stands for.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from curation.catalog import annotations, remote, rounds
from curation.catalog import images as image_rows
from curation.catalog.bulk import batched
from curation.catalog.remote import RemoteQueue
from curation.errors import LabelStudioError
from curation.progress import Report, silent
from curation.records import LedgerRow, RemoteAnswer, RoundRecord
from curation.workspace import Project
from labeling import consensus, queues, tasks
from labeling.connection import Connection, validation_errors
from labeling.queues import Shelf
from labeling.remote import RemoteAnnotation, RemoteTask

logger = logging.getLogger(__name__)

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
        connection.update_project(
            queue.remote_id, model_version=model_version(round), show_predictions=True
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
) -> None:
    known = _reconcile(project, connection, queue)
    shown = queues.show_images(
        project,
        connection,
        queue,
        [row.image_id for row in rows if row.image_id not in known],
        shelf,
    )
    pending = [row for row in rows if not row.pushed]
    hints = {row.image_id: _prediction(project, round, queue, row, len(rows)) for row in pending}
    _validate(queue, [hint for hint in hints.values() if hint])
    done = len(rows) - len(pending)
    for batch in batched(pending, PUSHED_AT_ONCE):
        fresh = [row for row in batch if row.image_id not in known]
        made = connection.import_tasks(
            queue.remote_id,
            [
                tasks.task(
                    str(row.image_id),
                    name=shown[row.image_id][0],
                    url=shown[row.image_id][1],
                    predictions=[hint] if (hint := hints[row.image_id]) else [],
                )
                for row in fresh
            ],
        )
        added = {row.image_id: task_id for row, task_id in zip(fresh, made, strict=True)}
        with project.catalog.write() as writing:
            remote.add_tasks(writing, queue.id, added)
        connection.import_predictions(
            queue.remote_id,
            list(_missing_predictions(connection, round, batch, hints, known)),
        )
        if queue.queue == "reserve":
            twice = _answered_twice(project, list(added))
            connection.set_overlap([added[key] for key in twice], answers=2)
        with project.catalog.write() as writing:
            rounds.mark_pushed(writing, round.id, [row.image_id for row in batch])
        done += len(batch)
        report(done, len(rows), f"push {queue.queue}")


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


def _reconcile(project: Project, connection: Connection, queue: RemoteQueue) -> dict[int, int]:
    """Task ids by image id, including tasks of an earlier push whose reply was lost."""
    with project.catalog.read() as reading:
        known = remote.tasks(reading, queue.id)
    newest = max(known.values(), default=0)
    lost = {
        int(image_id): task_id
        for task_id, image_id in connection.task_ids(queue.remote_id, after=newest)
        if image_id is not None and image_id.isdigit()
    }
    if lost:
        with project.catalog.write() as writing:
            remote.add_tasks(writing, queue.id, lost)
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
        changed |= _store(project, connection, queue, batch)
        seen += len(batch)
        report(seen, 0, f"pull {queue.queue}")
    with project.catalog.write() as writing:
        remote.set_cursor(writing, queue.id, news.cursor.isoformat())
    return changed


def _store(
    project: Project, connection: Connection, queue: RemoteQueue, batch: Sequence[RemoteTask]
) -> set[int]:
    with project.catalog.read() as reading:
        image_of = remote.images_of_tasks(reading, queue.id, [task.id for task in batch])
        stored = annotations.remote_ids(reading, list(image_of.values()))
    ours = [task for task in batch if task.id in image_of]
    answers = [
        answer
        for task in ours
        for annotation in task.annotations
        if (answer := _answer(project, image_of[task.id], annotation))
    ]
    gone = {
        remote_id
        for task in ours
        for remote_id in stored[image_of[task.id]] - {found.id for found in task.annotations}
    }
    if not answers and not gone:
        return set()
    people = {user.id: user for user in connection.users()} if answers else {}
    with project.catalog.write() as writing:
        annotator_ids = {
            user_id: annotations.annotator_of_user(
                writing,
                project.id,
                user_id,
                name=people[user_id].name if user_id in people else f"user {user_id}",
            )
            for user_id in {answer.remote_user_id for answer in answers}
        }
        changed = annotations.put_remote(
            writing, project.id, answers, annotator_ids=annotator_ids
        ) | annotations.mark_deleted(writing, project.id, gone)
        consensus.settle(writing, project, sorted(changed))
    return changed


def _answer(project: Project, image_id: int, found: RemoteAnnotation) -> RemoteAnswer | None:
    """An annotation in our words; none for one that says nothing a label could follow from."""
    said = tasks.answer(
        found.result,
        was_cancelled=found.was_cancelled,
        parent_prediction=found.parent_prediction,
        known_classes=project.record.classes,
    )
    for reason in said.ignored:
        logger.warning("Annotation %d of image %d: %s", found.id, image_id, reason)
    single = project.record.task == "single-label"
    if not said.skipped and single and len(said.classes) != 1:
        logger.warning(
            "Annotation %d of image %d names %d classes; left out.",
            found.id,
            image_id,
            len(said.classes),
        )
        return None
    hinted = found.parent_prediction is not None and not said.skipped
    return RemoteAnswer(
        remote_id=found.id,
        image_id=image_id,
        remote_user_id=found.user_id or 0,
        state="skipped" if said.skipped else "answered",
        classes=project.record.ids_of(said.classes),
        seconds=found.lead_time,
        prelabel="none" if not hinted else "accepted" if said.accepted_prelabel else "corrected",
        model_version="",
        updated_at=found.updated_at.isoformat(),
    )


def sweep(project: Project, connection: Connection) -> int:
    """Forgets tasks that were deleted in Label Studio, so that their images can be sent again.

    Their answers stay: whoever deletes a task does not take back what was said.

    Returns:
        How many tasks are gone.
    """
    gone = 0
    for queue in queues.find(project, connection).values():
        there = {task_id for task_id, _ in connection.task_ids(queue.remote_id)}
        with project.catalog.read() as reading:
            known = remote.tasks(reading, queue.id)
        lost = [image_id for image_id, task_id in known.items() if task_id not in there]
        if lost:
            with project.catalog.write() as writing:
                remote.forget_tasks(writing, queue.id, lost)
        gone += len(lost)
    return gone
