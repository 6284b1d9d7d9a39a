"""Take over a project that already lives in Label Studio, with its images and its annotations.

Streamed and repeatable: images are kept as copies named by their content, every batch of tasks is
one transaction, and doing it again adds what is new and looks again at what could not be read.
"""

import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from curation import files, images
from curation import workspace as workspaces
from curation.catalog import Connection as Catalog
from curation.catalog import annotations, audit, projects, remote
from curation.catalog import images as image_rows
from curation.catalog.bulk import batched
from curation.catalog.remote import RemoteQueue
from curation.errors import (
    InputError,
    LabelStudioError,
    LabelStudioProjectGone,
    LabelStudioUnreachable,
    NotFound,
    UnreadableImage,
)
from curation.images import Inspection
from curation.progress import Report, silent
from curation.records import NewImage
from curation.workspace import Project, Workspace
from labeling import answers, interfaces, origins, ownership, queues
from labeling.connection import Connection
from labeling.interfaces import Interface
from labeling.remote import RemoteProject, RemoteTask

AT_ONCE = 100
SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif"}
NAMED = 20


@dataclass
class Outcome:
    """What was taken over.

    Attributes:
        images: how many images the project has from there now.
        annotations: how many answers stand.
        quarantined: (image, reason) of those that could not be taken over.
    """

    project: Project
    images: int = 0
    annotations: int = 0
    quarantined: list[tuple[str, str]] = field(default_factory=list)


def run(
    workspace: Workspace,
    connection: Connection,
    remote_project: int,
    *,
    name: str = "",
    report: Report = silent,
) -> Outcome:
    """Makes a project of the Label Studio project of that number, or adds what is new there.

    Args:
        name: what the project is called here; its title there if empty.

    Raises:
        NotFound: there is no project of that number.
        InputError: its interface does not ask for classes of one image, or the name is taken.
        LabelStudioError: it cannot be read to the end; the same call goes on.
        Cancelled: asked to stop; the same call goes on.
    """
    there = _there(connection, remote_project)
    interface = interfaces.understood(there.label_config)
    found = _known(workspace, connection, there)
    if found is None and ownership.read(there.description) is not None:
        raise ownership.refusal(there)
    project, queue = found or _made(workspace, connection, there, interface, name)
    ownership.check(project, connection, there, queue.queue)
    outcome = Outcome(project)
    with project.catalog.write() as writing:
        source_id = image_rows.add_source(writing, project.id, origins.source(there.id))
    news = connection.changed_tasks(there.id)
    done = 0
    for batch in batched(news.tasks, AT_ONCE):
        _take(project, connection, queue, batch, interface, source_id, outcome)
        answers.store(project, connection, queue, batch)
        done += len(batch)
        report(done, max(done, there.task_count), "adopt")
    with project.catalog.write() as writing:
        remote.set_cursor(writing, queue.id, news.cursor.isoformat())
        outcome.images = remote.count_tasks(writing, queue.id)
        outcome.annotations = annotations.count(writing, project.id)
        audit.append(
            writing,
            project.id,
            act="adopt",
            subject={
                "remote_project": there.id,
                "images": outcome.images,
                "annotations": outcome.annotations,
                "quarantined": len(outcome.quarantined),
            },
        )
    return outcome


def _there(connection: Connection, remote_project: int) -> RemoteProject:
    try:
        return connection.project(remote_project)
    except LabelStudioProjectGone as error:
        found = [f"{one.id} ({one.title})" for one in connection.projects()[:NAMED]]
        raise NotFound(
            f"The Label Studio at {connection.url} has no project {remote_project}. "
            f"It has: {', '.join(found) or 'none yet'}."
        ) from error


def _known(
    workspace: Workspace, connection: Connection, there: RemoteProject
) -> tuple[Project, RemoteQueue] | None:
    """The project that was made of it before."""
    with workspace.catalog.read() as reading:
        every = projects.every(reading)
    for record in every:
        project = Project(workspace, record)
        for queue in queues.bound(project):
            if queue.remote_id == there.id and queues.is_at(project, connection, queue, there):
                known = workspaces.project(workspace, record.name)
                return known, queues.find(known, connection)[queue.queue]
    return None


def _made(
    workspace: Workspace,
    connection: Connection,
    there: RemoteProject,
    interface: Interface,
    name: str,
) -> tuple[Project, RemoteQueue]:
    """A new project and its queue, in one transaction: a kill leaves both or neither."""
    odd = [one for one in interface.classes if unicodedata.normalize("NFC", one) != one]
    if odd:
        raise InputError(
            f"The class {odd[0]!r} is written with combining signs, which answers could not be "
            "matched to. Type it anew in Label Studio's labeling interface."
        )
    name = name or there.title.strip()
    with workspace.catalog.read() as reading:
        if name in [record.name for record in projects.every(reading)]:
            raise InputError(
                f"There is already a project named {name!r}; choose another with --name."
            )
    with workspace.catalog.write() as writing:
        record = projects.create(writing, name, class_names=interface.classes, task=interface.task)
        queue = remote.put(
            writing,
            record.id,
            "batch",
            url=connection.url,
            remote_id=there.id,
            interface=there.label_config,
        )
    workspace.change(project=name)
    return Project(workspace, record), queue


def _take(
    project: Project,
    connection: Connection,
    queue: RemoteQueue,
    batch: Sequence[RemoteTask],
    interface: Interface,
    source_id: int,
    outcome: Outcome,
) -> None:
    """Adds the images of the tasks that are new, and remembers which task shows which image."""
    with project.catalog.read() as reading:
        known = remote.images_of_tasks(reading, queue.id, [task.id for task in batch])
    fresh = {_origin(queue, task, interface): task for task in batch if task.id not in known}
    rows = _looked_at(project, connection, fresh, interface)
    with project.catalog.write() as writing:
        before = image_rows.ids_by_origin(writing, project.id, list(fresh))
        again = {before[row.origin]: row for row in rows if row.origin in before}
        named = _named(writing, project, [row for row in rows if row.origin not in before], fresh)
        seed = project.record.seed
        image_rows.add(writing, project.id, named, source_id=source_id, seed=seed)
        image_rows.read_again(writing, project.id, again, seed=seed)
        ids = image_rows.ids_by_origin(writing, project.id, list(fresh))
        usable = [row for row in rows if not row.reason]
        remote.add_tasks(
            writing, queue.id, {ids[row.origin]: fresh[row.origin].id for row in usable}
        )
        names = image_rows.names_by_id(writing, list(ids.values()))
    outcome.quarantined += [(names[ids[row.origin]], row.reason) for row in rows if row.reason]


def _origin(queue: RemoteQueue, task: RemoteTask, interface: Interface) -> str:
    return origins.origin(queue.remote_id, task.id, _url(task, interface))


def _url(task: RemoteTask, interface: Interface) -> str:
    return str(task.data.get(interface.image_field) or "")


def _named(
    writing: Catalog, project: Project, rows: Sequence[NewImage], tasks: dict[str, RemoteTask]
) -> list[NewImage]:
    """The rows under names that are unique in the project: a namesake gets its task's number."""
    taken = image_rows.taken_names(writing, project.id, [row.name for row in rows])
    named = []
    for row in rows:
        name = row.name if row.name not in taken else f"task-{tasks[row.origin].id}/{row.name}"
        taken.add(name)
        named.append(replace(row, name=name))
    return named


def _looked_at(
    project: Project, connection: Connection, fresh: dict[str, RemoteTask], interface: Interface
) -> list[NewImage]:
    """What the image of each task holds; those that can be used are in the workspace afterwards."""
    home = project.workspace.folder("images") / f".adopting-{project.id}"
    shutil.rmtree(home, ignore_errors=True)  # what a killed call left
    home.mkdir()
    try:
        found = {row.origin: row for row in _inspected(project, connection, fresh, interface, home)}
        return [found[origin] for origin in fresh]
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _inspected(
    project: Project,
    connection: Connection,
    fresh: dict[str, RemoteTask],
    interface: Interface,
    home: Path,
) -> Iterator[NewImage]:
    names: dict[str, str] = {}
    fetched: dict[Path, str] = {}
    for origin, task in fresh.items():
        url = _url(task, interface)
        names[origin] = origins.name(url) or f"task-{task.id}"
        place = home / str(task.id)
        try:
            place.write_bytes(_download(connection, url, interface))
        except UnreadableImage as error:
            yield NewImage(name=names[origin], origin=origin, location=origin, reason=error.reason)
        else:
            fetched[place] = origin
    for place, found in images.inspect_many(list(fetched)):
        origin = fetched[place]
        if isinstance(found, UnreadableImage):
            yield NewImage(name=names[origin], origin=origin, location=origin, reason=found.reason)
            continue
        kept = _kept(project, place, found)
        yield NewImage(
            name=names[origin],
            origin=origin,
            location=str(kept),
            sha256=found.sha256,
            pixel_hash=found.pixel_hash,
            bytes=found.bytes,
            modified_ns=kept.stat().st_mtime_ns,
            width=found.width,
            height=found.height,
            format=found.format,
            mode=found.mode,
            frames=found.frames,
        )


def _download(connection: Connection, url: str, interface: Interface) -> bytes:
    """The image at a task's address.

    Raises:
        UnreadableImage: it lies elsewhere, where we neither look nor send our token; or it is not
            there.
        LabelStudioUnreachable: the server went away.
    """
    if not url:
        raise UnreadableImage(f"the task has no address in its field {interface.image_field!r}")
    parts = urlsplit(url)
    elsewhere = parts.netloc and parts.netloc != urlsplit(connection.url).netloc
    if elsewhere or parts.scheme not in ("", "http", "https"):
        where = f"{parts.scheme}://{parts.netloc}" if parts.netloc else f"a {parts.scheme}: address"
        raise UnreadableImage(
            f"the image is at {where}, not in Label Studio, and is not fetched from there; "
            "download it and add it with `labelloop import FOLDER`"
        )
    try:
        return connection.download(url, limit_bytes=images.LIMITS.max_bytes)
    except LabelStudioUnreachable:
        raise
    except (LabelStudioError, InputError) as error:
        raise UnreadableImage(f"Label Studio does not show it: {error}") from error


def _kept(project: Project, place: Path, found: Inspection) -> Path:
    """The workspace's copy, named by its content as an import with --copy names it."""
    suffix = SUFFIXES.get(found.format, f".{found.format.lower()}")
    target = project.workspace.folder("images") / found.sha256[:2] / f"{found.sha256}{suffix}"
    if not target.exists():
        files.write_bytes(target, place.read_bytes())
    return target
