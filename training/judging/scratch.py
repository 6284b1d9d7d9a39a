"""Where cross-validation keeps what it has done until it is whole, so that a killed one goes on."""

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from curation.errors import TrainingError
from curation.workspace import Project

_START = ".cross-validation"
_LOCK = ".lock"


@contextmanager
def folder(project: Project, job: Mapping[str, Any]) -> Iterator[Path]:
    """A folder for one cross-validation, which goes when the block ends well.

    Killed, stopped or short of a file, it stays: the same job finds it again with all that it
    holds. What other jobs have left is removed by the next that begins, unless a process is at it.

    Args:
        project: whose labels are judged.
        job: all that decides the outcome, as JSON.

    Raises:
        TrainingError: another process does this very job.
    """
    runs = project.workspace.folder("runs")
    digest = hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()[:16]
    home = runs / f"{_START}-p{project.id}-{digest}"
    with _one_at_a_time(runs):
        for left in runs.glob(f"{_START}-*"):
            if left != home and (unused := _lock(left)) is not None:
                with unused:
                    shutil.rmtree(left)
        home.mkdir(exist_ok=True)
        lock = _lock(home)
    if lock is None:
        raise TrainingError(
            "Another process cross-validates the same labels with the same settings. Wait for it "
            "to end."
        )
    with lock:
        try:
            yield home
        except TrainingError:  # would fail again
            _remove(home)
            raise
        _remove(home)


def _remove(home: Path) -> None:
    with _one_at_a_time(home.parent):
        shutil.rmtree(home)


@contextmanager
def _one_at_a_time(runs: Path) -> Iterator[None]:
    """Nobody removes what another process has just made, or looks at what is being removed."""
    with (runs / f"{_START}.lock").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield


def _lock(home: Path) -> IO[str] | None:
    """A folder's lock, which goes with its process; none if another has it."""
    file = (home / _LOCK).open("w")
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file
    file.close()
    return None
