"""The Label Studio project behind each queue, and how its images are shown.

A queue's project is made once and found again afterwards, also when the server moved to another
port. Its labeling interface follows the project's classes, and what was changed there by hand is
kept. The batch's and the corrections' are ordered by the scores of their pre-labels, the reserve's
by its tasks' numbers.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from curation.catalog import Connection as Catalog
from curation.catalog import annotations, projects, remote
from curation.catalog import images as image_rows
from curation.catalog.remote import RemoteQueue
from curation.errors import LabelStudioError, LabelStudioProjectGone
from curation.records import Place, ProjectRecord, Queue, Task
from curation.workspace import Project
from labeling import following, instructions, interfaces, origins, ownership, server, tasks
from labeling.connection import Connection
from labeling.remote import RemoteProject
from labeling.tasks import image_url

TITLES: dict[Queue, str] = {
    "batch": "{}",
    "reserve": "{} (reserve)",
    "correction": "{} (corrections)",
}
LONGEST_TITLE = 50


@dataclass(frozen=True)
class Shelf:
    """Where Label Studio reads images from.

    Attributes:
        server_folder: data folder of our own server, in which image folders are linked; none for
            an existing server.
        document_root: of an existing server, as seen from here; images must lie below it.
    """

    server_folder: Path | None = None
    document_root: Path | None = None


def find(project: Project, connection: Connection) -> dict[Queue, RemoteQueue]:
    """The queues that have a project on this server, with the classes and guidelines of now.

    Raises:
        LabelStudioProjectGone: a queue's project was deleted there.
        LabelStudioError: it is another server, or the interface was changed by hand.
    """
    found: dict[Queue, RemoteQueue] = {}
    for queue in bound(project):
        there = _its_project(project, connection, queue)
        if queue.url != connection.url:
            with project.catalog.write() as writing:
                remote.move(writing, queue.id, connection.url)
        found[queue.queue] = _brought_up_to_date(project, connection, queue, there)
        instructions.bring_up_to_date(project, connection, there)
    return found


def bound(project: Project) -> list[RemoteQueue]:
    """The queues that are bound to a project, wherever it is."""
    with project.catalog.read() as reading:
        return remote.every(reading, project.id)


def vanished(project: Project, connection: Connection) -> list[RemoteQueue]:
    """The queues whose project is not on this server."""
    gone = []
    for queue in bound(project):
        try:
            if not is_at(project, connection, queue, connection.project(queue.remote_id)):
                gone.append(queue)
        except LabelStudioProjectGone:
            gone.append(queue)
    return gone


def _its_project(project: Project, connection: Connection, queue: RemoteQueue) -> RemoteProject:
    try:
        there = connection.project(queue.remote_id)
    except LabelStudioProjectGone as error:
        raise LabelStudioProjectGone(
            f"Label Studio's project {queue.remote_id} for the {queue.queue} queue was deleted. "
            "All answers pulled so far are safe. `labelloop label rebuild` makes a new one from "
            "the catalog."
        ) from error
    if not is_at(project, connection, queue, there):
        raise LabelStudioError(
            f"The Label Studio at {connection.url} is another one than before ({queue.url}): its "
            f"project {queue.remote_id} is {there.title!r}. Connect to the former one, or run "
            "`labelloop label rebuild`."
        )
    return ownership.check(project, connection, there, queue.queue)


def is_at(
    project: Project, connection: Connection, queue: RemoteQueue, there: RemoteProject
) -> bool:
    """Whether this is the project that the queue was bound to, and not another of its number."""
    if ownership.is_of_another_project(project, there):
        return False
    if queue.url == connection.url or there.title == _title(project, queue.queue):
        return True
    with project.catalog.read() as reading:
        known = remote.tasks(reading, queue.id)
    if not known:
        return False
    image_id, task_id = max(known.items(), key=lambda pair: pair[1])
    said = next(connection.task_ids(queue.remote_id, after=task_id - 1), (0, None))
    ours = tasks.mark(project.record.seed, image_id)
    # A project that was taken over shows tasks which bear no mark of ours.
    return said[0] == task_id and said[1] in (ours, None)


def _brought_up_to_date(
    project: Project, connection: Connection, queue: RemoteQueue, there: RemoteProject
) -> RemoteQueue:
    """The queue once its project has the interface that it should have.

    Raises:
        LabelStudioError: somebody changed what matters to labels.
    """
    record, queue = _now(project, queue)
    wanted = _interface(record, queue)
    if interfaces.differences(there.label_config, queue.interface):
        # Another process may be changing it: what we knew may be older than what we were told.
        there = connection.project(queue.remote_id)
        record, queue = _now(project, queue)
        wanted = _interface(record, queue)
        changes = interfaces.differences(there.label_config, queue.interface)
        # Somebody may have done by hand what was to be done, or a kill came in between.
        if changes and not interfaces.matches(there.label_config, wanted):
            raise LabelStudioError(
                f"The labeling interface of Label Studio's project {there.id} was changed by hand: "
                f"{'; '.join(change.rstrip('.') for change in changes)}. Put it back there "
                "(Settings, Labeling Interface); nothing was overwritten."
            )
    if wanted == queue.interface:
        return queue
    sent = following.change(there.label_config, known=queue.interface, wanted=wanted)
    if sent is not None:
        connection.update_project(
            there.id, label_config=sent, allows_empty=_allows_empty(record.task)
        )
    with project.catalog.write() as writing:
        remote.set_interface(writing, queue.id, wanted)
    return replace(queue, interface=wanted)


def _now(project: Project, queue: RemoteQueue) -> tuple[ProjectRecord, RemoteQueue]:
    """Classes and queue in one look: both may have changed since this process began."""
    with project.catalog.read() as reading:
        record = projects.get(reading, project.id)
        every = remote.every(reading, project.id)
    return record, next((one for one in every if one.id == queue.id), queue)


def _interface(record: ProjectRecord, queue: RemoteQueue) -> str:
    return following.wanted(record, queue.interface, says_why=queue.queue == "correction")


def _allows_empty(task: Task) -> bool:
    """Whether an answer without anything means none of the classes."""
    return task != "single-label"


def ensure(project: Project, connection: Connection, queue: Queue) -> RemoteQueue:
    """The queue's project, made if there is none yet."""
    found = find(project, connection)
    return found[queue] if queue in found else _make(project, connection, queue)


def renew(project: Project, connection: Connection, former: RemoteQueue) -> RemoteQueue:
    """A new project for a queue whose own has vanished; what people answered there stays."""
    return _make(project, connection, former.queue, former=former)


def _make(
    project: Project, connection: Connection, queue: Queue, *, former: RemoteQueue | None = None
) -> RemoteQueue:
    with project.catalog.read() as reading:
        record = projects.get(reading, project.id)
    xml = following.fresh(record, says_why=queue == "correction")
    title = _title(project, queue)
    # A project that was made just before a kill is empty and ours by title and interface.
    taken = {one.remote_id for one in bound(project)}
    made = next(
        (
            there
            for there in connection.projects()
            if there.title == title
            and interfaces.matches(there.label_config, xml)
            and not there.task_count
            and there.id not in taken
            and ownership.is_free(project, there)
        ),
        None,
    ) or connection.create_project(
        title,
        xml,
        description=ownership.ours(project).sentence(),
        sampling="sequential" if queue == "reserve" else "uncertainty",
        show_predictions=queue != "reserve",
        allows_empty=_allows_empty(record.task),
    )
    instructions.bring_up_to_date(project, connection, made)
    with project.catalog.write() as writing:
        if former is not None:
            _forget(writing, project, former, list(remote.tasks(writing, former.id)))
        return remote.put(
            writing, project.id, queue, url=connection.url, remote_id=made.id, interface=xml
        )


def bind_tasks(project: Project, queue: RemoteQueue, found: dict[int, int]) -> None:
    """Remembers task ids by image id; numbers of deleted tasks are given out again by SQLite."""
    with project.catalog.write() as writing:
        before = remote.images_of_tasks(writing, queue.id, list(found.values()))
        replaced = [image for task_id, image in before.items() if found.get(image) != task_id]
        _forget(writing, project, queue, replaced)
        remote.forget_tasks(writing, queue.id, list(found))
        remote.add_tasks(writing, queue.id, found)


def forget_tasks(project: Project, queue: RemoteQueue, image_ids: list[int]) -> None:
    """Forgets tasks that are gone, and keeps what people answered in them."""
    if image_ids:
        with project.catalog.write() as writing:
            _forget(writing, project, queue, image_ids)


def _forget(writing: Catalog, project: Project, queue: RemoteQueue, image_ids: list[int]) -> None:
    remote.forget_tasks(writing, queue.id, image_ids)
    annotations.detach(writing, project.id, image_ids, queue.queue)


def _title(project: Project, queue: Queue) -> str:
    # Cut in the name, so that what tells the queues apart stays.
    room = LONGEST_TITLE - len(TITLES[queue].format(""))
    return TITLES[queue].format(project.record.name[:room]).ljust(3, ".")


def show_images(
    project: Project,
    connection: Connection,
    queue: RemoteQueue,
    image_ids: list[int],
    shelf: Shelf,
    *,
    served: dict[Path, str] | None = None,
) -> dict[int, tuple[str, str]]:
    """Lets a queue's project show these images without copying them.

    Args:
        project: whose images they are.
        connection: to where.
        queue: whose project shows them.
        image_ids: of the images.
        shelf: where Label Studio reads them from.
        served: the folders that are served already; those that come to it are added, so that a
            call for the next part of many images need not look through them again.

    Returns:
        Name and address of each image, by id.

    Raises:
        LabelStudioError: the images are not below an existing server's document root.
        InputError: a folder cannot be served safely.
    """
    with project.catalog.read() as reading:
        places = image_rows.places(reading, image_ids)
        records = image_rows.get_many(reading, image_ids)
    served = {} if served is None else served
    shown: dict[int, tuple[str, str]] = {}
    for image_id, place in places.items():
        adopted = origins.address(records[image_id].origin)
        if adopted and shelf.server_folder is None:
            # An existing server has the image already, and need not be able to read our copy.
            shown[image_id] = (place.name, adopted)
            continue
        root = _root(project, place)
        if root not in served:
            served[root] = _serve(project, connection, queue, root, place, shelf)
        below = os.path.relpath(place.location, root)
        shown[image_id] = (place.name, image_url(served[root], below))
    return shown


def _root(project: Project, place: Place) -> Path:
    copies = project.workspace.path / "images"
    return copies if Path(place.location).is_relative_to(copies) else Path(place.source)


def _serve(
    project: Project,
    connection: Connection,
    queue: RemoteQueue,
    root: Path,
    place: Place,
    shelf: Shelf,
) -> str:
    if shelf.server_folder is not None:
        name = "copies" if root.name == "images" and root.parent == project.workspace.path else ""
        name = name or f"source-{place.source_id}"
        link = server.serve_folder(shelf.server_folder, name, root)
        connection.add_local_storage(queue.remote_id, link)
        return name
    document_root = shelf.document_root
    if document_root is None or not root.resolve().is_relative_to(document_root.resolve()):
        raise LabelStudioError(
            f"The Label Studio at {connection.url} cannot show {root}: it must lie below that "
            "server's LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT. Tell labelloop that folder with "
            "`labelloop up --label-studio-root DIR`, and import from below it."
        )
    connection.add_local_storage(queue.remote_id, root.resolve())
    return root.resolve().relative_to(document_root.resolve()).as_posix()
