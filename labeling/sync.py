"""Between the catalog and Label Studio: offer what a round's ledger holds, pull what was answered.

The catalog is the truth. Offering can be repeated at any point, and so can pulling.
"""

from typing import Any

import numpy as np

from curation.catalog import annotations, remote, rounds
from curation.catalog import images as image_rows
from curation.catalog.remote import RemoteQueue
from curation.catalog.rounds import Sent
from curation.progress import Report, silent
from curation.records import LedgerRow, Queue, RoundRecord
from curation.workspace import Project
from labeling import (
    answers,
    backups,
    corrections,
    golds,
    interfaces,
    opinions,
    overlap,
    ownership,
    prelabels,
    push,
    queues,
    tasks,
)
from labeling.connection import Connection
from labeling.push import Parcel
from labeling.queues import Shelf

SECOND_ANSWERS = 5  # every fifth image of the reserve, at random
SENT_TO: tuple[Queue, ...] = ("reserve", "batch")


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
    for name in SENT_TO:
        with project.catalog.read() as reading:
            sent = rounds.sent(reading, round.id, name)
        if not len(sent.ids):
            continue
        queue = queues.ensure(project, connection, name)
        _push(project, connection, queue, round, sent, shelf=shelf, report=report)
        if name == "batch":
            push.put_in_order(connection, queue, model_version(round))
    opinions.send(project, connection, shelf=shelf, report=report)


def _push(
    project: Project,
    connection: Connection,
    queue: RemoteQueue,
    round: RoundRecord,
    sent: Sent,
    *,
    shelf: Shelf,
    report: Report,
    size: int = 0,
) -> int:
    """Sends what is not there yet.

    Args:
        size: how many images the round sent in all, which the ranks are places among; as many as
            there are in `sent` if 0.

    Returns:
        How many tasks were made.
    """

    def wrap(image_ids: list[int]) -> list[Parcel]:
        with project.catalog.read() as reading:
            rows = rounds.ledger(reading, round.id, queue=queue.queue, image_ids=image_ids)
        return [
            Parcel(row.image_id, _prediction(project, round, queue, row, size or len(sent.ids)))
            for row in rows
        ]

    def done(there: dict[int, int]) -> None:
        overlap.put(project, connection, queue, _answers(project, round, queue, there))
        with project.catalog.write() as writing:
            rounds.mark_pushed(writing, round.id, list(there))

    return push.send(project, connection, queue, sent, wrap, shelf=shelf, done=done, report=report)


def _prediction(
    project: Project, round: RoundRecord, queue: RemoteQueue, row: LedgerRow, size: int
) -> dict[str, Any] | None:
    """The pre-label that also gives an image its place; the reserve's queue has none at all.

    One that is held back gives the place and shows nothing.
    """
    if queue.queue == "reserve":
        return None
    held_back = prelabels.is_held_back(
        project.record.seed, row.image_id, share=prelabels.share_of(round)
    )
    hint = () if row.prelabel_class_id is None or held_back else (row.prelabel_class_id,)
    return tasks.prediction(
        project.record.class_names(hint),
        confidence=row.prelabel_confidence,
        model_version=model_version(round),
        rank=row.rank,
        size=size,
        interface=interfaces.understood(queue.interface),
    )


def _answers(
    project: Project, round: RoundRecord, queue: RemoteQueue, there: dict[int, int]
) -> dict[int, tuple[int, int]]:
    """Image id and number of answers by task id, of those that are to get more than one."""
    ids = list(there)
    with project.catalog.read() as reading:
        rows = rounds.ledger(reading, round.id, queue=queue.queue, image_ids=ids)
        before = remote.overlaps(reading, queue.id, ids)
    wanted = {row.image_id: row.answers for row in rows}
    if queue.queue == "reserve":
        for image_id in _answered_twice(project, ids):
            wanted[image_id] = max(2, wanted[image_id])
    return {
        there[image_id]: (image_id, most)
        for image_id, count in wanted.items()
        if (most := max(count, before.get(image_id, 1))) > 1
    }


def _answered_twice(project: Project, image_ids: list[int]) -> list[int]:
    with project.catalog.read() as reading:
        draws = image_rows.draws(reading, image_ids)
    # The lowest bit tells the halves apart; the next ones are as random and independent of it.
    return [key for key in image_ids if (draws[key] >> 1) % SECOND_ANSWERS == 0]


def pull(project: Project, connection: Connection, *, report: Report = silent) -> dict[str, Any]:
    """Brings every answer given since the last pull into the catalog, and the labels up to it.

    Where what was said leaves an image open, one person more is asked.

    Returns:
        images: how many images have changed answers; annotations: how many answers stand now;
        asked_again: how many images go to more people; paused: the names of annotators who were
        paused for what they said to gold questions; each only where it is so;
        kept_after_restore: only where Label Studio's database was brought back from a backup, how
        many answers it has lost that are kept here.
    """
    changed: set[int] = set()
    kept = 0
    for found in queues.find(project, connection).values():
        queue, lost = backups.mend(project, connection, found)
        kept += lost
        if lost:
            with project.catalog.write() as writing:
                remote.forget_overlaps(writing, queue.id)
        changed |= answers.pull(project, connection, queue, report=report)
    asked: dict[str, Any] = {}
    if changed or kept:
        asked = ask_again(project, connection, among=None if kept else changed)
    with project.catalog.read() as reading:
        standing = annotations.count(reading, project.id)
    result = {"images": len(changed), "annotations": standing, **asked}
    return result | {"kept_after_restore": kept} if kept else result


def ask_again(
    project: Project, connection: Connection, *, among: set[int] | None = None
) -> dict[str, Any]:
    """Follows from the answers as they stand: who is paused, and what more people are asked.

    Args:
        project: whose answers.
        connection: to where.
        among: only these images, which is faster; all if none are given.

    Returns:
        asked_again, paused: as `pull` does.
    """
    paused = golds.pause_who_errs(project, connection)
    if among is not None:
        among = among.union(golds.under_asked(project), *paused.values())
    asked = overlap.bring_up_to_date(project, connection, among=among)
    found: dict[str, Any] = {"asked_again": asked} if asked else {}
    return found | ({"paused": list(paused)} if paused else {})


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


def take_over(project: Project, connection: Connection) -> int:
    """Goes on with the projects that another copy of this workspace keeps, which stops by itself.

    Returns:
        How many were another copy's.
    """
    theirs = [connection.project(queue.remote_id) for queue in queues.bound(project)]
    return sum(ownership.take_over(project, connection, there) for there in theirs)


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
    opinions.send(project, connection, shelf=shelf, report=report)
    ask_again(project, connection)
    return {"projects": len(gone), "images": sent}


def _send_again(
    project: Project, connection: Connection, queue: RemoteQueue, *, shelf: Shelf, report: Report
) -> int:
    with project.catalog.read() as reading:
        ended = [one for one in rounds.every(reading, project.id) if one.state != "running"]
    newest_first: list[tuple[RoundRecord, int, Sent]] = []
    later = np.array([], dtype=np.int64)
    for round in reversed(ended):
        with project.catalog.read() as reading:
            sent = rounds.sent(reading, round.id, queue.queue)
        last = ~np.isin(sent.ids, later)
        newest_first.append((round, len(sent.ids), Sent(sent.ids[last], sent.pushed[last])))
        later = np.union1d(later, sent.ids)
    made = 0
    for round, size, last_sent in reversed(newest_first):
        again = _push(
            project, connection, queue, round, last_sent, shelf=shelf, report=report, size=size
        )
        if again and queue.queue == "batch":
            push.put_in_order(connection, queue, model_version(round))
        made += again
    return made
