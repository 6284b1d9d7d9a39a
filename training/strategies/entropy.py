"""The images of which the model's answer says least."""

import numpy as np
from numpy.typing import NDArray

from training.strategies import candidates
from training.strategies.pool import Pool, Selection


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Selection:
    """Take the largest entropy of the class probabilities first; equal ones in random order.

    Multi-label: the entropies of the classes are added.

    Source: Settles 2009, "Active Learning Literature Survey", section 3.1.
    """
    rows = pool.rows
    bits = of(pool.chances(rows), binary=pool.is_binary)
    order = candidates.by_score(bits, rng=rng)[:count]
    return Selection(
        ids=pool.ids[rows[order]],
        scores=bits[order],
        reasons=tuple(f"{value:.2f} bits are open" for value in bits[order]),
        strategy="entropy",
    )


def of(p: NDArray[np.float64], *, binary: bool) -> NDArray[np.float64]:
    """(...,) bits of the probabilities in the last axis; of columns by themselves if `binary`."""
    return np.asarray(_bits(p).sum(axis=-1) + (_bits(1 - p).sum(axis=-1) if binary else 0.0))


def _bits(p: NDArray[np.float64]) -> NDArray[np.float64]:
    # 0 log 0 is 0.
    return np.asarray(-p * np.log2(np.where(p > 0, p, 1.0)))
