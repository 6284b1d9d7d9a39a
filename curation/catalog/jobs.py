"""Jobs: long work as rows, so that any floor may ask for it and a closed browser loses nothing."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from curation.catalog.bulk import insert_one
from curation.catalog.schema import job_log, jobs
from curation.errors import NotFound
from curation.records import JobRecord, JobState


def enqueue(
    connection: Connection, project_id: int | None, kind: str, arguments: dict[str, Any]
) -> JobRecord:
    """Asks for work; an unfinished job of the same kind and arguments is returned instead."""
    unfinished = connection.execute(
        select(jobs).where(
            jobs.c.project_id == project_id,
            jobs.c.kind == kind,
            jobs.c.state.in_(("queued", "running")),
        )
    )
    for row in unfinished:
        if row.arguments == arguments:
            return _record(row)
    key = insert_one(
        connection, jobs, {"project_id": project_id, "kind": kind, "arguments": arguments}
    )
    return get(connection, key)


def get(connection: Connection, job_id: int) -> JobRecord:
    """The job with this id.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
    if row is None:
        raise NotFound(f"No job {job_id}.")
    return _record(row)


def newest(
    connection: Connection,
    project_id: int | None,
    *,
    kinds: Sequence[str] = (),
    states: Sequence[JobState] = (),
    most: int = 20,
) -> list[JobRecord]:
    """The newest jobs, newest first."""
    query = select(jobs).where(jobs.c.project_id == project_id)
    if kinds:
        query = query.where(jobs.c.kind.in_(kinds))
    if states:
        query = query.where(jobs.c.state.in_(states))
    return [
        _record(row) for row in connection.execute(query.order_by(jobs.c.id.desc()).limit(most))
    ]


def claim(connection: Connection, worker: str) -> JobRecord | None:
    """Takes the oldest queued job for this worker; none if nothing is queued."""
    query = select(jobs.c.id).where(jobs.c.state == "queued").order_by(jobs.c.id).limit(1)
    key = connection.scalar(query.with_for_update(skip_locked=True))
    if key is None:
        return None
    connection.execute(
        update(jobs)
        .where(jobs.c.id == key)
        .values(
            state="running",
            worker=worker,
            started_at=func.current_timestamp(),
            heartbeat_at=func.current_timestamp(),
        )
    )
    return get(connection, key)


def requeue_abandoned(connection: Connection, worker: str) -> list[int]:
    """Queues again what a worker that died had been running; every kind of job can be resumed."""
    mine = (jobs.c.state == "running", jobs.c.worker != worker)
    keys = list(connection.scalars(select(jobs.c.id).where(*mine)))
    connection.execute(update(jobs).where(*mine).values(state="queued", worker=""))
    return keys


def report(
    connection: Connection,
    job_id: int,
    *,
    done: int,
    total: int,
    says: str,
    seconds_left: float | None,
) -> bool:
    """Writes the progress; true if the user has asked to stop."""
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job_id)
        .values(
            done=done,
            total=total,
            says=says,
            seconds_left=seconds_left,
            heartbeat_at=func.current_timestamp(),
        )
    )
    return bool(connection.scalar(select(jobs.c.cancel).where(jobs.c.id == job_id)))


def cancel(connection: Connection, job_id: int) -> None:
    """Asks a running job to stop at its next safe point; a queued one stops at once."""
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(cancel=True))
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state == "queued")
        .values(state="cancelled", finished_at=func.current_timestamp())
    )


def finish(
    connection: Connection,
    job_id: int,
    state: JobState,
    *,
    says: str = "",
    result: dict[str, Any] | None = None,
) -> None:
    """Ends a job."""
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job_id)
        .values(
            state=state,
            says=says,
            result=result,
            seconds_left=None,
            finished_at=func.current_timestamp(),
        )
    )


def log(connection: Connection, job_id: int, line: str) -> None:
    """Adds a line to a job's log."""
    connection.execute(insert(job_log).values(job_id=job_id, line=line))


def log_lines(connection: Connection, job_id: int, *, newest: int = 200) -> list[str]:
    """The newest lines of a job's log, oldest of them first."""
    rows = connection.scalars(
        select(job_log.c.line)
        .where(job_log.c.job_id == job_id)
        .order_by(job_log.c.id.desc())
        .limit(newest)
    )
    return list(rows)[::-1]


def _record(row: Row[Any]) -> JobRecord:
    names = list(JobRecord.__dataclass_fields__)
    return JobRecord(**{name: row._mapping[name] for name in names})
