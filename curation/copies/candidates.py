"""Pairs of images that may show the same picture, proposed by recall.

Each view of a picture becomes a descriptor of 16 x 16 numbers: its thumbnail, averaged, with the
local mean taken off and divided by the local contrast. Brightness, contrast, gamma, blur, noise and
compression hardly change it; what all pictures of a dataset share (a silhouette, a gradient of the
light) is mostly taken off with the local mean, so a dataset of look-alikes does not flood the list.
Each view asks for its nearest whole pictures, exactly or, among many, through an inverted file.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from curation.appearance import THUMB
from curation.copies.threads import one_thread_each
from curation.copies.views import VIEWS, View, turned
from curation.images import usable_cores

GRID = 16
DIMENSION = GRID * GRID
LOCAL = 2.0
"""Standard deviation, in cells of the grid, of the window that mean and contrast are local to."""

FLOOR = 8.0
"""Grey levels of contrast that count as none: a flat wall is not blown up to a texture."""

CLIP = 2.0
"""So many local standard deviations at most: an edge does not drown the rest."""

EXACT_BELOW = 5_000
"""Images from which on the search goes by hashes."""

RANKS = 64
"""Nearest pictures, the further half of which tells the level of look-alikes: a group of copies may
have half as many members before it passes for a crowd of look-alikes."""

HIGHEST_LEVEL = 0.9
"""Quantile of the levels in a dataset that none exceeds: larger groups than that are rare."""

FEW_LEVEL = 0.5
"""On Fisher's scale, what the level is at most where there are fewer than `RANKS` others."""

BLOCK = 4096
AT_ONCE = 128
"""Pictures that a thread of the exact search compares with all at a time: up to 60 MB."""

Descriptors = NDArray[np.float32]


class Thumbs(Protocol):
    """Thumbnails that are read when they are asked for."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        """(n, 64, 64) grey levels of these rows."""


@dataclass(frozen=True)
class Candidates:
    """Pairs that may be copies, each once.

    Attributes:
        moving: (P,) row of the picture whose view was recognised.
        fixed: (P,) row of the picture that resembles that view.
        view: (P,) index into `VIEWS`.
        similarity: (P,) cosine of the two descriptors, at most 1.
        level: (P,) on Fisher's scale, how similar the two are to what merely resembles them: see
            `levels`.
    """

    moving: NDArray[np.int64]
    fixed: NDArray[np.int64]
    view: NDArray[np.int64]
    similarity: NDArray[np.float32]
    level: NDArray[np.float32]

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.moving)

    def __getitem__(self, here: NDArray[np.bool_]) -> "Candidates":
        """Some of the pairs."""
        return Candidates(
            self.moving[here],
            self.fixed[here],
            self.view[here],
            self.similarity[here],
            self.level[here],
        )


def nothing() -> Candidates:
    """No pairs."""
    rows, values = np.empty(0, np.int64), np.empty(0, np.float32)
    return Candidates(rows, rows, rows, values, values)


def describe(thumbs: NDArray[np.uint8] | NDArray[np.float32], view: View) -> Descriptors:
    """Unit-norm descriptors (N, 256) of one view of thumbnails (N, 64, 64); zeros where flat."""
    rows, columns = _averaging(view.top, view.side), _averaging(view.left, view.side)
    cells = np.matmul(np.matmul(rows, thumbs.astype(np.float32)), columns.T)
    flat = np.ascontiguousarray(turned(cells, view.turn)).reshape(len(cells), DIMENSION)
    window = _window()
    rest = flat - flat @ window
    contrast = np.sqrt(np.maximum((rest * rest) @ window, 0))
    found = np.clip(rest / (contrast + FLOOR), -CLIP, CLIP)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    scaled: Descriptors = np.where(lengths > 0.5, found / np.maximum(lengths, 1e-6), 0)
    return scaled.astype(np.float32)


def propose(
    thumbs: NDArray[np.uint8] | Thumbs,
    *,
    neighbours: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Candidates:
    """The nearest pictures of every picture in any view, each pair once.

    Args:
        thumbs: (N, 64, 64) grey levels.
        neighbours: pairs kept a picture, over all its views.
        progress: told how many pictures are done.
    """
    count = len(thumbs)
    if count >= EXACT_BELOW:
        from curation.copies import hashing

        return hashing.propose(thumbs, neighbours=neighbours, progress=progress)
    whole = torch.from_numpy(np.concatenate([describe(thumbs[:0], VIEWS[0]), *_whole(thumbs)]))
    whole = whole.to(torch.bfloat16 if _has_fast_bfloat16() else torch.float32)
    ranks = min(RANKS, count - 1)

    def nearest(start: int) -> tuple[Tensor, ...]:
        """Rows, other rows, views and cosines of the best pairs; cosines of look-alikes."""
        views = np.stack([describe(thumbs[start : start + AT_ONCE], view) for view in VIEWS])
        queries = torch.from_numpy(views).to(whole.dtype)
        scores = (queries @ whole.T).amax(dim=0).float()
        own = torch.arange(len(scores))
        scores[own, start + own] = -1
        best, other = scores.topk(ranks, dim=1)
        alike = best[:, ranks // 2 :]
        best, other = best[:, :neighbours], other[:, :neighbours]
        view = (queries.transpose(0, 1) @ whole[other].transpose(1, 2)).argmax(dim=1)
        moving = (start + own)[:, None].expand_as(other)
        return (*(part.flatten() for part in (moving, other, view, best)), alike)

    parts = []
    with one_thread_each(), ThreadPoolExecutor(usable_cores()) as pool:
        starts = range(0, count if ranks > 0 else 0, AT_ONCE)
        try:
            for start, part in zip(starts, pool.map(nearest, starts), strict=True):
                parts.append(part)
                progress(min(start + AT_ONCE, count))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    if not parts:
        return nothing()
    moving, fixed, view, similarity, alike = (torch.cat(part) for part in zip(*parts, strict=True))
    level = levels(alike.numpy(), count)
    return once(moving.numpy(), fixed.numpy(), view.numpy(), similarity.numpy(), level)


def levels(alike: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """(N,) how similar each picture is to what merely resembles it, on Fisher's scale.

    Where all pictures of a dataset look alike, any two agree well, and only an agreement far above
    that says copy. What resembles a picture are its nearest neighbours beyond those that may be
    copies of it.

    Args:
        alike: (N, k) cosines with the further half of the `RANKS` nearest pictures.
        count: of pictures.
    """
    found = fisher(alike).mean(axis=1)
    most = float(np.quantile(found, HIGHEST_LEVEL))
    level: NDArray[np.float32] = np.minimum(
        found, most if count > RANKS else min(most, FEW_LEVEL)
    ).astype(np.float32)
    return level


def fisher(agreements: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Fisher's transform of correlations: near 1, a small difference counts for much."""
    return np.arctanh(np.clip(agreements.astype(np.float64), -0.999, 0.995))


def _whole(thumbs: NDArray[np.uint8] | Thumbs) -> Iterator[Descriptors]:
    """Descriptors of the whole pictures, a block at a time."""
    for start in range(0, len(thumbs), BLOCK):
        yield describe(thumbs[start : start + BLOCK], VIEWS[0])


@lru_cache(maxsize=1)
def _has_fast_bfloat16() -> bool:
    """Whether the processor multiplies matrices of bfloat16 by itself; a cosine then errs by less
    than 0.005, which changes no candidate that matters, and takes a third of the time."""
    return bool(torch.cpu._is_avx512_bf16_supported())


def once(
    moving: NDArray[np.int64],
    fixed: NDArray[np.int64],
    view: NDArray[np.int64],
    similarity: NDArray[np.float32],
    level: NDArray[np.float32],
) -> Candidates:
    """Each pair in its most similar view only, in the order of rows; `level` is by picture."""
    key = np.minimum(moving, fixed) * len(level) + np.maximum(moving, fixed)
    order = np.lexsort((-similarity, key))
    first = np.append(True, np.diff(key[order]) != 0) if len(order) else np.empty(0, bool)
    keep = order[first]
    moving, fixed = moving[keep], fixed[keep]
    both: NDArray[np.float32] = (level[moving] + level[fixed]) / np.float32(2)
    return Candidates(moving, fixed, view[keep], similarity[keep], both)


@lru_cache(maxsize=64)
def _averaging(first: int, side: int) -> NDArray[np.float32]:
    """(16, 64): means of `side` pixels from `first` on, in 16 cells, each weighted by overlap."""
    edges = first + np.arange(GRID + 1) * side / GRID
    pixels = np.arange(THUMB)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.maximum(overlap, 0)
    found: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


@lru_cache(maxsize=1)
def _window() -> NDArray[np.float32]:
    """(256, 256): the Gaussian mean around each cell, normalised at the border."""
    cells = np.arange(GRID)
    line = np.exp(-0.5 * ((cells[:, None] - cells) / LOCAL) ** 2)
    line /= line.sum(axis=1, keepdims=True)
    found: NDArray[np.float32] = np.kron(line, line).T.astype(np.float32)
    return found
