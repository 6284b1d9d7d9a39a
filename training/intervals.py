"""Intervals of what has no formula: bootstraps and draws, beside those of `curation.intervals`."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.intervals import LEVEL, Figure, proportion, unknown, wilson

__all__ = [
    "LEVEL",
    "Figure",
    "bootstrap",
    "mean_of_proportions",
    "percentile",
    "proportion",
    "resampled_counts",
    "unknown",
    "wilson",
]

RESAMPLES = 1_000
_BLOCK_ENTRIES = 4_000_000


def resampled_counts(
    n: int, *, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Iterator[NDArray[np.float32]]:
    """(b, n) blocks of how often each of n rows is drawn in each of `resamples` bootstraps.

    Rows are drawn from all rows, not class by class: how many images of a class a random holdout
    holds is chance too, and an interval must show it.
    """
    step = max(1, _BLOCK_ENTRIES // max(1, n))
    for start in range(0, resamples, step):
        many = min(step, resamples - start)
        drawn = rng.integers(0, n, size=(many, n)) + np.arange(many)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=many * n).reshape(many, n).astype(np.float32)


def percentile(draws: NDArray[np.floating[Any]], *, level: float = LEVEL) -> tuple[float, float]:
    """The middle `level` of the draws that are numbers; (0, 1) where none is."""
    finite = draws[np.isfinite(draws)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = np.quantile(finite, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def bootstrap(
    statistic: Callable[[NDArray[np.float32]], NDArray[np.floating[Any]]],
    n: int,
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Percentile interval of a statistic (Efron 1979).

    Args:
        statistic: from (b, n) counts to (b,) values; NaN where undefined.
        n: rows.
        rng: which rows are drawn.
        resamples: how many.
    """
    draws = [statistic(block) for block in resampled_counts(n, rng=rng, resamples=resamples)]
    return percentile(np.concatenate(draws))


def mean_of_proportions(
    successes: NDArray[np.float64],
    trials: NDArray[np.float64],
    *,
    rng: np.random.Generator,
    resamples: int = 4 * RESAMPLES,
) -> tuple[float, float]:
    """Interval of the unweighted mean of proportions, such as the recalls of classes.

    Each is drawn from Beta(successes + 1/2, failures + 1/2) (Jeffreys' prior): a plain bootstrap
    sees no spread in a class whose three images are all right, and so promises too much.

    Args:
        successes: (K,) of each proportion.
        trials: (K,) above 0.
        rng: the draws.
        resamples: how many.
    """
    draws = rng.beta(successes + 0.5, trials - successes + 0.5, size=(resamples, len(trials)))
    low, high = percentile(draws.mean(axis=1))
    value = float(np.mean(successes / trials))
    return min(low, value), max(high, value)
