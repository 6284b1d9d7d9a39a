"""Which images of a class to keep so that what is left out resembles what is kept."""

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from curation.progress import Report, silent

TARGETS = 2_000
MISSED = 0.01
"""By how much less the greedy's guarantee is for looking at a random part of the candidates."""


class Embeddings(Protocol):
    """Anything that reads unit-norm embeddings by image id, such as `EmbeddingStore`."""

    def read(self, ids: list[int]) -> NDArray[np.float32]:
        """(len(ids), d) in the order of `ids`."""


def keep(
    store: Embeddings,
    ids: NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    count: int,
    rng: np.random.Generator,
    report: Report = silent,
) -> NDArray[np.int64]:
    """The ids (count,) that together lie nearest to all of them, first one of each group.

    Greedy facility location: every image should have a kept one like it. Unlike k-center, which
    keeps the strangest images, this leaves the odd and the mislabeled out first. Each step looks at
    a random part of the candidates, large enough that the result is at least 1 - 1/e - 0.01 of the
    best in expectation (Mirzasoleiman et al. 2015, "Lazier Than Lazy Greedy", arXiv 1409.7938).

    Args:
        store: their embeddings; only the rows looked at are read, at most 2,000 at a time.
        ids: (N,) ascending.
        groups: (N,) of near-duplicates.
        count: 1 to N.
        rng: the candidates of each step, and which 2,000 images of a larger class are to be near.
        report: told of the progress, and may stop it.
    """
    _, first = np.unique(groups, return_index=True)
    one_each = np.sort(ids[first])
    if count >= len(one_each):
        others = np.setdiff1d(ids, one_each)
        more = np.sort(rng.choice(others, count - len(one_each), replace=False))
        return np.sort(np.concatenate([one_each, more]))
    targets = one_each
    if len(targets) > TARGETS:
        targets = np.sort(rng.choice(targets, TARGETS, replace=False))
    return np.sort(_greedy(store, one_each, store.read(targets.tolist()), count, rng, report))


def _greedy(
    store: Embeddings,
    candidates: NDArray[np.int64],
    targets: NDArray[np.float32],
    count: int,
    rng: np.random.Generator,
    report: Report,
) -> NDArray[np.int64]:
    looked_at = min(math.ceil(len(candidates) / count * math.log(1 / MISSED)), TARGETS)
    left = rng.permutation(candidates)
    size = len(left)
    nearest: NDArray[np.floating[Any]] = np.full(len(targets), -1.0, np.float32)
    kept = np.empty(count, np.int64)
    for turn in range(count):
        if turn % 100 == 0:
            report(turn, count, "choose what to keep")
        rows = rng.choice(size, min(looked_at, size), replace=False)
        likeness = store.read(left[rows].tolist()) @ targets.T
        gains = np.maximum(likeness - nearest, 0).sum(axis=1)
        best = int(gains.argmax())
        kept[turn] = left[rows[best]]
        np.maximum(nearest, likeness[best], out=nearest)
        size -= 1
        left[rows[best]] = left[size]
    return kept
