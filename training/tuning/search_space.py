"""What a search for settings varies, for each kind of training."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from optuna.trial import Trial

from training.settings import CLASS_WEIGHTS, Settings, kind_of

Value = str | float | int


@dataclass(frozen=True)
class Dimension:
    """The values of one setting.

    Attributes:
        grid: those that a grid search tries.
        low, high: all between them, on a logarithmic scale; without them, `values`.
        values: in their order; `grid` if empty.
    """

    grid: tuple[Value, ...]
    low: float = 0.0
    high: float = 0.0
    values: tuple[Value, ...] = ()

    def suggest(self, trial: Trial, name: str) -> Value:
        """The value that a trial gets."""
        if self.high:
            return trial.suggest_float(name, self.low, self.high, log=True)
        return cast(Value, trial.suggest_categorical(name, list(self.values or self.grid)))


Space = dict[str, Dimension]

SPACES: dict[str, Space] = {
    "head": {
        "strength": Dimension((1.0, 3.0, 10.0, 30.0, 100.0, 300.0), 0.1, 3_000.0),
        "class-weight": Dimension(("balanced", "none"), values=CLASS_WEIGHTS),
    },
    "mlp": {
        "learning-rate": Dimension((3e-4, 1e-3, 3e-3), 1e-4, 1e-2),
        "hidden": Dimension((256, 1024), values=(128, 256, 512, 1024)),
        "dropout": Dimension((0.2, 0.5), values=(0.0, 0.2, 0.35, 0.5)),
        "weight-decay": Dimension((1e-2,), 1e-4, 0.3),
        "batch-size": Dimension((256,), values=(64, 128, 256, 512)),
        "label-smoothing": Dimension((0.0,), values=(0.0, 0.05, 0.1)),
    },
    "fine-tune": {
        "backbone-learning-rate": Dimension((1e-4, 3e-4), 3e-5, 1e-3),
        "head-learning-rate": Dimension((1e-3,), 3e-4, 1e-2),
        "batch-size": Dimension((32,), values=(16, 32, 64)),
        "augmentation": Dimension(
            ("none", "light", "standard"), values=("none", "light", "standard", "strong")
        ),
        "weight-decay": Dimension((1e-2,), 1e-3, 0.3),
        "label-smoothing": Dimension((0.0,), values=(0.0, 0.1)),
        "drop-path": Dimension((0.0,), values=(0.0, 0.1, 0.2)),
        "mixup": Dimension((0.0,), values=(0.0, 0.2)),
    },
}
"""By kind: kebab-case settings. What is not here keeps what was chosen automatically."""


def of(kind: str, *, backbones: tuple[str, ...] = (), fixed: Mapping[str, Any]) -> Space:
    """What is varied.

    Args:
        kind: of training.
        backbones: that fine-tuning may start from; one is no choice.
        fixed: settings that stand.
    """
    found = dict(SPACES[kind])
    if kind == "fine-tune" and len(backbones) > 1:
        found["backbone"] = Dimension(backbones)
    return {name: dimension for name, dimension in found.items() if name not in fixed}


def suggest(trial: Trial, kind: str, space: Space, base: Mapping[str, Any]) -> Settings:
    """The settings of a trial: the base with what is varied.

    Args:
        trial: asks the sampler.
        kind: of training.
        space: of `of`.
        base: all settings, in kebab-case.

    Raises:
        TrainingError: values that do not go together.
    """
    varied = {name: dimension.suggest(trial, name) for name, dimension in space.items()}
    return kind_of(kind).from_json({**base, **varied})


def grid(space: Space, *, seed: int) -> list[dict[str, Value]]:
    """All points of the grid, shuffled, so that a search that is cut short has seen all sides."""
    points = [
        dict(zip(space, values, strict=True))
        for values in itertools.product(*(dimension.grid for dimension in space.values()))
    ]
    order = np.random.default_rng([seed, 0x617]).permutation(len(points))
    return [points[place] for place in order]
