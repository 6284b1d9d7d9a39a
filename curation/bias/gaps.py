"""How much lower a rate is in one slice than in the others, with an interval for small numbers."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.intervals import LEVEL, wilson

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Gap:
    """The rate of the others less that of the slice.

    Attributes:
        value: -1 to 1; above 0 the slice is worse.
        ci: its interval.
        inside: the slice's rate.
        outside: the rate of the others, weighted to the slice's mix of strata.
        n: images of the slice that there is something to compare with.
    """

    value: float
    ci: tuple[float, float]
    inside: float
    outside: float
    n: int


def rate(
    right: Floats, groups: Codes, weights: Floats | None = None, *, level: float = LEVEL
) -> tuple[float, tuple[float, float]]:
    """A weighted rate and its Wilson interval; the images of a group count as one trial.

    Args:
        right: (n,) 0 to 1, n above 0.
        groups: (n,) of copies, which are taken to be right or wrong together.
        weights: (n,); all 1 when None.
        level: probability of covering.
    """
    given = np.ones(len(right)) if weights is None else weights
    each = np.bincount(np.unique(groups, return_inverse=True)[1].reshape(-1), given)
    trials = float(each.sum() ** 2 / (each**2).sum())
    value = float(given @ right / given.sum())
    return value, wilson(value * trials, trials, level=level)


def difference(
    one: tuple[float, tuple[float, float]], other: tuple[float, tuple[float, float]]
) -> tuple[float, tuple[float, float]]:
    """One rate less another, with the interval that both intervals make (Newcombe 1998, method 10).

    >>> value, (low, high) = difference((0.8, (0.7, 0.87)), (0.5, (0.4, 0.6)))
    >>> round(value, 2), round(low, 2), round(high, 2)
    (0.3, 0.16, 0.42)
    """
    (a, (a_low, a_high)), (b, (b_low, b_high)) = one, other
    value = a - b
    low = value - math.hypot(a - a_low, b_high - b)
    high = value + math.hypot(a_high - a, b - b_low)
    return value, (max(-1.0, low), min(1.0, high))


def measure(
    right: Floats,
    inside: Flags,
    *,
    strata: Codes,
    groups: Codes,
    level: float = LEVEL,
) -> Gap | None:
    """The gap of a slice to the other images of the same strata; none without any of them.

    Each stratum counts by its share in the slice (direct standardisation), so that a slice of hard
    classes is not worse for that.

    Args:
        right: (n,) 0 to 1.
        inside: (n,) whether a row is in the slice.
        strata: (n,) such as classes.
        groups: (n,) of copies.
        level: probability that the interval covers.
    """
    width = int(strata.max(initial=0)) + 1
    here = np.bincount(strata[inside], minlength=width)
    there = np.bincount(strata[~inside], minlength=width)
    shared = (here > 0) & (there > 0)
    if not shared.any():
        return None
    inner, outer = inside & shared[strata], ~inside & shared[strata]
    weights = (here / np.maximum(there, 1))[strata[outer]]
    own = rate(right[inner], groups[inner], level=level)
    others = rate(right[outer], groups[outer], weights, level=level)
    value, ci = difference(others, own)
    return Gap(value, ci, own[0], others[0], int(inner.sum()))
