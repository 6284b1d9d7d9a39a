"""What each slice holds: of which classes its labels are, and whether it is labeled as often.

How many images a slice has is no fault of its own and only shown. A fault is where the classes of
a slice differ from those of the others, so that the slice and the class can be confused, and where
a slice has fewer labels than its images would get by chance.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.bias import gaps, shuffles
from curation.bias.slices import Slices
from curation.bias.table import LEVEL, Tested

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]
Counts = NDArray[np.int64]

FEWEST = 10
"""Labels that a slice must have before its classes are compared."""

_CLEARLY = 2.0
"""Standard errors by which a class must be more frequent to be named."""

_MOST_NAMED = 4


def tables(truth: Counts, codes: Codes, count: int) -> Counts:
    """(S, C) labels of each class in each slice."""
    found = np.zeros((count, truth.shape[1]), np.int64)
    np.add.at(found, codes, truth)
    return found


def shuffled_tables(
    truth: Counts, codes: Codes, *, groups: Codes, count: int, rng: np.random.Generator, times: int
) -> Iterator[Floats]:
    """(b, S, C) blocks of tables as chance would make them, `times` in all."""
    given = shuffles.units(groups, codes)
    contents = np.zeros((len(given.codes), truth.shape[1]), np.int64)
    np.add.at(contents, given.of, truth)
    of_unit, of_class = np.nonzero(contents)
    weights = contents[of_unit, of_class].astype(np.float64)
    classes = truth.shape[1]
    for block in shuffles.shuffle(given, rng=rng, times=times):
        cells = block[:, of_unit] * classes + of_class
        found = shuffles.sums(cells, weights, count * classes)
        yield found.reshape(len(block), count, classes)


def deviations(table: NDArray[Any]) -> Floats:
    """(..., S) chi-squared of each slice's classes against those of all slices (..., S, C)."""
    given = np.asarray(table, np.float64)
    rows = given.sum(axis=-1, keepdims=True)
    total = np.maximum(rows.sum(axis=-2, keepdims=True), 1)
    share = given.sum(axis=-2, keepdims=True) / total
    expected = rows * share
    apart = (given - expected) ** 2 / np.maximum(expected * (1 - rows / total), 1e-12)
    return np.asarray(np.where((expected > 0) & (rows < total), apart, 0.0).sum(axis=-1))


def test_mix(
    truth: Counts,
    codes: Codes,
    slices: Slices,
    *,
    classes: tuple[str, ...],
    groups: Codes,
    rng: np.random.Generator,
    times: int,
) -> list[Tested]:
    """Whether the classes of each slice differ from those of the others.

    Where one slice holds too much of a class, all others hold too little of it. So slices are
    taken by how far they differ, and one that follows must also differ from what is left after
    those before it that no chance explains.

    Args:
        truth: (n, C) of 0 and 1.
        codes: (n,) slices.
        slices: their names.
        classes: C names.
        groups: (n,) of copies.
        rng: the shuffles.
        times: how many.
    """
    count = len(slices.values)
    sizes = np.bincount(codes, minlength=count)
    if sizes.max(initial=0) == len(codes):
        return []  # all in one slice, or none at all: there are no others to compare with
    large = np.flatnonzero(sizes >= FEWEST)
    first = _p_mix(truth, codes, groups=groups, count=count, rng=rng, times=times)
    shown = {int(code): _excess(truth, codes == code, groups) for code in large}
    left = np.ones(len(codes), bool)
    tested = []
    for code in sorted(shown, key=lambda key: -shown[key][1]):
        p = float(first[code])
        if not left.all():
            again = _p_mix(
                truth[left], codes[left], groups=groups[left], count=count, rng=rng, times=times
            )
            p = max(p, float(again[code]))
        over, gap, ci = shown[code]
        inside = codes == code
        tested.append(
            Tested(
                kind="representation",
                slice=slices.named(code),
                metric="class-mix",
                gap=gap,
                ci=ci,
                p=p,
                n=int(inside.sum()),
                says=_say_mix(slices.says(code), truth, inside, over, classes),
                worth=gap > 0,
            )
        )
        if p <= LEVEL:
            left &= ~inside
    return tested


def test_labeled(labeled: NDArray[np.bool_], slices: Slices, *, groups: Codes) -> list[Tested]:
    """Whether a slice is labeled less often than chance would have it (hypergeometric test).

    Args:
        labeled: (N,) whether an image has a label.
        slices: of the N images.
        groups: (N,) of copies; one label of a group stands for all of it.
    """
    from scipy.stats import hypergeom

    count = len(slices.values)
    given = shuffles.units(groups, slices.codes)
    has = np.bincount(given.of, labeled, len(given.codes)) > 0
    sizes = np.bincount(given.codes, minlength=count)
    hits = np.bincount(given.codes, has, count).astype(np.int64)
    tested = []
    for code in np.flatnonzero(sizes >= FEWEST).tolist():
        rest, others = int(sizes.sum() - sizes[code]), int(hits.sum() - hits[code])
        if not rest:
            continue
        here = given.codes == code
        own = gaps.rate(has[here].astype(np.float64), np.flatnonzero(here))
        other = gaps.rate(has[~here].astype(np.float64), np.flatnonzero(~here))
        gap, ci = gaps.difference(other, own)
        p = float(hypergeom.cdf(hits[code], rest + sizes[code], others + hits[code], sizes[code]))
        tested.append(
            Tested(
                kind="representation",
                slice=slices.named(code),
                metric="labeled-share",
                gap=gap,
                ci=ci,
                p=min(1.0, p),
                n=int(sizes[code]),
                says=f"{own[0]:.0%} of {slices.says(code)} is labeled, of the other images "
                f"{other[0]:.0%}: {hits[code]:,} of {sizes[code]:,} images, copies counted once.",
                worth=gap > 0,
            )
        )
    return tested


def _p_mix(
    truth: Counts, codes: Codes, *, groups: Codes, count: int, rng: np.random.Generator, times: int
) -> Floats:
    """(S,) p-values of the slices' deviations."""
    seen = deviations(tables(truth, codes, count)) * (1 - 1e-10)
    blocks = shuffled_tables(truth, codes, groups=groups, count=count, rng=rng, times=times)
    return shuffles.p_values(deviations(block) >= seen for block in blocks)


def _excess(
    truth: Counts, inside: NDArray[np.bool_], groups: Codes
) -> tuple[list[int], float, tuple[float, float]]:
    """Classes clearly more frequent in a slice, how much more of it they are, and its interval."""
    here, there = truth[inside].mean(axis=0), truth[~inside].mean(axis=0)
    pooled = truth.mean(axis=0)
    error = np.sqrt(pooled * (1 - pooled) * (1 / inside.sum() + 1 / (~inside).sum()))
    clear = here - there > _CLEARLY * np.maximum(error, 1e-12)
    if not clear.any():
        clear[int(np.argmax(here - there))] = True
    over = sorted(np.flatnonzero(clear).tolist(), key=lambda column: -(here - there)[column])
    of_them = truth[:, over].max(axis=1).astype(np.float64)
    gap, ci = gaps.difference(
        gaps.rate(of_them[inside], groups[inside]), gaps.rate(of_them[~inside], groups[~inside])
    )
    return over, gap, ci


def _say_mix(
    name: str, truth: Counts, inside: NDArray[np.bool_], over: list[int], classes: tuple[str, ...]
) -> str:
    of_them = truth[:, over].max(axis=1)
    rest = [column for column in range(len(classes)) if truth[:, column].any()]
    here = truth[inside].sum(axis=0)
    scarce = sorted((c for c in rest if c not in over), key=lambda column: int(here[column]))
    few = ", ".join(f"{classes[c]} {here[c]}" for c in scarce[:_MOST_NAMED])
    named = " or ".join(classes[c] for c in over[:_MOST_NAMED])
    return (
        f"{of_them[inside].mean():.0%} of the labels of {name} are {named}, elsewhere "
        f"{of_them[~inside].mean():.0%}; it has few of others (n = {int(inside.sum()):,}"
        f"{': ' + few if few else ''})."
    )
