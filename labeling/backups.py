"""A Label Studio whose database was brought back from a backup: what it lost is kept here.

Such a database has forgotten answers, and gives the numbers of forgotten tasks and answers out
again. Nothing of that is somebody's wish to delete. It is known by the mark in the project's
description (`labeling.ownership`), which went back with everything else and is older than the
newest answer in the catalog.
"""

import logging
from dataclasses import replace
from datetime import datetime

from curation.catalog import audit, remote, remote_answers
from curation.catalog.remote import RemoteQueue
from curation.workspace import Project
from labeling import ownership, queues, tasks
from labeling.connection import Connection
from labeling.remote import RemoteAnnotation

logger = logging.getLogger(__name__)


def mend(project: Project, connection: Connection, queue: RemoteQueue) -> tuple[RemoteQueue, int]:
    """Lets go of what a queue's project has forgotten, before its numbers mean something else.

    The answers stay as they are in the catalog, for good. Images whose tasks are gone can be sent
    again.

    Returns:
        The queue, with what was undone there still to be fetched; and how many answers Label Studio
        has lost and the catalog has kept.
    """
    # In this order: whoever stores newer answers beside us writes the newer mark first.
    with project.catalog.read() as reading:
        newest = remote_answers.newest(reading, project.id, queue.queue)
    there = connection.project(queue.remote_id)
    mark = ownership.read(there.description)
    if mark is None or not newest or (mark.up_to and newest <= mark.up_to.isoformat()):
        return queue, 0
    if lost := _lost(project, connection, queue, mark.up_to):
        gone = _forget_tasks(project, connection, queue)
        queue = replace(queue, cursor=mark.up_to.isoformat() if mark.up_to else "")
        with project.catalog.write() as writing:
            remote_answers.let_go(writing, project.id, lost)
            remote.set_cursor(writing, queue.id, queue.cursor)
            audit.append(
                writing,
                project.id,
                act="label-studio-restored",
                subject={"queue": queue.queue, "answers_kept": len(lost), "tasks_gone": gone},
            )
        logger.warning(
            "Label Studio's project %d was brought back from a backup: %d answers that it has "
            "lost are kept here, and %d images have no task there any more. `labelloop label "
            "rebuild` sends those of them again that still wait for an answer.",
            queue.remote_id,
            len(lost),
            gone,
        )
    ownership.write(project, connection, there, datetime.fromisoformat(newest))
    return queue, len(lost)


def remember(project: Project, connection: Connection, queue: RemoteQueue, up_to: datetime) -> None:
    """Notes in Label Studio, before answers are stored here, up to when they were given.

    Before: where we are killed in between, the mark is too new, which does no harm.
    """
    there = connection.project(queue.remote_id)
    mark = ownership.read(there.description)
    if mark is None or mark.up_to is None or mark.up_to < up_to:
        ownership.write(project, connection, there, up_to)


def _lost(
    project: Project, connection: Connection, queue: RemoteQueue, since: datetime | None
) -> list[int]:
    """Label Studio's numbers of answers that it knew once and knows no more."""
    with project.catalog.read() as reading:
        moment = since.isoformat() if since else ""
        newer = remote_answers.since(reading, project.id, queue.queue, moment)
    return [
        number
        for number, (image_id, updated_at) in newer.items()
        if not _same(
            project, connection.find_annotation(number), queue, image_id, updated_at, since
        )
    ]


def _same(
    project: Project,
    found: RemoteAnnotation | None,
    queue: RemoteQueue,
    image_id: int,
    updated_at: str,
    since: datetime | None,
) -> bool:
    """Whether an answer is the one that we know, or what it was before."""
    if found is None:
        return False
    with project.catalog.read() as reading:
        shown = remote.images_of_tasks(reading, queue.id, [found.task_id])
    if shown.get(found.task_id) != image_id:
        return False
    before = since is not None and found.created_at <= since
    return before or found.updated_at.isoformat() == updated_at


def _forget_tasks(project: Project, connection: Connection, queue: RemoteQueue) -> int:
    """Lets go of tasks that are gone, or show another image now."""
    with project.catalog.read() as reading:
        known = remote.tasks(reading, queue.id)
    there = dict(connection.task_ids(queue.remote_id))
    seed = project.record.seed
    gone = [
        image_id
        for image_id, task_id in known.items()
        if task_id not in there or tasks.marked(there[task_id], seed) not in (None, image_id)
    ]
    queues.forget_tasks(project, queue, gone)
    return len(gone)
