"""Long work as the pages show it; asking for it is `ui.jobs`'."""

from dataclasses import dataclass

from curation.catalog import annotations, jobs, rounds
from curation.records import JobRecord, JobState
from curation.workspace import Project
from ui import jobs as long_work
from ui.web.views import wording

UNFINISHED: tuple[JobState, ...] = ("queued", "running")

KINDS = {
    "import": "Import images",
    "embed": "Embed images",
    "round": "Round",
    "train": "Train a model",
    "pull": "Pull answers",
}
"""What each kind of job is called on a page."""


@dataclass(frozen=True)
class Progress:
    """Where a job stands.

    Attributes:
        share: 0 to 1 of the current step; 0 while its length is unknown.
        steps: (name, seconds) of the steps of its round that are done.
    """

    job: JobRecord
    title: str
    share: float
    says: str
    log: tuple[str, ...]
    steps: tuple[tuple[str, float], ...]


def unfinished(project: Project) -> JobRecord | None:
    """The job that works now, or else the next to be worked on."""
    with project.catalog.read() as connection:
        found = jobs.newest(connection, project.id, states=UNFINISHED)
    return min(found, key=lambda job: (job.state != "running", job.id)) if found else None


def pulse(project: Project) -> tuple[int, int, int]:
    """Changes when a job begins or ends, an answer comes in or a round is started."""
    job = unfinished(project)
    with project.catalog.read() as connection:
        latest = rounds.latest(connection, project.id)
        version = annotations.newest_version(connection, project.id)
    return job.id if job else 0, version, latest.id if latest else 0


def newest(project: Project, *kinds: str) -> JobRecord | None:
    """The newest job of these kinds, whatever its state."""
    with project.catalog.read() as connection:
        found = jobs.newest(connection, project.id, kinds=kinds, most=1)
    return found[0] if found else None


def progress(project: Project, job_id: int) -> Progress:
    """Where this job stands now."""
    with project.catalog.read() as connection:
        job = jobs.get(connection, job_id)
        log = jobs.log_lines(connection, job_id)
        latest = rounds.latest(connection, project.id) if job.kind == "round" else None
        running = latest if latest and latest.state == "running" else None
        steps = rounds.steps(connection, running.id) if running else {}
    title = KINDS.get(job.kind, job.kind.capitalize())
    return Progress(
        job=job,
        title=f"{title} {running.number}" if running else title,
        share=min(job.done / job.total, 1.0) if job.total else 0.0,
        says=_says(job, worker_runs=long_work.worker_runs(project.workspace)),
        log=tuple(log),
        steps=tuple((name, step["seconds"]) for name, step in steps.items()),
    )


def _says(job: JobRecord, *, worker_runs: bool) -> str:
    if not worker_runs:
        return "No worker runs: start it with `labelloop up`. The job waits and loses nothing."
    if job.cancel and job.state in UNFINISHED:
        return "Stopping at the next safe point"
    if job.state == "queued":
        return "Waiting for the worker to begin"
    parts = [job.says.capitalize() or "Starting"]
    if job.total:
        parts.append(f"{job.done:,} of {job.total:,}")
    if job.seconds_left is not None:
        parts.append(f"about {wording.duration(job.seconds_left)} left")
    return " · ".join(parts)
