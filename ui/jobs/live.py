"""Live pre-labels: the worker's side, which holds no model itself.

The model lives in a child (`ui.jobs.predictor`) that is started when the first task is asked about
and ends by itself when none was for a while. Until it is ready, and whenever it is busy for longer
than a person is to wait, tasks are shown without a pre-label.
"""

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from curation.catalog import plans, projects, remote, rounds
from curation.workspace import Project, Workspace
from labeling import backend
from labeling.backend import Result, Task

logger = logging.getLogger(__name__)

PLAN = "live"
VERSION = "live"
"""What live pre-labels are called in a project without rounds."""
START_AGAIN_SECONDS = 30.0
END_SECONDS = 5.0


@dataclass(frozen=True)
class Wish:
    """What the user wants of a project's backend.

    Attributes:
        rounds: a training that is asked for in Label Studio starts a round.
    """

    rounds: bool


def wish(project: Project) -> Wish | None:
    """What is wanted now; none where live pre-labels are off."""
    with project.catalog.read() as reading:
        found = plans.in_force(reading, project.id).get(PLAN)
    return None if found is None else Wish(bool(found.get("rounds")))


def version(project: Project) -> str:
    """What live pre-labels are called now: as those of the batch, whose order must stay."""
    from labeling import sync

    with project.catalog.read() as reading:
        ended = [one for one in rounds.every(reading, project.id) if one.state == "waiting"]
    return sync.model_version(ended[-1]) if ended else VERSION


def train(workspace: Workspace, project_id: int) -> str:
    """Somebody asked for a training in Label Studio: a round, if the user wants that."""
    from ui import jobs

    with workspace.catalog.read() as reading:
        project = Project(workspace, projects.get(reading, project_id))
    wanted = wish(project)
    if wanted is None or not wanted.rounds:
        logger.info(
            "A training of %r was asked for in Label Studio, which starts nothing: "
            "`labelloop label live on --rounds` lets it start a round.",
            project.record.name,
        )
        return "ignored"
    job = jobs.ask(project, "round", {})
    logger.info("A training was asked for in Label Studio: a round is job %d.", job.id)
    return "queued"


class Predictor(AbstractContextManager["Predictor"]):
    """The child that holds the model, while there is one. Safe to ask from several threads."""

    def __init__(self, workspace: Workspace, *, seconds: float = backend.PREDICT_SECONDS) -> None:
        self._workspace = workspace
        self._seconds = seconds
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._child: subprocess.Popen[str] | None = None
        self._listening: threading.Thread | None = None
        self._answers: dict[int, dict[str, Any]] = {}
        self._asked = 0
        self._not_before = 0.0

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the child."""
        child, self._child = self._child, None
        if child is not None:
            child.terminate()
            try:
                child.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            self._let_go(child)

    def _let_go(self, child: "subprocess.Popen[str]") -> None:
        """Gives back what an ended child leaves."""
        if self._listening is not None:
            self._listening.join()
        with suppress(OSError):
            assert child.stdin is not None
            child.stdin.close()

    def __call__(self, project_id: int, asked: Sequence[Task]) -> list[Result | None] | None:
        """The results of these tasks as far as they come in time; none where they do not."""
        until = time.monotonic() + self._seconds
        if not asked or not self._turn.acquire(timeout=self._seconds):
            return None
        try:
            said = self._ask(project_id, asked, until)
        finally:
            self._turn.release()
        return None if said is None else _results(self._workspace, project_id, said["answers"])

    def _ask(self, project_id: int, asked: Sequence[Task], until: float) -> dict[str, Any] | None:
        child = self._running()
        if child is None or child.stdin is None:
            return None
        self._asked += 1
        number = self._asked
        said = {"number": number, "project": project_id, "tasks": list(asked)}
        try:
            child.stdin.write(json.dumps(said) + "\n")
            child.stdin.flush()
        except OSError:
            return None
        with self._changed:
            self._changed.wait_for(
                lambda: number in self._answers or child.poll() is not None,
                until - time.monotonic(),
            )
            return self._answers.pop(number, None)

    def _running(self) -> "subprocess.Popen[str] | None":
        if self._child is not None:
            if self._child.poll() is None:
                return self._child
            self._let_go(self._child)
            self._child = None
        if time.monotonic() < self._not_before:
            return None
        from ui.servers.children import environment

        self._not_before = time.monotonic() + START_AGAIN_SECONDS
        logger.info("The model for live pre-labels is being loaded.")
        self._child = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "ui.jobs.predictor"),
                *("--workspace", str(self._workspace.path)),
            ],
            env=environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._listening = threading.Thread(
            target=self._listen, args=(self._child,), name="predictor", daemon=True
        )
        self._listening.start()
        return self._child

    def _listen(self, child: "subprocess.Popen[str]") -> None:
        assert child.stdout is not None
        with child.stdout, suppress(ValueError, OSError):
            for line in child.stdout:
                said = json.loads(line)
                # Here, where it is told also to the log of one who gave up waiting.
                for reason in dict.fromkeys(said["reasons"]):
                    logger.info("No pre-label: %s", reason)
                with self._changed:
                    # Who gave up waiting does not come back for an answer.
                    self._answers = {said["number"]: said}
                    self._changed.notify_all()
        child.wait()
        with self._changed:
            self._changed.notify_all()


def _results(
    workspace: Workspace, project_id: int, answers: Sequence[dict[str, Any] | None]
) -> list[Result | None]:
    """Answers in the words of the queue's interface."""
    from labeling import interfaces, tasks

    with workspace.catalog.read() as reading:
        queues = {one.queue: one for one in remote.every(reading, project_id)}
    interface = interfaces.understood(queues["batch"].interface)
    return [
        None
        if one is None
        else tasks.chosen(one["classes"], confidence=one["confidence"], interface=interface)
        for one in answers
    ]
