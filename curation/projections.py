"""Principal axes of embeddings, learnt in one pass over blocks."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Projection:
    """An affine map that keeps distances as well as `k` dimensions can.

    Attributes:
        mean: (d,) of what it was learnt from.
        axes: (k, d) orthonormal, the one of the largest variance first.
    """

    mean: Vectors
    axes: Vectors

    def apply(self, vectors: Vectors) -> Vectors:
        """Coordinates (N, k) of vectors (N, d)."""
        found: Vectors = np.ascontiguousarray((vectors - self.mean) @ self.axes.T, np.float32)
        return found


def fit(blocks: Iterable[Vectors], dimensions: int) -> Projection:
    """Principal component analysis in memory of d x d, whatever the number of rows.

    Each axis is turned so that its largest component is positive: the same data give the same map.

    Args:
        blocks: arrays (n, d), at least one row in all.
        dimensions: k; at most d are returned.
    """
    total, count = np.zeros(0), 0
    products = np.zeros((0, 0))
    for block in blocks:
        if not count:
            total = np.zeros(block.shape[1])
            products = np.zeros((block.shape[1], block.shape[1]))
        total += block.sum(axis=0, dtype=np.float64)
        products += block.T @ block  # float32 inside a block, float64 between them
        count += len(block)
    mean = total / count
    covariance = products / count - np.outer(mean, mean)
    _, vectors = np.linalg.eigh(covariance)
    axes = vectors[:, ::-1][:, :dimensions].T
    largest = axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)]
    axes = axes * np.where(largest < 0, -1.0, 1.0)[:, None]
    return Projection(mean.astype(np.float32), np.ascontiguousarray(axes, np.float32))
