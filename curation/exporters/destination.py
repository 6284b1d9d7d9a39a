"""The folder that an export writes into: nothing half-written in it, whenever it is killed.

Every file is written under `.export-state` and renamed to its place; what is finished is noted
there too, so that the same command goes on. Only when all is done, `export.json` appears and
`.export-state` goes.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Lock
from typing import IO, Any

from curation import files
from curation.errors import InputError

STATE = ".export-state"
RESULT = "export.json"
FORMAT = 1

_FEW = 50
"""Files that are made durable one by one; for more, the whole disk at once is faster."""


class Folder:
    """A folder that this process alone writes an export into; close it when done."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path.absolute()
        self.settings = {"version": FORMAT, **settings}
        self._state = self.path / STATE
        self._numbers = count()
        self._made: set[Path] = set()
        self._fresh: list[Path] = []
        self._files = self._bytes = 0
        self._counting = Lock()
        self._lock: IO[bytes] | None = None

    def open(self) -> dict[str, Any] | None:
        """Starts or goes on; returns what `export.json` says where all is done already.

        Raises:
            InputError: the folder holds something else, or another process writes into it.
            LabelloopError: it cannot be written.
        """
        done = self._look()
        with self._explaining(self.path):
            if done is not None:
                shutil.rmtree(self._state, ignore_errors=True)
                return done
            self._state.mkdir(parents=True, exist_ok=True)
            self._lock = (self._state / "lock").open("wb")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                self.close()
                raise InputError(
                    f"Another process is exporting into {self.path}. Wait for it, or name another "
                    "folder."
                ) from error
            shutil.rmtree(self._state / "new", ignore_errors=True)
            (self._state / "new").mkdir()
            (self._state / "done").mkdir(exist_ok=True)
        files.write_json(self._state / "settings.json", self.settings)
        return None

    def _look(self) -> dict[str, Any] | None:
        if not self.path.exists():
            return None
        if not self.path.is_dir():
            raise InputError(f"{self.path} is a file. Name a new folder for the export.")
        result, begun = self.path / RESULT, self._state / "settings.json"
        if result.is_file():
            said = _settings(result).get("settings")
            if said == self.settings:
                return _settings(result)
            raise InputError(
                f"{self.path} holds {_named(said)} already. Name a new folder, or delete that one."
            )
        if begun.is_file():
            said = _settings(begun)
            if said != self.settings:
                raise InputError(
                    f"{self.path} holds {_named(said)}, unfinished. Finish it with the same options"
                    ", name a new folder, or delete that one."
                )
            return None
        others = [entry.name for entry in self.path.iterdir() if entry.name != STATE]
        if others:
            raise InputError(
                f"{self.path} is not empty (it holds {sorted(others)[0]}) and is no export of ours."
                " Name a new folder."
            )
        return None

    def close(self) -> None:
        """Lets other processes in."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def place(self, relative: str, content: bytes) -> None:
        """Writes one file, atomically; durable after the next `settle`."""
        with self.writing(relative) as file:
            file.write(content)

    @contextmanager
    def writing(self, relative: str) -> Iterator[IO[bytes]]:
        """A file to write to, which takes its place when the block ends well."""
        target = self._target(relative)
        with self.spool() as file:
            yield file
            with self._explaining(target):
                file.flush()
                size = file.tell()
                Path(file.name).replace(target)
        self._fresh.append(target)
        self._count(size)

    @contextmanager
    def spool(self) -> Iterator[IO[bytes]]:
        """A file to write to and to read again, which is gone when the block ends."""
        temporary = self._state / "new" / str(next(self._numbers))
        with self._explaining(temporary):
            file = temporary.open("w+b", buffering=1 << 16)
            try:
                with file:
                    yield file
            finally:
                temporary.unlink(missing_ok=True)

    def link(self, source: Path, relative: str) -> None:
        """Makes a second name for a file: a hard link, or a symbolic one to another disk."""
        target = self._target(relative)
        temporary = self._state / "new" / str(next(self._numbers))
        with self._explaining(target):
            try:
                os.link(source.resolve(), temporary)
            except OSError:
                temporary.symlink_to(source.absolute())
            temporary.replace(target)
            # Renaming one name of a file onto another name of it does nothing.
            temporary.unlink(missing_ok=True)
            size = source.stat().st_size
        self._count(size)

    def remove(self, relative: str) -> None:
        """Takes a file away again, if it is there."""
        with self._explaining(self.path / relative):
            (self.path / relative).unlink(missing_ok=True)

    def _count(self, size: int) -> None:
        with self._counting:  # images come from several threads
            self._files += 1
            self._bytes += size

    def _target(self, relative: str) -> Path:
        target = self.path / relative
        if target.parent not in self._made:
            with self._explaining(target):
                target.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(target.parent)
        return target

    def settle(self) -> dict[str, int]:
        """Makes what was written since the last time durable; how many files and bytes it was."""
        with self._explaining(self.path):
            if len(self._fresh) > _FEW:
                os.sync()
            else:
                for path in [*self._fresh, *{path.parent for path in self._fresh}]:
                    _sync(path)
        written = {"files": self._files, "bytes": self._bytes}
        self._fresh, self._files, self._bytes = [], 0, 0
        return written

    def mark(self, step: str, says: dict[str, Any]) -> None:
        """Notes that a step is done, after `settle`."""
        files.write_json(self._state / "done" / f"{step}.json", says)

    def marked(self, step: str) -> dict[str, Any] | None:
        """What was noted of a step; none where it is not done."""
        path = self._state / "done" / f"{step}.json"
        return _settings(path) if path.is_file() else None

    def finish(self, pieces: Iterable[str]) -> None:
        """Writes `export.json` from pieces of its text, and ends the export."""
        with files.replacing(self.path / RESULT) as file:
            for piece in pieces:
                file.write(piece.encode())
        shutil.rmtree(self._state, ignore_errors=True)

    @contextmanager
    def _explaining(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise files.unwritable(error, path) from error


def refuse_inside(path: Path, folders: Iterable[tuple[Path, str]]) -> None:
    """Raises an InputError where a folder lies in one of these, or is one; with what they are."""
    real = path.resolve()
    for folder, what in folders:
        if real.is_relative_to(folder.resolve()):
            raise InputError(
                f"{path} lies in {folder}, {what}: the export would be taken for images of the "
                "project. Name a folder elsewhere."
            )


def _named(settings: Any) -> str:
    if not isinstance(settings, dict) or "format" not in settings:
        return "another export"
    return f"an export of {settings.get('snapshot')} as {settings['format']}"


def _settings(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}. Delete the export's folder.") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is not what an export writes. Delete the export's folder.")
    return found


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
