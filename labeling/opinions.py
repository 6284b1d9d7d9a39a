"""The second-opinion queue: images of which somebody wants to hear one person more.

Who is asked sees neither a pre-label nor what others said, so that the answer is an opinion of its
own. The wish stands in the catalog before anything is sent, and sending can be repeated. Images of
the reserve are asked in the reserve's queue, all others in the batch's, before what is left of it.
"""

from collections.abc import Sequence

import numpy as np

from curation.catalog import annotations, asking, audit, golds, remote
from curation.catalog import images as image_rows
from curation.catalog.remote import RemoteQueue
from curation.catalog.rounds import Sent
from curation.errors import InputError, NotFound
from curation.progress import Report, silent
from curation.workspace import Project
from labeling import overlap, push, queues
from labeling.connection import Connection
from labeling.push import Parcel
from labeling.queues import Shelf

VERSION = "second-opinions"
"""What orders the images in a project that no round has sent anything to yet."""


def named(project: Project, names: Sequence[str]) -> list[int]:
    """The ids of images by their names.

    Raises:
        NotFound: there is no such image.
    """
    with project.catalog.read() as reading:
        ids = image_rows.ids_by_name(reading, project.id, list(names))
    for name in names:
        if name not in ids:
            raise NotFound(f"No image {name!r} in {project.record.name!r}. Nothing was changed.")
    return list(dict.fromkeys(ids[name] for name in names))


def unsure(project: Project) -> list[int]:
    """Images that somebody is unsure of, and nobody else sure."""
    with project.catalog.read() as reading:
        return annotations.unsure_images(reading, project.id)


def disputed(project: Project) -> list[int]:
    """Images that people disagree on, the least confident label first."""
    with project.catalog.read() as reading:
        below = asking.settings(reading, project.id).confident
        return asking.disputed_images(reading, project.id, below=below)


def ask_again(
    project: Project,
    connection: Connection,
    image_ids: Sequence[int],
    *,
    shelf: Shelf,
    actor: str = "",
    report: Report = silent,
) -> dict[str, int]:
    """Has one person more look at these images; twice is once until somebody has.

    Args:
        project: whose images they are.
        connection: to where.
        image_ids: the images, in the order in which they are asked.
        shelf: where Label Studio reads images from.
        actor: who asks, for the audit log.
        report: told how many are there.

    Returns:
        asked: how many images are asked once more; already: how many wait for it already;
        left_out: how many cannot be shown, are gold questions, or are in the reserve without its
        order having come to them.

    Raises:
        LabelStudioError: something of it was refused; the same call goes on.
    """
    if not image_ids:
        raise InputError("No image to ask about. Name some, or give --unsure or --disputed.")
    with project.catalog.write() as writing:
        known = image_rows.get_many(writing, image_ids)
        there = {
            queue.queue: set(remote.tasks_of(writing, queue.id, list(image_ids)))
            for queue in remote.every(writing, project.id)
        }
        gold = {one.image_id for one in golds.every(writing, project.id, list(image_ids))}
        fit = [
            key
            for key in image_ids
            if known[key].state == "ok"
            and key not in gold
            and (not known[key].reserve or any(key in theirs for theirs in there.values()))
        ]
        said = asking.opinions(writing, fit)
        before = asking.wanted(writing, project.id)
        fresh = [key for key in fit if before.get(key, 0) <= said[key]]
        asking.want(writing, project.id, {key: said[key] + 1 for key in fresh})
        if fresh:
            subject = {"images": len(fresh)}
            audit.append(writing, project.id, act="ask-again", subject=subject, actor=actor)
    send(project, connection, shelf=shelf, report=report)
    return {
        "asked": len(fresh),
        "already": len(fit) - len(fresh),
        "left_out": len(image_ids) - len(fit),
    }


def send(project: Project, connection: Connection, *, shelf: Shelf, report: Report = silent) -> int:
    """Sends what is wanted and not said yet, ahead of the batch, and has more people asked.

    Returns:
        How many images that is.
    """
    waiting = _waiting(project)
    if not waiting:
        return 0
    with project.catalog.read() as reading:
        reserved = {
            key for key, one in image_rows.get_many(reading, waiting).items() if one.reserve
        }
        batch = next(
            (one for one in remote.every(reading, project.id) if one.queue == "batch"), None
        )
        # What a later round sends of the reserve is asked in the batch.
        there = remote.tasks_of(reading, batch.id, waiting) if batch else {}
    rest = [key for key in waiting if key not in reserved or key in there]
    if rest:
        queue = queues.ensure(project, connection, "batch")
        _put_first(project, connection, queue, rest, shelf=shelf, report=report)
    overlap.bring_up_to_date(project, connection, report=report)
    return len(waiting)


def _waiting(project: Project) -> list[int]:
    with project.catalog.read() as reading:
        wanted = asking.wanted(reading, project.id)
        said = asking.opinions(reading, list(wanted))
        known = image_rows.get_many(reading, list(wanted))
    return [key for key, count in wanted.items() if said[key] < count and known[key].state == "ok"]


def _put_first(
    project: Project,
    connection: Connection,
    queue: RemoteQueue,
    image_ids: list[int],
    *,
    shelf: Shelf,
    report: Report,
) -> None:
    """Makes these the first images of the batch's queue, without a pre-label."""
    there = connection.project(queue.remote_id)
    version = there.model_version or VERSION
    place = {key: rank for rank, key in enumerate(image_ids)}
    with project.catalog.read() as reading:
        known = remote.tasks_of(reading, queue.id, image_ids)

    def score(key: int) -> float:
        # Below zero: what the round sent lies from 0 to 1.
        return place[key] / len(image_ids) - 1

    for key, task_id in known.items():
        for one in connection.task(task_id).predictions:
            if one.get("model_version") == version and one.get("score") != score(key):
                connection.put_prediction(int(one["id"]), score=score(key))

    def wrap(part: list[int]) -> list[Parcel]:
        return [
            Parcel(key, {"model_version": version, "score": score(key), "result": []})
            for key in part
        ]

    ids = np.array(image_ids, dtype=np.int64)
    ledger = Sent(ids, np.zeros(len(ids), dtype=np.bool_))
    push.send(project, connection, queue, ledger, wrap, shelf=shelf, done=_nothing, report=report)
    push.put_in_order(connection, queue, version)


def _nothing(_there: dict[int, int]) -> None:
    """The wish stands in the catalog until it is fulfilled; there is nothing to note."""
