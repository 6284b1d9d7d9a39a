"""Where each slice stands: what it holds, how it is served, and whether that can be judged yet."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.bias import power, quality, representation
from curation.bias.evidence import Evidence
from curation.bias.quality import SliceQuality, Widest
from curation.bias.slices import Slices

Counts = NDArray[np.int64]

UNKNOWN_RATE = 0.7
"""Accuracy that plans are made with while no model has shown its own."""


@dataclass(frozen=True)
class Small:
    """A slice with too few labels to say that the model is as good on it.

    Attributes:
        slice: value by column.
        n: labels it can be judged by.
        needed: labels it takes.
        smallest_gap: that would probably have been found.
        says: one sentence.
    """

    slice: dict[str, str]
    n: int
    needed: int
    smallest_gap: float
    says: str


@dataclass(frozen=True, eq=False)
class Table:
    """One column, or two crossed, slice by slice.

    Attributes:
        slices: S of them.
        images: (S,) usable images.
        labels: (S, C) of each class.
        labeled: (S,) images with a label.
        quality: (S) figures; empty without a model.
        widest: the two slices furthest apart, if there are two to compare.
    """

    slices: Slices
    images: Counts
    labels: Counts
    labeled: Counts
    quality: tuple[SliceQuality, ...] = ()
    widest: Widest | None = None


def count(evidence: Evidence, slices: Slices) -> Table:
    """What each slice holds, without any figure of quality."""
    many = len(slices.values)
    codes = slices.codes[evidence.labeled]
    return Table(
        slices,
        np.bincount(slices.codes, minlength=many),
        representation.tables(evidence.truth, codes, many),
        np.bincount(codes, minlength=many),
    )


def _needs(table: Table) -> list[tuple[int, int, float]]:
    """Labels that count, labels needed and the smallest gap of each slice."""
    if table.quality:
        return [(one.n, one.needed, one.smallest_gap) for one in table.quality]
    tests, total = len(table.labeled), int(table.labeled.sum())
    return [
        (
            n,
            power.needed(total - n, rate=UNKNOWN_RATE, tests=tests),
            power.smallest_gap(n, total - n, rate=UNKNOWN_RATE, tests=tests),
        )
        for n in table.labeled.tolist()
    ]


def few(table: Table) -> bool:
    """Whether there are fewer labels than it takes to judge every slice."""
    needs = _needs(table)
    return not table.quality or sum(n for n, _, _ in needs) < sum(need for _, need, _ in needs)


def too_small(table: Table) -> list[Small]:
    """The slices that have fewer labels than it takes to judge them."""
    found = []
    for code, (n, needed, smallest) in enumerate(_needs(table)):
        if n >= needed:
            continue
        shows = (
            "Nothing can be said of it yet"
            if n < quality.FEWEST or smallest >= 1
            else f"Only a gap of {100 * smallest:.0f} points or more would probably show"
        )
        found.append(
            Small(
                table.slices.named(code),
                n,
                needed,
                smallest,
                f"Too small to judge: {table.slices.says(code)} has {n:,} labels. {shows}; about "
                f"{needed - n:,} more labels are needed to see one of "
                f"{100 * power.JUDGED_GAP:.0f} points.",
            )
        )
    return found
