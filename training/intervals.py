"""A figure with what it rests on: its value, the number of images, and a 95 % interval."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

LEVEL = 0.95
RESAMPLES = 1_000
_BLOCK_ENTRIES = 4_000_000


@dataclass(frozen=True)
class Figure:
    """One figure of quality.

    Attributes:
        value: None where it is undefined (no image of that class).
        n: images that it rests on.
        ci: lower and upper end of the 95 % interval; the whole range where nothing is known.
    """

    value: float | None
    n: int
    ci: tuple[float, float]

    def as_json(self) -> dict[str, Any]:
        """`{"value":, "n":, "ci": [lo, hi]}`."""
        return {"value": self.value, "n": self.n, "ci": list(self.ci)}


def unknown(n: int = 0) -> Figure:
    """A figure between 0 and 1 of which nothing is known."""
    return Figure(None, n, (0.0, 1.0))


def wilson(successes: float, n: float, *, level: float = LEVEL) -> tuple[float, float]:
    """Interval of a proportion (Wilson 1927); (0, 1) for n = 0.

    Args:
        successes: 0 to n; need not be whole where rows are weighted.
        n: trials, or the effective number of them.
        level: probability of covering, 0 to 1.
    """
    if n <= 0:
        return 0.0, 1.0
    z = float(ndtri(0.5 + level / 2))
    rate = successes / n
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # Rounding may leave an end a hair on the wrong side of a rate of exactly 0 or 1.
    return min(max(0.0, middle - half), rate), max(min(1.0, middle + half), rate)


def proportion(hits: NDArray[np.bool_], weights: NDArray[np.float64] | None = None) -> Figure:
    """The weighted share of True with its Wilson interval.

    With weights, the trials are Kish's effective number, (sum w)^2 / sum w^2.
    """
    n = len(hits)
    if weights is None:
        weights = np.ones(n)
    total = float(weights.sum())
    if n == 0 or total == 0:
        return unknown()
    value = float(weights @ hits) / total
    effective = total**2 / float(weights @ weights)
    return Figure(value, n, wilson(value * effective, effective))


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
