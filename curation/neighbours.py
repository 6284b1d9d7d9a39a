"""The nearest images by embedding: exact below 100,000 images, through inverted lists above.

An exact search streams the embeddings from their store, which needs no index and no memory to speak
of. The inverted lists (`curation/inverted_index.py`) only propose; their proposals are compared by
the embeddings themselves, so that similarities are exact at any size.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt

from curation import features, inverted_index
from curation.catalog import images as image_rows
from curation.embeddings import EmbeddingStore
from curation.images import usable_cores
from curation.inverted_index import InvertedIndex
from curation.progress import Report, silent
from curation.workspace import Project

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

EXACT_BELOW = 100_000
BLOCK = 16_384
"""Rows read from the store at a time: 84 MB at 1,280 dimensions."""

PROPOSALS = 4
LEAST_PROPOSALS = 40
"""The inverted lists propose so many times what is asked for, and at least so many."""


@dataclass(frozen=True)
class Index:
    """What can be searched: some images of one store.

    Attributes:
        store: their embeddings.
        ids: (N,) ascending, of the images that may be found.
        lists: none where the search is exact.
    """

    store: EmbeddingStore
    ids: Ids
    lists: InvertedIndex | None = None

    def search(self, vectors: Vectors, count: int) -> tuple[Ids, Vectors]:
        """The most similar images of each query, the best first.

        Args:
            vectors: (Q, d) queries of unit norm.
            count: how many to find of each; at most N are.

        Returns:
            Image ids (Q, k) and cosine similarities (Q, k) in -1..1. Inverted lists may find fewer
            of a query: the rest of its row is id -1 with similarity -1.
        """
        queries = np.ascontiguousarray(vectors, np.float32)
        most = min(count, len(self.ids))
        if self.lists is None or not most:
            blocks = ((part, self.store.read(part)) for part in _parts(self.ids))
            return _best(blocks, queries, most)
        bound_threads()
        among = np.isin(self.lists.ids, self.ids)
        found = np.full((len(queries), most), -1, np.int64)
        similarities = np.full((len(queries), most), -1, np.float32)
        wanted = min(max(PROPOSALS * most, LEAST_PROPOSALS), len(self.ids))
        at_once = max(1, BLOCK // wanted)
        for start in range(0, len(queries), at_once):
            here = slice(start, start + at_once)
            proposed = self.lists.propose(queries[here], wanted, among=among)
            found[here], similarities[here] = self._compare(queries[here], proposed, most)
        return found, similarities

    def _compare(self, queries: Vectors, proposed: Ids, most: int) -> tuple[Ids, Vectors]:
        """The best of the proposals (Q, p) by their stored embeddings; -1 is no proposal."""
        real = proposed >= 0
        similarities = np.full(proposed.shape, -1, np.float32)
        ids, places = np.unique(proposed[real], return_inverse=True)
        rows = self.store.read(ids)
        owner = np.nonzero(real)[0]
        products = np.einsum("nd,nd->n", rows[places], queries[owner])
        similarities[real] = np.clip(products, -1, 1)
        return _sorted(proposed, similarities, most)


def open(project: Project, *, exact_below: int = EXACT_BELOW, report: Report = silent) -> Index:
    """The index of a project's usable images; what has no embedding yet is embedded first.

    Args:
        project: whose images may be found.
        exact_below: from so many images on, inverted lists are used. They are kept in the
            workspace's folder `indexes`, extended by what is new, and built again when they are
            damaged or no longer fit.
        report: told of the progress.

    Raises:
        BackboneError: the embeddings cannot be made.
        Cancelled: asked to stop.
    """
    prepared = features.prepare(project, report=report)
    store = EmbeddingStore(prepared.folder, prepared.fingerprint, backbone=prepared.backbone)
    return over(project, store, exact_below=exact_below, report=report)


def over(
    project: Project,
    store: EmbeddingStore,
    *,
    exact_below: int = EXACT_BELOW,
    report: Report = silent,
) -> Index:
    """The index of those of a project's usable images that a store has; arguments as of `open`."""
    ids = np.intersect1d(usable_ids(project), store.ids(), assume_unique=True)
    if len(ids) < exact_below:
        return Index(store, ids)
    path = index_file(project.workspace.folder("indexes"), store)
    return Index(store, ids, inverted_index.prepare(path, store, report=report))


def index_file(folder: Path, store: EmbeddingStore) -> Path:
    """Where the inverted lists of a store are kept."""
    return folder / f"neighbours-{store.fingerprint[:16]}.npz"


def usable_ids(project: Project) -> Ids:
    """Ids (N,) of the images that decode and are not excluded, ascending."""
    with project.catalog.read() as connection:
        return np.fromiter((key for key, _ in image_rows.usable(connection, project.id)), np.int64)


def nearest(vectors: Vectors, queries: Vectors, count: int) -> tuple[Ids, Vectors]:
    """Exact nearest rows of an array in memory, the best first.

    Args:
        vectors: (N, d) of unit norm, in any float type; converted block by block.
        queries: (Q, d) of unit norm.
        count: how many rows to find of each query; at most N are. A row that is itself among the
            queries finds itself.

    Returns:
        Row numbers (Q, k) and cosine similarities (Q, k); of equal ones the lower row is first.
    """
    blocks = (
        (part, np.ascontiguousarray(vectors[part[0] : part[-1] + 1], np.float32))
        for part in _parts(np.arange(len(vectors)))
    )
    wanted = np.ascontiguousarray(queries, np.float32)
    return _best(blocks, wanted, min(count, len(vectors)))


def _best(
    blocks: Iterable[tuple[Ids, Vectors]], queries: Vectors, most: int
) -> tuple[Ids, Vectors]:
    """The best of all blocks for each query, holding one block and the results."""
    if not most or not len(queries):
        shape = (len(queries), most)
        return np.empty(shape, np.int64), np.empty(shape, np.float32)
    bound_threads()
    best = faiss.ResultHeap(len(queries), most, keep_max=True)
    for ids, rows in blocks:
        similarities, places = faiss.knn(
            queries, rows, min(most, len(rows)), metric=faiss.METRIC_INNER_PRODUCT
        )
        best.add_result(similarities, ids[places])
    best.finalize()
    return _sorted(best.I, np.clip(best.D, -1, 1), most)


def _sorted(ids: Ids, similarities: Vectors, most: int) -> tuple[Ids, Vectors]:
    """Each row by falling similarity, of equal ones by id."""
    order = np.lexsort((ids, -similarities), axis=1)[:, :most]
    return np.take_along_axis(ids, order, 1), np.take_along_axis(similarities, order, 1)


def _parts(ids: Ids) -> Iterator[Ids]:
    for start in range(0, len(ids), BLOCK):
        yield ids[start : start + BLOCK]


def bound_threads() -> None:
    """Faiss takes the machine's cores, not those that this process may use."""
    faiss.omp_set_num_threads(min(faiss.omp_get_max_threads(), usable_cores()))
