"""Fetching answers from Label Studio, quietly, between and beside jobs.

At once where a doorbell was rung, and every few seconds in any case.
"""

import logging
import threading
import time
from dataclasses import dataclass

from curation.catalog import projects, remote
from curation.errors import LabelloopError
from curation.workspace import Project, Workspace
from ui.jobs.bells import Bells, Rings

logger = logging.getLogger(__name__)

EVERY_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 300.0
# However often a bell is rung, pulls begin at least this far apart. With the pull that missed an
# answer by a little and the one that brings it, that must stay below two seconds.
APART_SECONDS = 0.6
TICK_SECONDS = 1.0
MOST_DOUBLINGS = 10


@dataclass
class Patience:
    """When to ask again: soon while all is well, ever later while nothing answers.

    Attributes:
        rung: somebody rang since the last pull began.
        failures: how many pulls failed in a row.
        not_before: when the next pull is due.
        rests_until: when it is due if somebody rings.
    """

    rung: bool = False
    failures: int = 0
    not_before: float = 0.0
    rests_until: float = 0.0

    def due(self, now: float) -> bool:
        """Whether it is time for a pull."""
        return now >= self.not_before or (self.rung and now >= self.rests_until)

    def began(self, now: float) -> None:
        """A pull begins; who rings from now on rings for the next one.

        A ring says that Label Studio is there, so it shortens the wait after failures, but not to
        nothing.
        """
        self.rung = False
        self.rests_until = now + min(APART_SECONDS * self._doublings(), EVERY_SECONDS)

    def succeeded(self, now: float) -> None:
        """The next one follows at the usual pace."""
        self.failures, self.not_before = 0, now + EVERY_SECONDS

    def failed(self, now: float) -> None:
        """The next one waits twice as long as the last, up to five minutes."""
        wait = min(EVERY_SECONDS * self._doublings(), LONGEST_WAIT_SECONDS)
        self.failures, self.not_before = self.failures + 1, now + wait

    def _doublings(self) -> int:
        return int(2 ** min(self.failures, MOST_DOUBLINGS))


def waiting(workspace: Workspace) -> list[Project]:
    """The active projects that have a queue in Label Studio."""
    with workspace.catalog.read() as connection:
        return [
            Project(workspace, record)
            for record in projects.every(connection)
            if record.state == "active" and remote.every(connection, record.id)
        ]


def pull_until(stop: threading.Event, workspace: Workspace) -> None:
    """Pulls the answers of every project until `stop` is set.

    Also beside a job that pulls by itself: both may bring in the same answer.

    Args:
        stop: ends it, within a second and the pull that is under way.
        workspace: the opened workspace.
    """
    patience: dict[int, Patience] = {}
    rings = Rings()
    with Bells(workspace, rings) as bells:
        while not stop.is_set():
            # One that rang too early is not forgotten.
            early = [one.rests_until - time.monotonic() for one in patience.values() if one.rung]
            rung = rings.wait(max(0.0, min([TICK_SECONDS, *early])))
            try:
                found = waiting(workspace)
                news = {one.id for one in found if bells.has_new_queue(one)}
            except LabelloopError as error:
                logger.warning("Looking for answers: %s", error)
                stop.wait(EVERY_SECONDS)
                continue
            patience = {one.id: patience.get(one.id, Patience()) for one in found}
            for project in found:
                ours = patience[project.id]
                ours.rung |= project.id in rung | news
                if ours.due(time.monotonic()) and not stop.is_set():
                    pull_once(project, ours, bells)


def pull_once(project: Project, patience: Patience, bells: Bells | None = None) -> None:
    """Pulls one project's answers; a failure is told once and then waited out.

    Args:
        project: whose.
        patience: says when to come again.
        bells: where they hang is looked after once Label Studio has answered.
    """
    patience.began(time.monotonic())
    try:
        from ui import wiring

        wiring.pull(project)
        if bells is not None:
            if patience.failures:
                bells.look_again(project)
            bells.look_after(project)
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
