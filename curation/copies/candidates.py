"""Pairs of images that may show the same picture, proposed by recall.

Each view of a picture becomes a descriptor of 16 x 16 numbers: its thumbnail, averaged, with the
local mean taken off and divided by the local contrast. Brightness, contrast, gamma, blur, noise and
compression hardly change it; what all pictures of a dataset share (a silhouette, a gradient of the
light) is mostly taken off with the local mean, so a dataset of look-alikes does not flood the list.
Each view asks for its nearest whole pictures, exactly or, among many, through an inverted file.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from curation.copies.views import VIEWS, View, turned
from curation.scan import THUMB

GRID = 16
DIMENSION = GRID * GRID
LOCAL = 2.0
"""Standard deviation, in cells of the grid, of the window that mean and contrast are local to."""

FLOOR = 8.0
"""Grey levels of contrast that count as none: a flat wall is not blown up to a texture."""

CLIP = 2.0
"""So many local standard deviations at most: an edge does not drown the rest."""

EXACT_BELOW = 20_000
"""Images from which on the search goes by hashes."""

BLOCK = 4096
SCORES_AT_ONCE = 30_000_000
"""Numbers: what the exact search holds in memory at a time."""

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
    """

    moving: NDArray[np.int64]
    fixed: NDArray[np.int64]
    view: NDArray[np.int64]
    similarity: NDArray[np.float32]

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.moving)

    def __getitem__(self, here: NDArray[np.bool_]) -> "Candidates":
        """Some of the pairs."""
        return Candidates(
            self.moving[here], self.fixed[here], self.view[here], self.similarity[here]
        )


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
    precision = torch.bfloat16 if _has_fast_bfloat16() else torch.float32
    whole = whole.to(precision).T.contiguous()
    wanted = min(neighbours, count - 1)
    size = max(1, SCORES_AT_ONCE // (len(VIEWS) * max(count, 1)))
    parts = []
    for start in range(0, count if wanted > 0 else 0, size):
        views = np.stack([describe(thumbs[start : start + size], view) for view in VIEWS])
        queries = torch.from_numpy(views).to(precision)
        scores, view = (queries @ whole).max(dim=0)
        own = torch.arange(len(scores))
        scores[own, start + own] = -1
        best, other = scores.float().topk(wanted, dim=1)
        moving = (start + own)[:, None].expand_as(other)
        parts.append([part.flatten() for part in (moving, other, view.gather(1, other), best)])
        progress(min(start + size, count))
    if not parts:
        empty = np.empty(0, np.int64)
        return Candidates(empty, empty, empty, np.empty(0, np.float32))
    moving, fixed, view, similarity = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    return once(moving, fixed, view, similarity, count)


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
    count: int,
) -> Candidates:
    """Each pair in its most similar view only, in the order of rows."""
    key = np.minimum(moving, fixed) * count + np.maximum(moving, fixed)
    order = np.lexsort((-similarity, key))
    first = np.append(True, np.diff(key[order]) != 0) if len(order) else np.empty(0, bool)
    keep = order[first]
    return Candidates(moving[keep], fixed[keep], view[keep], similarity[keep])


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
