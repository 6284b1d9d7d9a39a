"""From inside a running job to its row: progress, log lines, and the user's wish to stop.

A thread of its own does all the writing, twice a second at most, so that work may report as often
as it likes, and a step that says nothing for minutes is still seen to be alive and can still see
that its worker has died.
"""

import logging
import os
import signal
import threading
import time
from collections import deque
from contextlib import AbstractContextManager
from types import TracebackType

from curation.catalog import Catalog, jobs
from curation.errors import Cancelled, CatalogError
from curation.progress import step_of

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.5
HEARTBEAT_SECONDS = 5.0
LINES_KEPT = 5_000


class Reporter(AbstractContextManager["Reporter"]):
    """The `Report` of one job; open it around the work.

    Calling it raises `Cancelled` once the user has asked the job to stop.
    """

    def __init__(
        self, catalog: Catalog, job_id: int, *, tick_seconds: float = TICK_SECONDS
    ) -> None:
        self._catalog = catalog
        self._job_id = job_id
        self._tick_seconds = tick_seconds
        self._handler = _Lines()
        self._done, self._total, self._says = 0, 0, ""
        self._step_began, self._step_from = time.monotonic(), 0
        self._written: tuple[int, int, str] | None = None
        self._written_at = 0.0
        self._cancelled = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="report", daemon=True)
        self._parent = os.getppid()

    def __enter__(self) -> "Reporter":
        """Starts writing."""
        logging.getLogger().addHandler(self._handler)
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Writes what is left."""
        self._ended.set()
        self._thread.join()
        logging.getLogger().removeHandler(self._handler)
        self._write(force=True)

    def __call__(self, done: int, total: int, says: str) -> None:
        """Notes the progress; see `curation.progress.Report`."""
        if says != self._says:
            if step_of(says) != step_of(self._says):
                self._step_began, self._step_from = time.monotonic(), done
            self._handler.lines.append(says)
        self._done, self._total, self._says = done, total, says
        if self._cancelled.is_set():
            raise Cancelled("Stopped, as asked. What was done so far is kept.")

    def seconds_left(self) -> float | None:
        """How long this step goes on at its speed so far; None where that cannot be said."""
        passed = self._done - self._step_from
        if passed <= 0 or self._total <= 0:
            return None
        seconds = time.monotonic() - self._step_began
        return max(0, self._total - self._done) * seconds / passed

    def _tick(self) -> None:
        while not self._ended.wait(self._tick_seconds):
            if os.getppid() != self._parent:
                # The worker died. The next one queues this job again, so two would do it at once.
                os.killpg(os.getpgrp(), signal.SIGKILL)
            self._write()

    def _write(self, *, force: bool = False) -> None:
        state = (self._done, self._total, self._says)
        quiet = time.monotonic() - self._written_at < HEARTBEAT_SECONDS
        try:
            if not force and quiet and state == self._written and not self._handler.lines:
                with self._catalog.read() as connection:
                    wants_stop = jobs.get(connection, self._job_id).cancel
            else:
                wants_stop = self._write_row(*state)
                self._written, self._written_at = state, time.monotonic()
        except CatalogError as error:
            # Progress is not worth a failed job; the next tick tries again.
            logger.warning("The progress could not be written: %s", error)
            return
        if wants_stop:
            self._cancelled.set()

    def _write_row(self, done: int, total: int, says: str) -> bool:
        lines = [self._handler.lines.popleft() for _ in range(len(self._handler.lines))]
        with self._catalog.write() as connection:
            for line in lines:
                jobs.log(connection, self._job_id, line)
            return jobs.report(
                connection,
                self._job_id,
                done=done,
                total=total,
                says=says,
                seconds_left=self.seconds_left(),
            )


class _Lines(logging.Handler):
    """Log records as lines in memory, until the reporter's thread writes them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.extend(self.format(record).splitlines())
