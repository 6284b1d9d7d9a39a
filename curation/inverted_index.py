"""Inverted lists over embeddings: proposals of near images among millions, from one file.

The embeddings are projected to their first 256 principal axes (L2 there approximates cosine, since
they have unit norm) and stored with 8 bits an axis: 0.27 GB for a million images, where the
embeddings take 2.6. The file is a cache. It is replaced in one step, its arrays carry checksums,
and whatever does not load or no longer fits the store is built again.
"""

import json
import logging
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from curation import files, projections
from curation.embeddings import EmbeddingStore
from curation.images import usable_cores
from curation.progress import Report, silent
from curation.projections import Projection

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

LAYOUT = 1
"""Raised whenever a file written before would be read wrongly."""

DIMENSIONS = 256
BLOCK = 16_384
ROUNDS = 10  # of k-means

PROJECTION_SAMPLE = 40_000
ROWS_A_LIST = 40
"""k-means is trained on so many rows for each list; faiss asks for 39."""

PROBED = 32
"""Lists looked into for a query."""

OUTGROWN = 4
"""Lists are trained anew once there are so many times the images they were trained for."""

_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy, zip and faiss raise on a file that is not whole."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InvertedIndex:
    """The lists, and which image each of their rows is.

    Attributes:
        ids: (N,) image ids in the order in which they were added.
        shards: names of the store's shards that were there then.
        trained: how many images there were when the lists were trained.
        projection: from embeddings to what the lists hold.
        lists: faiss's index over row numbers.
    """

    ids: Ids
    shards: frozenset[str]
    trained: int
    projection: Projection
    lists: Any

    def propose(self, queries: Vectors, count: int, *, among: npt.NDArray[np.bool_]) -> Ids:
        """Image ids (Q, count) that are probably the nearest; -1 where the lists hold fewer.

        Args:
            queries: (Q, d) of unit norm.
            count: at least 1.
            among: (N,) whether the row's image may be proposed.
        """
        allowed = np.packbits(among, bitorder="little")
        # faiss's stubs describe the C++ constructors, which its Python layer wraps.
        selector = faiss.IDSelectorBitmap(allowed)  # type: ignore[call-arg, arg-type]
        settings = faiss.SearchParametersIVF(sel=selector, nprobe=PROBED)  # type: ignore[call-arg]
        _, rows = self.lists.search(self.projection.apply(queries), count, params=settings)
        return np.where(rows >= 0, self.ids[rows], -1)


def prepare(path: Path, store: EmbeddingStore, *, report: Report = silent) -> InvertedIndex:
    """The lists over the whole store: as kept, extended by what is new, or built.

    Args:
        path: the file that keeps them.
        store: not empty.
        report: told of the progress.
    """
    faiss.omp_set_num_threads(min(faiss.omp_get_max_threads(), usable_cores()))
    known = _load(path)
    shards = _shard_names(store)
    ids = store.ids()
    if known is None or not _still_fits(known, store, ids, shards):
        made = _build(store, ids, shards, report)
    elif len(fresh := np.setdiff1d(ids, known.ids, assume_unique=True)):
        _add(known.lists, known.projection, store, fresh, report)
        every = np.concatenate([known.ids, fresh])
        made = InvertedIndex(every, shards, known.trained, known.projection, known.lists)
    else:
        return known
    _save(path, made)
    return made


def _build(
    store: EmbeddingStore, ids: Ids, shards: frozenset[str], report: Report
) -> InvertedIndex:
    """Learns the axes and the lists from samples, then adds all images in blocks."""
    rng = np.random.default_rng(0)
    report(0, len(ids), "train index")
    projection = projections.fit(
        (store.read(part) for part in _parts(_sample(ids, PROJECTION_SAMPLE, rng))), DIMENSIONS
    )
    count = max(1, min(int(2 * np.sqrt(len(ids))), len(ids) // ROWS_A_LIST))
    sample = _sample(ids, ROWS_A_LIST * count, rng)
    rows = np.concatenate([projection.apply(store.read(part)) for part in _parts(sample)])
    width = rows.shape[1]
    lists = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatL2(width), width, count, faiss.ScalarQuantizer.QT_8bit
    )
    lists.cp.niter = ROUNDS
    # Few images a list are what a small store has, nothing that a user could mend.
    lists.cp.min_points_per_centroid = 1
    lists.train(rows)
    _add(lists, projection, store, ids, report)
    return InvertedIndex(ids, shards, len(ids), projection, lists)


def _add(
    lists: Any, projection: Projection, store: EmbeddingStore, ids: Ids, report: Report
) -> None:
    done = 0
    for part in _parts(ids):
        lists.add(projection.apply(store.read(part)))
        done += len(part)
        report(done, len(ids), "index")


def _still_fits(
    known: InvertedIndex, store: EmbeddingStore, ids: Ids, shards: frozenset[str]
) -> bool:
    """Whether the store only grew, and not so much that the lists are too long."""
    if not known.shards <= shards or len(ids) > OUTGROWN * known.trained:
        return False
    if not np.isin(known.ids, ids).all():
        return False
    for name in shards - known.shards:
        try:
            added = np.load(store.folder / name, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            continue  # the store passes over it as well
        if np.isin(added, known.ids).any():  # an image was embedded again
            return False
    return True


def _load(path: Path) -> InvertedIndex | None:
    """The kept lists, none where there are none or they cannot be used."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            head = json.loads(kept["head"].tobytes())
            if head["layout"] != LAYOUT:
                return None
            found = InvertedIndex(
                ids=kept["ids"],
                shards=frozenset(head["shards"]),
                trained=head["trained"],
                projection=Projection(kept["mean"], kept["axes"]),
                lists=faiss.deserialize_index(kept["lists"]),
            )
    except FileNotFoundError:
        return None
    except _DAMAGE as error:
        _log.warning("the index %s is damaged and is built again: %s", path, error)
        return None
    return found if found.lists.ntotal == len(found.ids) else None


def _save(path: Path, index: InvertedIndex) -> None:
    head = {"layout": LAYOUT, "shards": sorted(index.shards), "trained": index.trained}
    with files.replacing(path) as file:
        np.savez(
            file,
            head=np.frombuffer(json.dumps(head).encode(), np.uint8),
            ids=index.ids,
            mean=index.projection.mean,
            axes=index.projection.axes,
            lists=faiss.serialize_index(index.lists),
        )


def _shard_names(store: EmbeddingStore) -> frozenset[str]:
    """Each shard has a random part in its name, so equal names mean equal content."""
    return frozenset(path.name for path in store.folder.glob("*.ids.npy"))


def _sample(ids: Ids, count: int, rng: np.random.Generator) -> Ids:
    return ids if len(ids) <= count else np.sort(rng.choice(ids, count, replace=False))


def _parts(ids: Ids) -> Iterator[Ids]:
    for start in range(0, len(ids), BLOCK):
        yield ids[start : start + BLOCK]
