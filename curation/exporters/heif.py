"""Overwrites the metadata of an AVIF or HEIC file, in place: nothing of the picture moves.

Both keep EXIF and XMP as items of the `meta` box, each somewhere in the file; their bytes become an
EXIF without words, and blanks. Source: ISO/IEC 14496-12 and 23008-12.
"""

import struct
from collections.abc import Iterator

_EXIF, _MIME = b"Exif", b"mime"


class Unreadable(ValueError):
    """The file's boxes cannot be followed, or its metadata lies where it cannot be overwritten."""


def strip(data: bytes, exif: bytes) -> bytes:
    """The file without metadata.

    Args:
        data: the file.
        exif: what stands in place of its EXIF, beginning with the TIFF header.

    Raises:
        Unreadable: see there.
    """
    out = bytearray(data)
    try:
        for kind, begin, size in _metadata(data):
            if begin + size > len(data):
                raise Unreadable("its metadata lies outside the file")
            content = bytes(4) + exif if kind == _EXIF else b""
            if len(content) > size:
                raise Unreadable("its EXIF has no room for an orientation")
            out[begin : begin + size] = content.ljust(size, b"\0" if kind == _EXIF else b" ")
    except struct.error as error:
        raise Unreadable("a box lies outside the file") from error
    return bytes(out)


def _metadata(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, place and size of each piece of metadata."""
    for kind, begin, end in _boxes(data, 0, len(data)):
        if kind != b"meta":
            continue
        inner = {name: (at, to) for name, at, to in _boxes(data, begin + 4, end)}
        if b"iinf" not in inner or b"iloc" not in inner:
            return
        kinds = dict(_items(data, *inner[b"iinf"]))
        for item, begin_of, size in _extents(
            data, inner[b"iloc"][0], inner.get(b"idat", (0, 0))[0]
        ):
            if item in kinds:
                yield kinds[item], begin_of, size


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Names of boxes, where their content begins and where it ends."""
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        size = size or end - at
        if size < head or at + size > end:
            raise Unreadable("a box lies outside the file")
        yield kind, at + head, at + size
        at += size


def _items(data: bytes, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Ids and kinds of the items that are metadata."""
    start = begin + (6 if data[begin] == 0 else 8)
    for kind, at, _ in _boxes(data, start, end):
        if kind != b"infe" or data[at] < 2:
            continue
        wide = data[at] > 2
        item, _, what = struct.unpack_from(">IH4s" if wide else ">HH4s", data, at + 4)
        if what in (_EXIF, _MIME):
            yield item, what


def _extents(data: bytes, at: int, idat: int) -> Iterator[tuple[int, int, int]]:
    """Ids of all items with the place and size of each of their pieces."""
    version = data[at]
    sizes = data[at + 4] << 8 | data[at + 5]
    offset_size, length_size, base_size, index_size = (sizes >> by & 15 for by in (12, 8, 4, 0))
    reader = _Reader(data, at + 6)
    wide = 4 if version == 2 else 2
    for _ in range(reader.take(wide)):
        item = reader.take(wide)
        method = reader.take(2) & 15 if version else 0
        reader.take(2)
        base = reader.take(base_size)
        for _ in range(reader.take(2)):
            if version and index_size:
                reader.take(index_size)
            begin, length = base + reader.take(offset_size), reader.take(length_size)
            if method == 1:
                begin += idat
            if method < 2:
                yield item, begin, length or len(data) - begin


class _Reader:
    """Reads integers one after the other."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def take(self, size: int) -> int:
        """The next integer of so many bytes; 0 of none."""
        if self._at + size > len(self._data):
            raise Unreadable("a box lies outside the file")
        value = int.from_bytes(self._data[self._at : self._at + size], "big")
        self._at += size
        return value
