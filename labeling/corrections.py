"""The correction queue: labels in doubt go to a reviewer, whose answer decides.

A task shows the label as it is, chosen already, so that one key accepts it, and says above the
image why it is in doubt. Like every queue it can be offered again at any point: the ledger is
written first, and what is there already is found.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from curation.catalog import corrections as ledger
from curation.catalog import images, labels, remote
from curation.catalog.corrections import Doubt, Listed
from curation.catalog.remote import RemoteQueue
from curation.catalog.rounds import Sent
from curation.progress import Report, silent
from curation.workspace import Project
from labeling import answers, interfaces, push, queues, tasks
from labeling.connection import Connection
from labeling.interfaces import Interface
from labeling.push import Parcel
from labeling.queues import Shelf
from labeling.tasks import Rectangle


def offer(
    project: Project,
    connection: Connection,
    rows: Sequence[Doubt],
    *,
    shelf: Shelf,
    most: int | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """Puts labels in doubt before reviewers, worst first; twice is the same as once.

    What still waits of earlier offers keeps its place by its score among the new ones. A label that
    a reviewer has judged is not asked again until it changes.

    Args:
        project: whose labels they are.
        connection: to where.
        rows: the doubts; those that come first are taken first.
        shelf: where Label Studio reads images from.
        most: how many may wait in all, before nothing more is taken.
        report: told how many are there.

    Returns:
        offered: how many are new; already: how many wait already, or were judged as they are;
        left_out: how many are labeled otherwise by now, cannot be shown, or are in the reserve,
        where people answer without a hint; waiting: how many the queue holds now; url: where they
        are answered, empty if there never was anything to ask.

    Raises:
        LabelStudioError: something of it was refused; what is there already is found at the next
            call.
    """
    queue = queues.find(project, connection).get("correction")
    if queue is not None:
        answers.pull(project, connection, queue, report=report)
    with project.catalog.read() as reading:
        decision = ledger.decide(reading, project.id, rows, most=most)
    if queue is not None:
        _take_back(project, connection, queue, {*decision.fresh, *decision.outdated})
    with project.catalog.write() as writing:
        ledger.write(writing, project.id, decision)
        begun = bool(ledger.newest(writing, project.id))
    if begun:
        queue = queues.ensure(project, connection, "correction")
        send(project, connection, queue, shelf=shelf, report=report)
    with project.catalog.read() as reading:
        waiting = ledger.waiting(reading, project.id)
    return {
        "offered": len(decision.fresh),
        "already": decision.already,
        "left_out": decision.left_out,
        "waiting": len(waiting),
        "url": f"{connection.url}/projects/{queue.remote_id}/data?labeling=1" if queue else "",
    }


def withdraw(project: Project, connection: Connection) -> int:
    """Takes back the tasks of labels that need no review any more, or must not be shown.

    They were labeled otherwise meanwhile, set aside, or drawn into the reserve.

    Returns:
        How many were taken back.
    """
    queue = queues.find(project, connection).get("correction")
    if queue is None:
        return 0
    with project.catalog.read() as reading:
        outdated = set(ledger.outdated(reading, project.id))
        gone = outdated & set(remote.tasks(reading, queue.id))
    _take_back(project, connection, queue, gone)
    return len(gone)


def send(
    project: Project,
    connection: Connection,
    queue: RemoteQueue,
    *,
    shelf: Shelf,
    report: Report = silent,
) -> int:
    """Sends what of the newest list is not there yet, and has it served in the list's order.

    Returns:
        How many tasks were made.
    """
    with project.catalog.read() as reading:
        listed = ledger.newest(reading, project.id)
        waiting = set(ledger.waiting(reading, project.id))
    if not waiting:
        return 0
    number = listed[0].number
    interface = interfaces.understood(queue.interface)
    rows = {row.doubt.image_id: row for row in listed if row.doubt.image_id in waiting}

    def wrap(image_ids: list[int]) -> list[Parcel]:
        drawn = _drawn(project, image_ids, interface)
        return [
            _parcel(project, interface, rows[key], len(listed), drawn.get(key, []))
            for key in image_ids
        ]

    def done(there: dict[int, int]) -> None:
        with project.catalog.write() as writing:
            ledger.mark_pushed(writing, project.id, number, list(there))

    sent = Sent(
        np.array(list(rows), dtype=np.int64),
        np.array([row.pushed for row in rows.values()], dtype=np.bool_),
    )
    made = push.send(project, connection, queue, sent, wrap, shelf=shelf, done=done, report=report)
    push.put_in_order(connection, queue, _version(number))
    return made


def _version(number: int) -> str:
    """What the pre-labels of a list are called; only those of the newest are shown."""
    return f"review-{number}"


def _drawn(
    project: Project, image_ids: Sequence[int], interface: Interface
) -> dict[int, list[dict[str, Any]]]:
    """The boxes of these images as a pre-label holds them, where they have some."""
    with project.catalog.read() as reading:
        boxes = labels.boxes_of(reading, image_ids)
        known = images.get_many(reading, list(boxes))
    name_of = dict(zip(project.record.class_ids, project.record.classes, strict=True))
    return {
        key: tasks.drawn(
            [
                Rectangle(name_of[box.class_id], box.x, box.y, box.width, box.height)
                for box in boxes[key]
            ],
            size=(image.width, image.height),
            interface=interface,
        )
        for key, image in known.items()
        if image.width and image.height
    }


def _parcel(
    project: Project, interface: Interface, row: Listed, size: int, boxes: list[dict[str, Any]]
) -> Parcel:
    return Parcel(
        row.doubt.image_id,
        prediction=tasks.prediction(
            project.record.class_names(row.doubt.classes),
            confidence=None,
            model_version=_version(row.number),
            rank=row.rank,
            size=size,
            boxes=boxes,
            interface=interface,
        ),
        reason=_reason(project, row.doubt),
    )


def _reason(project: Project, doubt: Doubt) -> str:
    """The doubt in one line, which names the label and the suggestion in any case."""
    label = project.record.class_names(doubt.classes)
    suggested = () if doubt.suggested_class_id is None else (doubt.suggested_class_id,)
    hint = project.record.class_names(suggested)
    if all(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", doubt.reason) for name in label + hint):
        return doubt.reason or "labeled with none of the classes"
    said = ", ".join(label) or "with none of the classes"
    words = f"labeled {said}" + "".join(f", suggested {name}" for name in hint)
    return f"{words}: {doubt.reason}" if doubt.reason else words


def _take_back(
    project: Project, connection: Connection, queue: RemoteQueue, image_ids: set[int]
) -> None:
    """Removes the tasks of these images, which show a label that they do not bear any more.

    A person who answered a task is never given it again, so who is to be asked anew needs a new
    one. What was answered is brought in first, and stays. A task that a kill left without its image
    bound to it is found by its mark.
    """
    if not image_ids:
        return
    seed = project.record.seed
    former = {
        task_id: image_id
        for task_id, said in connection.task_ids(queue.remote_id)
        if (image_id := tasks.marked(said, seed)) is not None and image_id in image_ids
    }
    answers.store(project, connection, queue, [connection.task(task_id) for task_id in former])
    queues.forget_tasks(project, queue, sorted(image_ids))
    connection.delete_tasks(former)
