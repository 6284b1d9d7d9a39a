"""From how bad each image is to which stand out: relative to the dataset, within absolute bounds.

Badness is in a unit of its own, mostly octaves, since light, size and sharpness are ratios. The
threshold lies some spreads above the dataset's median. Below a floor nothing is flagged, so that a
good and even dataset stays clean; above a ceiling everything is, so that a dataset of mostly black
images is not taken for normal.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

SPREADS = 3.5
"""Robust standard deviations from the median to the threshold (Iglewicz and Hoaglin 1993)."""

FEWEST = 10
"""Images from which on there is a normal to differ from; below, only the ceilings count."""

_TAILS = ((0.75, 0.6745), (0.90, 1.2816), (0.95, 1.6449))
"""Quantiles and where the normal law has them, in standard deviations."""

_LEAST_DEVIATION = 0.05  # octaves


def threshold(
    badness: Floats, *, floor: float, ceiling: float, least_spread: float
) -> tuple[float, float]:
    """Above which badness (N,) an image stands out, and the dataset's spread.

    The spread is that of the upper half, by the tightest of three quantiles: where the dataset has
    two kinds of images, such as two studios, the outer ones see past the second.

    Args:
        badness: higher is worse.
        floor: the lowest threshold.
        ceiling: the highest threshold.
        least_spread: so that an even dataset does not make trifles stand out.
    """
    if len(badness) < FEWEST:
        return ceiling, least_spread
    middle = float(np.median(badness))
    spread = min(
        (float(np.quantile(badness, share)) - middle) / deviations for share, deviations in _TAILS
    )
    spread = max(spread, least_spread)
    return min(max(middle + SPREADS * spread, floor), ceiling), spread


def deviants(values: Floats, *, floor: float, ceiling: float) -> tuple[Floats, Flags]:
    """Scores of the distances from the median to either side, and which stand out.

    Args:
        values: (N,), octaves.
        floor: the shortest distance that may stand out.
        ceiling: the distance that always does, unless there are too few images.
    """
    if not len(values):
        return values, values > 0
    distance = np.abs(values - np.median(values))
    spread = max(
        _LEAST_DEVIATION,
        min(float(np.quantile(distance, 2 * share - 1)) / sd for share, sd in _TAILS),
    )
    at = min(max(SPREADS * spread, floor), ceiling)
    return score_beyond(distance, at, spread), (distance > at) & (len(values) >= FEWEST)


def score_beyond(badness: Floats, at: float, spread: float) -> Floats:
    """0 to 1, 0.5 at the threshold; rises without end, so that it ranks the worst ones too."""
    beyond = (badness - at) / spread
    return np.asarray(0.5 + 0.5 * beyond / (1 + np.abs(beyond)))


def rank(badness: Floats) -> Callable[[int], str]:
    """In words, the share of the images that are better than the one at an index."""
    ordered = np.sort(badness)

    def says(index: int) -> str:
        better = int(np.searchsorted(ordered, badness[index]))
        return f"{np.floor(1000 * better / len(ordered)) / 10:.1f} %"

    return says
