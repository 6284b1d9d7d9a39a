"""How many labels a slice takes before a look at it says anything."""

import math

from scipy.special import ndtri

JUDGED_GAP = 0.2
"""The gap that a slice must be large enough to show, if it is there."""

POWER = 0.8
"""The chance with which it must show."""

_RATES = (0.1, 0.9)


def smallest_gap(n: int, others: int, *, rate: float, tests: int) -> float:
    """The smallest gap that would probably be found.

    A one-sided test of two proportions at 5 % divided by the number of tests.

    Args:
        n: labels of the slice.
        others: labels of the other slices.
        rate: accuracy over all slices, 0 to 1.
        tests: slices that are tested together.
    """
    if n == 0 or others == 0:
        return 1.0
    return min(1.0, _quantiles(tests) * math.sqrt(_variance(rate) * (1 / n + 1 / others)))


def needed(others: int, *, rate: float, tests: int) -> int:
    """Labels that a slice takes to show a gap of `JUDGED_GAP`; arguments as `smallest_gap`.

    Where the other slices are too few themselves, as many as both sides would need.
    """
    alone = _variance(rate) * (_quantiles(tests) / JUDGED_GAP) ** 2
    share = 1 / alone - (1 / others if others else math.inf)
    return math.ceil(1 / share if share > 1 / (2 * alone) else 2 * alone)


def _quantiles(tests: int) -> float:
    return float(ndtri(1 - 0.05 / max(1, tests)) + ndtri(POWER))


def _variance(rate: float) -> float:
    """Of one answer; a gap of a model that is nearly always right lies where it is not."""
    low, high = _RATES
    rate = min(max(rate, low), high)
    return rate * (1 - rate)
