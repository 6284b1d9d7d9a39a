"""Which images a strategy looks at more closely, where the pool is too large for all of them."""

import numpy as np
from numpy.typing import NDArray

MOST = 20_000


def sample(rows: NDArray[np.intp], *, at_least: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """At most 20,000 of the rows (or `at_least`, where more are asked for), in their order."""
    most = max(MOST, at_least)
    if len(rows) <= most:
        return rows
    return rows[np.sort(rng.choice(len(rows), size=most, replace=False))]


def unsure(
    margins: NDArray[np.float64], *, at_least: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """As `sample`, of all places of `margins`: one half the smallest, the other half at random."""
    most = max(MOST, at_least)
    if len(margins) <= most:
        return np.arange(len(margins))
    order = by_score(-margins, rng=rng)
    drawn = rng.choice(order[most // 2 :], size=most - most // 2, replace=False)
    return np.sort(np.concatenate([order[: most // 2], drawn]))


def by_score(scores: NDArray[np.float64], *, rng: np.random.Generator) -> NDArray[np.intp]:
    """Places by descending score; equal scores in random order.

    Without the shuffle, equal scores (those of a saturated model) would follow the ids, and so
    whatever the ids follow: a folder, a camera, a day.
    """
    return np.asarray(np.lexsort((rng.permutation(len(scores)), -scores)))
