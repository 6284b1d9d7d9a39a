"""What happened in a project lately, from the audit log and the jobs."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from curation.catalog import audit, jobs, rounds
from curation.records import JobRecord, RoundRecord
from curation.workspace import Project
from ui.web.views import wording
from ui.web.views.work import KINDS


def _imported(subject: Mapping[str, Any]) -> str:
    aside = subject.get("quarantined", 0)
    said = f"Imported {wording.counted(subject.get('added', 0), 'image')}"
    return f"{said}, set {aside:,} aside" if aside else said


_ACTS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "create-project": lambda subject: f"Made the project {subject.get('name', '')}",
    "import": _imported,
    "find-issues": lambda subject: (
        f"Looked for issues in {wording.counted(subject.get('images', 0), 'image')}"
    ),
    "exclude": lambda subject: f"Excluded {wording.counted(subject.get('count', 0), 'image')}",
    "restore": lambda subject: f"Restored {wording.counted(subject.get('count', 0), 'image')}",
    "propagate": lambda subject: (
        f"Labeled {wording.counted(subject.get('count', 0), 'image')} as copies of labeled ones"
    ),
    "run-promoted": lambda subject: f"Made {subject['run']} the champion",
    "run-deleted": lambda subject: f"Deleted the model of {subject['run']}",
    "run-tagged": lambda subject: f"Tagged {subject['run']} {subject.get('tag', '')}".rstrip(),
    "run-untagged": lambda subject: f"Took a tag from {subject['run']}",
    "run-imported": lambda subject: f"Imported the model {subject['run']}",
    "add-classes": lambda subject: f"Added classes: {', '.join(subject.get('classes', []))}",
}


def recent(project: Project, *, now: datetime, most: int = 12) -> pd.DataFrame:
    """The newest acts and jobs, newest first: columns when, what, who."""
    with project.catalog.read() as connection:
        every = rounds.every(connection, project.id)[-most:]
        acts = audit.entries(connection, project.id, newest=most)
        work = jobs.newest(connection, project.id, most=most)
    found = [(datetime.fromisoformat(row["at"]), _act(row), row["actor"]) for row in acts]
    found += [(one.created_at.replace(tzinfo=UTC), *_round(one)) for one in every]
    found += [(_when(job), _job(job), "job worker") for job in work]
    found.sort(key=lambda entry: entry[0], reverse=True)
    return pd.DataFrame(
        [(wording.ago(when, now=now), what, who) for when, what, who in found[:most]],
        columns=["when", "what", "who"],
    )


def _act(row: Mapping[str, Any]) -> str:
    say = _ACTS.get(row["act"])
    return say(row["subject"]) if say else str(row["act"]).replace("-", " ").capitalize()


def _round(one: RoundRecord) -> tuple[str, str]:
    sent = one.record.get("selected", 0) + one.record.get("control", 0)
    what = f"Round {one.number}"
    return (f"{what}: sent {wording.counted(sent, 'image')}" if sent else what), "labelloop"


def _when(job: JobRecord) -> datetime:
    moment = job.finished_at or job.started_at or job.created_at
    return moment.replace(tzinfo=UTC)


def _job(job: JobRecord) -> str:
    name = KINDS.get(job.kind, job.kind.capitalize())
    reason = f": {job.says}" if job.state == "failed" and job.says else ""
    return f"{name}: {job.state}{reason}"
