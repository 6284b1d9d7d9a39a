"""Images as the pixels that a model sees: decoded once where memory or disk allows, read ahead.

What comes out depends on rows and files alone, and not on the memory, the threads or their luck.
"""

import logging
import os
import shutil
import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil
from numpy.typing import NDArray

from curation import inference
from curation.backbones import Preprocessing
from curation.errors import UnreadableImage
from curation.images import usable_cores
from curation.progress import Report, silent

Pixels = NDArray[np.uint8]
Rows = NDArray[np.int64]
Change = Callable[[Pixels, Rows], Pixels]
Result = TypeVar("Result")

MEMORY_SHARE = 0.25
"""Of the free memory, that decoded images may take by default."""

DISK_SHARE = 0.5
"""Of the free space, that those which memory cannot hold may take, in all processes here."""

_CHUNK = 32
"""Images that a thread decodes in one go on the first pass."""

_SHOWN = 3
"""Unreadable files that the message names."""

_CGROUP = Path("/sys/fs/cgroup")
"""Where Linux says what a container may take and has taken."""

_log = logging.getLogger(__name__)


class Images:
    """N files as pixels of the model's input size.

    Decoded pixels stay in memory up to a limit. The others go to a file in `folder`, which no other
    process sees and which vanishes with this one; without a folder, or beyond its share of the free
    space, images are decoded again each time.

    Args:
        paths: N files.
        how: size and interpolation.
        cache_bytes: of decoded pixels in memory; by default a quarter of what is free, divided
            among the processes of a distributed training on this machine.
        folder: for the pixels that memory cannot hold.
        workers: threads that decode and change ahead; 0 for none, by default one for each core.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        how: Preprocessing,
        *,
        cache_bytes: int | None = None,
        folder: Path | None = None,
        workers: int | None = None,
    ) -> None:
        self._paths = list(paths)
        self._how = how
        self._workers = usable_cores() if workers is None else workers
        self._shape = (how.size, how.size, 3)
        limit = memory_limit() if cache_bytes is None else cache_bytes
        held = min(len(self._paths), limit // self._row_bytes)
        # Pages of an empty array take memory when they are written.
        self._held: Pixels = np.empty((held, *self._shape), np.uint8)
        self._ready = np.zeros(len(self._paths), dtype=bool)
        self._file, self._filed = _spill(folder, (len(self._paths) - held) * self._row_bytes)
        self._close = weakref.finalize(self, _close, self._file)

    @property
    def _row_bytes(self) -> int:
        return int(np.prod(self._shape))

    def __len__(self) -> int:
        """Files."""
        return len(self._paths)

    def close(self) -> None:
        """Give the space on disk back; what was there is decoded again if it is asked for."""
        self._ready[len(self._held) :] = False
        self._file, self._filed = None, 0
        self._close()

    def read(self, *, rows: Rows | None = None, report: Report = silent) -> None:
        """Decode all that was not yet, so that nothing unreadable turns up hours later.

        Args:
            rows: only these.
            report: told of the images done.

        Raises:
            UnreadableImage: naming the first of the files that cannot be decoded, and their number.
            Cancelled: asked to stop.
        """
        wanted = np.arange(len(self)) if rows is None else rows
        wanted = wanted[~self._ready[wanted]]
        chunks = (wanted[start : start + _CHUNK] for start in range(0, len(wanted), _CHUNK))
        unreadable: list[tuple[Path, str]] = []
        done = 0
        for chunk, failed in _in_order(self._try_all, chunks, workers=self._workers):
            done += len(chunk)
            unreadable += failed
            report(done, len(wanted), "decode images")
        if unreadable:
            raise UnreadableImage(_complaint(unreadable, len(self)))

    def batch(self, rows: Rows) -> Pixels:
        """Pixels (B, S, S, 3) in the order of the rows.

        Raises:
            UnreadableImage: naming the file.
        """
        found: Pixels = np.empty((len(rows), *self._shape), np.uint8)
        at_hand = (rows < len(self._held)) & self._ready[rows]
        found[at_hand] = self._held[rows[at_hand]]
        for place in np.flatnonzero(~at_hand).tolist():
            found[place] = self._one(int(rows[place]))
        return found

    def batches(
        self, order: Iterable[Rows], *, change: Change | None = None
    ) -> Iterator[tuple[Rows, Pixels]]:
        """Rows and pixels of each batch, in order, made ready while the caller works.

        Args:
            order: rows (B,) of each batch; consumed only as far ahead as the threads reach.
            change: augmentation of a batch's pixels, by what the rows say; called by several
                threads at once, in any order of the batches.

        Raises:
            UnreadableImage: naming the file.
        """

        def make(rows: Rows) -> Pixels:
            pixels = self.batch(rows)
            return pixels if change is None else change(pixels, rows)

        return _in_order(make, order, workers=self._workers)

    def _one(self, row: int) -> Pixels:
        if self._ready[row]:
            if row < len(self._held):
                held: Pixels = self._held[row]
                return held
            if self._file is not None:
                stored = os.pread(self._file, self._row_bytes, self._offset(row))
                return np.frombuffer(stored, np.uint8).reshape(self._shape)
        return self._decode(row)

    def _decode(self, row: int) -> Pixels:
        try:
            pixels = inference.prepare(self._paths[row], self._how)
        except UnreadableImage as error:
            raise UnreadableImage(
                _complaint([(self._paths[row], error.reason)], len(self))
            ) from error
        self._keep(row, pixels)
        return pixels

    def _keep(self, row: int, pixels: Pixels) -> None:
        # Two threads that decode the same image write the same pixels.
        if row < len(self._held):
            self._held[row] = pixels
            self._ready[row] = True
        elif self._file is not None and self._offset(row) < self._filed:
            try:
                written = os.pwrite(self._file, pixels.tobytes(), self._offset(row))
            except OSError as error:
                _log.warning("decoded images are no longer kept on disk: %s", error)
                self._filed = 0
            else:
                self._ready[row] = written == self._row_bytes

    def _offset(self, row: int) -> int:
        return (row - len(self._held)) * self._row_bytes

    def _try_all(self, rows: Rows) -> list[tuple[Path, str]]:
        """Decode and keep; returns the files that cannot be."""
        failed = []
        for row in rows.tolist():
            try:
                self._keep(row, inference.prepare(self._paths[row], self._how))
            except UnreadableImage as error:
                failed.append((self._paths[row], error.reason))
        return failed


def memory_limit(*, cgroup: Path = _CGROUP) -> int:
    """Bytes of decoded pixels that this process may hold, unless told otherwise.

    Args:
        cgroup: of the container, with `memory.max`, `memory.current` and `memory.stat`.
    """
    free = int(psutil.virtual_memory().available)
    try:
        most = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
        lines = (cgroup / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # another system, or no limit
        pass
    else:
        # Cached files count as used, though they give way.
        cached = sum(int(line.split()[1]) for line in lines if line.startswith("file "))
        free = min(free, max(most - used + cached, 0))
    return int(MEMORY_SHARE * free) // _neighbours()


def _neighbours() -> int:
    """Processes of this training on this machine, with this one."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _spill(folder: Path | None, wanted: int) -> tuple[int | None, int]:
    """A file without a name, and how many of these bytes are set aside for it on the disk."""
    descriptor: int | None = None
    try:
        room = 0 if folder is None else int(DISK_SHARE * shutil.disk_usage(folder).free)
        granted = min(wanted, room // _neighbours())
        if granted <= 0:
            return None, 0
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=".pixels-")
        Path(name).unlink()
        # What is only counted on, others count on as well; macOS has no such call.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, granted)
    except OSError as error:
        _log.warning("decoded images are not kept on disk: %s", error)
        _close(descriptor)
        return None, 0
    return descriptor, granted


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _in_order(
    make: Callable[[Rows], Result], order: Iterable[Rows], *, workers: int
) -> Iterator[tuple[Rows, Result]]:
    """Each rows' result in order; one more is ready or under way than there are threads."""
    if workers == 0:
        for rows in order:
            yield rows, make(rows)
        return
    waiting: deque[tuple[Rows, Future[Result]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="images") as pool:
        try:
            for rows in order:
                waiting.append((rows, pool.submit(make, rows)))
                if len(waiting) > workers:
                    first, made = waiting.popleft()
                    yield first, made.result()
            while waiting:
                first, made = waiting.popleft()
                yield first, made.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _complaint(unreadable: Sequence[tuple[Path, str]], total: int) -> str:
    shown = "; ".join(f"{path}: {reason}" for path, reason in unreadable[:_SHOWN])
    more = f"; and {len(unreadable) - _SHOWN:,} more" if len(unreadable) > _SHOWN else ""
    count = f"{len(unreadable):,} of {total:,} images cannot be read"
    return (
        f"{count} ({shown}{more}). Put the files back, or leave them out with `labelloop exclude`, "
        "then run the command again."
    )
