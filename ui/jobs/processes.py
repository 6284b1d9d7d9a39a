"""Processes of this machine: which one is ours, one at a time, and how one is ended."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from curation.errors import LabelloopError

# The system tells the start of a process to a hundredth of a second, but counts from a boot time
# that it corrects by up to a second.
SAME_START_SECONDS = 2.0


class AlreadyHeld(LabelloopError):
    """Another process holds the lock."""


@dataclass(frozen=True)
class ProcessId:
    """One process for good: its number alone is used again after it has ended.

    Attributes:
        pid: the process number.
        started: when it began, in seconds since 1970.
    """

    pid: int
    started: float


def identify(pid: int) -> ProcessId:
    """The identity of a process that runs now.

    Raises:
        psutil.NoSuchProcess: it does not.
    """
    return ProcessId(pid, float(psutil.Process(pid).create_time()))


def parse(stored: Any) -> ProcessId | None:
    """What `vars(ProcessId)` was once written as; None if it is anything else."""
    try:
        return ProcessId(int(stored["pid"]), float(stored["started"]))
    except (KeyError, TypeError, ValueError):
        return None


def living(identity: ProcessId | None) -> psutil.Process | None:
    """The process, if that very one still runs."""
    if identity is None:
        return None
    try:
        process = psutil.Process(identity.pid)
        same = abs(process.create_time() - identity.started) < SAME_START_SECONDS
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def end(processes: list[psutil.Process], *, grace_seconds: float) -> None:
    """Ends these processes and all that they started: politely first, by force after the grace."""
    family = {found.pid: found for process in processes for found in _descendants(process)}
    for process in processes:
        with suppress(psutil.Error):
            process.terminate()
    _, left = psutil.wait_procs(list(family.values()), timeout=grace_seconds)
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=3.0)


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return [process]


@contextmanager
def lock(path: Path, *, wait_seconds: float = 0.0) -> Iterator[int]:
    """Holds a lock of which there is one for this file; the system frees it when we die.

    Yields:
        The open descriptor. A child that inherits it keeps the lock until it has ended as well.

    Raises:
        AlreadyHeld: another process still has it after `wait_seconds`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait_seconds
        while not _taken(descriptor):
            if time.monotonic() >= deadline:
                raise AlreadyHeld(f"Another process holds {path}.")
            time.sleep(0.1)
        yield descriptor
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
