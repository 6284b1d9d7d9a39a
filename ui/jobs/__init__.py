"""Long work as rows of the catalog: ask for it here, a worker process does it.

The app and the command line only write and read rows, so a refreshed or closed browser loses
nothing. `ui.jobs.worker` is the process that does the work, one per workspace; each job runs in a
child of its own (`ui.jobs.run`), so that a crash, or a model that eats all memory, ends one job.
"""

import json
from dataclasses import dataclass
from typing import Any

from curation.catalog import jobs as rows
from curation.errors import InputError
from curation.records import JobRecord
from curation.workspace import Project, Workspace
from ui.jobs import processes
from ui.jobs.kinds import KINDS

__all__ = ["KINDS", "Status", "ask", "cancel", "resume", "status", "worker_runs"]

WORKER_STATE = "worker.json"


@dataclass(frozen=True)
class Status:
    """What the app shows of a project's long work.

    Attributes:
        worker_runs: whether somebody is there to do queued jobs; if not, `labelloop up` is the
            next step.
        jobs: newest first.
    """

    worker_runs: bool
    jobs: tuple[JobRecord, ...]


def ask(project: Project, kind: str, arguments: dict[str, Any] | None = None) -> JobRecord:
    """Asks for work. The same work asked for twice before it is done is one job.

    Raises:
        InputError: there is no such kind, or the arguments are not plain JSON values.
    """
    if kind not in KINDS:
        raise InputError(f"No kind of job is called {kind!r}. There are: {', '.join(KINDS)}.")
    try:
        given = json.loads(json.dumps(arguments or {}))
    except TypeError as error:
        raise InputError(f"The arguments of a {kind} job must be JSON values: {error}.") from error
    with project.catalog.write() as connection:
        return rows.enqueue(connection, project.id, kind, given)


def cancel(project: Project, job_id: int) -> None:
    """Asks a job to stop at its next safe point; what it has done stays done.

    Raises:
        NotFound: there is no such job.
    """
    with project.catalog.write() as connection:
        rows.get(connection, job_id)
        rows.cancel(connection, job_id)


def resume(project: Project, job: JobRecord) -> JobRecord:
    """Goes on with a job that failed or was cancelled: a new job with the same arguments."""
    return ask(project, job.kind, job.arguments)


def status(project: Project, *, most: int = 20) -> Status:
    """The newest jobs of a project, and whether a worker is there to do them."""
    with project.catalog.read() as connection:
        found = rows.newest(connection, project.id, most=most)
    return Status(worker_runs(project.workspace), tuple(found))


def worker_runs(workspace: Workspace) -> bool:
    """Whether the workspace's worker process is alive."""
    try:
        stored = json.loads((workspace.path / "logs" / WORKER_STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return processes.living(processes.parse(stored)) is not None
