"""Many images of one class accepted in one act, as the answers of the person who looked at them.

Each becomes a pre-label and an answer that accepts it, in a task of the batch queue's project that
is made where there is none. What was asked for is written down first, so that an act that was cut
short can be taken back as well.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curation.catalog import audit, plans, remote, suggested
from curation.catalog.bulk import batched
from curation.catalog.prelabels import BULK
from curation.catalog.remote import RemoteQueue
from curation.catalog.rounds import Sent
from curation.errors import InputError
from curation.progress import Report, silent
from curation.workspace import Project
from labeling import answers, interfaces, push, queues, tasks
from labeling.connection import Connection
from labeling.push import Parcel
from labeling.queues import Shelf
from labeling.remote import RemoteAnnotation, RemoteTask, RemoteUser

KIND = "bulk"
UNDONE = "bulk-undone"
MOST = 1000


@dataclass(frozen=True)
class Act:
    """One acceptance, done or only begun.

    Attributes:
        id: by which it can be taken back.
        class_id: that the images were accepted as.
        image_ids: of the images.
        user_id: Label Studio's, of the person whose answers they are.
    """

    id: int
    class_id: int
    image_ids: tuple[int, ...]
    user_id: int

    @property
    def version(self) -> str:
        """What its pre-labels are called."""
        return f"{BULK}{self.id}"


def accept(
    project: Project,
    connection: Connection,
    image_ids: Sequence[int],
    class_id: int,
    *,
    shelf: Shelf,
    user: RemoteUser,
    seconds: float | None = None,
    report: Report = silent,
) -> tuple[Act | None, int]:
    """Gives these images a class, as answers of a person.

    Images that were labeled, set aside or drawn into the reserve meanwhile are passed over.

    Args:
        project: whose images they are; its task is not `boxes`.
        connection: to where, as somebody who may answer for others.
        image_ids: at most `MOST`.
        class_id: of the class.
        shelf: where Label Studio reads images from.
        user: the person.
        seconds: that all of it took the person.
        report: told how many are done.

    Returns:
        The act, by which it can be undone, and how many images were accepted; no act for none.

    Raises:
        InputError: too many images, or of boxes.
        LabelStudioError: something of it was refused; `undo` takes back what is there.
    """
    if project.record.task == "boxes":
        raise InputError(
            f"{project.record.name!r} holds boxes, which nobody can accept for many images at "
            "once. Draw them in Label Studio: `labelloop label send`."
        )
    if len(image_ids) > MOST:
        raise InputError(f"{len(image_ids):,} images at once; accept at most {MOST:,}.")
    queue = queues.ensure(project, connection, "batch")
    with project.catalog.write() as writing:
        there = suggested.still_open(writing, list(image_ids))
        chosen = tuple(dict.fromkeys(key for key in image_ids if key in there))
        if not chosen:
            return None, 0
        settings = {"class": class_id, "images": list(chosen), "user": user.id}
        act = Act(plans.keep(writing, project.id, KIND, settings), class_id, chosen, user.id)
        _note(writing, project, act, "bulk-accept", user)
    push.send(
        project,
        connection,
        queue,
        Sent(np.array(chosen, dtype=np.int64), np.zeros(len(chosen), dtype=np.bool_)),
        _wrapped(project, queue, act),
        shelf=shelf,
        done=lambda there: None,
    )
    each = None if seconds is None else seconds / len(chosen)
    for done, task in enumerate(_tasks(project, connection, queue, act)):
        report(done, len(chosen), "accept")
        if not _theirs(task, act):
            _answer(connection, task, act, user, seconds=each)
    answers.store(project, connection, queue, list(_tasks(project, connection, queue, act)))
    return act, len(chosen)


def undo(project: Project, connection: Connection, act: Act, *, report: Report = silent) -> int:
    """Takes an acceptance back: its answers, and the tasks that were made for it.

    What somebody has changed since stays.

    Returns:
        How many answers were taken back.
    """
    queue = queues.ensure(project, connection, "batch")
    taken = 0
    for task in list(_tasks(project, connection, queue, act)):
        report(taken, len(act.image_ids), "take back")
        for one in _theirs(task, act):
            connection.delete_annotation(one.id)
            taken += 1
    left = list(_tasks(project, connection, queue, act))
    answers.store(project, connection, queue, left)
    with project.catalog.read() as reading:
        image_of = remote.images_of_tasks(reading, queue.id, [task.id for task in left])
        asked = set(remote.waiting(reading, project.id, "batch"))
    # Nobody has asked for an answer to these but we.
    ours = [task for task in left if not task.annotations and image_of.get(task.id) not in asked]
    queues.forget_tasks(project, queue, [image_of[task.id] for task in ours if task.id in image_of])
    connection.delete_tasks([task.id for task in ours])
    with project.catalog.write() as writing:
        plans.keep(writing, project.id, UNDONE, {"act": act.id})
        audit.append(writing, project.id, act="bulk-undo", subject={"act": act.id, "count": taken})
    return taken


def newest(project: Project) -> Act | None:
    """The newest acceptance that was not taken back."""
    with project.catalog.read() as reading:
        rows = plans.latest(reading, project.id)
    undone = {row.settings["act"] for row in rows if row.kind == UNDONE}
    for row in rows:
        if row.kind == KIND and row.id not in undone:
            found = row.settings
            return Act(row.id, found["class"], tuple(found["images"]), found["user"])
    return None


def _note(writing: Any, project: Project, act: Act, name: str, user: RemoteUser) -> None:
    subject = {
        "act": act.id,
        "class": project.record.class_names((act.class_id,))[0],
        "count": len(act.image_ids),
        "person": user.name,
    }
    audit.append(writing, project.id, act=name, subject=subject)


def _wrapped(project: Project, queue: RemoteQueue, act: Act) -> Callable[[list[int]], list[Parcel]]:
    interface = interfaces.understood(queue.interface)
    names = project.record.class_names((act.class_id,))
    rank = {key: number for number, key in enumerate(act.image_ids)}

    def wrap(image_ids: list[int]) -> list[Parcel]:
        return [
            Parcel(
                key,
                tasks.prediction(
                    names,
                    confidence=None,
                    model_version=act.version,
                    rank=rank[key],
                    size=len(rank),
                    interface=interface,
                ),
            )
            for key in image_ids
        ]

    return wrap


def _tasks(
    project: Project, connection: Connection, queue: RemoteQueue, act: Act
) -> Iterator[RemoteTask]:
    """The tasks of an act's images that hold its pre-label."""
    with project.catalog.read() as reading:
        known = remote.tasks_of(reading, queue.id, act.image_ids)
    # Far apart only where tasks of long ago are among them.
    for part in batched(sorted(known.values()), push.PUSHED_AT_ONCE):
        wanted = set(part)
        for task in connection.predicted_tasks(
            queue.remote_id, act.version, first=part[0], last=part[-1]
        ):
            if task.id in wanted:
                yield task


def _hint(task: RemoteTask, act: Act) -> int:
    return next(int(one["id"]) for one in task.predictions if one["model_version"] == act.version)


def _theirs(task: RemoteTask, act: Act) -> list[RemoteAnnotation]:
    """The answers of the act to a task, unless they were changed since."""
    return [
        one
        for one in task.annotations
        if one.parent_prediction == _hint(task, act) and one.origin == "prediction"
    ]


def _answer(
    connection: Connection,
    task: RemoteTask,
    act: Act,
    user: RemoteUser,
    *,
    seconds: float | None,
) -> None:
    hint = next(one for one in task.predictions if one["model_version"] == act.version)
    connection.answer_for(
        user.id,
        task.id,
        [{**part, "origin": "prediction"} for part in hint["result"]],
        parent_prediction=int(hint["id"]),
        lead_time=seconds,
    )
