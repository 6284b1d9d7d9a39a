"""Embeddings on disk, and the loop that computes those which are missing."""

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

from curation.errors import UnreadableImage
from curation.images import usable_cores
from curation.shards import FLUSH_ROWS, FLUSH_SECONDS, Ids, Shards

if TYPE_CHECKING:
    from curation.inference import Engine

Vectors = npt.NDArray[np.float32]


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


class EmbeddingStore:
    """The embeddings of one fingerprint in one folder: float16 (N, d), by image id.

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
        self._shards = Shards(
            folder,
            fingerprint,
            noun="embedding",
            fits=lambda rows: rows.dtype == np.float16 and rows.ndim == 2,
            again=f"labelloop embed --backbone {backbone}" if backbone else "labelloop embed",
        )

    def reload(self) -> None:
        """Read the id files again, as after another process appended."""
        self._shards.reload()

    def ids(self) -> Ids:
        """Ids (N,) that have an embedding, ascending."""
        return self._shards.ids()

    def missing(self, ids: Iterable[int]) -> list[int]:
        """Those of `ids` without an embedding, in their order, each once."""
        return self._shards.missing(ids)

    def read(self, ids: Sequence[int] | Ids) -> Vectors:
        """Unit-norm embeddings (N, d) in the order of `ids`.

        Only the rows asked for are read from disk.

        Raises:
            NotFound: an id has no embedding.
        """
        found: Vectors = self._shards.read(ids).astype(np.float32)
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
        values = np.asarray(vectors).astype(np.float16)
        if not np.isfinite(values).all():
            raise ValueError("embeddings must be finite")
        self._shards.append(ids, values)


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
        if late or len(self._ids) >= FLUSH_ROWS:
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
