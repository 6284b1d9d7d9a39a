"""The supervised processes: how each one is started, proved healthy and stopped."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx
import psutil

from curation.errors import LabelloopError
from labeling import server
from ui.jobs import processes
from ui.jobs.processes import ProcessId

STOP_GRACE_SECONDS = 10.0
HEALTHY_WITHIN_SECONDS = 90.0

# Nothing that we start calls home, and nothing that is meant for this machine goes to a proxy.
QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    "PYTHONUNBUFFERED": "1",
}
LOOPBACK = "127.0.0.1,localhost,::1"


class Child(Protocol):
    """One supervised process."""

    name: str

    def launch(self) -> None:
        """Starts the process; it need not be healthy yet."""

    def await_health(self) -> None:
        """Waits until it is.

        Raises:
            LabelloopError: it has ended, or was not healthy in time.
        """

    def alive(self) -> bool:
        """Whether its process runs."""

    def identity(self) -> ProcessId | None:
        """Its process, once launched."""

    def stop(self) -> None:
        """Ends it and what it started; does nothing when it has ended already."""


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """What a child gets to see: our own environment, made quiet, without the token."""
    ours = {name: value for name, value in os.environ.items() if name != "LABEL_STUDIO_API_KEY"}
    excluded = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    proxy = ",".join(filter(None, [LOOPBACK, excluded]))
    root = Path(__file__).resolve().parents[2]
    if "site-packages" not in root.parts:  # run from a source tree that was not installed
        known = os.environ.get("PYTHONPATH")
        ours["PYTHONPATH"] = f"{root}{os.pathsep}{known}" if known else str(root)
    return {**ours, **QUIET, "NO_PROXY": proxy, "no_proxy": proxy, **extra}


class Program:
    """A Python module run as a child."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        workspace: Path,
        log: Path,
        healthy: Callable[[ProcessId], bool],
    ) -> None:
        self.name = name
        self._command = [sys.executable, "-P", "-m", *command]
        self._workspace = workspace
        self._log = log
        self._healthy = healthy
        self._process: psutil.Popen | None = None

    def launch(self) -> None:
        """Starts it, its output added to its log."""
        with self._log.open("ab") as output:
            self._process = psutil.Popen(
                self._command,
                cwd=str(self._workspace),
                env=environment({"LABELLOOP_WORKSPACE": str(self._workspace)}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C goes to the whole foreground group; the supervisor decides instead.
                start_new_session=True,
            )

    def await_health(self) -> None:
        """Waits until it answers."""
        deadline = time.monotonic() + HEALTHY_WITHIN_SECONDS
        while time.monotonic() < deadline:
            found = self.identity()
            if found is None:
                raise LabelloopError(
                    f"The {self.name} ended while it was starting. {last_line(self._log)}"
                    f"See {self._log}."
                )
            if self._healthy(found):
                return
            time.sleep(0.1)
        raise LabelloopError(
            f"The {self.name} was not ready within {HEALTHY_WITHIN_SECONDS:.0f} s. See {self._log}."
        )

    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def identity(self) -> ProcessId | None:
        """Its process, while it runs."""
        if self._process is None or self._process.poll() is not None:
            return None
        with suppress(psutil.Error):
            return processes.identify(self._process.pid)
        return None

    def stop(self) -> None:
        """Ends it and what it started."""
        if self._process is not None:
            processes.end([self._process], grace_seconds=STOP_GRACE_SECONDS)


@dataclass
class LabelStudio:
    """The managed Label Studio."""

    folder: Path
    log: Path
    port: int | None = None
    public_url: str | None = None
    database_url: str | None = field(default=None, repr=False)
    name: str = "label-studio"
    running: server.Server | None = None

    def launch(self) -> None:
        """Starts it and waits until it has proved its identity; up to a minute the first time."""
        self.running = server.start(
            self.folder,
            log=self.log,
            port=self.port,
            public_url=self.public_url,
            database_url=self.database_url,
        )
        # A restart comes back at the address that people have open in their browsers.
        self.port = int(self.running.url.rsplit(":", 1)[1])

    def await_health(self) -> None:
        """Nothing is left to wait for."""

    def alive(self) -> bool:
        """Whether its process runs."""
        return self.running is not None and self.running.alive()

    def identity(self) -> ProcessId | None:
        """Its process, while it runs."""
        if self.running is None:
            return None
        with suppress(psutil.Error):
            return processes.identify(self.running.address.pid)
        return None

    def stop(self) -> None:
        """Ends it."""
        if self.running is not None:
            self.running.stop(grace_seconds=STOP_GRACE_SECONDS)


def answers(url: str) -> bool:
    """Whether something says that it is well at `url`."""
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def last_line(log: Path) -> str:
    """`It said: ... `, from the end of a log; empty where there is nothing."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4000))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip()]
    return f"It said: {said[-1][:300]} " if said else ""
