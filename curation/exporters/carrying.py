"""Brings image files into an export: read, compared with the snapshot, stripped and placed."""

import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from curation import images as pictures
from curation.errors import UnreadableImage
from curation.exporters import stripping
from curation.exporters.destination import Folder
from curation.exporters.record import Images

MISSING = "missing: the file is no longer there"
CHANGED = "changed: the file is not the one of the snapshot"
UNREADABLE = "unreadable: the file cannot be read"
UNSTRIPPABLE = "metadata: it cannot be taken out losslessly (--keep-metadata exports it)"

_CHUNK = 1 << 20
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Load:
    """One image to bring.

    Attributes:
        source: where it lies; none where the project no longer knows it.
        sha256: that its bytes must have.
        orientation: of EXIF, as it was read at import.
        path: where it goes, below the folder.
    """

    source: Path | None
    sha256: str
    orientation: int
    path: str


@dataclass(frozen=True)
class Carrier:
    """How images are brought.

    Attributes:
        folder: where to.
        images: copied, linked, or none.
        keep_metadata: whether EXIF, GPS and comments stay in copies.
        embeds: whether content is handed back instead of placed.
    """

    folder: Folder
    images: Images
    keep_metadata: bool
    embeds: bool

    def bring(self, load: Load) -> tuple[bytes, str]:
        """The content, where the format embeds it; and why the image is left out, if it is."""
        if self.images == "none" and not self.embeds:
            return b"", ""
        content, reason = self._bring(load)
        if reason and not self.embeds:
            self.folder.remove(load.path)  # from a run that was killed before the file went
        return content, reason

    def _bring(self, load: Load) -> tuple[bytes, str]:
        if load.source is None:
            return b"", MISSING
        if self.images == "link":
            reason = _compared(load.source, load.sha256)
            if not reason:
                self.folder.link(load.source, load.path)
            return b"", reason
        content, reason = _content(load.source)
        if not reason and hashlib.sha256(content).hexdigest() != load.sha256:
            reason = CHANGED
        if not reason and not self.keep_metadata:
            try:
                content = _stripped(content, load.orientation)
            except stripping.Unstrippable:
                reason = UNSTRIPPABLE
        if reason or self.embeds:
            return (b"" if reason else content), reason
        self.folder.place(load.path, content)
        return b"", ""


def _content(path: Path) -> tuple[bytes, str]:
    """A file's bytes, or why there are none."""
    try:
        with _opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            # What is larger was never imported.
            return (b"", CHANGED) if size > pictures.LIMITS.max_bytes else (file.read(), "")
    except FileNotFoundError:
        return b"", MISSING
    except (OSError, ValueError):
        return b"", UNREADABLE


def _compared(path: Path, sha256: str) -> str:
    """Why a file is not what the snapshot holds; empty where it is."""
    digest = hashlib.sha256()
    try:
        with _opened(path) as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except FileNotFoundError:
        return MISSING
    except (OSError, ValueError):
        return UNREADABLE
    return "" if digest.hexdigest() == sha256 else CHANGED


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """A regular file; never blocks on a pipe or a device.

    Raises:
        OSError: it cannot be opened, or is none.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is not a regular file")
        yield file


def _stripped(content: bytes, orientation: int) -> bytes:
    """The picture without its metadata.

    Raises:
        Unstrippable: it cannot be taken out, or not without changing a pixel.
    """
    made = stripping.strip(content, orientation)
    if made == content or not (made[:2] in (b"II", b"MM") or made[4:8] == b"ftyp"):
        return made
    # Offsets of TIFF, AVIF and HEIC may point anywhere, so here only decoding proves it.
    try:
        same = pictures.decode(made).tobytes() == pictures.decode(content).tobytes()
    except UnreadableImage as error:
        raise stripping.Unstrippable(error.reason) from error
    if not same:
        raise stripping.Unstrippable("pixels and metadata share bytes")
    return made


def in_order(
    work: Callable[[T], R], items: Iterable[T], *, workers: int
) -> Generator[R, None, None]:
    """Results of threads, in the order of the items, holding a window of them."""
    window: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="export") as pool:
        try:
            for item in items:
                window.append(pool.submit(work, item))
                if len(window) >= 2 * workers:
                    yield window.popleft().result()
            while window:
                yield window.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
