"""One job, in a process of its own: `python -m ui.jobs.run JOB_ID --workspace DIR`."""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation import workspace as workspaces
from curation.catalog import jobs, projects
from curation.errors import Cancelled, InputError, LabelloopError
from curation.records import JobRecord, JobState
from curation.workspace import Project, Workspace
from ui.jobs.kinds import KINDS
from ui.jobs.reporting import Reporter

logger = logging.getLogger(__name__)

OUR_PACKAGES = ("curation", "labeling", "training", "ui")


@dataclass(frozen=True)
class Ending:
    """How a job ended, as its row will say."""

    state: JobState
    says: str
    result: dict[str, Any] | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job and returns the exit code: 0 whenever its row says how it ended."""
    parser = argparse.ArgumentParser(prog="ui.jobs.run", description=__doc__)
    parser.add_argument("job", type=int)
    parser.add_argument("--workspace", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for name in OUR_PACKAGES:
        logging.getLogger(name).setLevel(logging.INFO)
    run(workspaces.open(arguments.workspace), arguments.job)
    return 0


def run(workspace: Workspace, job_id: int) -> Ending:
    """Does the work of a job and writes how it ended."""
    with workspace.catalog.read() as connection:
        job = jobs.get(connection, job_id)
    with Reporter(workspace.catalog, job_id) as reporter:
        ending = _end(workspace, job, reporter)
    with workspace.catalog.write() as connection:
        jobs.finish(connection, job_id, ending.state, says=ending.says, result=ending.result)
        kind = KINDS.get(job.kind)
        if kind is not None and kind.ended is not None and ending.result is not None:
            kind.ended(connection, ending.result)
    return ending


def _end(workspace: Workspace, job: JobRecord, reporter: Reporter) -> Ending:
    try:
        kind = KINDS.get(job.kind)
        if kind is None or job.project_id is None:
            raise InputError(
                f"This labelloop cannot do a {job.kind!r} job. "
                f"It knows, each for a project: {', '.join(KINDS)}."
            )
        with workspace.catalog.read() as connection:
            project = Project(workspace, projects.get(connection, job.project_id))
        result = kind.function(project, job.arguments, reporter)
    except Cancelled as error:
        return Ending("cancelled", str(error))
    except LabelloopError as error:
        logger.warning("%s", error)
        return Ending("failed", str(error))
    except Exception as error:
        # A fault of ours: the row says it in a line, the job's log keeps the traceback.
        logger.exception("The job failed")
        said = str(error).strip().splitlines()[:1]
        line = ": ".join([type(error).__name__, *said])[:300]
        return Ending("failed", f"An unexpected fault, {line}. The job's log says where.")
    return Ending("done", "Done.", result)


if __name__ == "__main__":
    sys.exit(main())
