"""Candidates for copies among very many images: hashes find them, descriptors rank them.

The signs of a descriptor in 256 random directions are its hash: the share of bits in which two
hashes differ is their angle over pi, on average (Charikar 2002, "Similarity estimation techniques
from rounding algorithms"). All views of an image ask an inverted file of hashes for the nearest
whole pictures by Hamming distance; the best of all views are ranked by the cosine of descriptors,
as `candidates.propose` does with all pictures.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from curation.appearance import THUMB
from curation.copies import candidates
from curation.copies.candidates import CLIP, DIMENSION, FLOOR, GRID, RANKS, Candidates, Thumbs
from curation.copies.threads import one_thread_each
from curation.copies.views import VIEWS, turned
from curation.images import usable_cores

SHORTLIST = 40
RANKED = 512
"""Pictures nearest to one view by Hamming distance, and of those of all views together the nearest,
whose cosine with every view is taken."""

PROBES = 24
"""Cells of the inverted file that a view looks into."""

FLAT = 1e-4
"""Step below which a descriptor is all zeros; of unit length, it is 1 / (16 x 127) at least."""

LIST_BELOW = 8192
"""Hashes that are all compared, since an inverted file would hardly save time."""

CODES = 3
"""Times as many hashes as `PROBES` cells hold on average, that a view looks at."""

SAMPLE = 32
ROUNDS = 6
"""Hashes a cell, and rounds, from which the inverted file learns its cells."""

READ = 1024
BLOCK = 64
"""Images read at once by a thread, and images whose views it holds at once: about 60 MB."""

NO_PAIR = -2.0
"""Below every cosine."""

KEY = 2 * DIMENSION
"""Above every Hamming distance."""

Listed = tuple[NDArray[np.int64], NDArray[np.int32]]
Search = Callable[[NDArray[np.uint8]], Listed]
Found = tuple[
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.float32],
    NDArray[np.float32],
]
"""Of some pictures: moving, fixed, view and similarity of pairs, and (n, RANKS / 2) cosines of what
else resembles each."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Cut:
    """Square parts of one size, at the same places along both sides.

    Attributes:
        side: columns and rows of a part.
        firsts: first columns, and first rows, of the parts.
        means: (16 x places, 64), the means of the pixels in each cell of each place.
    """

    side: int
    firsts: tuple[int, ...]
    means: Tensor


@dataclass(frozen=True)
class Coded:
    """What is kept of every whole picture.

    Attributes:
        hashes: (N, 32) uint8, 256 bits.
        levels: (N, 256) int8, the descriptor over its step; zeros for a flat picture.
        steps: (N,) length of one level. The cosine of coded descriptors is off by about 0.001.
    """

    hashes: NDArray[np.uint8]
    levels: Tensor
    steps: Tensor


def propose(
    thumbs: NDArray[np.uint8] | Thumbs,
    *,
    neighbours: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Candidates:
    """What `candidates.propose` finds, nearly, in a time that hardly grows with the number.

    Args:
        thumbs: (N, 64, 64) grey levels.
        neighbours: pairs kept a picture, over all its views.
        progress: told how many pictures are done; what it raises ends the search.
    """
    count = len(thumbs)
    with one_thread_each():
        coded = _code(thumbs, count)
        search = _index(coded, neighbours)

        def nearest(start: int, stop: int) -> list[Found]:
            block = np.asarray(thumbs[start:stop])
            return [
                _nearest(block[a:b], start + a, coded, search, neighbours)
                for a, b in _blocks(len(block), BLOCK)
            ]

        parts = [part for task in _each(nearest, count, progress) for part in task]
    if not parts:
        return candidates.nothing()
    moving, fixed, view, similarity, alike = (
        np.concatenate(part) for part in zip(*parts, strict=True)
    )
    level = candidates.levels(alike, count)
    return candidates.once(moving, fixed, view, similarity, level)


def describe(thumbs: NDArray[np.uint8]) -> Tensor:
    """Descriptors (N, V, 256) of all `VIEWS` of thumbnails (N, 64, 64), as `candidates.describe`.

    A part is cut out once for all its turns: a turned picture has a turned descriptor.
    """
    places, orders = _plan()
    parts = _described(thumbs, _cuts())
    return parts[:, places[:, None], orders]


def hashes(descriptors: Tensor) -> NDArray[np.uint8]:
    """Hashes (N, 32) of descriptors (N, 256)."""
    return np.packbits((descriptors @ _directions() > 0).numpy(), axis=1)


def _code(thumbs: NDArray[np.uint8] | Thumbs, count: int) -> Coded:
    """Describes all whole pictures."""
    bits = np.zeros((count, DIMENSION // 8), np.uint8)
    levels = torch.zeros(count, DIMENSION, dtype=torch.int8)
    steps = torch.zeros(count)

    def code(start: int, stop: int) -> None:
        whole = _described(np.asarray(thumbs[start:stop]), _cuts()[:1])[:, 0]
        bits[start:stop] = hashes(whole)
        steps[start:stop] = whole.abs().amax(dim=1).div(127)
        levels[start:stop] = (
            (whole / steps[start:stop, None].clamp_min(FLAT)).round().to(torch.int8)
        )

    for _ in _each(code, count, lambda done: None):
        pass
    return Coded(bits, levels, steps)


def _index(coded: Coded, neighbours: int) -> Search:
    """A search for the nearest pictures (Q, SHORTLIST), -1 where there are fewer, and how far
    they are."""
    import faiss

    rows = _worth_finding(coded, neighbours)
    among = coded.hashes[rows]
    index: Any
    if len(rows) < LIST_BELOW:
        index = faiss.IndexBinaryFlat(DIMENSION)
    else:
        cells = 1 << round(np.log2(4 * np.sqrt(len(rows))))
        index = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(DIMENSION), DIMENSION, cells)
        index.nprobe = PROBES
        # A dataset whose pictures crowd into few cells must not make every search a long one.
        index.max_codes = CODES * PROBES * len(rows) // cells
        index.cp.niter = ROUNDS
        index.cp.min_points_per_centroid = 1  # else it warns on stderr
        index.train(among[:: max(1, len(rows) // (SAMPLE * cells))])
    index.add(among)
    rows = np.append(rows, -1)

    def search(queries: NDArray[np.uint8]) -> Listed:
        faiss.omp_set_num_threads(1)  # holds for the calling thread alone
        apart, found = index.search(queries, SHORTLIST)
        return rows[found], apart

    return search


def _worth_finding(coded: Coded, neighbours: int) -> NDArray[np.int64]:
    """Rows of pictures that are not flat, and of those that share a hash only the first few.

    A thousand equal pictures are a group when each finds the first few; were all of them listed,
    each would be compared with a thousand.
    """
    words = coded.hashes.view(np.uint64)
    order = np.lexsort(words.T)
    new = np.append(True, (words[order[1:]] != words[order[:-1]]).any(axis=1))
    starts = np.flatnonzero(new)
    place = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    flat = coded.steps.numpy() < FLAT
    few = order[place <= neighbours]
    return np.sort(few[~flat[few]])


def _nearest(
    block: NDArray[np.uint8], start: int, coded: Coded, search: Search, neighbours: int
) -> Found:
    """The best pairs of the block's pictures over all views, and what else resembles each."""
    count = len(block)
    views = describe(block)
    listed = search(hashes(views.reshape(-1, DIMENSION)))
    others, apart = (torch.from_numpy(part).reshape(count, -1) for part in listed)
    own = torch.arange(start, start + count)[:, None]
    asks = views.any(dim=2).repeat_interleave(SHORTLIST, dim=1)  # what is flat resembles nothing
    others = _nearest_by_hash(others.masked_fill((others == own) | ~asks, -1), apart)
    at = others.clamp_min(0)
    rest = coded.levels[at].float()
    similarity, view = torch.matmul(rest, views.transpose(1, 2)).max(dim=2)
    similarity = (similarity * coded.steps[at]).masked_fill_(others < 0, NO_PAIR)
    best, place = similarity.topk(RANKS, dim=1)
    # Where fewer are found, the rest resembles the picture as little as the last one, at most.
    alike = torch.where(best > NO_PAIR, best, 1).amin(dim=1, keepdim=True)
    alike = torch.where(best[:, :1] > NO_PAIR, torch.maximum(best, alike), 0)
    best, place = best[:, :neighbours], place[:, :neighbours]
    keep = best > NO_PAIR
    return (
        own.expand_as(place)[keep].numpy(),
        others.gather(1, place)[keep].numpy(),
        view.gather(1, place)[keep].numpy(),
        best[keep].clamp_max(1).numpy(),
        alike[:, RANKS // 2 :].clone().numpy(),  # a view would keep both halves
    )


def _nearest_by_hash(others: Tensor, apart: Tensor) -> Tensor:
    """The `RANKED` nearest of the other pictures (N, k), each once; -1 where there are fewer."""
    # By picture, then by distance, which is beyond every number where there is no picture.
    keys = (others * KEY + apart.clamp_max(DIMENSION)).sort(dim=1).values
    others, apart = keys.div(KEY, rounding_mode="floor"), keys % KEY
    again = torch.zeros_like(others, dtype=torch.bool)
    again[:, 1:] = others[:, 1:] == others[:, :-1]
    none = again | (others < 0)
    apart, near = apart.masked_fill(none, KEY).topk(RANKED, dim=1, largest=False, sorted=False)
    return others.gather(1, near).masked_fill(apart == KEY, -1)


def _each(
    work: Callable[[int, int], Result], count: int, progress: Callable[[int], None]
) -> Iterator[Result]:
    """Works on blocks of `READ` images on all cores; yields in the order of images."""
    blocks = list(_blocks(count, READ))
    with ThreadPoolExecutor(usable_cores()) as pool:
        try:
            results = pool.map(lambda block: work(*block), blocks)
            for (_, stop), result in zip(blocks, results, strict=True):
                yield result
                progress(stop)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _blocks(count: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, size):
        yield start, min(start + size, count)


def _described(thumbs: NDArray[np.uint8], cuts: tuple[Cut, ...]) -> Tensor:
    """Descriptors (N, parts, 256) of the unturned parts that the cuts make, in their order."""
    count = len(thumbs)
    pictures = torch.from_numpy(thumbs.astype(np.float32))
    across = pictures.reshape(-1, THUMB) @ torch.cat([cut.means for cut in cuts]).T
    strips = torch.split(across.reshape(count, THUMB, -1), [len(cut.means) for cut in cuts], dim=2)
    parts = []
    for cut, strip in zip(cuts, strips, strict=True):
        places = len(cut.firsts)
        cells = torch.matmul(cut.means, strip).reshape(count, places, GRID, places, GRID)
        parts.append(cells.transpose(2, 3).reshape(count, places * places, DIMENSION))
    flat = torch.cat(parts, dim=1).reshape(-1, DIMENSION)
    window = torch.from_numpy(candidates._window())
    rest = flat - flat @ window
    contrast = ((rest * rest) @ window).clamp_min(0).sqrt_()
    found = rest.div_(contrast.add_(FLOOR)).clamp_(-CLIP, CLIP)
    lengths = found.norm(dim=1, keepdim=True)
    scaled = torch.where(lengths > 0.5, found / lengths.clamp_min(1e-6), 0.0)
    return scaled.reshape(count, -1, DIMENSION)


@lru_cache(maxsize=1)
def _cuts() -> tuple[Cut, ...]:
    """The cuts that make the parts of all views, whole pictures first."""
    cuts = []
    for side in sorted({view.side for view in VIEWS}, reverse=True):
        firsts = tuple(sorted({view.left for view in VIEWS if view.side == side}))
        means = np.concatenate([candidates._averaging(first, side) for first in firsts])
        cuts.append(Cut(side, firsts, torch.from_numpy(means)))
    return tuple(cuts)


@lru_cache(maxsize=1)
def _plan() -> tuple[Tensor, Tensor]:
    """Of each view, the part that it shows (V,) and the order of its cells there (V, 256)."""
    parts = [(cut.side, top, left) for cut in _cuts() for top in cut.firsts for left in cut.firsts]
    cells = np.arange(DIMENSION, dtype=np.float32).reshape(1, GRID, GRID)
    orders = [turned(cells, view.turn).reshape(-1).astype(np.int64) for view in VIEWS]
    places = [parts.index((view.side, view.top, view.left)) for view in VIEWS]
    return torch.tensor(places), torch.from_numpy(np.stack(orders))


@lru_cache(maxsize=1)
def _directions() -> Tensor:
    """(256, 256): random directions at right angles, so that each bit tells something new."""
    draws = np.random.default_rng(0).normal(size=(DIMENSION, DIMENSION))
    return torch.from_numpy(np.linalg.qr(draws)[0].astype(np.float32))
