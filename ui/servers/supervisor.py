"""Starts Label Studio, the job worker and the app, watches over them and stops them."""

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from curation.errors import InputError, LabelloopError, LabelStudioError
from curation.workspace import Workspace
from labeling import connection, server
from ui import jobs
from ui.jobs import processes
from ui.servers import database, external, state
from ui.servers.children import STOP_GRACE_SECONDS, Child, LabelStudio, Program, answers
from ui.servers.external import private_folder

logger = logging.getLogger(__name__)

APP = Path(__file__).resolve().parents[1] / "web" / "app.py"
APP_PORT = 8501
APP_PATH = "labelloop"
MEGABYTES_PER_UPLOAD = 200

WATCH_SECONDS = 0.5
RESTARTS = 5
RESTARTS_WITHIN_SECONDS = 600.0
FIRST_BACKOFF_SECONDS = 1.0

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How the servers are started.

    Attributes:
        app_port: exactly this port; None for the first free one from 8501 upwards.
        label_studio_port: the same for Label Studio, from 8080 upwards.
        public_url: the address under which people at other computers reach a TLS proxy in front of
            Label Studio. The app is then below it, at `/labelloop`.
        app_script: what Streamlit runs.
    """

    app_port: int | None = None
    label_studio_port: int | None = None
    public_url: str = ""
    app_script: Path = APP


@dataclass
class _Watched:
    """A child and how often it had to be started again lately."""

    child: Child
    restarts: list[float] = field(default_factory=list)
    restart_at: float | None = None
    given_up: bool = False


class Running(AbstractContextManager["Running"]):
    """The servers of a workspace, started by this process.

    Attributes:
        app_url: where the app is, for people.
        label_studio_url: where Label Studio is, for programs on this machine.
        label_studio_public_url: where it is for people.
    """

    def __init__(self, workspace: Workspace, options: Options, *, tell: Tell) -> None:
        self.workspace = workspace
        self.app_url = ""
        self.label_studio_url = ""
        self.label_studio_public_url = ""
        self._options = options
        self._tell = tell
        self._watched: list[_Watched] = []
        self._held = ExitStack()
        self._ports: dict[str, int] = {}

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stops everything."""
        self.stop()

    def watch(self, *, until: threading.Event | None = None) -> None:
        """Starts again what dies, until interrupted or `until` is set.

        Raises:
            LabelloopError: every server died so often that it was given up.
        """
        ended = until or threading.Event()
        while not ended.wait(WATCH_SECONDS):
            for watched in self._watched:
                self._mend(watched, time.monotonic())
            if all(watched.given_up for watched in self._watched):
                raise LabelloopError("All servers keep dying. See `labelloop logs`.")

    def stop(self) -> None:
        """Stops all of them, also when some have died; may be called twice."""
        # All are asked at once, so that a slow one does not keep the others.
        threads = [threading.Thread(target=found.child.stop) for found in self._watched]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._watched = []
        self._held.close()

    def _start(self) -> None:
        workspace, options = self.workspace, self._options
        lock = workspace.folder("logs") / state.LOCK
        try:
            self._held.enter_context(processes.lock(lock))
        except processes.AlreadyHeld as error:
            raise LabelloopError(
                f"The servers of {workspace.path} are up already. Stop them with `labelloop down`."
            ) from error
        self._held.callback(state.forget, workspace)
        stop_left_over(workspace, tell=self._tell)
        self._write(ready=False)
        app_port = state.free_port(options.app_port, default=APP_PORT)
        self._ports["app"] = app_port
        worker, app = _worker(workspace), _app(workspace, options, port=app_port)
        for child in (worker, app):
            self._watched.append(_Watched(child))
            child.launch()
        self._write(ready=False)
        self._start_label_studio()
        for child in (worker, app):
            child.await_health()
        base = options.public_url.rstrip("/")
        path = f"/{APP_PATH}" if base else ""
        self.app_url = f"{base or f'http://127.0.0.1:{app_port}'}{path}"
        self._write(ready=True)

    def _start_label_studio(self) -> None:
        found = external.remembered(self.workspace)
        if found is not None:
            with connection.connect(found.url, found.token) as opened:
                opened.require_supported()
            self.label_studio_url = self.label_studio_public_url = found.url
            return
        folder = private_folder(self.workspace)
        database_url = database.of_label_studio(self.workspace, tell=self._tell)
        if not (folder / server.CREDENTIALS).exists():
            self._tell("Label Studio starts for the first time, which takes up to a minute ...")
        child = LabelStudio(
            folder,
            log=state.log_file(self.workspace, "label-studio"),
            port=self._options.label_studio_port,
            public_url=self._options.public_url or None,
            database_url=database_url,
        )
        self._watched.append(_Watched(child))
        child.launch()
        assert child.running is not None
        self.label_studio_url = child.running.url
        self._ports[child.name] = int(urlsplit(child.running.url).port or 0)
        self.label_studio_public_url = child.running.public_url

    def _mend(self, watched: _Watched, now: float) -> None:
        child = watched.child
        if watched.given_up or child.alive():
            return
        if watched.restart_at is None:
            watched.restarts = [at for at in watched.restarts if now - at < RESTARTS_WITHIN_SECONDS]
            if len(watched.restarts) >= RESTARTS:
                watched.given_up = True
                self._tell(
                    f"The {child.name} died {RESTARTS + 1} times within "
                    f"{RESTARTS_WITHIN_SECONDS / 60:.0f} minutes and is left alone now. "
                    f"See `labelloop logs {child.name}`, then `labelloop down` and `labelloop up`."
                )
                return
            wait = FIRST_BACKOFF_SECONDS * 2 ** len(watched.restarts)
            watched.restart_at = now + wait
            self._tell(f"The {child.name} died; it is started again in {wait:.0f} s.")
        if now < watched.restart_at:
            return
        watched.restart_at = None
        watched.restarts.append(now)
        try:
            child.stop()  # what the dead process had started itself
            child.launch()
            child.await_health()
        except LabelloopError as error:
            self._tell(f"Starting the {child.name} again failed: {error}")
        else:
            self._tell(f"The {child.name} runs again.")
        self._write(ready=True)

    def _write(self, *, ready: bool) -> None:
        found = {watched.child.name: watched.child.identity() for watched in self._watched}
        state.write(
            self.workspace,
            state.State(
                supervisor=processes.identify(os.getpid()),
                app_url=self.app_url,
                label_studio_url=self.label_studio_public_url,
                children={name: identity for name, identity in found.items() if identity},
                ports=self._ports,
                ready=ready,
            ),
        )


def start(workspace: Workspace, options: Options | None = None, *, tell: Tell) -> Running:
    """Starts the servers of a workspace and waits until each one is healthy.

    Args:
        workspace: the opened workspace.
        options: how; the defaults if left out.
        tell: called with a sentence for people now and then.

    Raises:
        LabelloopError: they run already, or one of them did not start; none is left running.
    """
    options = replace(options or Options())
    if options.public_url:
        check_public_url(options.public_url)
    if not options.app_script.is_file():
        raise InputError(f"The app {options.app_script} is missing. Install labelloop again.")
    running = Running(workspace, options, tell=tell)
    try:
        running._start()
    except BaseException:
        running.stop()
        raise
    return running


def check_public_url(url: str) -> None:
    """Raises InputError unless people can use this as an address."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise InputError(
            f"{url!r} is not the address of a host. Give for example https://labels.example.org"
        )


def stop_left_over(workspace: Workspace, *, tell: Tell) -> list[str]:
    """Stops servers whose supervisor was killed, and names them."""
    found = state.read(workspace)
    orphans = state.left_over(workspace)
    names = []
    if found is not None and orphans:
        pids = {process.pid for process in orphans}
        names = [name for name, child in found.children.items() if child.pid in pids]
        processes.end(orphans, grace_seconds=STOP_GRACE_SECONDS)
    # Killed while it was starting, Label Studio is not in our own state yet.
    attached = server.attach(workspace.path / "label-studio")
    if attached is not None:
        attached.stop()
        names.append("label-studio")
    if names:
        tell(f"Stopped what an earlier start had left running: {', '.join(names)}.")
    return names


def log_in(workspace: Workspace) -> server.Credentials | None:
    """The log-in of our own Label Studio; None where there is none."""
    if workspace.settings.label_studio_url:
        return None
    with suppress(LabelStudioError):
        return server.credentials_in(workspace.path / "label-studio")
    return None


def _worker(workspace: Workspace) -> Program:
    return Program(
        "worker",
        ["ui.jobs.worker", "--workspace", str(workspace.path)],
        workspace=workspace.path,
        log=state.log_file(workspace, "worker"),
        healthy=lambda _: jobs.worker_runs(workspace),
    )


def _app(workspace: Workspace, options: Options, *, port: int) -> Program:
    flags = {
        "server.address": "127.0.0.1",
        "server.port": str(port),
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "server.runOnSave": "false",
        "server.enableCORS": "true",
        "server.enableXsrfProtection": "true",
        "server.maxUploadSize": str(MEGABYTES_PER_UPLOAD),
        "browser.gatherUsageStats": "false",
    }
    path = ""
    if options.public_url:
        parts = urlsplit(options.public_url)
        flags["browser.serverAddress"] = str(parts.hostname)
        flags["browser.serverPort"] = str(parts.port or {"https": 443, "http": 80}[parts.scheme])
        flags["server.baseUrlPath"] = APP_PATH
        path = f"/{APP_PATH}"
    return Program(
        "app",
        [
            "streamlit",
            "run",
            str(options.app_script),
            *(f"--{name}={value}" for name, value in flags.items()),
        ],
        workspace=workspace.path,
        log=state.log_file(workspace, "app"),
        healthy=lambda _: answers(f"http://127.0.0.1:{port}{path}/_stcore/health"),
    )
