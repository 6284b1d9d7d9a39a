"""Choosing what to label next: shared by real and simulated rounds."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.heads.head import Head
from training.strategies import Pool, Selection
from training.strategies import select as select_from


class Embeddings(Protocol):
    """Anything that reads unit-norm embeddings by image id, such as `EmbeddingStore`."""

    def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """(len(ids), d) in the order of `ids`."""


def margins(probabilities: NDArray[np.float64], *, task: str) -> list[float]:
    """How sure the model is of each row, 0 to 1: see `Pool.margins`."""
    if task == "multi-label":
        return [float(m) for m in np.abs(2 * probabilities - 1).min(axis=1)]
    top = np.partition(probabilities, -2, axis=1)[:, -2:]
    return [float(m) for m in top[:, 1] - top[:, 0]]


def choose(
    strategy: str,
    *,
    ids: NDArray[np.int64],
    groups: NDArray[np.int64],
    store: Embeddings,
    head: Head | None,
    known_ids: Sequence[int],
    known_targets: NDArray[np.int64] | None,
    count: int,
    rng: np.random.Generator,
) -> Selection:
    """Chooses `count` of the pool.

    Args:
        ids: (N,) image ids of the pool.
        groups: (N,) their groups.
        store: embeddings of the pool and of the labeled images.
        head: the calibrated model; none if there is none yet.
        known_ids: images with a label, the reserve's included, which the pool need not repeat.
        known_targets: their labels, from `targets`.
        count: how many, at most the distinct groups of the pool.
        rng: the strategy's randomness.
    """
    embeddings = store.read(ids.tolist())
    pool = Pool(
        ids=ids,
        embeddings=embeddings,
        groups=groups,
        probabilities=None if head is None else head.probabilities(embeddings),
        labeled_embeddings=store.read(list(known_ids)) if len(known_ids) else None,
        labeled_classes=known_targets
        if known_targets is not None and known_targets.ndim == 1
        else None,
        multi_label=head is not None and head.task == "multi-label",
        predict=None if head is None else head.probabilities,
    )
    return select_from(strategy, pool, count, rng)
