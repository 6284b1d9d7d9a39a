"""JSON files that are larger than memory should be, item by item.

The standard library's decoder does the work on a window of the text, so NaN is read as the tools
that wrote it meant it, and an error names its line.
"""

import json
from collections.abc import Collection, Iterator
from json import JSONDecodeError
from pathlib import Path
from typing import Any, TextIO

from curation.errors import InputError

WINDOW = 1 << 20
"""Characters read at once."""

LONGEST = 1 << 26
"""Characters of one item; a longer one is no annotation."""

GLANCE = 1 << 22
"""Characters of one item that a glance reads."""

_NEAR_THE_END = 64
"""Characters: an error that close to the window's end may be the cut, not the file's."""


def items(path: Path, wanted: Collection[str] = ()) -> Iterator[tuple[str, int, Any]]:
    """The items of a file's arrays as (key, position, item), in the order of the file.

    Args:
        path: holds an array (its key is empty), or an object with arrays in it.
        wanted: keys of that object; what stands under others is passed over.

    Raises:
        InputError: it cannot be read or is not valid JSON, with line and column.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = _Text(file, path)
            if text.peek() == "[":
                yield from text.array("")
            else:
                yield from text.object(wanted)
            if text.peek():
                raise text.error("more text after the end")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text. Save it as JSON in UTF-8.") from error
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error


def first_key(path: Path, wanted: Collection[str]) -> str | None:
    """The first of these keys whose value is an array; empty for a file that is an array itself.

    None for any other file, whatever is wrong with it: this is a glance, which gives up on a file
    that begins with something long.
    """
    try:
        if not path.is_file():  # a pipe would never answer
            return None
        with path.open(encoding="utf-8-sig") as file:
            text = _Text(file, path, longest=GLANCE)
            if text.peek() == "[":
                return ""
            return next(text.keys(wanted), None) if wanted else None
    except (InputError, OSError, UnicodeDecodeError):
        return None


_AFTER = tuple(",:]} \t\r\n")
"""What may follow a value; nothing does at the end of the window."""


class _Text:
    """A window on a file's text and the place in it that has been read."""

    def __init__(self, file: TextIO, path: Path, *, longest: int = LONGEST) -> None:
        self._file = file
        self._path = path
        self._longest = longest
        self._decoder = json.JSONDecoder()
        self._window = ""
        self._at = 0
        self._ended = False
        self._lines = 1  # the line in which the window begins
        self._column = 1  # and the column

    def object(self, wanted: Collection[str]) -> Iterator[tuple[str, int, Any]]:
        for key in self.keys(wanted):
            yield from self.array(key)

    def keys(self, wanted: Collection[str]) -> Iterator[str]:
        """Keys whose value is an array to be read next; all else is passed over."""
        self._take("{")
        if self._skip("}"):
            return
        while True:
            key = self._value()
            if not isinstance(key, str):
                raise self.error("a key that is not text")
            self._take(":")
            if key in wanted and self.peek() == "[":
                yield key
            else:
                self._value()
            if self._skip("}"):
                return
            self._take(",")

    def array(self, key: str) -> Iterator[tuple[str, int, Any]]:
        self._take("[")
        position = 0
        if self._skip("]"):
            return
        while True:
            yield key, position, self._value()
            position += 1
            if self._skip("]"):
                return
            self._take(",")

    def peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            while self._at < len(self._window) and self._window[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._window):
                return self._window[self._at]
            if not self._more():
                return ""

    def error(self, says: str, at: int | None = None) -> InputError:
        """The error with the place it stands at."""
        at = self._at if at is None else at
        before = self._window[:at]
        breaks = before.count("\n")
        column = at - before.rfind("\n") if breaks else self._column + at
        return InputError(
            f"{self._path}, line {self._lines + breaks}, column {column}: {says}. "
            "The file is not valid JSON; export it again."
        )

    def _skip(self, character: str) -> bool:
        if self.peek() != character:
            return False
        self._at += 1
        return True

    def _take(self, character: str) -> None:
        if not self._skip(character):
            found = self.peek()
            raise self.error(f"{character!r} expected, not {found!r}" if found else "it ends early")

    def _value(self) -> Any:
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._window, self._at)
            except JSONDecodeError as error:
                cut = error.pos > len(self._window) - _NEAR_THE_END or "Untermin" in error.msg
                if cut and self._more():
                    continue
                raise self.error(error.msg, error.pos) from error
            except (RecursionError, ValueError) as error:
                raise self.error(str(error)) from error
            if self._window[end : end + 1] not in _AFTER and self._more():
                continue  # a number that goes on, as 1 in 1.5
            self._at = end
            return value

    def _more(self) -> bool:
        """Reads on, and forgets what has been read; false at the end of the file."""
        if self._ended:
            return False
        if len(self._window) - self._at > self._longest:
            raise self.error(f"one value of more than {self._longest:,} characters")
        # As much again as is held: a long value is not decoded over and over.
        read = self._file.read(max(WINDOW, len(self._window) - self._at))
        if not read:
            self._ended = True
            return False
        past = self._window[: self._at]
        breaks = past.count("\n")
        self._column = len(past) - past.rfind("\n") if breaks else self._column + len(past)
        self._lines += breaks
        self._window = self._window[self._at :] + read
        self._at = 0
        return True
