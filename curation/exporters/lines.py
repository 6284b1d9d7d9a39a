"""Writes lists that are too long for memory: JSON arrays and text files, one element at a time."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any

from curation.exporters.destination import Folder

_PIECE = 1 << 20


def as_json(value: Any) -> bytes:
    """One line of JSON; numbers as exact as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": ")).encode()


class Array:
    """The elements of a JSON array, on disk until all are known."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.count = 0

    def add(self, value: Any) -> None:
        """Appends an element."""
        self._file.write((b",\n" if self.count else b"\n") + as_json(value))
        self.count += 1

    def copy_to(self, target: IO[bytes]) -> None:
        """Writes the array."""
        target.write(b"[")
        self._file.seek(0)
        while piece := self._file.read(_PIECE):
            target.write(piece)
        target.write(b"\n]" if self.count else b"]")


@contextmanager
def arrays(folder: Folder, names: list[str]) -> Iterator[dict[str, Array]]:
    """An array for each of these names; gone when the block ends."""
    with ExitStack() as stack:
        yield {name: Array(stack.enter_context(folder.spool())) for name in names}
