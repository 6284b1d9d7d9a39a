"""Truth and prediction side by side, and what can be counted from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import TrainingError
from training import intervals, weights
from training.intervals import Figure
from training.targets import THRESHOLD

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
        members: (N,) number of each image's group; None where each image is one of its own.
    """

    truth: NDArray[Any]
    predicted: NDArray[Any]
    weight: Floats
    width: int
    members: NDArray[np.int64] | None = None

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
        members = None if self.members is None else intervals.members_of(self.members[rows])
        weight = self.weight[rows]
        return Answers(self.truth[rows], self.predicted[rows], weight, self.width, members)

    @property
    def groups(self) -> int:
        """Groups of images that belong together."""
        return len(self.truth) if self.members is None else int(self.members.max()) + 1

    @property
    def independent(self) -> float:
        """The effective number of groups, as a share of that of images; 1 where none are copies."""
        if self.members is None:
            return 1.0
        return intervals.effective(self.weight, self.members) / intervals.effective(self.weight)

    def independent_of_classes(self) -> Floats:
        """(C,) effective groups of the images of each class, not weighted, as a share of them."""
        found = np.ones(self.width)
        if self.members is None:
            return found
        for column in range(self.width):
            members = self.members[self.present(column)]
            if len(members):
                found[column] = intervals.effective(np.ones(len(members)), members) / len(members)
        return found

    def proportion(self, hits: Flags, among: Flags | None = None) -> Figure:
        """The weighted share of hits (N,), among some images (N,), with an interval by groups."""
        if among is None:
            return intervals.proportion_of_groups(hits, self.members, self.weight)
        members = None if self.members is None else self.members[among]
        return intervals.proportion_of_groups(hits[among], members, self.weight[among])

    def effective(self, among: Flags) -> float:
        """The effective number of images, or of groups, among some images (N,)."""
        members = None if self.members is None else self.members[among]
        return intervals.effective(self.weight[among], members)

    def by_group(self, influence: Floats) -> Floats:
        """The sums (G,) of influences (N,) over each group, whose squares are a variance."""
        if self.members is None:
            return influence
        return np.asarray(np.bincount(self.members, weights=influence), dtype=np.float64)

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
    groups: NDArray[np.integer[Any]] | None = None,
) -> Answers:
    """The likeliest class (the first of equal ones), or all from `THRESHOLD` on.

    Args:
        probabilities: (N, C).
        truth: (N,) class indices, or (N, C) of 0 and 1.
        classes: C names.
        given: (N,) weights of the images; all 1 when None.
        groups: (N,) images with the same number belong together; each on its own when None.

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
    if groups is not None and len(groups) != n:
        raise TrainingError(f"{len(groups)} groups for {n} images: pass one for each.")
    row_weight, members = weights.of_rows(n, given), intervals.members_of(groups)
    if truth.ndim == 1:
        return Answers(truth, probabilities.argmax(axis=1), row_weight, width, members)
    return Answers(truth == 1, probabilities >= THRESHOLD, row_weight, width, members)
