"""Doorbells at the queues of a workspace, so that an answer is counted when it is given.

Where Label Studio cannot ring, its projects are asked every ten seconds, as they are anyway for the
rings that get lost.
"""

import json
import logging
import threading
import time
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from curation import files
from curation.catalog import remote
from curation.errors import LabelloopError, LabelStudioRefused
from curation.workspace import Project, Workspace
from labeling import backend, connection, process, webhook
from labeling.backend import Backend
from ui.jobs import live
from ui.jobs.live import Predictor, Wish

logger = logging.getLogger(__name__)

STATE = "answers.json"
# A webhook may be deleted by hand, or be missing in a database that was restored.
LOOK_AGAIN_SECONDS = 300.0
TAKE_DOWN_SECONDS = 2.0


class Rings:
    """Which projects' bells were rung and not yet answered; any thread may ring."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._project_ids: set[int] = set()

    def ring(self, project_id: int) -> None:
        """Somebody rang; twice before it is answered is the same as once."""
        with self._changed:
            self._project_ids.add(project_id)
            self._changed.notify_all()

    def wait(self, seconds: float) -> set[int]:
        """The ids of the projects that rang since the last call, after at most this long."""
        with self._changed:
            self._changed.wait_for(lambda: self._project_ids, seconds)
            found, self._project_ids = self._project_ids, set()
            return found


class Bells(AbstractContextManager["Bells"]):
    """One doorbell, and the Label Studio projects at which it hangs.

    Beside it, at the same address of this machine, the backend that gives live pre-labels.
    """

    def __init__(self, workspace: Workspace, rings: Rings) -> None:
        self._workspace = workspace
        self._rings = rings
        self._held = ExitStack()
        self._doorbell: webhook.Doorbell | None = None
        self._backend: Backend | None = None
        self._broken = ""
        self._told: str | None = None
        self._seen: dict[int, set[int]] = {}
        self._hung: dict[int, tuple[Project, _State]] = {}
        self._again: dict[int, float] = {}

    def __enter__(self) -> "Bells":
        """Begin to listen, where that can be done."""
        try:
            self._doorbell = self._held.enter_context(
                webhook.Doorbell(self._rings.ring, host=process.DOORBELL_HOST)
            )
        except OSError as error:
            self._broken = f"nothing can listen at {process.DOORBELL_HOST} ({error.strerror})"
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the bells down, as far as Label Studio still answers, and stop listening."""
        with self._held:
            _state(self._workspace).unlink(missing_ok=True)
            try:
                self._take_down()
            except LabelloopError as error:
                logger.debug("Doorbells stay until the next start: %s", error)

    def has_new_queue(self, project: Project) -> bool:
        """Whether a queue came or went since the last call: people may answer there at once."""
        before, now = self._seen.get(project.id), _queues(project)
        self._seen[project.id] = now
        return before != now

    def look_after(self, project: Project) -> None:
        """Makes sure that a project's bells hang; asks Label Studio only now and then.

        Where one was missing, the project is rung for: an answer may have come before the bell.
        """
        wanted = _State.of(project)
        _, hung = self._hung.get(project.id, (project, None))
        if hung == wanted and time.monotonic() < self._again.get(project.id, 0.0):
            return
        try:
            obstacle = self._hang(project, wanted)
        except LabelloopError as error:
            logger.debug("Hanging the doorbells of %r: %s", project.record.name, error)
            return
        self._hung[project.id] = project, wanted
        self._again[project.id] = time.monotonic() + LOOK_AGAIN_SECONDS
        self._tell(obstacle)

    def look_again(self, project: Project) -> None:
        """Label Studio was away, and may have come back with another database."""
        self._again.pop(project.id, None)

    def _hang(self, project: Project, wanted: "_State") -> str:
        """Why the bells cannot hang, or nothing."""
        from ui import wiring

        if self._doorbell is None:
            return self._broken
        found = wiring.label_studio_of(self._workspace)
        if urlsplit(found.url).hostname not in process.LOOPBACK:
            return f"{found.url} is another machine, which cannot reach this one's doorbell"
        door = self._doorbell.door(project)
        try:
            with found.connect() as opened:
                # First, since Label Studio hangs a bell of its own at a new backend.
                self._attach(opened, project, wanted)
                made = [
                    webhook.hang(opened, remote_id, door) for remote_id in sorted(wanted.queues)
                ]
        except LabelStudioRefused:
            return f"the settings of {found.url} do not let it call {process.DOORBELL_HOST}"
        if any(made):
            self._rings.ring(project.id)
        return ""

    def _attach(self, opened: connection.Connection, project: Project, wanted: "_State") -> None:
        """Gives live pre-labels where they are wanted, and nowhere else."""
        if wanted.batch is None:
            return
        if wanted.wish is None:
            before = self._hung.get(project.id)
            # At the first look too: an earlier worker may have left one.
            if before is None or before[1].wish is not None:
                backend.detach(opened, wanted.batch, project)
            if self._backend is not None:
                self._backend.forget(project)
            return
        if self._backend is None:
            predictor = self._held.enter_context(Predictor(self._workspace))
            self._backend = self._held.enter_context(
                Backend(
                    predictor,
                    lambda project_id: live.train(self._workspace, project_id),
                    host=process.DOORBELL_HOST,
                )
            )
        post = self._backend.post(project, wanted.version)
        backend.attach(opened, wanted.batch, post)

    def _tell(self, obstacle: str) -> None:
        if obstacle == self._told:
            return
        self._told = obstacle
        how = f"by polling every 10 s, because {obstacle}" if obstacle else "by webhook"
        logger.info("Answers arrive %s.", how)
        self._workspace.folder("logs")
        files.write_json(_state(self._workspace), {"arrive": how})

    def _take_down(self) -> None:
        from ui import wiring

        if self._doorbell is None or not self._hung:
            return
        found = wiring.label_studio_of(self._workspace)
        opened = connection.connect(found.url, found.token, timeout_seconds=TAKE_DOWN_SECONDS)
        with opened:
            for project, hung in self._hung.values():
                if hung.wish is not None and hung.batch is not None:
                    backend.detach(opened, hung.batch, project)
                for remote_id in sorted(hung.queues):
                    webhook.take_down(opened, remote_id, project)


@dataclass(frozen=True)
class _State:
    """What decides on a project's bells and backend.

    Attributes:
        queues: Label Studio's numbers of their projects.
        batch: that of the batch's.
        wish: of live pre-labels; none where they are off.
        version: what they are called.
    """

    queues: frozenset[int]
    batch: int | None
    wish: Wish | None
    version: str

    @classmethod
    def of(cls, project: Project) -> "_State":
        """As it is now."""
        with project.catalog.read() as reading:
            bound = {one.queue: one.remote_id for one in remote.every(reading, project.id)}
        return cls(
            frozenset(bound.values()),
            bound.get("batch"),
            live.wish(project),
            live.version(project),
        )


def arrival(workspace: Workspace) -> str:
    """How the running worker learns of answers; empty before it has a queue to ask about."""
    try:
        return str(json.loads(_state(workspace).read_text(encoding="utf-8"))["arrive"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _queues(project: Project) -> set[int]:
    with project.catalog.read() as reading:
        return {queue.remote_id for queue in remote.every(reading, project.id)}


def _state(workspace: Workspace) -> Path:
    return workspace.path / "logs" / STATE
