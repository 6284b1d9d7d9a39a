"""Whether slice and label go together: Cramer's V of the whole column."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.bias.representation import shuffled_tables, tables
from curation.bias.shuffles import p_values
from curation.bias.slices import Slices
from curation.bias.table import Tested

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]
Counts = NDArray[np.int64]

RESAMPLES = 1_000


def cramers_v(table: NDArray[Any]) -> Floats:
    """(...) Cramer's V of tables (..., S, C), 0 to 1, freed of its bias (Bergsma 2013).

    >>> float(cramers_v(np.array([[50, 50], [50, 50]])))
    0.0
    """
    given = np.asarray(table, np.float64)
    n = given.sum(axis=(-2, -1))
    rows, columns = (given.sum(axis=axis) > 0 for axis in (-1, -2))
    r, c = rows.sum(axis=-1).astype(np.float64), columns.sum(axis=-1).astype(np.float64)
    free = (r - 1) * (c - 1) / np.maximum(n - 1, 1)
    phi = np.maximum(0, chi_squared(given) / np.maximum(n, 1) - free)
    r -= (r - 1) ** 2 / np.maximum(n - 1, 1)
    c -= (c - 1) ** 2 / np.maximum(n - 1, 1)
    least = np.minimum(r, c) - 1
    return np.asarray(
        np.sqrt(np.where(least > 0, phi / np.where(least > 0, least, 1), 0)).clip(0, 1)
    )


def chi_squared(table: Floats) -> Floats:
    """(...) Pearson's chi-squared of tables (..., S, C)."""
    total = np.maximum(table.sum(axis=(-2, -1), keepdims=True), 1)
    expected = table.sum(axis=-1, keepdims=True) * table.sum(axis=-2, keepdims=True) / total
    apart = np.where(expected > 0, (table - expected) ** 2 / np.where(expected > 0, expected, 1), 0)
    return np.asarray(apart.sum(axis=(-2, -1)))


def test(
    truth: Counts,
    codes: Codes,
    slices: Slices,
    *,
    groups: Codes,
    rng: np.random.Generator,
    times: int,
) -> Tested:
    """Whether the column and the label go together more than chance would have it.

    Args:
        truth: (n, C) of 0 and 1.
        codes: (n,) slices.
        slices: their names.
        groups: (n,) of copies.
        rng: the shuffles and the bootstrap of the interval.
        times: how many shuffles.
    """
    count = len(slices.values)
    value = float(cramers_v(tables(truth, codes, count)))
    p = p_value(truth, codes, groups=groups, count=count, rng=rng, times=times)
    ci = _interval(truth, codes, groups=groups, count=count, value=value, rng=rng)
    column = " and ".join(slices.columns)
    return Tested(
        kind="association",
        slice={},
        metric="cramers-v",
        gap=value,
        ci=ci,
        p=p,
        n=len(codes),
        says=f"{column} and label go together: Cramer's V is {value:.2f} (95 % interval "
        f"{ci[0]:.2f} to {ci[1]:.2f}; 0 is none, 1 is complete), so a model may learn the "
        f"{column} in place of the class.",
        worth=value > 0,
    )


def p_value(
    truth: Counts, codes: Codes, *, groups: Codes, count: int, rng: np.random.Generator, times: int
) -> float:
    """That chance alone makes slices and labels go together as much; arguments as `test`."""
    seen = float(chi_squared(tables(truth, codes, count).astype(np.float64))) * (1 - 1e-10)
    blocks = shuffled_tables(truth, codes, groups=groups, count=count, rng=rng, times=times)
    return float(p_values((chi_squared(block) >= seen)[:, None] for block in blocks)[0])


def _interval(
    truth: Counts,
    codes: Codes,
    *,
    groups: Codes,
    count: int,
    value: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Percentile bootstrap over groups; the value itself is never outside."""
    whole, members = np.unique(groups, return_inverse=True)
    members = members.reshape(-1)
    of_row, of_class = np.nonzero(truth)
    cells = codes[of_row].astype(np.int64) * truth.shape[1] + of_class
    draws = []
    for _ in range(RESAMPLES):
        often = np.bincount(rng.integers(0, len(whole), len(whole)), minlength=len(whole))
        table = np.bincount(cells, often[members][of_row], count * truth.shape[1])
        draws.append(float(cramers_v(table.reshape(count, -1))))
    low, high = np.quantile(draws, [0.025, 0.975])
    return min(float(low), value), max(float(high), value)
