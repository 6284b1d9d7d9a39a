"""Embeddings on disk, and the loop that computes those which are missing.

A store is a folder of append-only shards: `NAME.npy`, float16 (N, d), and `NAME.ids.npy`, int64
(N,). The id file is renamed into place last and so marks the shard as complete: a kill at any
moment leaves a shard or none. Where an id occurs twice, the later shard counts.
"""

import json
import logging
import os
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from curation.errors import FingerprintMismatch, NotFound, UnreadableImage
from curation.images import usable_cores

if TYPE_CHECKING:
    from curation.inference import Engine

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

FLUSH_IMAGES = 4096
FLUSH_SECONDS = 20.0
"""A shard is written after so many images or seconds: what a kill can lose."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbedReport:
    """What one call of `embed` did.

    Attributes:
        embedded: images whose embedding is now stored.
        failed: id and reason of each image that could not be decoded.
        seconds: from the first image to the last shard.
        images_per_second: of those embedded.
        cancelled: whether it was asked to stop before the end.
    """

    embedded: int
    failed: list[tuple[int, str]]
    seconds: float
    images_per_second: float
    cancelled: bool = False


@dataclass(frozen=True)
class _Index:
    """Where each id lies: sorted ids, and for each its shard and its row in it."""

    ids: Ids
    shards: npt.NDArray[np.int64]
    rows: Ids


class EmbeddingStore:
    """The embeddings of one fingerprint in one folder.

    Args:
        folder: made where it does not exist.
        fingerprint: of `backbones.Backbone`; a folder with another one is refused.
        backbone: its name, for the message that says how to embed again.

    Raises:
        FingerprintMismatch: the folder holds embeddings with another fingerprint.
    """

    def __init__(self, folder: Path, fingerprint: str, *, backbone: str = "") -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        folder.mkdir(parents=True, exist_ok=True)
        _claim(folder, fingerprint, backbone)
        self._vectors: list[Path] = []
        self._index = _Index(*(np.empty(0, np.int64) for _ in range(3)))
        self.reload()

    def reload(self) -> None:
        """Read the id files again, as after another process appended."""
        self._vectors, parts = [], []
        for marks in sorted(self.folder.glob("*.ids.npy")):
            vectors = marks.with_name(marks.name.removesuffix(".ids.npy") + ".npy")
            ids = _complete_ids(marks, vectors)
            if ids is None:
                _log.warning("%s is damaged: its images are embedded again", vectors)
                continue
            parts.append(ids)
            self._vectors.append(vectors)
        self._index = _build_index(parts)

    def ids(self) -> Ids:
        """Ids (N,) that have an embedding, ascending."""
        return self._index.ids.copy()

    def missing(self, ids: Iterable[int]) -> list[int]:
        """Those of `ids` without an embedding, in their order, each once."""
        wanted = np.fromiter(dict.fromkeys(ids), np.int64)
        return [int(value) for value in wanted[~np.isin(wanted, self._index.ids)]]

    def read(self, ids: Sequence[int] | Ids) -> Vectors:
        """Unit-norm embeddings (N, d) in the order of `ids`.

        Only the rows asked for are read from disk.

        Raises:
            NotFound: an id has no embedding.
        """
        wanted = np.asarray(ids, np.int64)
        index = self._index
        places = np.searchsorted(index.ids, wanted)
        known = places < len(index.ids)
        known[known] = index.ids[places[known]] == wanted[known]
        if not known.all():
            raise NotFound(
                f"{int((~known).sum())} of {len(wanted)} images have no embedding yet (the first: "
                f"image {int(wanted[~known][0])}). Run: labelloop embed"
            )
        found = np.empty((len(wanted), self._dimension()), np.float32)
        shards = index.shards[places]
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            stored = np.load(self._vectors[shard], mmap_mode="r")
            found[here] = stored[index.rows[places[here]]]
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        found /= np.maximum(lengths, np.float32(1e-12))
        return found

    def append(self, ids: Sequence[int] | Ids, vectors: npt.NDArray[np.floating[Any]]) -> None:
        """Write one shard; it exists completely once this returns.

        Args:
            ids: (N,), each at most once.
            vectors: (N, d), finite.

        Raises:
            ValueError: lengths differ, values are not finite, or `d` is not that of the store.
        """
        marks = np.asarray(ids, np.int64)
        if len(marks) == 0:
            return
        values = np.asarray(vectors).astype(np.float16)
        if values.ndim != 2 or len(values) != len(marks) or len(np.unique(marks)) != len(marks):
            raise ValueError(f"{len(marks)} ids do not fit vectors of shape {values.shape}")
        if self._vectors and values.shape[1] != self._dimension():
            raise ValueError(f"dimension {values.shape[1]}, the store has {self._dimension()}")
        if not np.isfinite(values).all():
            raise ValueError("embeddings must be finite")
        # The time sorts shards of this store; the random part keeps two writers apart.
        number = 1 + max((int(path.name.split("-")[0]) for path in self._vectors), default=0)
        name = f"{number:08d}-{secrets.token_hex(4)}"
        vectors_path = self.folder / f"{name}.npy"
        _write_array(vectors_path, values)
        _write_array(self.folder / f"{name}.ids.npy", marks)
        self._vectors.append(vectors_path)
        self._index = _extend_index(self._index, marks, len(self._vectors) - 1)

    def _dimension(self) -> int:
        if not self._vectors:
            return 0
        return int(np.load(self._vectors[0], mmap_mode="r").shape[1])


def embed(
    rows: Iterable[tuple[int, Path]],
    store: EmbeddingStore,
    engine: "Engine",
    *,
    workers: int | None = None,
    progress: Callable[[int, float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> EmbedReport:
    """Embed images into the store, in parallel and in bounded memory.

    Each worker decodes a batch and then runs it through the engine itself: while one waits for the
    disk or infers, another decodes, and there is no queue between them to fill or to starve.
    Rows whose id the store knows are skipped, so a rerun after a kill does only the rest.

    Args:
        rows: id and file of each image; consumed only as far ahead as the workers reach.
        store: of the engine's backbone.
        engine: of `inference.open`.
        workers: threads; by default one more than the usable cores.
        progress: called with the images done so far (embedded or failed) and the seconds taken.
        cancelled: asked after each batch; once true, what is done is stored and the loop ends.
    """
    count = workers or usable_cores() + 1
    started = time.monotonic()
    pending = _Pending(store)
    failed: list[tuple[int, str]] = []
    embedded = 0
    stopped = False
    batches = _batches(_unknown(rows, store), engine.batch)
    with ThreadPoolExecutor(count, thread_name_prefix="embed") as pool:
        try:
            for batch in _in_order(pool, batches, engine, ahead=2 * count):
                pending.add(batch)
                failed.extend(batch.failed)
                embedded += len(batch.ids)
                if progress is not None:
                    progress(embedded + len(failed), time.monotonic() - started)
                if cancelled is not None and cancelled():
                    stopped = True
                    break
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            pending.flush()
    seconds = time.monotonic() - started
    return EmbedReport(embedded, failed, seconds, embedded / max(seconds, 1e-9), stopped)


@dataclass(frozen=True)
class _Batch:
    ids: list[int]
    vectors: Vectors
    failed: list[tuple[int, str]]


class _Pending:
    """Embeddings that are computed but not yet in a shard."""

    def __init__(self, store: EmbeddingStore) -> None:
        self._store = store
        self._ids: list[int] = []
        self._vectors: list[Vectors] = []
        self._since = time.monotonic()

    def add(self, batch: _Batch) -> None:
        self._ids.extend(batch.ids)
        self._vectors.append(batch.vectors)
        late = time.monotonic() - self._since >= FLUSH_SECONDS
        if late or len(self._ids) >= FLUSH_IMAGES:
            self.flush()

    def flush(self) -> None:
        if self._ids:
            self._store.append(self._ids, np.concatenate(self._vectors))
        self._ids, self._vectors, self._since = [], [], time.monotonic()


def _in_order(
    pool: ThreadPoolExecutor,
    batches: Iterable[list[tuple[int, Path]]],
    engine: "Engine",
    *,
    ahead: int,
) -> Iterator[_Batch]:
    """Results in the order of the batches, with at most `ahead` of them under way."""
    window: deque[Future[_Batch]] = deque()
    for batch in batches:
        window.append(pool.submit(_embed_batch, batch, engine))
        if len(window) >= ahead:
            yield window.popleft().result()
    while window:
        yield window.popleft().result()


def _embed_batch(rows: list[tuple[int, Path]], engine: "Engine") -> _Batch:
    from curation.inference import prepare

    ids, pixels, failed = [], [], []
    for image_id, path in rows:
        try:
            pixels.append(prepare(path, engine.preprocessing))
            ids.append(image_id)
        except UnreadableImage as error:
            failed.append((image_id, error.reason))
    if not ids:
        return _Batch([], np.empty((0, engine.dimension), np.float32), failed)
    return _Batch(ids, engine.embed(np.stack(pixels)), failed)


def _unknown(rows: Iterable[tuple[int, Path]], store: EmbeddingStore) -> Iterator[tuple[int, Path]]:
    known = set(store.ids().tolist())
    for image_id, path in rows:
        if image_id not in known:
            known.add(image_id)
            yield image_id, path


def _batches(rows: Iterable[tuple[int, Path]], size: int) -> Iterator[list[tuple[int, Path]]]:
    source = iter(rows)
    while batch := list(islice(source, size)):
        yield batch


def _claim(folder: Path, fingerprint: str, backbone: str) -> None:
    """Write the folder's fingerprint, or compare with the one it has."""
    path = folder / "fingerprint.json"
    if path.exists():
        try:
            found = str(json.loads(path.read_text(encoding="utf-8"))["fingerprint"])
        except (ValueError, KeyError, TypeError):
            found = "unreadable"
    elif any(folder.glob("*.ids.npy")):
        found = "missing"
    else:
        text = json.dumps({"fingerprint": fingerprint, "backbone": backbone})
        _write_bytes(path, text.encode())
        return
    if found != fingerprint:
        raise FingerprintMismatch(
            f"The embeddings in {folder} were made by another backbone or preprocessing "
            f"(fingerprint {found}, asked for {fingerprint}). They are never mixed: embed again "
            f"with `labelloop embed --backbone {backbone or 'NAME'}`."
        )


def _complete_ids(marks: Path, vectors: Path) -> Ids | None:
    """The ids of a shard whose two files are whole and fit each other, else None."""
    try:
        ids = np.load(marks, allow_pickle=False)
        stored = np.load(vectors, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = (
        ids.dtype == np.int64
        and ids.ndim == 1
        and stored.dtype == np.float16
        and stored.ndim == 2
        and len(stored) == len(ids)
    )
    return ids if fits else None


def _build_index(parts: list[Ids]) -> _Index:
    index = _Index(*(np.empty(0, np.int64) for _ in range(3)))
    if not parts:
        return index
    ids = np.concatenate(parts)
    shards = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    rows = np.concatenate([np.arange(len(part)) for part in parts])
    return _latest(ids, shards, rows)


def _extend_index(index: _Index, ids: Ids, shard: int) -> _Index:
    return _latest(
        np.concatenate([index.ids, ids]),
        np.concatenate([index.shards, np.full(len(ids), shard)]),
        np.concatenate([index.rows, np.arange(len(ids))]),
    )


def _latest(ids: Ids, shards: npt.NDArray[np.int64], rows: Ids) -> _Index:
    """Sorted by id; of an id that occurs twice, the later one."""
    order = np.argsort(ids, kind="stable")
    last = np.append(np.diff(ids[order]) != 0, True) if len(ids) else np.empty(0, bool)
    keep = order[last]
    return _Index(ids[keep], shards[keep], rows[keep])


def _write_array(path: Path, values: npt.NDArray[Any]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        np.save(file, values, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    _rename(partial, path)


def _write_bytes(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    _rename(partial, path)


def _rename(partial: Path, path: Path) -> None:
    """Give a written file its name, durably."""
    partial.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
