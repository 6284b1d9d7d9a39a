"""A small network on frozen embeddings: one hidden layer."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import TrainingError
from training.calibration import to_probabilities
from training.heads import saved

_FORMAT = "labelloop-mlp-1"
_BLOCK = 4_096
"""Rows at a time."""


@dataclass(frozen=True, eq=False)
class Mlp:
    """Class scores from embeddings, through a hidden layer of rectified units.

    Attributes:
        classes: C names.
        hidden_weight: (H, d) float32.
        hidden_bias: (H,) float32.
        weight: (C, H) float32.
        bias: (C,) float32; -inf for a class that no training row had, whose probability is 0.
        task: `single-label` or `multi-label`.
        temperature: above 0; logits are divided by it before they become probabilities.
    """

    classes: tuple[str, ...]
    hidden_weight: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    task: str = "single-label"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Refuses tables that do not fit together, as a broken file may hold."""
        classes, (units, _) = len(self.classes), self.hidden_weight.shape
        shapes = (self.hidden_bias.shape, self.weight.shape, self.bias.shape)
        if shapes != ((units,), (classes, units), (classes,)):
            raise ValueError("classes and weights do not fit together")

    @property
    def is_finite(self) -> bool:
        """Whether its weights are numbers."""
        return all(np.isfinite(table).all() for table in (self.hidden_weight, self.weight))

    def logits(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """(N, C) scores before the temperature.

        Raises:
            TrainingError: another number of columns than the network was trained on.
        """
        if X.ndim != 2 or X.shape[1] != self.hidden_weight.shape[1]:
            raise TrainingError(
                f"The network expects embeddings of {self.hidden_weight.shape[1]} columns; got "
                f"{X.shape}. Embed with the backbone it was trained on, or train it again."
            )
        found = np.empty((len(X), len(self.classes)))
        for start in range(0, len(X), _BLOCK):
            x = X[start : start + _BLOCK].astype(np.float32, copy=False)
            hidden = np.maximum(x @ self.hidden_weight.T + self.hidden_bias, 0)
            found[start : start + _BLOCK] = hidden @ self.weight.T + self.bias
        return found

    def probabilities(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """(N, C); rows sum to 1 in a single-label task."""
        return to_probabilities(self.logits(X), task=self.task, temperature=self.temperature)

    def calibrated(self, temperature: float) -> "Mlp":
        """The same network with another temperature."""
        return replace(self, temperature=float(temperature))

    def save(self, path: Path) -> None:
        """Write to one safetensors file, all or nothing."""
        saved.save(path, self, format=_FORMAT)

    @classmethod
    def load(cls, path: Path) -> "Mlp":
        """Read what `save` wrote.

        Raises:
            TrainingError: the file is missing, broken, or something else.
        """
        return saved.load(path, cls, format=_FORMAT, what="network")
