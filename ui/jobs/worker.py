"""The worker: `python -m ui.jobs.worker --workspace DIR`, one process per workspace.

It claims the oldest queued job, runs it in a child and waits. A lock, which the child inherits,
keeps a second worker from starting until the first one and its job have ended, so whatever the
catalog calls running at that moment was abandoned and is queued again.
"""

import argparse
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from curation import files
from curation import workspace as workspaces
from curation.catalog import jobs
from curation.errors import CatalogError, LabelloopError
from curation.records import JobRecord, JobState
from curation.workspace import Workspace
from ui.jobs import WORKER_STATE, processes, pulling

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
LOCK_WAIT_SECONDS = 15.0
CANCEL_GRACE_SECONDS = 30.0
KILL_AFTER_SECONDS = 5.0
PULL_GRACE_SECONDS = 4.0


def main(argv: Sequence[str] | None = None) -> int:
    """Works until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="ui.jobs.worker", description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument(
        "--cancel-grace", type=float, default=CANCEL_GRACE_SECONDS, metavar="SECONDS"
    )
    arguments = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # Every pull would be several lines.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        work(
            workspaces.open(arguments.workspace),
            stop=stop,
            cancel_grace_seconds=arguments.cancel_grace,
        )
    except LabelloopError as error:
        logger.error("%s", error)
        return 1
    return 0


def work(workspace: Workspace, *, stop: threading.Event, cancel_grace_seconds: float) -> None:
    """Does queued jobs, one after the other, until `stop` is set.

    Raises:
        AlreadyHeld: another worker of this workspace runs.
    """
    logs = workspace.folder("logs")
    with processes.lock(logs / "worker.lock", wait_seconds=LOCK_WAIT_SECONDS) as held:
        worker = Worker(workspace, held=held, stop=stop, cancel_grace_seconds=cancel_grace_seconds)
        worker.requeue_abandoned()
        files.write_json(logs / WORKER_STATE, vars(processes.identify(os.getpid())))
        pull = threading.Thread(
            target=pulling.pull_until, args=(stop, workspace), name="pull", daemon=True
        )
        pull.start()
        try:
            worker.work()
        finally:
            (logs / WORKER_STATE).unlink(missing_ok=True)
            stop.set()
            pull.join(PULL_GRACE_SECONDS)


class Worker:
    """The process that holds the workspace's lock."""

    def __init__(
        self,
        workspace: Workspace,
        *,
        held: int,
        stop: threading.Event,
        cancel_grace_seconds: float,
    ) -> None:
        self.workspace = workspace
        self.catalog = workspace.catalog
        self._held = held
        self._stop = stop
        self._cancel_grace_seconds = cancel_grace_seconds
        self._name = f"{socket.gethostname()[:50]}:{os.getpid()}:{time.time_ns() // 10**9}"

    def work(self) -> None:
        """Claims and runs jobs until asked to stop."""
        while not self._stop.is_set():
            try:
                job = self._claim()
                if job is not None:
                    self._run(job)
                    continue
            except CatalogError as error:
                logger.warning("%s", error)
                self._stop.wait(5.0)
            self._stop.wait(POLL_SECONDS)

    def requeue_abandoned(self) -> None:
        """Queues again what a dead worker left running."""
        with self.catalog.write() as connection:
            for job_id in jobs.requeue_abandoned(connection, self._name):
                jobs.log(connection, job_id, "Its worker ended; queued again.")
                logger.info("Job %d was abandoned; queued again.", job_id)

    def _claim(self) -> JobRecord | None:
        with self.catalog.write() as connection:
            return jobs.claim(connection, self._name)

    def _run(self, job: JobRecord) -> None:
        if job.cancel:
            self._finish(job, "cancelled", "Stopped before it began, as asked.")
            return
        logger.info("Job %d (%s) begins.", job.id, job.kind)
        command = [sys.executable, "-P", "-m", "ui.jobs.run", str(job.id)]
        child = subprocess.Popen(
            [*command, "--workspace", str(self.workspace.path)],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # a group of its own, so that what it starts ends with it
            pass_fds=(self._held,),
        )
        try:
            self._await(child, job)
        finally:
            _kill(child)

    def _await(self, child: subprocess.Popen[bytes], job: JobRecord) -> None:
        cancel_by: float | None = None
        while child.poll() is None:
            if self._stop.wait(POLL_SECONDS):
                self._put_back(child, job)
                return
            if cancel_by is None and self._read(job).cancel:
                cancel_by = time.monotonic() + self._cancel_grace_seconds
            if cancel_by is not None and time.monotonic() > cancel_by:
                _end(child)
        self._settle(job, child.returncode, forced=cancel_by is not None)

    def _put_back(self, child: subprocess.Popen[bytes], job: JobRecord) -> None:
        """We are to stop: the job is queued again, unless it has just ended by itself."""
        _end(child)
        if self._read(job).state == "running":
            with self.catalog.write() as connection:
                jobs.requeue_abandoned(connection, "")
                jobs.log(connection, job.id, "The servers were stopped; queued again.")
        logger.info("Job %d waits for the next start.", job.id)

    def _settle(self, job: JobRecord, code: int, *, forced: bool) -> None:
        """Makes sure that the row says how the job ended, also where its process could not."""
        state = self._read(job).state
        if state != "running":
            logger.info("Job %d (%s) ended: %s.", job.id, job.kind, state)
            return
        if forced:
            says = (
                f"Stopped by force, since it did not react for {self._cancel_grace_seconds:.0f} "
                "seconds. What was done so far is kept."
            )
            self._finish(job, "cancelled", says)
        elif code < 0:
            says = (
                f"The job's process was ended by signal {-code}"
                + (", perhaps because memory ran out. " if code == -signal.SIGKILL else ". ")
                + "Start it again: it goes on where it stopped."
            )
            self._finish(job, "failed", says)
        else:
            says = f"The job's process ended with code {code}. See `labelloop logs worker`."
            self._finish(job, "failed", says)

    def _finish(self, job: JobRecord, state: JobState, says: str) -> None:
        with self.catalog.write() as connection:
            jobs.log(connection, job.id, says)
            jobs.finish(connection, job.id, state, says=says)
        logger.info("Job %d (%s) ended: %s. %s", job.id, job.kind, state, says)

    def _read(self, job: JobRecord) -> JobRecord:
        with self.catalog.read() as connection:
            return jobs.get(connection, job.id)


def _end(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        child.terminate()
    try:
        child.wait(KILL_AFTER_SECONDS)
    except subprocess.TimeoutExpired:
        _kill(child)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Ends what is left of the job's process group, also what outlived the job's own process."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


if __name__ == "__main__":
    sys.exit(main())
