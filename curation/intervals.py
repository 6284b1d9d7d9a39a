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
