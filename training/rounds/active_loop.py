"""The active-learning round: a sequence of recorded steps, each of which can be the last.

What a step did and the fact that it is done are written in one transaction, so a round that was
killed goes on at the first step that is not done, with the same seed and the same result. What is
sent to people stands in the ledger before anything is pushed, and pushing is idempotent.
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from curation import splits
from curation.catalog import annotations, audits, reserve, rounds
from curation.catalog import pool as pool_rows
from curation.errors import RoundError
from curation.progress import Report, silent
from curation.records import RoundRecord
from curation.workspace import Project
from training.rounds.steps import STEPS
from training.rounds.work import Annotator, RoundSettings, Work

__all__ = ["Annotator", "RoundSettings", "run"]


def run(
    project: Project,
    settings: RoundSettings,
    annotator: Annotator,
    *,
    report: Report = silent,
) -> RoundRecord:
    """Runs the next round, or goes on with the one that was interrupted.

    Raises:
        RoundError: the settings cannot work, or nobody has answered anything since the last round.
        SelectionError: the strategy cannot choose.
        LabelStudioError: the batch could not be pushed; the same command goes on from there.
        Cancelled: asked to stop; the same command goes on.
    """
    settings.check()
    if project.record.task == "boxes":
        raise RoundError(
            f"{project.record.name!r} holds boxes, and rounds train models of whole images. Make a "
            "project with --task single-label or multi-label for them."
        )
    with _alone(project):
        return _run(project, settings, annotator, report)


@contextmanager
def _alone(project: Project) -> Iterator[None]:
    """One process at a time works on a project's rounds; the lock goes with its process."""
    path = project.workspace.folder("runs") / f".round-p{project.id}.lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RoundError(
                f"Another process is running a round of {project.record.name!r}. Wait for it to "
                "end; `labelloop rounds list` shows how far it is."
            ) from error
        yield


def _run(
    project: Project, settings: RoundSettings, annotator: Annotator, report: Report
) -> RoundRecord:
    with project.catalog.read() as connection:
        latest = rounds.latest(connection, project.id)
    if latest is not None and latest.state == "running":
        current = latest
    else:
        report(0, 0, "pull")
        begun = time.monotonic()
        collected = annotator.collect(report)
        current = _begin(project, settings, latest, collected, time.monotonic() - begun)
    work = Work(project, current, RoundSettings(**current.settings["asked"]), annotator, report)
    for name, step in STEPS.items():
        with project.catalog.read() as connection:
            if name in rounds.steps(connection, current.id):
                continue
        report(0, 0, name)
        begun = time.monotonic()
        done = step(work)
        with project.catalog.write() as connection:
            done.write(connection)
            rounds.finish_step(
                connection,
                current.id,
                name,
                seconds=time.monotonic() - begun,
                result=done.result,
            )
    with project.catalog.write() as connection:
        rounds.finish(connection, current.id, "waiting")
        return rounds.get(connection, project.id, current.number)


def _begin(
    project: Project,
    settings: RoundSettings,
    latest: RoundRecord | None,
    collected: dict[str, Any],
    seconds: float,
) -> RoundRecord:
    splits.join(project)  # before the reserve, which is drawn from what a split holds out
    with project.catalog.write() as connection:
        version = annotations.newest_version(connection, project.id)
        waiting = rounds.waiting(connection, project.id)
        news = version if latest is None else version != latest.settings["version"]
        if latest is not None and waiting and not news:
            raise RoundError(
                f"Nothing has been answered since round {latest.number}; {len(waiting)} images are "
                "waiting. Label some of them, then run this again."
            )
        reserve.freeze(connection, project.id)
        # With new answers the last round still has a model to train and to judge.
        if (
            not news
            and not pool_rows.count(connection, project.id)
            and not audits.pending(connection, project.id)
        ):
            raise RoundError(
                "There is no image left to choose: all are labeled, set aside or in the reserve. "
                "Import more, then run this again."
            )
        started = rounds.start(
            connection, project.id, {"asked": asdict(settings), "version": version}
        )
        rounds.finish_step(connection, started.id, "pull", seconds=seconds, result=collected)
        return started
