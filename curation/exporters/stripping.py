"""Takes EXIF, GPS and comments out of image files without touching a pixel.

Files are taken apart into their segments, chunks or blocks; those that pixels need are kept as
they are. Nothing is decoded, so nothing can be lost. An orientation that is not upright is needed
to show the picture, and is written back alone. Sources: ITU-T T.81 (JPEG), PNG third edition, RFC
9649 (WebP), GIF89a; see also `tiff` and `heif`.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator

from curation.exporters import heif, tiff


class Unstrippable(ValueError):
    """This file's metadata cannot be taken out without decoding it."""


def strip(data: bytes, orientation: int = 1) -> bytes:
    """The same picture without what else the file tells.

    Args:
        data: an image file.
        orientation: of EXIF, 1 to 8, as it was read.

    Raises:
        Unstrippable: the file is not what its first bytes say, or of a format whose metadata
            cannot be taken out.
    """
    for start, take_out in _FORMATS:
        if data.startswith(start):
            try:
                return take_out(data, orientation)
            except (struct.error, IndexError) as error:
                raise Unstrippable("its structure is damaged") from error
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data, orientation)
    if data[4:8] == b"ftyp":
        return _heif(data, orientation)
    raise Unstrippable("its metadata cannot be taken out")


# JPEG ---------------------------------------------------------------------------------------------

_END_OF_SCAN = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")


def _jpeg(data: bytes, orientation: int) -> bytes:
    kept = [b"\xff\xd8"]
    first = True
    for marker, segment in _segments(data):
        if first and not _is_jfif(marker, segment):
            kept += _jpeg_orientation(orientation)
        if _is_jfif(marker, segment):
            # Without the thumbnail that it may carry.
            kept.append(b"\xff\xe0\x00\x10" + segment[4:16] + b"\x00\x00")
            kept += _jpeg_orientation(orientation) if first else []
        elif _is_needed(marker, segment):
            kept.append(segment)
        first = False
    return b"".join(kept)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers with their segments; a scan's entropy-coded data belongs to its segment."""
    at = 2
    while at < len(data):
        if data[at] != 0xFF:
            raise Unstrippable("its structure is damaged")
        while data[at] == 0xFF:
            at += 1
        marker, begin = data[at], at - 1
        if marker == 0xD9:
            yield marker, b"\xff\xd9"
            return  # what follows the end are other pictures, or what a camera hides there
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            end = at + 1
        else:
            end = at + 1 + struct.unpack_from(">H", data, at + 1)[0]
        if marker == 0xDA:
            after = _END_OF_SCAN.search(data, end)
            end = after.end() - 2 if after else len(data)
        yield marker, data[begin:end]
        at = end


def _is_jfif(marker: int, segment: bytes) -> bool:
    return marker == 0xE0 and segment[4:9] == b"JFIF\0" and len(segment) >= 18


def _is_needed(marker: int, segment: bytes) -> bool:
    """Whether pixels depend on it: not so comments and applications', but for profile and Adobe."""
    if marker == 0xE2:
        return segment[4:16] == b"ICC_PROFILE\0"
    if marker == 0xEE:
        return segment[4:9] == b"Adobe"
    return not (0xE0 <= marker <= 0xEF or marker == 0xFE)


def _jpeg_orientation(orientation: int) -> list[bytes]:
    if orientation == 1:
        return []
    content = b"Exif\0\0" + _exif(orientation)
    return [b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content]


def _exif(orientation: int) -> bytes:
    """The smallest EXIF that says how to turn the picture."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)


# PNG ----------------------------------------------------------------------------------------------

_PNG_NEEDED = frozenset(
    [
        *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP"),
        *(b"sBIT", b"pHYs", b"bKGD", b"hIST", b"cICP", b"mDCV", b"cLLI"),
        *(b"acTL", b"fcTL", b"fdAT"),
    ]
)


def _png(data: bytes, orientation: int) -> bytes:
    kept = [data[:8]]
    at = 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT" and orientation != 1:
            kept.append(_png_chunk(b"eXIf", _exif(orientation)))
            orientation = 1
        if kind in _PNG_NEEDED:
            kept.append(data[at : at + 12 + length])
        at += 12 + length
        if kind == b"IEND":
            break
    return b"".join(kept)


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


# WebP ---------------------------------------------------------------------------------------------

_WEBP_NEEDED = frozenset([b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"])
_WEBP_EXIF, _WEBP_XMP = 0x08, 0x04


def _webp(data: bytes, orientation: int) -> bytes:
    kept = []
    at, end = 12, min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while at + 8 <= end:
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        after = at + 8 + length + (length & 1)
        chunk = data[at:after]
        if kind == b"VP8X":
            flags = chunk[8] & ~(_WEBP_EXIF | _WEBP_XMP)
            flags |= _WEBP_EXIF if orientation != 1 else 0
            chunk = chunk[:8] + bytes([flags]) + chunk[9:]
        if kind in _WEBP_NEEDED:
            kept.append(chunk)
        at = after
    if orientation != 1:
        exif = _exif(orientation)
        kept.append(b"EXIF" + struct.pack("<I", len(exif)) + exif)
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body


# GIF ----------------------------------------------------------------------------------------------

_GIF_NEEDED = (b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012")


def _gif(data: bytes, _: int) -> bytes:
    at = 13 + _palette(data[10])
    kept = [data[:at]]
    while data[at] != 0x3B:
        begin = at
        if data[at] == 0x21:
            label = data[at + 1]
            at = _after_blocks(data, at + 2)
            application = data[begin + 3 : begin + 14]
            if label == 0xF9 or (label == 0xFF and application in _GIF_NEEDED):
                kept.append(data[begin:at])
        elif data[at] == 0x2C:
            at = _after_blocks(data, at + 11 + _palette(data[at + 9]))
            kept.append(data[begin:at])
        else:
            raise Unstrippable("its structure is damaged")
        if at >= len(data):  # many writers forget the end
            break
    return b"".join([*kept, b"\x3b"])


def _palette(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += 1 + data[at]
    return at + 1


# The rest -----------------------------------------------------------------------------------------


def _bmp(data: bytes, _: int) -> bytes:
    """As it is: nothing but pixels and a colour space; what is appended goes."""
    size = int.from_bytes(data[2:6], "little")
    return data[:size] if 54 < size < len(data) else data


def _tiff(data: bytes, _: int) -> bytes:
    try:
        return tiff.strip(data)
    except tiff.Damaged as error:
        raise Unstrippable(str(error)) from error


def _heif(data: bytes, orientation: int) -> bytes:
    try:
        return heif.strip(data, _exif(orientation))
    except heif.Unreadable as error:
        raise Unstrippable(str(error)) from error


_FORMATS: tuple[tuple[bytes, Callable[[bytes, int], bytes]], ...] = (
    (b"\xff\xd8\xff", _jpeg),
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"GIF87a", _gif),
    (b"GIF89a", _gif),
    (b"BM", _bmp),
    (b"II*\x00", _tiff),
    (b"MM\x00*", _tiff),
)
