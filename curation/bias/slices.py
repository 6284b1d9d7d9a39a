"""Slices: the images that share a value of a metadata column, or of two columns at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.catalog import images as image_rows
from curation.errors import InputError
from curation.progress import Report, silent
from curation.workspace import Project

MOST_SLICES = 200
"""More values than that name things or single images and not slices."""

_BATCH = 10_000
_SHOWN_COLUMNS = 20


@dataclass(frozen=True, eq=False)
class Slices:
    """Which slice each of N images belongs to.

    Attributes:
        columns: one, or the two that are crossed.
        values: of each of S slices, one value for each column; empty where images have none.
        codes: (N,) number of the slice, 0 to S - 1.
    """

    columns: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    codes: NDArray[np.int32]

    def named(self, code: int) -> dict[str, str]:
        """As `{"studio": "b"}`."""
        return dict(zip(self.columns, self.values[code], strict=True))

    def says(self, code: int) -> str:
        """As "studio b" or "studio b, season winter"."""
        return ", ".join(
            f"{column} {value}" if value else f"no {column}"
            for column, value in self.named(code).items()
        )


def read(
    project: Project, ids: NDArray[np.int64], columns: Sequence[str], *, report: Report = silent
) -> list[Slices]:
    """The slices of each column, by value; images without a value are a slice of their own.

    Args:
        project: whose images they are.
        ids: (N,) image ids.
        columns: names of metadata columns.
        report: told of the progress.

    Raises:
        InputError: no column of that name, or its values make no slices.
    """
    known: set[str] = set()
    numbers: list[dict[str, int]] = [{} for _ in columns]
    codes = np.zeros((len(columns), len(ids)), np.int32)
    for start in range(0, len(ids), _BATCH):
        here = ids[start : start + _BATCH].tolist()
        with project.catalog.read() as connection:
            metadata = image_rows.metadata_of_many(connection, here)
        for row, image_id in enumerate(here, start):
            values = metadata.get(image_id, {})
            known.update(values)
            for at, column in enumerate(columns):
                value = values.get(column, "")
                codes[at, row] = numbers[at].setdefault(value, len(numbers[at]))
        report(min(start + _BATCH, len(ids)), len(ids), "slices")
    return [
        _in_order(column, numbers[at], codes[at], known=known) for at, column in enumerate(columns)
    ]


def cross(one: Slices, other: Slices) -> Slices:
    """The slices of two columns at once, as far as there are images of both values.

    Raises:
        InputError: they are too many.
    """
    both = one.codes.astype(np.int64) * len(other.values) + other.codes
    pairs, codes = np.unique(both, return_inverse=True)
    if len(pairs) > MOST_SLICES:
        raise InputError(
            f"{one.columns[0]} and {other.columns[0]} together make {len(pairs):,} slices; "
            f"{MOST_SLICES} are the most. Audit one of them at a time."
        )
    values = tuple(
        one.values[pair // len(other.values)] + other.values[pair % len(other.values)]
        for pair in pairs.tolist()
    )
    return Slices(one.columns + other.columns, values, codes.astype(np.int32))


def _in_order(
    column: str, numbers: dict[str, int], codes: NDArray[np.int32], *, known: set[str]
) -> Slices:
    if column not in known:
        there = ", ".join(sorted(known)[:_SHOWN_COLUMNS]) or "none; import a CSV with columns"
        raise InputError(f"No image has a metadata column {column!r}. There are: {there}.")
    if len(numbers) == 1:
        (value,) = numbers
        raise InputError(
            f"Every image has the same {column}, {value!r}, so there is nothing to compare. "
            "Choose another column with --by."
        )
    counts = np.bincount(codes, minlength=len(numbers))
    if len(numbers) > MOST_SLICES or counts.max() == 1:
        raise InputError(
            f"{column} has {len(numbers):,} values on {len(codes):,} images: it names single "
            f"images or things and not slices, of which there may be {MOST_SLICES}. Choose "
            "another column with --by."
        )
    values = sorted(numbers)
    place = np.empty(len(values), np.int32)
    for at, value in enumerate(values):
        place[numbers[value]] = at
    return Slices((column,), tuple((value,) for value in values), place[codes])
