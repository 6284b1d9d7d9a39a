"""Sending images to people: what a ledger holds becomes tasks.

Sending can be repeated at any point: images that have a task are known by their mark in the task's
data, and are looked for before anything is sent. A ledger may be as long as the project: of all of
it only the ids are held, of the rest one part at a time.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.catalog import remote
from curation.catalog.bulk import batched
from curation.catalog.remote import RemoteQueue
from curation.catalog.rounds import Sent
from curation.errors import LabelStudioError
from curation.progress import Report, silent
from curation.workspace import Project
from labeling import interfaces, queues, tasks
from labeling.connection import Connection, validation_errors
from labeling.queues import Shelf

PUSHED_AT_ONCE = 1000

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Parcel:
    """One image of a ledger on its way to people.

    Attributes:
        image_id: of the image.
        prediction: the pre-label that also gives it its place, or none.
        reason: what its task says about why it is asked; empty for queues that do not show it.
    """

    image_id: int
    prediction: dict[str, Any] | None = None
    reason: str = ""


Wrap = Callable[[list[int]], list[Parcel]]
"""Makes parcels of at most `PUSHED_AT_ONCE` images of a ledger, in their order."""


def send(
    project: Project,
    connection: Connection,
    queue: RemoteQueue,
    ledger: Sent,
    wrap: Wrap,
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
        ledger: all of it, in its order.
        wrap: makes parcels of a part of it; called twice for each part that is sent.
        shelf: where Label Studio reads images from.
        done: told the task ids by image id of each part that is there; notes it in the ledger.
        report: told how many of the ledger are there.

    Returns:
        How many tasks were made.

    Raises:
        LabelStudioError: a pre-label does not fit the interface, and nothing was pushed; or
            something was refused, and what is there already is found at the next call.
    """
    pending = _pending(project, connection, queue, ledger)
    _validate(queue, (parcel for part in _parts(pending) for parcel in wrap(part)))
    packing = _Packing(project, connection, queue, shelf, wrap)
    made, there = 0, len(ledger.ids) - len(pending)

    def arrived(load: _Load, numbers: list[int]) -> None:
        nonlocal made, there
        added = dict(zip(load.fresh, numbers, strict=True))
        queues.bind_tasks(project, queue, added)
        done({image_id: (load.known | added)[image_id] for image_id in load.image_ids})
        made += len(added)
        there += len(load.image_ids)
        report(there, len(ledger.ids), f"push {queue.queue}")

    # One part is on its way while the next is made ready and the one before is written down.
    with ThreadPoolExecutor(1, thread_name_prefix="push") as road:
        on_its_way: tuple[_Load, Future[list[int]]] | None = None
        for part in _parts(pending):
            load = packing.pack(part)
            before, numbers = on_its_way, on_its_way[1].result() if on_its_way else []
            on_its_way = load, road.submit(_carry, connection, queue, load)
            if before:
                arrived(before[0], numbers)
        if on_its_way:
            arrived(on_its_way[0], on_its_way[1].result())
    return made


@dataclass(frozen=True, slots=True)
class _Load:
    """One part of a ledger as Label Studio is sent it.

    Attributes:
        image_ids: all of its images.
        known: the tasks of those that have one, by image id.
        fresh: images of the tasks to make, in their order.
        tasks: to make.
        predictions: of tasks that are there.
    """

    image_ids: list[int]
    known: dict[int, int]
    fresh: list[int]
    tasks: list[dict[str, Any]]
    predictions: list[dict[str, Any]]


def _carry(connection: Connection, queue: RemoteQueue, load: _Load) -> list[int]:
    """Sends it; returns the numbers of the tasks that were made."""
    numbers = connection.import_tasks(queue.remote_id, load.tasks)
    connection.import_predictions(queue.remote_id, load.predictions)
    return numbers


class _Packing:
    """Makes parts of a ledger ready, one after the other."""

    def __init__(
        self,
        project: Project,
        connection: Connection,
        queue: RemoteQueue,
        shelf: Shelf,
        wrap: Wrap,
    ) -> None:
        self._project = project
        self._connection = connection
        self._queue = queue
        self._shelf = shelf
        self._wrap = wrap
        self._interface = interfaces.understood(queue.interface)
        self._served: dict[Path, str] = {}
        # A call that was cut short left at most its last parts predicted and not noted.
        self._may_be_predicted = True

    def pack(self, image_ids: list[int]) -> _Load:
        """What is to be sent for these images."""
        parcels = self._wrap(image_ids)
        with self._project.catalog.read() as reading:
            known = remote.tasks_of(reading, self._queue.id, image_ids)
        fresh = [parcel for parcel in parcels if parcel.image_id not in known]
        hints = {
            known[parcel.image_id]: parcel.prediction
            for parcel in parcels
            if parcel.prediction and parcel.image_id in known
        }
        if hints and self._may_be_predicted:
            there = _predicted(self._connection, self._queue, hints)
            hints = {task_id: hint for task_id, hint in hints.items() if task_id not in there}
            self._may_be_predicted = bool(there)
        return _Load(
            image_ids=[parcel.image_id for parcel in parcels],
            known=known,
            fresh=[parcel.image_id for parcel in fresh],
            tasks=self._tasks(fresh),
            predictions=[{"task": task_id, **hint} for task_id, hint in hints.items()],
        )

    def _tasks(self, parcels: list[Parcel]) -> list[dict[str, Any]]:
        ids = [parcel.image_id for parcel in parcels]
        shown = queues.show_images(
            self._project, self._connection, self._queue, ids, self._shelf, served=self._served
        )
        return [
            tasks.task(
                tasks.mark(self._project.record.seed, parcel.image_id),
                name=shown[parcel.image_id][0],
                url=shown[parcel.image_id][1],
                predictions=[parcel.prediction] if parcel.prediction else [],
                reason=parcel.reason,
                interface=self._interface,
            )
            for parcel in parcels
        ]


def put_in_order(connection: Connection, queue: RemoteQueue, model_version: str) -> None:
    """Serves the images by these pre-labels, also in a project that was served otherwise."""
    connection.update_project(
        queue.remote_id, sampling="uncertainty", model_version=model_version, show_predictions=True
    )


def _parts(ids: Ids) -> Iterator[list[int]]:
    for start in range(0, len(ids), PUSHED_AT_ONCE):
        yield ids[start : start + PUSHED_AT_ONCE].tolist()


def _pending(project: Project, connection: Connection, queue: RemoteQueue, ledger: Sent) -> Ids:
    """What is to be sent: in the ledger's order, what was not yet, and what is gone since.

    What was pushed and is gone, with its project or by hand, goes out again while it is wanted.
    """
    _reconcile(project, connection, queue, ledger.ids)
    gone: list[int] = []
    with project.catalog.read() as reading:
        for part in _parts(ledger.ids[ledger.pushed]):
            known = remote.tasks_of(reading, queue.id, part)
            gone += [image_id for image_id in part if image_id not in known]
        if gone:
            waiting = set(remote.waiting(reading, project.id, queue.queue))
            gone = [image_id for image_id in gone if image_id in waiting]
    return ledger.ids[~ledger.pushed | np.isin(ledger.ids, np.array(gone, dtype=np.int64))]


def _reconcile(
    project: Project, connection: Connection, queue: RemoteQueue, image_ids: Ids
) -> None:
    """Finds the tasks of an earlier push whose reply was lost."""
    with project.catalog.read() as reading:
        newest = remote.newest_task(reading, queue.id)
    wanted = np.sort(image_ids)
    for page in batched(connection.task_ids(queue.remote_id, after=newest), PUSHED_AT_ONCE):
        found = {
            image_id: task_id
            for task_id, said in page
            if (image_id := tasks.marked(said, project.record.seed)) is not None
        }
        with project.catalog.read() as reading:
            known = remote.tasks_of(reading, queue.id, list(found))
        lost = {
            image_id: task_id
            for image_id, task_id in found.items()
            if image_id not in known and _holds(wanted, image_id)
        }
        if lost:
            queues.bind_tasks(project, queue, lost)


def _holds(ascending: Ids, wanted: int) -> bool:
    at = int(np.searchsorted(ascending, wanted))
    return at < len(ascending) and int(ascending[at]) == wanted


def _validate(queue: RemoteQueue, parcels: Iterable[Parcel]) -> None:
    """Raises LabelStudioError if a pre-label does not fit; looks once at each that is alike."""
    seen: set[tuple[str, ...]] = set()

    def unlike() -> Iterator[dict[str, Any]]:
        for parcel in parcels:
            if parcel.prediction and parcel.prediction["result"]:
                said = _said(parcel.prediction)
                if said is None or said not in seen:
                    seen.update([said] if said else [])
                    yield parcel.prediction

    wrong = validation_errors(queue.interface, unlike())
    if wrong:
        raise LabelStudioError(
            f"{len(wrong)} pre-labels do not fit the labeling interface; the first: {wrong[0][1]}. "
            "Nothing was pushed."
        )


def _said(prediction: dict[str, Any]) -> tuple[str, ...] | None:
    """What a pre-label says if it is nothing but classes; none if it draws something."""
    if any(part["type"] != "choices" for part in prediction["result"]):
        return None
    return tuple(name for part in prediction["result"] for name in part["value"]["choices"])


def _predicted(
    connection: Connection, queue: RemoteQueue, hints: dict[int, dict[str, Any]]
) -> set[int]:
    """Those of these tasks that have their pre-label already."""
    (version,) = {hint["model_version"] for hint in hints.values()}
    found = connection.predicted_tasks(queue.remote_id, version, first=min(hints), last=max(hints))
    return {task.id for task in found if task.id in hints}
