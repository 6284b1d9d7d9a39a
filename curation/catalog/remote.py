"""Which Label Studio project serves which queue, and which task shows which image."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from curation.catalog import corrections, rounds
from curation.catalog.bulk import batched, insert_new
from curation.catalog.schema import remote_projects, remote_tasks
from curation.records import Queue

QUEUES: tuple[Queue, ...] = ("reserve", "batch", "correction")
"""In the order in which people read of them."""


@dataclass(frozen=True)
class RemoteQueue:
    """The Label Studio project of one queue; `cursor` is how far its answers have been pulled."""

    id: int
    queue: Queue
    url: str
    remote_id: int
    cursor: str
    interface: str


def put(
    connection: Connection,
    project_id: int,
    queue: Queue,
    *,
    url: str,
    remote_id: int,
    interface: str,
) -> RemoteQueue:
    """Binds a queue to a Label Studio project; one bound before is forgotten with its tasks."""
    before = connection.scalar(
        select(remote_projects.c.id).where(
            remote_projects.c.project_id == project_id, remote_projects.c.queue == queue
        )
    )
    if before is not None:
        connection.execute(delete(remote_tasks).where(remote_tasks.c.remote_project_id == before))
        connection.execute(delete(remote_projects).where(remote_projects.c.id == before))
    connection.execute(
        insert(remote_projects).values(
            project_id=project_id, queue=queue, url=url, remote_id=remote_id, interface=interface
        )
    )
    return {found.queue: found for found in every(connection, project_id)}[queue]


def every(connection: Connection, project_id: int) -> list[RemoteQueue]:
    """The queues that have a Label Studio project."""
    rows = connection.execute(
        select(remote_projects)
        .where(remote_projects.c.project_id == project_id)
        .order_by(remote_projects.c.queue)
    )
    return [
        RemoteQueue(row.id, row.queue, row.url, row.remote_id, row.cursor, row.interface)
        for row in rows
    ]


def in_use(connection: Connection, project_id: int) -> tuple[Queue, ...]:
    """The queues to tell people of: a round's always, the corrections' once it has a project."""
    bound = {queue.queue for queue in every(connection, project_id)}
    return tuple(queue for queue in QUEUES if queue != "correction" or queue in bound)


def move(connection: Connection, queue_id: int, url: str) -> None:
    """The same Label Studio answers at another address now."""
    connection.execute(
        update(remote_projects).where(remote_projects.c.id == queue_id).values(url=url)
    )


def set_interface(connection: Connection, queue_id: int, interface: str) -> None:
    """Remembers the interface that a queue's project has now."""
    connection.execute(
        update(remote_projects).where(remote_projects.c.id == queue_id).values(interface=interface)
    )


def set_cursor(connection: Connection, queue_id: int, cursor: str) -> None:
    """Remembers how far the answers have been pulled, in the transaction that stored them."""
    connection.execute(
        update(remote_projects).where(remote_projects.c.id == queue_id).values(cursor=cursor)
    )


def add_tasks(connection: Connection, queue_id: int, tasks: dict[int, int]) -> None:
    """Remembers task ids by image id."""
    for batch in batched(tasks.items()):
        insert_new(
            connection,
            remote_tasks,
            [
                {"remote_project_id": queue_id, "image_id": image_id, "task_id": task_id}
                for image_id, task_id in batch
            ],
        )


def overlaps(connection: Connection, queue_id: int, image_ids: Sequence[int]) -> dict[int, int]:
    """How many answers the tasks of these images are to get, by image id, as `set_overlap` said."""
    found: dict[int, int] = {}
    for batch in batched(image_ids):
        rows = connection.execute(
            select(remote_tasks.c.image_id, remote_tasks.c.overlap).where(
                remote_tasks.c.remote_project_id == queue_id, remote_tasks.c.image_id.in_(batch)
            )
        )
        found.update({row.image_id: row.overlap for row in rows})
    return found


def set_overlap(
    connection: Connection, queue_id: int, image_ids: Sequence[int], answers: int
) -> None:
    """Remembers how many answers the tasks of these images are to get."""
    for batch in batched(image_ids):
        connection.execute(
            update(remote_tasks)
            .where(remote_tasks.c.remote_project_id == queue_id, remote_tasks.c.image_id.in_(batch))
            .values(overlap=answers)
        )


def forget_overlaps(connection: Connection, queue_id: int) -> None:
    """Takes every task of a queue for one that is to get one answer, since nothing is known."""
    connection.execute(
        update(remote_tasks).where(remote_tasks.c.remote_project_id == queue_id).values(overlap=1)
    )


def forget_tasks(connection: Connection, queue_id: int, image_ids: Sequence[int]) -> None:
    """Forgets tasks that are gone from Label Studio."""
    for batch in batched(image_ids):
        connection.execute(
            delete(remote_tasks).where(
                remote_tasks.c.remote_project_id == queue_id, remote_tasks.c.image_id.in_(batch)
            )
        )


def tasks(connection: Connection, queue_id: int) -> dict[int, int]:
    """All task ids of a queue by image id."""
    rows = connection.execute(
        select(remote_tasks.c.image_id, remote_tasks.c.task_id).where(
            remote_tasks.c.remote_project_id == queue_id
        )
    )
    return {row.image_id: row.task_id for row in rows}


def tasks_of(connection: Connection, queue_id: int, image_ids: Sequence[int]) -> dict[int, int]:
    """As `tasks`, of those of these images that have one."""
    found: dict[int, int] = {}
    for batch in batched(image_ids):
        rows = connection.execute(
            select(remote_tasks.c.image_id, remote_tasks.c.task_id).where(
                remote_tasks.c.remote_project_id == queue_id, remote_tasks.c.image_id.in_(batch)
            )
        )
        found.update({row.image_id: row.task_id for row in rows})
    return found


def newest_task(connection: Connection, queue_id: int) -> int:
    """The highest task id of a queue; 0 for none."""
    query = select(func.max(remote_tasks.c.task_id))
    return connection.scalar(query.where(remote_tasks.c.remote_project_id == queue_id)) or 0


def images_of_tasks(
    connection: Connection, queue_id: int, task_ids: Sequence[int]
) -> dict[int, int]:
    """Image ids by task id, for those of these tasks that are ours."""
    found: dict[int, int] = {}
    for batch in batched(task_ids):
        rows = connection.execute(
            select(remote_tasks.c.image_id, remote_tasks.c.task_id).where(
                remote_tasks.c.remote_project_id == queue_id, remote_tasks.c.task_id.in_(batch)
            )
        )
        found.update({row.task_id: row.image_id for row in rows})
    return found


def count_tasks(connection: Connection, queue_id: int) -> int:
    """How many tasks a queue has."""
    return (
        connection.scalar(
            select(func.count())
            .select_from(remote_tasks)
            .where(remote_tasks.c.remote_project_id == queue_id)
        )
        or 0
    )


def waiting(connection: Connection, project_id: int, queue: Queue) -> list[int]:
    """Images of a queue that still wait for somebody, in the order of sending; see `rounds`."""
    if queue == "correction":
        return corrections.waiting(connection, project_id)
    return rounds.waiting(connection, project_id, queue=queue)


def count_waiting(connection: Connection, project_id: int, queue: Queue) -> int:
    """How many images `waiting` gives."""
    if queue == "correction":
        return len(corrections.waiting(connection, project_id))
    return rounds.count_waiting(connection, project_id, queue=queue)
