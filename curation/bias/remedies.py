"""What can be done about a biased dataset, each as a plan: before, and after.

`reweigh` and `balance_groups` change how much the labels there are count in training; `quota` says
of which slices the next batch should be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curation.bias import power
from curation.bias.slices import Slices
from curation.errors import InputError

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]
Counts = NDArray[np.int64]
Remedy = Literal["reweigh", "group-balanced", "quota"]

REMEDIES: dict[Remedy, str] = {
    "reweigh": "labels count so that slice and class no longer go together (Kamiran & Calders)",
    "group-balanced": "every slice of every class counts alike (Idrissi et al. 2022)",
    "quota": "the next batch is drawn from the slices that have too few labels",
}

MOST_WEIGHT = 10.0
"""Times the mean that a label may count: one wrong label in a rare cell must not decide."""


@dataclass(frozen=True)
class Cell:
    """The labels of one slice and class under a plan.

    Attributes:
        slice: value by column.
        label: name of the class.
        n: labels.
        weight: how much each of them counts; on average over all labels 1.
        before: their share of all labels.
        after: their share once they are weighted.
    """

    slice: Mapping[str, str]
    label: str
    n: int
    weight: float
    before: float
    after: float


@dataclass(frozen=True)
class Share:
    """What a slice gets of the next batch.

    Attributes:
        slice: value by column.
        before: labels now.
        after: labels once the batch is labeled.
        given: images of the batch.
        pool: images that could be chosen.
        needed: labels it takes to judge the slice.
        gap_before: the smallest gap that would probably show now.
        gap_after: the same after the batch.
    """

    slice: Mapping[str, str]
    before: int
    after: int
    given: int
    pool: int
    needed: int
    gap_before: float
    gap_after: float


def check(name: str) -> Remedy:
    """The remedy of this name.

    Raises:
        InputError: there is none.
    """
    for remedy in REMEDIES:
        if name == remedy:
            return remedy
    raise InputError(f"{name!r} is no remedy for bias. Choose from {', '.join(REMEDIES)}.")


def reweigh(codes: Codes, y: Codes) -> Floats:
    """Weights (n,) under which slice and class are independent (Kamiran & Calders 2012).

    Each label counts as often as its slice and class would meet by chance, divided by how often
    they do; the mean is 1 before the cap of `MOST_WEIGHT`.

    Args:
        codes: (n,) slices.
        y: (n,) class indices.

    >>> reweigh(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])).round(2).tolist()
    [0.75, 0.75, 1.5, 0.5]
    """
    table = _cells(codes, y)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / len(y)
    return _capped((expected / np.maximum(table, 1))[codes, y])


def balance_groups(codes: Codes, y: Codes) -> Floats:
    """Weights (n,) under which every slice of every class that has labels counts alike.

    As drawing them equally often does (Idrissi et al. 2022, RWG and SUBG); the mean is 1 before
    the cap of `MOST_WEIGHT`.

    Args:
        codes: (n,) slices.
        y: (n,) class indices.
    """
    table = _cells(codes, y)
    each = len(y) / int((table > 0).sum())
    return _capped((each / np.maximum(table, 1))[codes, y])


def sample_groups(
    codes: Codes, y: Codes, count: int, *, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows (count,) drawn with replacement, each slice of each class equally often."""
    weights = balance_groups(codes, y)
    return rng.choice(len(y), count, p=weights / weights.sum())


def quota(
    labels: Sequence[int],
    pool: Sequence[int],
    needed: Sequence[int],
    budget: int,
    *,
    failing: Sequence[bool] | None = None,
) -> list[int]:
    """How many images of the next batch each slice gets.

    Slices that the model fails come first, then those with the smallest part of the labels that
    they need; the rest of the batch goes by the pool.

    Args:
        labels: of each slice now.
        pool: images of each slice that could be chosen.
        needed: labels it takes to judge each slice; twice as many where the model fails it.
        budget: size of the batch.
        failing: whether a finding says that the model is worse on the slice.

    >>> quota([50, 5, 20], [99, 99, 4], [40, 40, 40], 30)
    [0, 26, 4]
    """
    worse = [False] * len(labels) if failing is None else list(failing)
    aims = [2 * need if bad else need for need, bad in zip(needed, worse, strict=True)]
    given = [0] * len(labels)
    for _ in range(min(budget, sum(pool))):
        open_to = [at for at in range(len(labels)) if given[at] < pool[at]]
        short = [at for at in open_to if labels[at] + given[at] < aims[at]]
        if short:
            at = min(short, key=lambda one: (labels[one] + given[one]) / aims[one])
        else:
            at = max(open_to, key=lambda one: (pool[one] - given[one]) / (1 + given[one]))
        given[at] += 1
    return given


def plan_weights(
    name: Remedy, slices: Slices, codes: Codes, y: Codes, classes: tuple[str, ...]
) -> list[Cell]:
    """How much the labels of each slice and class count under a remedy.

    Args:
        name: `reweigh` or `group-balanced`.
        slices: of all images.
        codes: (n,) slices of the labels.
        y: (n,) class indices.
        classes: C names.
    """
    weights = reweigh(codes, y) if name == "reweigh" else balance_groups(codes, y)
    total = float(weights.sum())
    found = []
    for code, column in np.argwhere(_cells(codes, y) > 0).tolist():
        rows = (codes == code) & (y == column)
        n, weight = int(rows.sum()), float(weights[rows][0])
        found.append(
            Cell(slices.named(code), classes[column], n, weight, n / len(y), n * weight / total)
        )
    return found


def plan_quota(
    slices: Slices,
    labels: Sequence[int],
    pool: Sequence[int],
    *,
    budget: int,
    rate: float,
    failing: Sequence[bool],
) -> list[Share]:
    """What each slice gets of the next batch, and what that would show.

    Args:
        slices: S of them.
        labels: (S,) now.
        pool: (S,) images that could be chosen.
        budget: size of the batch.
        rate: accuracy over all slices, 0 to 1.
        failing: (S,) whether the model is worse on it.

    Raises:
        InputError: the budget is below 1, or the pool is empty.
    """
    if budget < 1:
        raise InputError(f"A batch of {budget} images cannot be divided. Give --budget 1 or more.")
    if not sum(pool):
        raise InputError(
            "The pool is empty, so there is nothing to label next. Import more images."
        )
    tests, total = len(labels), sum(labels)
    needed = [power.needed(total - n, rate=rate, tests=tests) for n in labels]
    given = quota(labels, pool, needed, budget, failing=failing)
    after = [n + more for n, more in zip(labels, given, strict=True)]
    return [
        Share(
            slices.named(code),
            labels[code],
            after[code],
            given[code],
            pool[code],
            needed[code],
            power.smallest_gap(labels[code], total - labels[code], rate=rate, tests=tests),
            power.smallest_gap(after[code], sum(after) - after[code], rate=rate, tests=tests),
        )
        for code in range(tests)
    ]


def _cells(codes: Codes, y: Codes) -> Floats:
    """(S, C) labels."""
    table = np.zeros((int(codes.max()) + 1, int(y.max()) + 1))
    np.add.at(table, (codes, y), 1)
    return table


def _capped(weights: Floats) -> Floats:
    return np.minimum(weights, MOST_WEIGHT)
