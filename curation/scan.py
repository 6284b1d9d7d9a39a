"""What one decode of each image tells: a small grey thumbnail and how the picture looks.

Every detector works from these rows and reads no file again, except to compare a doubtful pair
closely. Like embeddings, rows are kept by image id, and only missing ones are made.
"""

import hashlib
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation import appearance, images
from curation.appearance import APPEARANCE, TALLY
from curation.catalog import images as image_rows
from curation.catalog.bulk import batched
from curation.errors import UnreadableImage
from curation.progress import Report, silent
from curation.shards import FLUSH_ROWS, FLUSH_SECONDS, Ids, Shards
from curation.workspace import Project

THUMB = appearance.THUMB
"""Pixels of the thumbnail's sides; the picture is squashed into them, whatever its aspect."""

READ_AT = 256
"""Pixels that the shorter side keeps where a JPEG can be decoded at reduced scale."""

ROW = np.dtype([("thumb", np.uint8, (THUMB, THUMB)), *APPEARANCE.descr])
_MADE_BY = f"2:{READ_AT}:{appearance.VERSION}:{ROW.descr}"
FINGERPRINT = hashlib.sha256(_MADE_BY.encode()).hexdigest()[:16]

_CHUNK = 16
_SMALL = 32 * 1024  # bytes of pixels

# On small pictures OpenCV gives the interpreter's lock away and takes it back every few
# microseconds. Threads that do so side by side are slower than one alone, so they take turns,
# while the others decode.
_TURN = threading.Lock()


class ScanStore:
    """The scans of a workspace's images, by id; see `ROW` for the fields of one.

    Args:
        folder: made where it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._shards = Shards(
            folder / FINGERPRINT,
            FINGERPRINT,
            noun="scan",
            fits=lambda rows: rows.dtype == ROW,
            again="labelloop issues",
        )

    def ids(self) -> Ids:
        """Ids (N,) that have a scan, ascending."""
        return self._shards.ids()

    def missing(self, ids: Iterable[int]) -> list[int]:
        """Those of `ids` without a scan, in their order, each once."""
        return self._shards.missing(ids)

    def read(self, ids: Sequence[int] | Ids) -> NDArray[Any]:
        """Rows (N,) of type `ROW` in the order of `ids`.

        Raises:
            NotFound: an id has no scan.
        """
        return self._shards.read(ids)

    def append(self, ids: Sequence[int] | Ids, rows: NDArray[Any]) -> None:
        """Write one shard; it exists completely once this returns.

        Raises:
            ValueError: lengths differ, or the rows are not of type `ROW`.
        """
        self._shards.append(ids, rows)


def scan(path: Path) -> NDArray[Any]:
    """The scan of one picture, an array () of type `ROW`.

    Raises:
        UnreadableImage: as `images.decode`.
    """
    found = _scan_chunk([path])[0]
    if isinstance(found, UnreadableImage):
        raise found
    return found


def thumbnail_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey levels (64, 64) of a picture, RGB (H, W, 3) or grey (H, W), squashed."""
    return appearance.thumbnail_of(appearance.luminance(pixels))


def scan_many(
    paths: Iterable[Path], *, workers: int | None = None
) -> Iterator[NDArray[Any] | UnreadableImage]:
    """Scans in the order of `paths`, made in parallel, or why a file cannot be read.

    Args:
        paths: consumed only as far ahead as the workers reach.
        workers: threads; the number of usable cores by default.
    """
    count = workers or images.usable_cores()
    window: deque[Future[list[NDArray[Any] | UnreadableImage]]] = deque()
    source = iter(paths)
    with ThreadPoolExecutor(count, thread_name_prefix="scan") as pool:
        try:
            while chunk := list(islice(source, _CHUNK)):
                window.append(pool.submit(_scan_chunk, chunk))
                if len(window) >= 2 * count:
                    yield from window.popleft().result()
            while window:
                yield from window.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def prepare(project: Project, *, report: Report = silent) -> tuple[ScanStore, int]:
    """Scans the usable images that have no scan yet.

    An image that can no longer be read is marked as missing in the catalog, with the reason.

    Returns:
        The store, and how many images were scanned now.

    Raises:
        Cancelled: asked to stop; what was scanned stays.
    """
    store = ScanStore(project.workspace.folder("scans"))
    with project.catalog.read() as connection:
        missing = store.missing(key for key, _ in image_rows.usable(connection, project.id))
    pending: list[tuple[int, NDArray[Any]]] = []
    unusable: list[tuple[int, str]] = []

    def flush() -> None:
        if pending:
            store.append([key for key, _ in pending], np.stack([row for _, row in pending]))
            pending.clear()

    since = time.monotonic()
    try:
        for done, (key, found) in enumerate(
            zip(missing, scan_many(_located(project, missing)), strict=True), start=1
        ):
            if isinstance(found, UnreadableImage):
                unusable.append((key, found.reason))
            else:
                pending.append((key, found))
            if len(pending) >= FLUSH_ROWS or time.monotonic() - since >= FLUSH_SECONDS:
                flush()
                since = time.monotonic()
            if done % _CHUNK == 0 or done == len(missing):
                report(done, len(missing), "read")
    finally:
        flush()
    if unusable:
        with project.catalog.write() as connection:
            for key, reason in unusable:
                image_rows.set_state(connection, [key], "missing", reason=reason)
    return store, len(missing) - len(unusable)


def _located(project: Project, ids: list[int]) -> Iterator[Path]:
    """Where the images lie, looked up as the scan gets to them."""
    for batch in batched(ids):
        with project.catalog.read() as connection:
            places = image_rows.places(connection, batch)
        yield from (Path(places[key].location) for key in batch)


def _scan_chunk(paths: Sequence[Path]) -> list[NDArray[Any] | UnreadableImage]:
    tallies, rows = np.zeros(len(paths), TALLY), np.zeros(len(paths), ROW)
    failed: dict[int, UnreadableImage] = {}
    small: list[tuple[int, NDArray[np.uint8]]] = []
    for index, path in enumerate(paths):
        try:
            pixels = np.asarray(images.decode(path, at_least=READ_AT, keep_grey=True))
        except UnreadableImage as error:
            failed[index] = error
            continue
        if pixels.nbytes <= _SMALL:
            small.append((index, pixels))
        else:
            appearance.tally(pixels, tallies[index])
    readable = [index for index in range(len(paths)) if index not in failed]
    with _TURN:
        for index, pixels in small:
            appearance.tally(pixels, tallies[index])
        measured = appearance.summarise(tallies[readable])
    rows["thumb"] = tallies["thumb"]
    for name in APPEARANCE.names or ():
        rows[name][readable] = measured[name]
    return [failed.get(index, rows[index, ...]) for index in range(len(paths))]
