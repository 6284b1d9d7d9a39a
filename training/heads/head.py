"""A linear classifier on frozen embeddings: trained in about a second, anew in each round."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import TrainingError
from training.calibration import to_probabilities
from training.heads import logistic, saved
from training.heads import targets as target_rows
from training.settings import HeadSettings

_FORMAT = "labelloop-head-1"


@dataclass(frozen=True, eq=False)
class Head:
    """Class scores from embeddings.

    Attributes:
        classes: C names.
        weight: (C, d) float32.
        bias: (C,) float32; -inf for a class that no training row had, whose probability is 0.
        task: `single-label` or `multi-label`.
        temperature: above 0; logits are divided by it before they become probabilities.
    """

    classes: tuple[str, ...]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    task: str = "single-label"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Refuses tables that do not fit together, as a broken file may hold."""
        if self.weight.ndim != 2 or not len(self.weight) == len(self.bias) == len(self.classes):
            raise ValueError("classes and weights do not fit together")

    def logits(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """(N, C) scores before the temperature.

        Raises:
            TrainingError: another number of columns than the head was trained on.
        """
        if X.ndim != 2 or X.shape[1] != self.weight.shape[1]:
            raise TrainingError(
                f"The head expects embeddings of {self.weight.shape[1]} columns; got {X.shape}. "
                "Embed with the backbone it was trained on, or train it again."
            )
        return np.asarray(
            X.astype(np.float32, copy=False) @ self.weight.T + self.bias, dtype=np.float64
        )

    def probabilities(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """(N, C); rows sum to 1 in a single-label task."""
        return to_probabilities(self.logits(X), task=self.task, temperature=self.temperature)

    def calibrated(self, temperature: float) -> "Head":
        """The same head with another temperature."""
        return replace(self, temperature=float(temperature))

    def save(self, path: Path) -> None:
        """Write to one safetensors file, all or nothing."""
        saved.save(path, self, format=_FORMAT)

    @classmethod
    def load(cls, path: Path) -> "Head":
        """Read what `save` wrote.

        Raises:
            TrainingError: the file is missing, broken, or something else.
        """
        return saved.load(path, cls, format=_FORMAT, what="head")


def fit_head(
    X: NDArray[Any],
    y: NDArray[np.integer[Any]],
    *,
    classes: Sequence[str],
    task: str = "single-label",
    settings: HeadSettings | None = None,
    sample_weight: NDArray[np.floating[Any]] | None = None,
    class_weight: NDArray[np.floating[Any]] | None = None,
    start: Head | None = None,
) -> Head:
    """Fit an L2-regularised logistic regression from scratch.

    Multinomial for single-label; one binary regression a class for multi-label. The objective is
    convex, so nothing is random; see `logistic` for how it is minimised.

    Args:
        X: (N, d) embeddings.
        y: (N,) class indices, or (N, C) of 0 and 1 for multi-label.
        classes: C names.
        task: `single-label` or `multi-label`.
        settings: defaults when None.
        sample_weight: (N,) at least 0.
        class_weight: (C,) at least 0; replaces the settings' rule. Multi-label: of the positives.
        start: a head near the one that is sought, of the same classes and columns: the minimum is
            the same, and with thousands of rows found sooner.

    Raises:
        TrainingError: no rows, one class only, labels out of range, NaN or infinity.
    """
    settings = settings or HeadSettings()
    targets = target_rows.of(
        X,
        y,
        classes=classes,
        task=task,
        rule=settings.class_weight,
        sample_weight=sample_weight,
        class_weight=class_weight,
    )
    weight, bias = logistic.fit(
        X, targets, settings=settings, start=_point(start, targets.learnable)
    )
    return Head(
        classes=tuple(classes),
        weight=targets.spread(weight, unknown=0.0).astype(np.float32),
        bias=targets.spread_bias(bias).astype(np.float32),
        task=task,
    )


def _point(
    start: Head | None, learnable: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Weights and biases of the learnable classes; 0 for those that the head does not know."""
    if start is None:
        return None
    bias = np.where(np.isfinite(start.bias), start.bias, 0.0)
    return start.weight[learnable].astype(np.float64), bias[learnable].astype(np.float64)
