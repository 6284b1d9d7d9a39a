"""Permutation tests of slices: what chance alone would show, had the column no meaning.

The column's values are shuffled over the images, within strata (such as the class) where what the
strata explain must not count, and whole groups of copies together. As a p-value from draws is at
least 1 / (draws + 1), it is never 0 (Phipson and Smyth 2010).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]

TIMES = 1_999
PER_TEST = 100
"""Draws for each of the tests that are corrected together, so that any of them can be found."""

ENOUGH = 100
"""Times that chance must have gone as far for a test to end early: p is then known to a tenth."""

_BLOCK_ENTRIES = 1_000_000
_BLOCK_DRAWS = 250
_TIE = 1e-10


@dataclass(frozen=True, eq=False)
class Units:
    """What is shuffled: the images of one group, value and stratum stay together.

    Attributes:
        of: (n,) unit of each row.
        codes: (U,) slice of each unit.
        strata: (U,) stratum of each unit, ascending.
    """

    of: NDArray[np.int64]
    codes: NDArray[np.int64]
    strata: NDArray[np.int64]


def units(groups: Codes, codes: Codes, strata: Codes | None = None) -> Units:
    """The units of n rows; without strata all of them may change places."""
    layers = np.zeros(len(groups), np.int64) if strata is None else np.asarray(strata, np.int64)
    keys = np.stack([layers, np.asarray(groups, np.int64), np.asarray(codes, np.int64)])
    found, of = np.unique(keys, axis=1, return_inverse=True)
    return Units(of.reshape(-1), found[2], found[0])


def shuffle(given: Units, *, rng: np.random.Generator, times: int) -> Iterator[NDArray[np.int64]]:
    """(b, U) blocks of slices of the units, shuffled within strata, `times` in all."""
    count = len(given.codes)
    starts = [0, *(np.flatnonzero(np.diff(given.strata)) + 1).tolist(), count]
    step = min(max(1, _BLOCK_ENTRIES // max(1, count)), _BLOCK_DRAWS)
    for start in range(0, times, step):
        block = np.repeat(given.codes[None], min(step, times - start), axis=0)
        for low, high in pairwise(starts):
            block[:, low:high] = rng.permuted(block[:, low:high], axis=1)
        yield block


def p_values(exceeds: Iterable[NDArray[np.bool_]]) -> Floats:
    """(k,) p-values of k statistics from (b, k) blocks: whether chance went as far as was seen.

    Once chance has gone as far `ENOUGH` times for every statistic, none of them is a finding and
    more draws would not change it (Besag and Clifford 1991).
    """
    further: NDArray[np.int64] | None = None
    times = 0
    for block in exceeds:
        times += len(block)
        further = block.sum(axis=0) + (0 if further is None else further)
        if (further >= ENOUGH).all():
            break
    assert further is not None  # nobody asks for no draws
    return np.asarray((1 + further) / (1 + times), np.float64)


def sums(block: NDArray[np.int64], values: NDArray[Any], count: int) -> Floats:
    """(b, S) sums of the units' values (U,) by slice."""
    many, width = block.shape
    flat = (block + np.arange(many)[:, None] * count).ravel()
    totals = np.bincount(flat, np.broadcast_to(values, (many, width)).ravel(), many * count)
    return np.asarray(totals.reshape(many, count), np.float64)


def residuals(score: Floats, strata: Codes) -> Floats:
    """(n,) how far each score lies above the mean of its stratum."""
    counts = np.bincount(strata)
    means = np.bincount(strata, score) / np.maximum(counts, 1)
    return np.asarray(score - means[strata], np.float64)


def p_lower(
    score: Floats,
    codes: Codes,
    *,
    groups: Codes,
    strata: Codes,
    count: int,
    rng: np.random.Generator,
    times: int = TIMES,
) -> Floats:
    """(S,) p-values that the score is lower in a slice than in the others, class by class.

    Args:
        score: (n,) such as the probability that a model gives to the label.
        codes: (n,) slices below `count`.
        groups: (n,) of copies.
        strata: (n,) such as classes; within each, slices are compared.
        count: S.
        rng: the shuffles.
        times: how many.
    """
    given = units(groups, codes, strata)
    above = residuals(score, strata)
    total = np.bincount(given.of, above, len(given.codes))
    size = np.bincount(given.of, minlength=len(given.codes)).astype(np.float64)

    def means(block: NDArray[np.int64]) -> Floats:
        return np.asarray(sums(block, total, count) / np.maximum(sums(block, size, count), 1))

    seen = means(given.codes[None])[0]
    return p_values(means(block) <= seen + _TIE for block in shuffle(given, rng=rng, times=times))


def p_differs(
    score: Floats,
    codes: Codes,
    *,
    groups: Codes,
    strata: Codes,
    count: int,
    rng: np.random.Generator,
    times: int = TIMES,
) -> float:
    """The p-value that the score differs between the slices at all; arguments as `p_lower`."""
    given = units(groups, codes, strata)
    total = np.bincount(given.of, residuals(score, strata), len(given.codes))
    size = np.bincount(given.of, minlength=len(given.codes)).astype(np.float64)

    def spread(block: NDArray[np.int64]) -> Floats:
        between = sums(block, total, count) ** 2 / np.maximum(sums(block, size, count), 1)
        return np.asarray(between.sum(axis=1))

    seen = spread(given.codes[None])
    p = p_values(
        (spread(block) >= seen - _TIE)[:, None] for block in shuffle(given, rng=rng, times=times)
    )
    return float(p[0])
