"""The figures of the images that share a metadata value."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import TrainingError
from training.evaluation import answers as answer_tables
from training.evaluation import figures
from training.intervals import Figure

FEWEST = 20
"""A slice of fewer images is counted and not measured."""
MOST = 200
"""Values of a column that are looked at; one with more names images and not slices."""
_SHOWN = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "micro_f1",
    "log_loss",
    "brier",
    "ece",
)


@dataclass(frozen=True)
class Slice:
    """Images with the same value in a column.

    Attributes:
        column: of the metadata.
        value: that they share; empty where they have none.
        n: how many there are.
        figures: by name; none where there are too few images.
    """

    column: str
    value: str
    n: int
    figures: dict[str, Figure]

    def as_json(self) -> dict[str, Any]:
        """Column, value and n, then each figure under its name."""
        return {"column": self.column, "value": self.value, "n": self.n} | {
            name: figure.as_json() for name, figure in self.figures.items()
        }


def by_slice(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.integer[Any]],
    classes: Sequence[str],
    slices: Mapping[str, Sequence[str]],
    *,
    rng: np.random.Generator,
    weights: NDArray[np.floating[Any]] | None = None,
    groups: NDArray[np.integer[Any]] | None = None,
    fewest: int = FEWEST,
) -> dict[str, tuple[Slice, ...]]:
    """The main figures of each value of each column, largest slice first.

    Balanced accuracy and macro-F1 are means over the classes that the slice holds, so they compare
    only slices that hold the same ones; `labelloop audit` compares slices class by class.

    Args:
        probabilities: (N, C).
        truth: (N,) class indices, or (N, C) of 0 and 1.
        classes: C names.
        slices: by column the value (N,) of each image.
        rng: the intervals' randomness.
        weights: (N,) of the images; all 1 when None.
        groups: (N,) images with the same number belong together; each on its own when None.
        fewest: images from which on a slice is measured.

    Returns:
        By column; of one with more than `MOST` values its largest ones.

    Raises:
        TrainingError: as `evaluate`, or a column of another length.
    """
    answers = answer_tables.of(probabilities, truth, classes, weights, groups)
    found: dict[str, tuple[Slice, ...]] = {}
    for column, values in slices.items():
        if len(values) != len(truth):
            raise TrainingError(
                f"{len(values)} values of {column!r} for {len(truth)} images: pass one for each."
            )
        counts = Counter(values)
        order = sorted(counts, key=lambda value: (-counts[value], value))[:MOST]
        numbers = {value: number for number, value in enumerate(order)}
        codes = np.array([numbers.get(value, -1) for value in values])
        rows = [np.flatnonzero(codes == number) for number in range(len(order))]
        found[column] = tuple(
            Slice(
                column,
                value,
                len(held),
                _measure(answers.only(held), probabilities[held], truth[held], classes, rng=rng)
                if len(held) >= fewest
                else {},
            )
            for value, held in zip(order, rows, strict=True)
        )
    return found


def _measure(
    answers: answer_tables.Answers,
    probabilities: NDArray[np.float64],
    truth: NDArray[np.integer[Any]],
    classes: Sequence[str],
    *,
    rng: np.random.Generator,
) -> dict[str, Figure]:
    if not answers.weight.any():
        return {}
    measured, _ = figures.measure(answers, probabilities, truth, classes, rng=rng, ranked=False)
    return {name: measured[name] for name in _SHOWN if name in measured}
