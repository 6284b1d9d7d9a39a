"""Greedy coverage of weighted target points by a Gaussian kernel, exact and lazy."""

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BLOCK_ENTRIES = 8_000_000
_CACHED_ENTRIES = 64_000_000
_BATCH = 32


@dataclass(frozen=True, eq=False)
class Picks:
    """The result of `pick`.

    Attributes:
        order: (count,) indices into the candidates, in the order picked.
        gains: (count,) the weighted coverage that each added when it was picked.
        alone: (count,) the coverage that each already had, 0 (nothing near it) to 1.
    """

    order: NDArray[np.intp]
    gains: NDArray[np.float64]
    alone: NDArray[np.float64]


def kernel(
    left: NDArray[np.float32], right: NDArray[np.float32], *, bandwidth: float
) -> NDArray[np.float32]:
    """(len(left), len(right)) values exp(-||x - z||^2 / bandwidth^2), in (0, 1]."""
    square: NDArray[np.float32] = left @ right.T
    square *= 2
    square -= np.einsum("ij,ij->i", left, left)[:, None]
    square -= np.einsum("ij,ij->i", right, right)[None, :]
    np.minimum(square, 0, out=square)
    square /= bandwidth**2
    np.exp(square, out=square)
    return square


def covered(
    targets: NDArray[np.float32], known: NDArray[np.float32], *, bandwidth: float
) -> NDArray[np.float32]:
    """(T,) how well the known points cover each target: the largest kernel value, 0 for none."""
    cover = np.zeros(len(targets), dtype=np.float32)
    step = max(1, _BLOCK_ENTRIES // max(1, len(targets)))
    for start in range(0, len(known), step):
        block = kernel(known[start : start + step], targets, bandwidth=bandwidth)
        np.maximum(cover, block.max(axis=0), out=cover)
    return cover


class _Kernel:
    """Rows of the kernel between candidates and targets, kept when they fit in memory."""

    def __init__(
        self,
        candidates: NDArray[np.float32],
        targets: NDArray[np.float32],
        *,
        bandwidth: float,
    ) -> None:
        self._candidates = candidates
        self._targets = targets
        self._bandwidth = bandwidth
        fits = len(candidates) * len(targets) <= _CACHED_ENTRIES
        shape = (len(candidates), len(targets))
        self._kept = np.empty(shape, dtype=np.float32) if fits else None

    def first_gains(
        self, cover: NDArray[np.float32], weights: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        gains = np.empty(len(self._candidates))
        step = max(1, _BLOCK_ENTRIES // max(1, len(self._targets)))
        for start in range(0, len(gains), step):
            stop = start + step
            block = kernel(self._candidates[start:stop], self._targets, bandwidth=self._bandwidth)
            if self._kept is not None:
                self._kept[start:stop] = block
            block -= cover
            gains[start:stop] = np.maximum(block, 0, out=block) @ weights
        return gains

    def rows(self, indices: list[int]) -> NDArray[np.float32]:
        if self._kept is not None:
            return self._kept[indices]
        return kernel(self._candidates[indices], self._targets, bandwidth=self._bandwidth)


def pick(
    candidates: NDArray[np.float32],
    targets: NDArray[np.float32],
    *,
    count: int,
    bandwidth: float,
    weights: NDArray[np.floating] | None = None,
    known: NDArray[np.float32] | None = None,
) -> Picks:
    """Pick `count` candidates one by one, each adding the most weighted coverage.

    The objective is submodular, so a gain computed earlier bounds today's from above: a heap of
    such stale gains is kept and only its top is evaluated again (Minoux 1978). The result is that
    of the plain greedy; equal gains go to the lower index.

    Args:
        candidates: (M, d).
        targets: (T, d), the points to be covered.
        count: at most M.
        bandwidth: of the kernel, in units of distance.
        weights: (T,) of the targets, at least 0; all 1 when None.
        known: (L, d) points that cover already.

    Memory: candidates and targets as given, plus at most about 400 MB.
    """
    weight = np.ones(len(targets), np.float32) if weights is None else weights.astype(np.float32)
    cover: NDArray[np.float32] = np.zeros(len(targets), dtype=np.float32)
    own: NDArray[np.float32] = np.zeros(len(candidates), dtype=np.float32)
    if known is not None and len(known):
        cover = covered(targets, known, bandwidth=bandwidth)
        own = covered(candidates, known, bandwidth=bandwidth)
    rows = _Kernel(candidates, targets, bandwidth=bandwidth)
    first = rows.first_gains(cover, weight)
    heap = [(-gain, index) for index, gain in enumerate(first.tolist())]
    heapq.heapify(heap)
    fresh = np.zeros(len(candidates), dtype=np.int64)
    order: list[int] = []
    gains: list[float] = []
    # Several at once: one matrix product reads the targets once for all of them.
    batch = _BATCH if len(candidates) > _BATCH else 1
    while len(order) < count:
        turn = len(order)
        gain, top = heap[0]
        if fresh[top] == turn:
            heapq.heappop(heap)
            order.append(top)
            gains.append(-gain)
            np.maximum(cover, rows.rows([top])[0], out=cover)
            continue
        stale: list[int] = []
        while heap and len(stale) < batch and fresh[heap[0][1]] != turn:
            stale.append(heapq.heappop(heap)[1])
        block = rows.rows(stale) - cover
        for index, new in zip(
            stale, (np.maximum(block, 0, out=block) @ weight).tolist(), strict=True
        ):
            fresh[index] = turn
            heapq.heappush(heap, (-new, index))
    picked = np.asarray(order, dtype=np.intp)
    return Picks(order=picked, gains=np.asarray(gains), alone=own[picked].astype(np.float64))
