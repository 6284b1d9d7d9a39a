"""What people said in Label Studio, written into the catalog with the labels that follow from it.

Everything here can be repeated: annotations are known by their id, a changed one is kept beside
what it said before, and one counts as deleted only once the server says that it is not there.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Literal

from curation.catalog import Connection as Catalog
from curation.catalog import annotations, projects, remote
from curation.catalog import images as image_rows
from curation.catalog.bulk import batched
from curation.catalog.remote import RemoteQueue
from curation.progress import Report, silent
from curation.records import Box, ProjectRecord, RemoteAnswer
from curation.workspace import Project
from labeling import backups, consensus, interfaces, people, queues, tasks
from labeling.connection import Connection
from labeling.remote import RemoteAnnotation, RemoteTask, RemoteUser

logger = logging.getLogger(__name__)

PULLED_AT_ONCE = 500


def pull(
    project: Project, connection: Connection, queue: RemoteQueue, *, report: Report = silent
) -> set[int]:
    """Brings in what was answered in a queue since the last pull.

    The cursor moves only after the rows it stands for.

    Returns:
        The images whose answers changed.
    """
    since = datetime.fromisoformat(queue.cursor) if queue.cursor else None
    news = connection.changed_tasks(queue.remote_id, since=since)
    changed: set[int] = set()
    seen = 0
    for batch in batched(news.tasks, PULLED_AT_ONCE):
        changed |= store(project, connection, queue, batch)
        seen += len(batch)
        report(seen, 0, f"pull {queue.queue}")
    with project.catalog.write() as writing:
        remote.set_cursor(writing, queue.id, news.cursor.isoformat())
    return changed


def store(
    project: Project, connection: Connection, queue: RemoteQueue, batch: Sequence[RemoteTask]
) -> set[int]:
    """Brings the catalog to what these tasks say now.

    Returns:
        The images whose answers changed.
    """
    image_of = _images(project, queue, batch)
    ours = [task for task in batch if task.id in image_of]
    gone = _gone(project, connection, queue, {image_of[task.id]: task for task in ours})
    given = [(task, annotation) for task in ours for annotation in task.annotations]
    if not given and not gone:
        return set()
    users = _new_people(project, connection, {found.user_id for _, found in given})
    if given:
        up_to = max(annotation.updated_at for _, annotation in given)
        backups.remember(project, connection, queue, up_to)
    with project.catalog.write() as writing:
        # The classes as they are now, also where they were changed since this process began.
        projects.hold_classes(writing, project.id)
        project = replace(project, record=projects.get(writing, project.id))
        reader = _Reader(project.record, queue, _sizes(writing, project, image_of))
        answers: list[RemoteAnswer] = []
        unsaid: set[int] = set()
        for task, annotation in given:
            answer = reader.read(image_of[task.id], task, annotation)
            if answer is None:
                unsaid.add(annotation.id)
            else:
                answers.append(answer)
        # As they were given: of several reviewers the last one decides.
        answers.sort(key=lambda answer: answer.updated_at)
        # Deleted ones first: SQLite may give the number of a deleted annotation to a new one.
        changed = annotations.mark_deleted(writing, project.id, gone | unsaid)
        annotator_ids = people.annotator_ids(
            writing, project.id, (answer.remote_user_id for answer in answers), users
        )
        changed |= annotations.put_remote(writing, project.id, answers, annotator_ids=annotator_ids)
        consensus.settle(writing, project, sorted(changed))
    return changed


def _new_people(
    project: Project, connection: Connection, user_ids: set[int | None]
) -> list[RemoteUser]:
    """All who have a log-in there, if somebody answered for the first time."""
    with project.catalog.read() as reading:
        known = {row["remote_user_id"] for row in annotations.accounts(reading, project.id)}
    return connection.users() if user_ids - known - {None} else []


def _images(project: Project, queue: RemoteQueue, batch: Sequence[RemoteTask]) -> dict[int, int]:
    """Image ids by task id; what a task says of itself outranks what we remember of its number.

    A push may have been cut short after Label Studio took its tasks, and people may have answered
    them since; such a task is one that we wait for.
    """
    seed = project.record.seed
    with project.catalog.read() as reading:
        known = remote.images_of_tasks(reading, queue.id, [task.id for task in batch])
        said = {task.id: image for task in batch if (image := tasks.marked(task.image_id, seed))}
        news = {task_id: image for task_id, image in said.items() if known.get(task_id) != image}
        awaited = set(remote.waiting(reading, project.id, queue.queue)) if news else set()
    for task_id in news:
        known.pop(task_id, None)
    found = {image: task_id for task_id, image in news.items() if image in awaited}
    if found:
        queues.bind_tasks(project, queue, found)
    return known | {task_id: image for image, task_id in found.items()}


def _gone(
    project: Project,
    connection: Connection,
    queue: RemoteQueue,
    task_of: dict[int, RemoteTask],
) -> set[int]:
    """Annotations of these images that were deleted; those in another queue's task were not."""
    with project.catalog.read() as reading:
        stored = annotations.remote_ids(reading, list(task_of))
        every = remote.every(reading, project.id)
    gone: set[int] = set()
    for image_id, task in task_of.items():
        there = {annotation.id for annotation in task.annotations}
        for remote_id in sorted(stored[image_id] - there):
            # Also what another process stored since this task was read.
            found = connection.find_annotation(remote_id)
            with project.catalog.read() as reading:
                shown = found is not None and any(
                    remote.images_of_tasks(reading, one.id, [found.task_id]).get(found.task_id)
                    == image_id
                    for one in every
                )
            if not shown:
                gone.add(remote_id)
    return gone


def _sizes(
    reading: Catalog, project: Project, image_of: dict[int, int]
) -> dict[int, tuple[int, int]]:
    """Width and height of these images, where boxes are drawn on them."""
    if project.record.task != "boxes":
        return {}
    found = image_rows.get_many(reading, sorted(set(image_of.values())))
    return {
        key: (image.width, image.height)
        for key, image in found.items()
        if image.width and image.height
    }


@dataclass(frozen=True)
class _Reader:
    """Reads annotations of one queue in the catalog's words.

    Attributes:
        sizes: width and height by image id, where boxes are drawn.
    """

    record: ProjectRecord
    queue: RemoteQueue
    sizes: dict[int, tuple[int, int]]

    @cached_property
    def interface(self) -> interfaces.Interface:
        """In which they were given."""
        return interfaces.understood(self.queue.interface)

    @cached_property
    def ids(self) -> dict[str, int]:
        """Class ids by all names that answers may carry."""
        return self.record.ids_by_name

    def read(self, image_id: int, task: RemoteTask, found: RemoteAnnotation) -> RemoteAnswer | None:
        """An annotation in our words; none for one that says nothing a label could follow from."""
        said = tasks.answer(
            found.result,
            was_cancelled=found.was_cancelled,
            parent_prediction=found.parent_prediction,
            known_classes=self.ids,
            size=self.sizes.get(image_id),
            interface=self.interface,
        )
        for reason in said.ignored:
            logger.warning("Annotation %d of image %d: %s", found.id, image_id, reason)
        classes = tuple(dict.fromkeys(self.ids[name] for name in said.classes))
        state = self._state(said, classes)
        if state is None:
            logger.warning(
                "Annotation %d of image %d names %d of the project's classes; left out.",
                found.id,
                image_id,
                len(classes),
            )
            return None
        # One without a result shows nothing: it only gives the task its place in the queue.
        silent = {one.get("id") for one in task.predictions if one.get("result") == []}
        started = found.parent_prediction is not None and found.parent_prediction not in silent
        hinted = started and state == "answered"
        versions = {one.get("id"): str(one.get("model_version") or "") for one in task.predictions}
        return RemoteAnswer(
            remote_id=found.id,
            image_id=image_id,
            remote_user_id=found.user_id or 0,
            state=state,
            classes=classes,
            seconds=found.lead_time,
            prelabel="none"
            if not hinted
            else "accepted"
            if said.accepted_prelabel
            else "corrected",
            model_version=versions.get(found.parent_prediction, "") if hinted else "",
            updated_at=found.updated_at.isoformat(),
            queue=self.queue.queue,
            boxes=self._boxes(said) if state == "answered" else None,
            unsure=said.unsure or state == "unsure",
            comment=said.comment,
        )

    def _state(
        self, said: tasks.Answer, classes: tuple[int, ...]
    ) -> Literal["answered", "unsure", "skipped"] | None:
        """What an annotation comes to; none for one that is left out."""
        single = self.record.task == "single-label"
        if said.skipped:
            return "skipped"
        # A comment alone says at least that there is something to look at.
        if not classes and (said.unsure or (single and said.comment)):
            return "unsure"
        if (single and len(classes) != 1) or (said.ignored and not classes):
            return None
        return "answered"

    def _boxes(self, said: tasks.Answer) -> tuple[Box, ...] | None:
        if self.record.task != "boxes":
            return None
        return tuple(
            Box(self.ids[one.label], one.x, one.y, one.width, one.height) for one in said.rectangles
        )
