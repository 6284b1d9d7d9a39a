"""Intervals of what has no formula: bootstraps and draws, beside those of `curation.intervals`."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from curation.intervals import LEVEL, Figure, proportion, unknown, wilson

__all__ = [
    "LEVEL",
    "Figure",
    "bootstrap",
    "by_variance",
    "effective",
    "mean_of_figures",
    "members_of",
    "paired_difference",
    "percentile",
    "proportion",
    "proportion_of_groups",
    "reflected",
    "resampled_counts",
    "unknown",
    "wilson",
]

RESAMPLES = 1_000
_BLOCK_ENTRIES = 4_000_000


def members_of(groups: NDArray[np.integer[Any]] | None) -> NDArray[np.int64] | None:
    """(N,) number of each row's group, from 0; None where every group has one row alone."""
    if groups is None:
        return None
    distinct, number = np.unique(groups, return_inverse=True)
    if len(distinct) == len(groups):
        return None
    return np.asarray(number.reshape(-1), dtype=np.int64)


def resampled_counts(
    n: int,
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    members: NDArray[np.int64] | None = None,
) -> Iterator[NDArray[np.float32]]:
    """(b, n) blocks of how often each of n rows is drawn in each of `resamples` bootstraps.

    Rows are drawn from all rows, not class by class: how many images of a class a random holdout
    holds is chance too, and an interval must show it. Of `members_of` groups whole ones are drawn,
    since copies of an image are not news of the world.
    """
    count = n if members is None else int(members.max()) + 1
    step = max(1, _BLOCK_ENTRIES // max(1, n))
    for start in range(0, resamples, step):
        many = min(step, resamples - start)
        drawn = rng.integers(0, count, size=(many, count)) + np.arange(many)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=many * count).reshape(many, count)
        yield (times if members is None else times[:, members]).astype(np.float32)


def percentile(draws: NDArray[np.floating[Any]], *, level: float = LEVEL) -> tuple[float, float]:
    """The middle `level` of the draws that are numbers; (0, 1) where none is."""
    finite = draws[np.isfinite(draws)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = np.quantile(finite, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def reflected(
    draws: NDArray[np.floating[Any]], value: float, *, level: float = LEVEL
) -> tuple[float, float]:
    """The basic bootstrap interval of a value from 0 to 1, which it always holds.

    What resampling adds to the value is taken off it again, as both ends are mirrored at it: for
    figures that are too high where rows are few, and in each draw a second time.

    Source: Davison & Hinkley 1997, "Bootstrap Methods and their Application", section 5.2.1.
    """
    low, high = percentile(draws, level=level)
    return (
        min(value, max(0.0, 2 * value - high)),
        max(value, min(1.0, 2 * value - low)),
    )


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


def mean_of_figures(figures: Sequence[Figure], *, together: float = 1.0) -> tuple[float, float]:
    """Interval of the unweighted mean of figures, such as the recalls of classes, from their own.

    Each side's distances are squared and added, as variances are. A plain bootstrap sees no spread
    in a class whose three images are all right, and so promises too much; draws from Beta
    posteriors are pulled down where all rates are near 1 (of recalls of 0.99 on 200 images they
    covered 72 % where this covers 91 %).

    Source: Zou & Donner 2008, "Construction of confidence limits about effect measures".

    Args:
        figures: at least one, with values.
        together: variance of the mean, divided by what it would be if the figures were independent
            of each other.
    """
    values = np.array([figure.value for figure in figures], dtype=np.float64)
    ends = np.array([figure.ci for figure in figures])
    mean, factor = float(values.mean()), math.sqrt(together) / len(values)
    low = mean - factor * float(np.linalg.norm(values - ends[:, 0]))
    high = mean + factor * float(np.linalg.norm(ends[:, 1] - values))
    return max(0.0, low), min(1.0, high)


def by_variance(value: float, variance: float, *, most: float) -> tuple[float, float]:
    """Wilson's interval for as many trials as give a proportion this variance, at most `most`.

    Args:
        value: 0 to 1.
        variance: of it; 0 where none shows.
        most: rows that it rests on.
    """
    trials = most if variance <= 0 else min(most, value * (1 - value) / variance)
    return wilson(value * trials, trials)


def effective(
    weights: NDArray[np.floating[Any]], members: NDArray[np.int64] | None = None
) -> float:
    """Kish's effective number of weighted rows, or groups, (sum w)^2 / sum w^2; 0 for none."""
    total = float(weights.sum())
    held = weights if members is None else np.bincount(members, weights=weights)
    return total**2 / float(held @ held) if total else 0.0


def proportion_of_groups(
    hits: NDArray[np.bool_],
    members: NDArray[np.int64] | None,
    weights: NDArray[np.float64] | None = None,
) -> Figure:
    """`proportion` of rows of which some belong together.

    Wilson's interval for as many trials as give the variance over groups, at most the effective
    number of groups.

    Args:
        hits: (N,) of the rows.
        members: (N,) of `members_of`, or of a selection of its rows; each on its own when None.
        weights: (N,) at least 0; all 1 when None.
    """
    if weights is None:
        weights = np.ones(len(hits))
    found = proportion(hits, weights)
    if members is None or found.value is None:
        return found
    influence = np.bincount(members, weights=weights * (hits - found.value)) / weights.sum()
    variance = float(influence @ influence)
    most = effective(weights, members)
    return Figure(found.value, found.n, by_variance(found.value, variance, most=most))


def paired_difference(won: float, lost: float, n: float) -> tuple[float, float]:
    """Interval of the difference of two proportions of the same rows, (won - lost) / n.

    Wald's, with one more row of each kind, so that it is not empty where none differ.

    Source: Bonett & Price 2012, "Adjusted Wald confidence interval for a difference of binomial
    proportions based on paired data".

    Args:
        won: rows that count for the first and not for the second.
        lost: the other way round.
        n: rows.
    """
    total = n + 2
    middle = (won - lost) / total
    error = math.sqrt(max(0.0, (won + lost + 2) / total - middle**2) / total)
    reach = float(ndtri(0.5 + LEVEL / 2)) * error
    value = (won - lost) / n
    return max(-1.0, min(middle - reach, value)), min(1.0, max(middle + reach, value))
