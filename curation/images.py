"""Decode pictures that strangers made: safely, completely, and always to the same 8-bit RGB.

What a file is, its first bytes say; its name is never asked. Only the decoders in `_DECODERS` run,
each opened by its class, so no other Pillow plugin can be reached. Pillow's bomb warning is not
needed (turning it into an error would change the filters of every thread): our own caps are checked
on the header, before a pixel is decoded.
"""

import hashlib
import io
import os
import stat
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from curation.errors import UnreadableImage

BACKGROUND = (255, 255, 255)
"""What transparent pixels are laid over: catalogue photos stand on white."""

_DECODERS: dict[str, Callable[..., ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"BM", "BMP"),
)

_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"8BPS", "a Photoshop document"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image"),
    (b"\x00\x00\x01\x00", "an icon file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"version https://git-lfs", "a Git LFS pointer, not the image (run `git lfs pull`)"),
)

_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"}
_GENERAL_HEIF_BRANDS = {b"mif1", b"msf1"}

_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    ZeroDivisionError,
    RuntimeError,
    struct.error,
    Warning,
)
"""What Pillow's decoders raise on damaged input (warnings where the process makes them errors)."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to the operation that undoes it."""


@dataclass(frozen=True)
class Limits:
    """The largest image that is decoded.

    Attributes:
        max_pixels: width x height. A 108-megapixel phone photo passes; each takes 4 bytes.
        max_side: pixels of the longer side.
        max_bytes: of the file as stored.
    """

    max_pixels: int = 120_000_000
    max_side: int = 32_000
    max_bytes: int = 256 * 1024 * 1024


LIMITS = Limits()


@dataclass(frozen=True)
class Inspection:
    """What one reading of a file told.

    Attributes:
        sha256: hex digest of the file's bytes.
        pixel_hash: hex digest of size and decoded RGB pixels; equal for exact copies in any
            lossless format and whatever their metadata.
        width: pixels, after the orientation is applied.
        height: pixels, after the orientation is applied.
        format: JPEG, PNG, WEBP, BMP, TIFF, GIF, AVIF or HEIC, as found in the content.
        mode: Pillow's name of the stored pixel layout.
        frames: 1 unless animated or of several pages; only the first is used.
        bytes: size of the file.
        mtime_ns: when the file last changed, nanoseconds since the epoch.
        orientation: EXIF orientation as stored, 1 to 8.
    """

    sha256: str
    pixel_hash: str
    width: int
    height: int
    format: str
    mode: str
    frames: int
    bytes: int
    mtime_ns: int
    orientation: int


def decode(
    source: Path | bytes,
    *,
    limits: Limits = LIMITS,
    at_least: int | None = None,
    keep_grey: bool = False,
) -> Image.Image:
    """Decode the first frame, completely, to upright 8-bit RGB.

    Args:
        source: a file, or its bytes.
        limits: caps on the stored size and on the header's size.
        at_least: pixels; where the format allows it cheaply (JPEG), decode at a half, a quarter or
            an eighth of the size as long as the shorter side keeps this many.
        keep_grey: a picture stored in one channel of grey stays so (mode L), which is a third of
            the bytes; its levels are those of all three channels else.

    Raises:
        UnreadableImage: not an image, not a supported format, over a limit, or damaged.
    """
    data = source if isinstance(source, bytes) else _read(source, limits)[0]
    try:
        image = _open(data, limits)
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        image.load()
        return _to_rgb(image, _orientation(image), keep_grey=keep_grey)
    except _DAMAGE as error:
        raise _unreadable(error) from error
    except MemoryError as error:
        raise UnreadableImage("not enough memory to decode it") from error


def inspect(path: Path, *, limits: Limits = LIMITS) -> Inspection:
    """Read a file once, decode it fully and describe it.

    Raises:
        UnreadableImage: as `decode`.
    """
    data, status = _read(path, limits)
    try:
        image = _open(data, limits)
        kind, mode = image.format or "", image.mode
        image.load()
        orientation = _orientation(image)
        upright = _to_rgb(image, orientation)
        frames = int(getattr(image, "n_frames", 1))
    except _DAMAGE as error:
        raise _unreadable(error) from error
    except MemoryError as error:
        raise UnreadableImage("not enough memory to decode it") from error
    return Inspection(
        sha256=hashlib.sha256(data).hexdigest(),
        pixel_hash=_pixel_hash(upright),
        width=upright.width,
        height=upright.height,
        format="HEIC" if kind == "HEIF" else kind,
        mode=mode,
        frames=frames,
        bytes=len(data),
        mtime_ns=status.st_mtime_ns,
        orientation=orientation,
    )


def thumbnail(path: Path, *, side: int = 256, limits: Limits = LIMITS) -> bytes:
    """JPEG bytes that fit into `side` x `side`, upright and without metadata; never enlarged.

    Raises:
        UnreadableImage: as `decode`.
    """
    image = decode(path, limits=limits, at_least=side)
    image.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
    target = io.BytesIO()
    image.save(target, "JPEG", quality=85)
    return target.getvalue()


def inspect_many(
    paths: Iterable[Path], *, workers: int | None = None, limits: Limits = LIMITS
) -> Iterator[tuple[Path, Inspection | UnreadableImage]]:
    """Inspect files in parallel; yield results in the order of `paths`, holding a window of them.

    Threads, because decoding and hashing release the GIL: on 500-pixel JPEGs they are as fast as
    spawned processes, on 112-pixel PNGs two thirds of that, at over 2,000 files a second.

    Args:
        paths: consumed only as far ahead as the window reaches.
        workers: threads; the number of usable cores by default.
        limits: as in `decode`.
    """
    count = workers or usable_cores()
    look = partial(_attempt, limits=limits)
    window: deque[tuple[Path, Future[Inspection | UnreadableImage]]] = deque()
    with ThreadPoolExecutor(count, thread_name_prefix="inspect") as pool:
        try:
            for path in paths:
                window.append((path, pool.submit(look, path)))
                if len(window) >= 4 * count:
                    first, result = window.popleft()
                    yield first, result.result()
            while window:
                first, result = window.popleft()
                yield first, result.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _attempt(path: Path, limits: Limits) -> Inspection | UnreadableImage:
    try:
        return inspect(path, limits=limits)
    except UnreadableImage as error:
        return error


def _read(path: Path, limits: Limits) -> tuple[bytes, os.stat_result]:
    """The bytes of a regular file and its state; never blocks on a pipe or a device."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableImage("not a regular file")
            _check_bytes(status.st_size, limits)
            data = file.read(status.st_size + 1)  # asked for more, it would reserve more
    except FileNotFoundError as error:
        raise UnreadableImage("the file is missing") from error
    except (OSError, ValueError) as error:
        says = getattr(error, "strerror", None) or error
        raise UnreadableImage(f"the file cannot be read: {says}") from error
    return data, status


def _check_bytes(size: int, limits: Limits) -> None:
    if size == 0:
        raise UnreadableImage("empty file: 0 bytes")
    if size > limits.max_bytes:
        raise UnreadableImage(f"file too large: {size:,} bytes, at most {limits.max_bytes:,}")


def _open(data: bytes, limits: Limits) -> ImageFile.ImageFile:
    """Parse the header with the decoder that the content asks for, and check its size."""
    _check_bytes(len(data), limits)
    image = _decoder(_kind(data))(io.BytesIO(data))
    width, height = image.size
    if max(width, height) > limits.max_side:
        raise UnreadableImage(
            f"decompression bomb: {width} x {height} pixels, a side over {limits.max_side:,}"
        )
    if width * height > limits.max_pixels:
        raise UnreadableImage(
            f"decompression bomb: {width} x {height} pixels, over {limits.max_pixels:,}"
        )
    return image


def _kind(data: bytes) -> str:
    """Name of the format by its first bytes; raises UnreadableImage naming what else it is."""
    for start, kind in _STARTS:
        if data.startswith(start):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        return _iso_media_kind(data)
    for start, name in _FOREIGN:
        if data.startswith(start):
            raise UnreadableImage(f"unsupported format: {name}")
    text = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        raise UnreadableImage("not an image: an HTML page")
    if text.startswith(b"<") and b"<svg" in text:
        raise UnreadableImage("unsupported format: an SVG drawing")
    raise UnreadableImage("not an image: unknown content")


def _iso_media_kind(data: bytes) -> str:
    """AVIF or HEIC by the brands of the `ftyp` box (ISO/IEC 23008-12)."""
    length = min(int.from_bytes(data[:4], "big"), 256)
    major = data[8:12]
    brands = {major} | {data[at : at + 4] for at in range(16, length, 4)}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    if brands & (_HEIC_BRANDS | _GENERAL_HEIF_BRANDS):
        return "HEIC"
    raise UnreadableImage("not an image: a video or other ISO media file")


def _decoder(kind: str) -> Callable[..., ImageFile.ImageFile]:
    if kind != "HEIC":
        return _DECODERS[kind]
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise UnreadableImage(
            "HEIC needs pillow-heif: install labelloop[heic], then import again"
        ) from error
    decoder: Callable[..., ImageFile.ImageFile] = HeifImageFile
    return decoder


def _orientation(image: ImageFile.ImageFile) -> int:
    """EXIF orientation, 1 where there is none or where the metadata is damaged."""
    try:
        stored = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DAMAGE:
        return 1
    return stored if stored in _TURNS else 1


def _to_rgb(image: Image.Image, orientation: int, *, keep_grey: bool = False) -> Image.Image:
    """Upright 8-bit RGB that owns its pixels and carries no metadata."""
    as_is = {"RGB", "L"} if keep_grey else {"RGB"}
    if image.mode in {"I", "F"} or image.mode.startswith("I;"):
        upright = _rescale(image).convert("RGB")
    elif image.has_transparency_data:
        layered = image.convert("RGBA")
        upright = Image.new("RGB", image.size, BACKGROUND)
        upright.paste(layered, mask=layered.getchannel("A"))
    elif image.mode in as_is:
        upright = image._new(image.im)  # convert() would copy: a third of a JPEG's decoding time
    else:
        upright = image.convert("RGB")
    if orientation in _TURNS:
        upright = upright.transpose(_TURNS[orientation])
    upright.info = {}
    return upright


def _rescale(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits to 8, by the range of the stored type, not of this one picture."""
    values = np.asarray(image)
    if image.mode == "F":
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise UnreadableImage("floating-point pixels outside 0 to 1: store 8 or 16 bits")
        scaled = values * np.float32(255)
    else:
        bits, signed = _integer_type(image)
        if bits == 32 and not signed:
            values = values.view(np.uint32)  # Pillow keeps them in signed integers
        low = -(2.0 ** (bits - 1)) if signed else 0.0
        scaled = (values.astype(np.float32) - low) * np.float32(255 / (2.0**bits - 1))
    return Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))


def _integer_type(image: Image.Image) -> tuple[int, bool]:
    """Bits and sign of the stored grey values: only TIFF has others than 16 bits without sign."""
    tags: Any = getattr(image, "tag_v2", {})
    bits = int(tags.get(TiffImagePlugin.BITSPERSAMPLE, (16,))[0])
    return bits, tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0] == 2


def _pixel_hash(image: Image.Image) -> str:
    digest = hashlib.sha256(f"{image.width}x{image.height}:".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def _unreadable(error: Exception) -> UnreadableImage:
    """The short reason for what a decoder raised."""
    says = str(error).splitlines()[0] if str(error) else type(error).__name__
    if says == "not identified by this driver":
        says = "the header ends early or makes no sense"
    if "truncated" in says.lower() or isinstance(error, EOFError | struct.error):
        return UnreadableImage(f"truncated: {says}")
    return UnreadableImage(f"damaged: {says}")
