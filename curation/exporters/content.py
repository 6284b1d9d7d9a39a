"""What an image file is by its first bytes, for formats that name it."""

_ENDINGS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II", "tif"),
    (b"MM", "tif"),
)


def ending(data: bytes) -> str:
    """The usual ending of a file with this content, without the dot.

    >>> ending(b"GIF89a...")
    'gif'
    """
    if data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        return "avif" if data[8:12] in (b"avif", b"avis") else "heic"
    return next((name for start, name in _ENDINGS if data.startswith(start)), "bin")
