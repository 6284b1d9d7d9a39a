"""What a classifier on embeddings is asked of each row, and how much each answer counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import TrainingError
from training import weights
from training.settings import TASKS

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels, weighted; only of the L classes that the rows hold something to learn of.

    Attributes:
        task: `single-label` or `multi-label`.
        rows: N.
        learnable: (C,) which classes these are.
        always: (C,) classes of a multi-label task that every row with weight has.
        labels: (N,) index among the learnable classes, or (N, L) of 0 and 1.
        weight: (N,) of each row; multi-label: (N, L) of each row in each class's question.
    """

    task: str
    rows: int
    learnable: NDArray[np.bool_]
    always: NDArray[np.bool_]
    labels: NDArray[np.int64]
    weight: Floats

    @property
    def classes(self) -> int:
        """L."""
        return int(self.learnable.sum())

    @property
    def total(self) -> float:
        """What losses are divided by: the summed weights, or the rows of a multi-label task."""
        return float(self.weight.sum()) if self.task == "single-label" else float(self.rows)

    def table(self) -> Floats:
        """(N, L) of 0 and 1; for single-label a single 1 a row, none in rows that do not count."""
        if self.task == "multi-label":
            return self.labels.astype(np.float64)
        found = np.zeros((self.rows, self.classes))
        found[np.arange(self.rows), self.labels] = self.weight > 0
        return found

    def spread(self, values: Floats, *, unknown: float) -> Floats:
        """(C, ...) from (L, ...): what the classes get that nothing was learned of."""
        found = np.full((len(self.learnable), *values.shape[1:]), unknown)
        found[self.learnable] = values
        return found

    def spread_bias(self, bias: Floats) -> Floats:
        """(C,) from (L,): -inf for a class never seen."""
        found = self.spread(bias, unknown=-np.inf)
        # Never seen absent: nothing to learn from, so a constant, smoothed as by one more row.
        found[self.always] = np.log(2.0 * self.rows + 1.0)
        return found


def of(
    X: NDArray[Any],
    y: NDArray[np.integer[Any]],
    *,
    classes: Sequence[str],
    task: str,
    rule: str,
    sample_weight: NDArray[np.floating[Any]] | None = None,
    class_weight: NDArray[np.floating[Any]] | None = None,
) -> Targets:
    """Check embeddings and labels, and weigh them.

    Args:
        X: (N, d) embeddings.
        y: (N,) class indices, or (N, C) of 0 and 1 for multi-label.
        classes: C names.
        task: `single-label` or `multi-label`.
        rule: of `settings.CLASS_WEIGHTS`.
        sample_weight: (N,) at least 0.
        class_weight: (C,) at least 0; replaces the rule. Multi-label: of the positives.

    Raises:
        TrainingError: no rows, one class only, labels out of range, NaN or infinity, bad weights.
    """
    check(X, y, classes=classes, task=task)
    row_weight = weights.of_rows(len(X), sample_weight)
    if task == "single-label":
        counts = np.bincount(y, weights=row_weight, minlength=len(classes))
        learnable, always = counts > 0, np.zeros(len(classes), dtype=bool)
        weight = weights.of_indices(
            y, row_weight, classes=len(classes), rule=rule, given=class_weight
        )
        # A class of no weight has no place among the learnable ones; its rows count nothing.
        labels = np.where(learnable, np.cumsum(learnable) - 1, 0)[y]
    else:
        counts = row_weight @ y
        always = counts == row_weight.sum()
        learnable = (counts > 0) & ~always
        cells = weights.of_cells(y, row_weight, rule=rule, given=class_weight)
        labels, weight = y[:, learnable], cells[:, learnable]
    if learnable.sum() < (2 if task == "single-label" else 1):
        seen = ", ".join(name for name, n in zip(classes, counts, strict=True) if n > 0)
        raise TrainingError(
            f"The {len(X)} labels hold no two answers to tell apart (only: {seen or 'none'}). "
            "Label more images, for instance with strategy 'max-herding', until at least two "
            "classes have one."
        )
    return Targets(task, len(X), learnable, always, labels.astype(np.int64), weight)


def check(
    X: NDArray[Any], y: NDArray[np.integer[Any]], *, classes: Sequence[str], task: str
) -> None:
    """Refuse what cannot be learned from or scored.

    Raises:
        TrainingError: an unknown task, no rows, labels out of range, NaN or infinity.
    """
    if task not in TASKS:
        raise TrainingError(f"Unknown task {task!r}. Choose one of: {', '.join(TASKS)}.")
    if X.ndim != 2 or len(X) == 0:
        raise TrainingError(
            f"No labeled embeddings to train on (shape {X.shape}). Label some images first."
        )
    wanted = (len(X),) if task == "single-label" else (len(X), len(classes))
    if y.shape != wanted:
        raise TrainingError(f"Labels of shape {y.shape} for a {task} task; expected {wanted}.")
    most = len(classes) - 1 if task == "single-label" else 1
    if y.min() < 0 or y.max() > most:
        raise TrainingError(
            f"Labels run from {y.min()} to {y.max()}; with {len(classes)} classes in a {task} "
            f"task they must lie in 0 to {most}."
        )
    if not np.isfinite(X).all():
        raise TrainingError("Embeddings hold NaN or infinity. Embed these images again.")
