"""Fetching answers from Label Studio every few seconds, quietly, between and beside jobs."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from curation.catalog import projects, remote
from curation.errors import LabelloopError
from curation.workspace import Project, Workspace

logger = logging.getLogger(__name__)

EVERY_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 300.0


@dataclass
class Patience:
    """When to ask again: soon while all is well, ever later while nothing answers."""

    failures: int = 0
    not_before: float = 0.0

    def succeeded(self, now: float) -> None:
        """The next one follows at the usual pace."""
        self.failures, self.not_before = 0, now + EVERY_SECONDS

    def failed(self, now: float) -> None:
        """The next one waits twice as long as the last, up to five minutes."""
        wait = min(EVERY_SECONDS * 2**self.failures, LONGEST_WAIT_SECONDS)
        self.failures, self.not_before = self.failures + 1, now + wait


def waiting(workspace: Workspace) -> list[Project]:
    """The active projects that have a queue in Label Studio."""
    with workspace.catalog.read() as connection:
        return [
            Project(workspace, record)
            for record in projects.every(connection)
            if record.state == "active" and remote.every(connection, record.id)
        ]


def pull_until(
    stop: threading.Event, workspace: Workspace, *, busy_with: Callable[[], int | None]
) -> None:
    """Pulls the answers of every project until `stop` is set.

    Args:
        stop: ends it.
        workspace: the opened workspace.
        busy_with: the id of the project that a job is working on, which pulls by itself.
    """
    patience: dict[int, Patience] = {}
    while not stop.wait(1.0):
        try:
            found = waiting(workspace)
        except LabelloopError as error:
            logger.warning("Looking for answers: %s", error)
            stop.wait(EVERY_SECONDS)
            continue
        for project in found:
            ours = patience.setdefault(project.id, Patience())
            if time.monotonic() >= ours.not_before and project.id != busy_with():
                pull_once(project, ours)


def pull_once(project: Project, patience: Patience) -> None:
    """Pulls one project's answers; a failure is told once and then waited out."""
    try:
        from ui import wiring

        wiring.pull(project)
    except Exception as error:
        known = isinstance(error, LabelloopError)
        if patience.failures == 0 or not known:
            logger.warning(
                "Fetching the answers of %r: %s", project.record.name, error, exc_info=not known
            )
        patience.failed(time.monotonic())
        return
    if patience.failures:
        logger.info("Answers of %r are fetched again.", project.record.name)
    patience.succeeded(time.monotonic())
