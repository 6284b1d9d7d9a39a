"""A figure with what it rests on: its value, the number of images, and a 95 % interval."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, betaincinv, ndtri

LEVEL = 0.95


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


def median_ranks(n: int, *, level: float = LEVEL) -> tuple[int, int] | None:
    """Places, from 0, of the sorted values between which the median lies.

    They hold whatever the distribution, since each value is below the median as often as a coin
    shows heads (Thompson 1936).

    Args:
        n: values; fewer than 6 bound nothing at 95 %.
        level: probability of covering at least, 0 to 1.

    Returns:
        None where so few values bound nothing.

    >>> median_ranks(5), median_ranks(6), median_ranks(100)
    (None, (0, 5), (39, 60))
    """
    below = bdtr(np.arange(n // 2 + 1), n, 0.5)
    first = int(np.count_nonzero(below <= (1 - level) / 2)) - 1
    return (first, n - 1 - first) if first >= 0 else None


def ratio_of_rates(one: int, other: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Interval of how many times the rate of one Poisson count is that of another.

    Given their sum, the first count is binomial, so that Clopper and Pearson's exact interval of
    its share holds (Przyborowski & Wilenski 1940; Clopper & Pearson 1934).

    Args:
        one: the first count.
        other: the second; where both are 0, nothing is known: (0, infinity).
        level: probability of covering at least, 0 to 1.
    """
    tail = (1 - level) / 2
    low = float(betaincinv(one, other + 1, tail)) if one else 0.0
    high = float(betaincinv(one + 1, other, 1 - tail)) if other else 1.0
    return low / (1 - low) if low < 1 else math.inf, high / (1 - high) if high < 1 else math.inf


def median_of(ascending: NDArray[np.float64]) -> dict[str, Any]:
    """The median as a figure of JSON; both ends of its interval are null where n is below 6."""
    n = len(ascending)
    ranks = median_ranks(n)
    return {
        "value": float(ascending[n // 2]) if n else None,
        "n": n,
        "ci": [None, None] if ranks is None else [float(ascending[at]) for at in ranks],
    }


def median_difference(
    one: NDArray[np.float64],
    other: NDArray[np.float64],
    *,
    rng: np.random.Generator,
    resamples: int = 10_000,
    level: float = LEVEL,
) -> dict[str, Any]:
    """How much larger the median of one sample is than that of another, as a figure of JSON.

    The interval is a percentile bootstrap. Medians of resamples are drawn as the order statistics
    that they are, so that none has to be made (Hutson & Ernst 2000).

    Args:
        one: (N,) ascending.
        other: (M,) ascending.
        rng: which resamples are drawn.
        resamples: how many.
        level: probability of covering, 0 to 1.

    Returns:
        `value` none where a sample is empty; both ends of `ci` null where one has fewer than 6.
    """
    n = len(one) + len(other)
    if not len(one) or not len(other):
        return {"value": None, "n": n, "ci": [None, None]}
    value = float(one[len(one) // 2] - other[len(other) // 2])
    if min(len(one), len(other)) < FEWEST:
        return {"value": value, "n": n, "ci": [None, None]}
    draws = _medians(one, resamples, rng) - _medians(other, resamples, rng)
    low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2])
    return {"value": value, "n": n, "ci": [min(float(low), value), max(float(high), value)]}


FEWEST = 6
"""Values below which a median's interval says nothing; see `median_ranks`."""


def _medians(
    ascending: NDArray[np.float64], resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Medians of so many samples of the same size, drawn with replacement."""
    n = len(ascending)
    rank = n // 2
    places = np.floor(n * rng.beta(rank + 1, n - rank, size=resamples)).astype(np.int64)
    found: NDArray[np.float64] = ascending[np.minimum(places, n - 1)]
    return found


def rate_difference(hits: int, n: int, other_hits: int, other_n: int) -> dict[str, Any]:
    """How much larger one proportion is than another of other rows, as a figure of JSON.

    Source: Newcombe 1998, "Interval estimation for the difference between independent proportions",
    method 10.

    >>> found = rate_difference(56, 70, 48, 80)
    >>> [round(end, 4) for end in found["ci"]]
    [0.0524, 0.3339]
    """
    if not n or not other_n:
        return {"value": None, "n": n + other_n, "ci": [-1.0, 1.0]}
    one, other = hits / n, other_hits / other_n
    low, high = wilson(hits, n)
    other_low, other_high = wilson(other_hits, other_n)
    value = one - other
    return {
        "value": value,
        "n": n + other_n,
        "ci": [
            value - math.hypot(one - low, other_high - other),
            value + math.hypot(high - one, other - other_low),
        ],
    }
