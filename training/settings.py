"""How a model is trained: settings, their names in files, and named recipes."""

import json
import math
import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from curation.augmentation import recipes
from curation.errors import InputError, NotFound, TrainingError

TASKS = ("single-label", "multi-label")
CLASS_WEIGHTS = ("none", "square-root", "balanced")
AUGMENTATIONS = ("none", *recipes.shipped())


@dataclass(frozen=True)
class _Settings:
    def as_json(self) -> dict[str, Any]:
        """Names in kebab-case, values as JSON knows them."""
        return {name.replace("_", "-"): value for name, value in asdict(self).items()}

    def as_toml(self) -> str:
        """One `name = value` line for each setting; `from_json(tomllib.loads(...))` reads it."""
        # Strings, numbers and booleans are written alike in JSON and TOML.
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in self.as_json().items())

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Settings from kebab-case names; what is left out keeps its default.

        Raises:
            InputError: a name that does not exist here.
            TrainingError: a value that cannot be used.
        """
        known = {field.name.replace("_", "-"): field for field in fields(cls)}
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise InputError(
                f"Unknown training setting {', '.join(unknown)}. Known: {', '.join(known)}."
            )
        return cls(**{known[name].name: value for name, value in values.items()})

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Settings from a TOML file of kebab-case names.

        Raises:
            InputError: the file is missing, is no TOML, or names an unknown setting.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"Cannot read settings from {path}: {error}.") from error
        return cls.from_json(values)


@dataclass(frozen=True)
class HeadSettings(_Settings):
    """A linear classifier on frozen embeddings.

    The defaults were chosen on scikit-learn's digits (30 to 900 labels).

    Attributes:
        strength: inverse of the L2 penalty, scikit-learn's C; unit-norm rows need a large one.
        class_weight: `none`, `balanced` (every class counts the same in total) or `square-root`
            (halfway between).
        max_iterations: of L-BFGS.
        tolerance: on the largest component of the gradient per row.
    """

    strength: float = 300.0
    class_weight: str = "balanced"
    max_iterations: int = 2_000
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        """Refuse values that cannot be used, with TrainingError."""
        _positive(self, "strength", "tolerance")
        _whole(self, "max_iterations", at_least=1)
        _choice(self, "class_weight", CLASS_WEIGHTS)


@dataclass(frozen=True)
class FineTuneSettings(_Settings):
    """Training of a whole timm backbone from its original checkpoint.

    It starts from the linear head that fits the frozen features best, then all layers learn.

    Attributes:
        backbone: timm's name of it.
        input_size: side of the square input, in pixels.
        batch_size: images a step.
        epochs: passes over the labels; the first raises the learning rates from 0.
        head_learning_rate: of the classifier.
        backbone_learning_rate: of all other layers.
        weight_decay: of AdamW; none on biases and normalisation.
        label_smoothing: 0 to below 1; single-label only.
        augmentation: `none`, the name of a recipe that comes with labelloop, or the path of a
            `.toml` file with one.
        class_weight: as in `HeadSettings`.
    """

    backbone: str = "tf_efficientnet_lite0"
    input_size: int = 112
    batch_size: int = 32
    epochs: int = 12
    head_learning_rate: float = 1e-3
    backbone_learning_rate: float = 2e-4
    weight_decay: float = 1e-2
    label_smoothing: float = 0.0
    augmentation: str = "light"
    class_weight: str = "balanced"

    def __post_init__(self) -> None:
        """Refuse values that cannot be used, with TrainingError."""
        _positive(self, "head_learning_rate", "backbone_learning_rate")
        _whole(self, "input_size", at_least=32)
        _whole(self, "batch_size", "epochs", at_least=1)
        if not str(self.augmentation).endswith(".toml"):
            _choice(self, "augmentation", AUGMENTATIONS)
        _choice(self, "class_weight", CLASS_WEIGHTS)
        if not self.weight_decay >= 0:
            raise TrainingError(f"weight-decay is {self.weight_decay}; give 0 or more.")
        if not 0 <= self.label_smoothing < 1:
            raise TrainingError(
                f"label-smoothing is {self.label_smoothing}; give 0 to below 1 (0.1 is usual)."
            )


def _shown(name: str) -> str:
    return name.replace("_", "-")


def _positive(settings: _Settings, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not (math.isfinite(value) and value > 0):
            raise TrainingError(f"{_shown(name)} is {value}; give a number above 0.")


def _whole(settings: _Settings, *names: str, at_least: int) -> None:
    for name in names:
        value = getattr(settings, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
            raise TrainingError(
                f"{_shown(name)} is {value}; give a whole number of at least {at_least}."
            )


def _choice(settings: _Settings, name: str, choices: tuple[str, ...]) -> None:
    value = getattr(settings, name)
    if value not in choices:
        raise TrainingError(f"{_shown(name)} is {value!r}; choose one of: {', '.join(choices)}.")


RECIPES: dict[str, HeadSettings | FineTuneSettings] = {
    "head": HeadSettings(),
    "fine-tune-light": FineTuneSettings(),
}


def recipe(name: str) -> HeadSettings | FineTuneSettings:
    """The settings of that name.

    Raises:
        NotFound: there is no recipe of that name.
    """
    if name not in RECIPES:
        raise NotFound(f"No recipe {name!r}. Choose one of: {', '.join(RECIPES)}.")
    return RECIPES[name]
