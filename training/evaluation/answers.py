"""Truth and prediction side by side, and what can be counted from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import TrainingError
from training import weights

THRESHOLD = 0.5
"""A multi-label class is predicted from this probability on."""

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answers:
    """What N images are, and what the model said.

    Attributes:
        truth: (N,) class indices, or (N, C) flags for multi-label.
        predicted: the same.
        weight: (N,) at least 0.
        width: C.
    """

    truth: NDArray[Any]
    predicted: NDArray[Any]
    weight: Floats
    width: int

    @property
    def single(self) -> bool:
        """Whether every image has one class."""
        return self.truth.ndim == 1

    def present(self, column: int) -> Flags:
        """(N,) which images have the class."""
        return self.truth == column if self.single else self.truth[:, column]

    def called(self, column: int) -> Flags:
        """(N,) which images were given the class."""
        return self.predicted == column if self.single else self.predicted[:, column]

    def right(self) -> Flags:
        """(N,) which images got exactly their classes."""
        same = self.truth == self.predicted
        return np.asarray(same if self.single else same.all(axis=1))

    def only(self, rows: NDArray[np.integer[Any]]) -> "Answers":
        """Those of some images."""
        return Answers(self.truth[rows], self.predicted[rows], self.weight[rows], self.width)

    def confusion(self) -> NDArray[np.int64]:
        """Images, not weighted: (C, C) for single-label, (C, 2, 2) for multi-label."""
        if self.single:
            cells = self.truth * self.width + self.predicted
            counts = np.bincount(cells, minlength=self.width**2)
            return counts.reshape(self.width, self.width).astype(np.int64)
        both = (self.truth & self.predicted).sum(axis=0)
        actual, called = self.truth.sum(axis=0), self.predicted.sum(axis=0)
        neither = len(self.truth) - actual - called + both
        table = np.stack([neither, called - both, actual - both, both], axis=1)
        return table.astype(np.int64).reshape(-1, 2, 2)

    def mistaken(self) -> NDArray[np.int64]:
        """(C, C) images that have the row's class, missed, and were wrongly given the column's."""
        if self.single:
            table = self.confusion()
            np.fill_diagonal(table, 0)
            return table
        missed = (self.truth & ~self.predicted).astype(np.float32)
        wrong = (self.predicted & ~self.truth).astype(np.float32)
        return np.asarray(np.rint(missed.T @ wrong), dtype=np.int64)


def of(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.integer[Any]],
    classes: Sequence[str],
    given: NDArray[np.floating[Any]] | None = None,
) -> Answers:
    """The likeliest class (the first of equal ones), or all from `THRESHOLD` on.

    Args:
        probabilities: (N, C).
        truth: (N,) class indices, or (N, C) of 0 and 1.
        classes: C names.
        given: (N,) weights of the images; all 1 when None.

    Raises:
        TrainingError: no rows, shapes that do not fit, labels out of range, NaN.
    """
    n, width = len(truth), len(classes)
    if n == 0:
        raise TrainingError(
            "The holdout holds no labeled image, so nothing can be measured. Label some of the "
            "reserve first: it is offered in every round."
        )
    if probabilities.shape != (n, width) or truth.shape not in {(n,), (n, width)}:
        raise TrainingError(
            f"Probabilities {probabilities.shape} and truth {truth.shape} do not fit {width} "
            "classes: pass one row for each image."
        )
    if not np.isfinite(probabilities).all():
        raise TrainingError("The model's probabilities hold NaN or infinity. Train it again.")
    if truth.min() < 0 or truth.max() > (width - 1 if truth.ndim == 1 else 1):
        raise TrainingError(f"Truth runs from {truth.min()} to {truth.max()} for {width} classes.")
    row_weight = weights.of_rows(n, given)
    if truth.ndim == 1:
        return Answers(truth, probabilities.argmax(axis=1), row_weight, width)
    return Answers(truth == 1, probabilities >= THRESHOLD, row_weight, width)
