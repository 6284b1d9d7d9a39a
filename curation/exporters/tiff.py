"""Takes the metadata out of a TIFF file, in place: no strip or tile of pixels moves.

Directories keep the tags that pixels need; bytes that neither those tags nor the pixels take up
become zeros, whatever led to them.
"""

import struct
from collections.abc import Iterator

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}

# Of the baseline and its supplements, what says how pixels are stored and shown.
_NEEDED = frozenset(
    [
        *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 274, 277, 278, 279, 280, 281),
        *(282, 283, 284, 290, 291, 292, 293, 296, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324),
        *(325, 332, 334, 336, 338, 339, 340, 341, 342, 347, 529, 530, 531, 532, 34675),
    ]
)
_COMPRESSION, _OLD_JPEG = 259, 6
_PIXELS = ((273, 279), (324, 325))  # offsets and byte counts, of strips and of tiles
_MOST_DIRECTORIES = 10_000


class Damaged(ValueError):
    """The file's directories cannot be followed."""


def strip(data: bytes) -> bytes:
    """The file without metadata.

    Raises:
        Damaged: a directory or a value lies outside the file, or pixels cannot be found.
    """
    order = "<" if data[:2] == b"II" else ">"
    out = bytearray(len(data))
    out[:8] = data[:8]
    seen: set[int] = set()
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        while at:
            if at in seen or len(seen) >= _MOST_DIRECTORIES:
                raise Damaged("its directories form a circle")
            seen.add(at)
            at = _directory(data, out, at, order)
    except struct.error as error:
        raise Damaged("a directory lies outside the file") from error
    return bytes(out)


def _directory(data: bytes, out: bytearray, at: int, order: str) -> int:
    """Copies one directory, its needed values and its pixels; where the next one begins."""
    (count,) = struct.unpack_from(f"{order}H", data, at)
    (following,) = struct.unpack_from(f"{order}I", data, at + 2 + 12 * count)
    entries = [entry for entry in _entries(data, at, order) if entry[1] in _NEEDED]
    numbers = {}
    for place, tag, begin, size in entries:
        out[begin : begin + size] = data[begin : begin + size]
        if tag == _COMPRESSION or any(tag in pair for pair in _PIXELS):
            numbers[tag] = _numbers(data, place, begin, size, order)
    _pixels(data, out, numbers)
    kept = b"".join(data[place : place + 12] for place, *_ in entries)
    whole = struct.pack(f"{order}H", len(entries)) + kept + struct.pack(f"{order}I", following)
    out[at : at + 6 + 12 * count] = whole.ljust(6 + 12 * count, b"\0")
    return int(following)


def _pixels(data: bytes, out: bytearray, numbers: dict[int, tuple[int, ...]]) -> None:
    if numbers.get(_COMPRESSION) == (_OLD_JPEG,):
        raise Damaged("its kind of JPEG says not where its tables end")
    for offsets, counts in _PIXELS:
        if len(numbers.get(offsets, ())) != len(numbers.get(counts, ())):
            raise Damaged("it says not how long its strips are")
        for begin, size in zip(numbers.get(offsets, ()), numbers.get(counts, ()), strict=True):
            out[begin : begin + size] = data[begin : begin + size]


def _entries(data: bytes, at: int, order: str) -> Iterator[tuple[int, int, int, int]]:
    """Of each entry: its place, its tag, and where its value begins and how long that is."""
    (count,) = struct.unpack_from(f"{order}H", data, at)
    for number in range(count):
        place = at + 2 + 12 * number
        tag, kind, values = struct.unpack_from(f"{order}HHI", data, place)
        size = _SIZES.get(kind, 1) * values
        begin = place + 8
        if size > 4:
            (begin,) = struct.unpack_from(f"{order}I", data, begin)
            if tag in _NEEDED and begin + size > len(data):
                raise Damaged("a value lies outside the file")
        yield place, tag, begin, size


def _numbers(data: bytes, place: int, begin: int, size: int, order: str) -> tuple[int, ...]:
    """The values of an entry of short or long integers."""
    (kind,) = struct.unpack_from(f"{order}H", data, place + 2)
    letter = {3: "H", 4: "I"}.get(kind)
    if letter is None:
        raise Damaged("an offset is no integer")
    return struct.unpack_from(f"{order}{size // _SIZES[kind]}{letter}", data, begin)
