"""Sending images to people: what a ledger holds becomes tasks.

Sending can be repeated at any point: images that have a task are known by their mark in the task's
data, and are looked for before anything is sent.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from curation.catalog import remote
from curation.catalog.bulk import batched
from curation.catalog.remote import RemoteQueue
from curation.errors import LabelStudioError
from curation.progress import Report, silent
from curation.workspace import Project
from labeling import interfaces, queues, tasks
from labeling.connection import Connection, validation_errors
from labeling.queues import Shelf

PUSHED_AT_ONCE = 1000


@dataclass(frozen=True)
class Parcel:
    """One image of a ledger on its way to people.

    Attributes:
        image_id: of the image.
        pushed: whether the ledger says that it went out.
        prediction: the pre-label that also gives it its place, or none.
        reason: what its task says about why it is asked; empty for queues that do not show it.
    """

    image_id: int
    pushed: bool
    prediction: dict[str, Any] | None = None
    reason: str = ""


def send(
    project: Project,
    connection: Connection,
    queue: RemoteQueue,
    parcels: Sequence[Parcel],
    *,
    shelf: Shelf,
    done: Callable[[dict[int, int]], None],
    report: Report = silent,
) -> int:
    """Sends what is not there yet.

    Args:
        project: whose images they are.
        connection: to where.
        queue: into which of its projects.
        parcels: the whole ledger, in its order.
        shelf: where Label Studio reads images from.
        done: told the task ids by image id of each part that is there; notes it in the ledger.
        report: told how many of the ledger are there.

    Returns:
        How many tasks were made.
    """
    known = _reconcile(project, connection, queue, {parcel.image_id for parcel in parcels})
    with project.catalog.read() as reading:
        waiting = set(remote.waiting(reading, project.id, queue.queue))
    # What was pushed and is gone, with its project or by hand, goes out again while it is wanted.
    pending = [
        parcel
        for parcel in parcels
        if not parcel.pushed or (parcel.image_id not in known and parcel.image_id in waiting)
    ]
    shown = queues.show_images(
        project,
        connection,
        queue,
        [parcel.image_id for parcel in pending if parcel.image_id not in known],
        shelf,
    )
    interface = interfaces.understood(queue.interface)
    _validate(queue, [parcel.prediction for parcel in pending if parcel.prediction])
    made = 0
    there = len(parcels) - len(pending)
    for batch in batched(pending, PUSHED_AT_ONCE):
        fresh = [parcel for parcel in batch if parcel.image_id not in known]
        numbers = connection.import_tasks(
            queue.remote_id,
            [
                tasks.task(
                    tasks.mark(project.record.seed, parcel.image_id),
                    name=shown[parcel.image_id][0],
                    url=shown[parcel.image_id][1],
                    predictions=[parcel.prediction] if parcel.prediction else [],
                    reason=parcel.reason,
                    interface=interface,
                )
                for parcel in fresh
            ],
        )
        added = {parcel.image_id: number for parcel, number in zip(fresh, numbers, strict=True)}
        queues.bind_tasks(project, queue, added)
        connection.import_predictions(
            queue.remote_id, list(_missing_predictions(connection, batch, known))
        )
        done({parcel.image_id: (known | added)[parcel.image_id] for parcel in batch})
        made += len(fresh)
        there += len(batch)
        report(there, len(parcels), f"push {queue.queue}")
    return made


def put_in_order(connection: Connection, queue: RemoteQueue, model_version: str) -> None:
    """Serves the images by these pre-labels, also in a project that was served otherwise."""
    connection.update_project(
        queue.remote_id, sampling="uncertainty", model_version=model_version, show_predictions=True
    )


def _validate(queue: RemoteQueue, predictions: list[dict[str, Any]]) -> None:
    wrong = validation_errors(queue.interface, [p for p in predictions if p["result"]])
    if wrong:
        raise LabelStudioError(
            f"{len(wrong)} pre-labels do not fit the labeling interface; the first: {wrong[0][1]}. "
            "Nothing was pushed."
        )


def _missing_predictions(
    connection: Connection, batch: Sequence[Parcel], known: dict[int, int]
) -> Iterable[dict[str, Any]]:
    """Pre-labels for images whose task was there before, unless they have them."""
    for parcel in batch:
        hint = parcel.prediction
        if parcel.image_id not in known or not hint:
            continue
        task = connection.task(known[parcel.image_id])
        version = hint["model_version"]
        if not any(found.get("model_version") == version for found in task.predictions):
            yield {"task": task.id, **hint}


def _reconcile(
    project: Project, connection: Connection, queue: RemoteQueue, image_ids: set[int]
) -> dict[int, int]:
    """Task ids by image id, including tasks of an earlier push whose reply was lost."""
    with project.catalog.read() as reading:
        known = remote.tasks(reading, queue.id)
    wanted = image_ids - set(known)
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
