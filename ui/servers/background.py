"""Servers without a terminal: start them in the background, stop them, read what they said."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from curation.errors import InputError, LabelloopError
from curation.workspace import Workspace
from ui.jobs import processes
from ui.servers import state, supervisor
from ui.servers.children import environment, last_line
from ui.servers.supervisor import Options, Tell

logger = logging.getLogger(__name__)

NAMES = ("supervisor", "app", "worker", "label-studio")
STARTED_WITHIN_SECONDS = 360.0
STOPPED_WITHIN_SECONDS = 40.0
KEPT_BYTES = 10_000_000


def detach(workspace: Workspace, options: Options) -> state.State:
    """Starts the servers in a session of their own and waits until they are healthy.

    Raises:
        LabelloopError: they did not start; none is left running.
    """
    log = state.log_file(workspace, "supervisor")
    rotate(workspace)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ui.servers", *_arguments(workspace, options)],
            env=environment({}),
            cwd=str(workspace.path),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + STARTED_WITHIN_SECONDS
    try:
        while time.monotonic() < deadline:
            found = state.read(workspace)
            if found and found.ready and found.supervisor.pid == process.pid:
                # Somebody has to wait for it, or it stays a zombie for as long as we live.
                threading.Thread(target=process.wait, daemon=True).start()
                return found
            if process.poll() is not None:
                raise LabelloopError(f"The servers did not start. {last_line(log)}See {log}.")
            time.sleep(0.2)
        raise LabelloopError(
            f"The servers were not ready within {STARTED_WITHIN_SECONDS:.0f} s. See {log}."
        )
    except BaseException:
        process.terminate()
        process.wait(STOPPED_WITHIN_SECONDS)
        raise


def down(workspace: Workspace, *, tell: Tell) -> list[str]:
    """Stops the servers of a workspace, however they were started, and names them.

    Only processes that the workspace's own state names, and that are still the very same ones,
    are ever touched.
    """
    found = state.up(workspace)
    names: list[str] = []
    process = processes.living(found.supervisor) if found else None
    if found and process:
        names = [*found.children, "supervisor"]
        process.terminate()
        deadline = time.monotonic() + STOPPED_WITHIN_SECONDS
        while processes.living(found.supervisor) and time.monotonic() < deadline:
            time.sleep(0.1)
        if processes.living(found.supervisor):
            tell("The supervisor does not react and is ended by force.")
            processes.end([process], grace_seconds=0.0)
    names += [name for name in supervisor.stop_left_over(workspace, tell=tell) if name not in names]
    state.forget(workspace)
    return names


def tail(workspace: Workspace, name: str, *, lines: int) -> list[str]:
    """The last lines of a server's log; none where it has not been started yet.

    Raises:
        InputError: no server is called so.
    """
    path = _log(workspace, name)
    if not path.exists():
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, maxlen=lines)]


def follow(workspace: Workspace, names: list[str]) -> Iterator[tuple[str, str]]:
    """New lines, each with the server that said it, for as long as somebody asks."""
    paths = {name: _log(workspace, name) for name in names}
    at = {name: path.stat().st_size if path.exists() else 0 for name, path in paths.items()}
    while True:
        for name, path in paths.items():
            if not path.exists():
                continue
            if path.stat().st_size < at[name]:  # begun anew
                at[name] = 0
            with path.open("rb") as file:
                file.seek(at[name])
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    at[name] += len(line)
                    yield name, line.decode("utf-8", "replace").rstrip("\n")
        time.sleep(0.3)


def rotate(workspace: Workspace) -> None:
    """Puts logs aside that have grown beyond 10 MB; the one before is dropped."""
    for name in NAMES:
        path = state.log_file(workspace, name)
        if path.exists() and path.stat().st_size > KEPT_BYTES:
            path.replace(path.with_suffix(".log.1"))


def _log(workspace: Workspace, name: str) -> Path:
    if name not in NAMES:
        raise InputError(f"No server is called {name!r}. There are: {', '.join(NAMES)}.")
    return state.log_file(workspace, name)


def _arguments(workspace: Workspace, options: Options) -> list[str]:
    given = {
        "--app-port": options.app_port,
        "--label-studio-port": options.label_studio_port,
        "--public-url": options.public_url,
        "--app-script": options.app_script,
    }
    arguments = ["--workspace", os.fspath(workspace.path)]
    for name, value in given.items():
        if value:
            arguments += [name, str(value)]
    return arguments
