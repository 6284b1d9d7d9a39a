"""How a model is trained: settings, and their names in files."""

import json
import math
import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from curation.augmentation import recipes
from curation.errors import InputError, NotFound, TrainingError

TASKS = ("single-label", "multi-label")
CLASS_WEIGHTS = ("none", "square-root", "balanced")
AUGMENTATIONS = ("none", *recipes.shipped())
PRECISIONS = ("fp32", "bf16", "fp16")
SAMPLINGS = ("plain", "weighted")
STEERING = ("accuracy", "balanced-accuracy", "macro-f1", "log-loss")
"""What early stopping can look at."""

_HIGHEST_RATE = 1_000.0
"""Beyond any use; much higher ones are no numbers in fp32."""


@dataclass(frozen=True)
class Settings:
    """What all kinds of training have in common: names in files, TOML and JSON both ways."""

    kind: ClassVar[str]

    def as_json(self) -> dict[str, Any]:
        """Names in kebab-case, values as JSON knows them; `kind` first."""
        own = {name.replace("_", "-"): value for name, value in asdict(self).items()}
        return {"kind": self.kind, **own}

    def as_toml(self) -> str:
        """One `name = value` line for each setting; `from_toml` reads it."""
        # Strings, numbers and booleans are written alike in JSON and TOML.
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in self.as_json().items())

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """What can be set, in kebab-case."""
        return tuple(field.name.replace("_", "-") for field in fields(cls))

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Settings from kebab-case names; what is left out keeps its default.

        Raises:
            InputError: a name that does not exist here, or settings of another kind.
            TrainingError: a value that cannot be used.
        """
        known = {field.name.replace("_", "-"): field for field in fields(cls)}
        given = dict(values)
        if (kind := given.pop("kind", cls.kind)) != cls.kind:
            raise InputError(f"These are settings of kind {kind!r}; {cls.kind!r} is wanted.")
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise InputError(
                f"Unknown setting of kind {cls.kind!r}: {', '.join(unknown)}. "
                f"Known: {', '.join(known)}."
            )
        return cls(**{known[name].name: value for name, value in given.items()})

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Settings from a TOML file of kebab-case names.

        Raises:
            InputError: the file is missing, is no TOML, or names an unknown setting.
            TrainingError: a value that cannot be used.
        """
        return cls.from_json(read(path))


@dataclass(frozen=True)
class HeadSettings(Settings):
    """A linear classifier on frozen embeddings.

    The defaults were chosen on scikit-learn's digits (30 to 900 labels).

    Attributes:
        strength: inverse of the L2 penalty, scikit-learn's C; unit-norm rows need a large one.
        search: choose the strength by labels held back, where there are enough to choose by.
        class_weight: `none`, `balanced` (every class counts the same in total) or `square-root`
            (halfway between).
        max_iterations: of L-BFGS.
        tolerance: on the largest component of the gradient per row.
    """

    kind: ClassVar[str] = "head"

    strength: float = 300.0
    search: bool = False
    class_weight: str = "balanced"
    max_iterations: int = 2_000
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        """Refuse values that cannot be used, with TrainingError."""
        _positive(self, "strength", "tolerance", at_most=1e9)
        _truth(self, "search")
        _whole(self, "max_iterations", at_least=1)
        _choice(self, "class_weight", CLASS_WEIGHTS)


@dataclass(frozen=True)
class MlpSettings(Settings):
    """A small network on frozen embeddings: curved borders between classes, for many labels.

    Attributes:
        hidden: width of the hidden layer.
        dropout: before the output, 0 to below 1.
        learning_rate: of AdamW, at its highest; it falls along a cosine.
        weight_decay: of AdamW; none on biases.
        batch_size: rows a step.
        epochs: passes over the labels, at most.
        patience: epochs without a better validation after which training ends; 0 never ends early.
        label_smoothing: 0 to below 1; single-label only.
        class_weight: as for `head`.
    """

    kind: ClassVar[str] = "mlp"

    hidden: int = 512
    dropout: float = 0.2
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    batch_size: int = 256
    epochs: int = 60
    patience: int = 10
    label_smoothing: float = 0.0
    class_weight: str = "balanced"

    def __post_init__(self) -> None:
        """Refuse values that cannot be used, with TrainingError."""
        _positive(self, "learning_rate", at_most=_HIGHEST_RATE)
        _whole(self, "hidden", "batch_size", "epochs", at_least=1)
        _whole(self, "patience", at_least=0)
        _least_zero(self, "weight_decay")
        _share(self, "dropout", "label_smoothing")
        _choice(self, "class_weight", CLASS_WEIGHTS)


@dataclass(frozen=True)
class FineTuneSettings(Settings):
    """Training of a whole timm backbone from its original checkpoint.

    Attributes:
        backbone: timm's name of it.
        weights: path of a safetensors file with its state dict; the installed or the hub's if
            empty.
        input_size: side of the square input, in pixels.
        batch_size: images a step, over all processes.
        accumulate: parts that a step's images are divided into, to fit into memory.
        epochs: passes over the labels, at most.
        patience: epochs without a better validation after which training ends; 0 never ends early.
        metric: of the validation, which decides on the best epoch.
        head_warmup: `linear` starts from the linear head that fits the frozen features best, `none`
            from a random one.
        batch_norm: `frozen` keeps the statistics of the checkpoint, as a few hundred images are too
            few to estimate them; `trained` learns them.
        warmup_epochs: over which the learning rates rise from 0; then they fall along a cosine.
        head_learning_rate: of the classifier.
        backbone_learning_rate: of the backbone's last block.
        layer_decay: factor of the learning rate from each block to the one before it, above 0 to 1.
        weight_decay: of AdamW (L2); none on biases and normalisation.
        l1: weight of the sum of absolute weights in the loss; 0 for none.
        label_smoothing: 0 to below 1; single-label only.
        dropout: before the classifier, 0 to below 1.
        drop_path: share of residual blocks skipped (stochastic depth), 0 to below 1.
        mixup: alpha of the Beta distribution that images are mixed by; 0 for none.
        cutmix: alpha of the Beta distribution of the area pasted from another image; 0 for none.
        ema: decay of the moving average of the weights, which is then the model; 0 for none.
        clip: largest norm of the gradient; 0 for none.
        precision: `fp32`, or `bf16` or `fp16` with fp32 master weights.
        channels_last: layout of images in memory; faster for convolutions on most processors.
        compile: let torch compile the network first.
        augmentation: `none`, the name of a recipe that comes with labelloop, or the path of a
            `.toml` file with one.
        class_weight: as for `head`.
        sampling: `plain` shows every image once an epoch, and weights count in the loss; `weighted`
            draws images as often as they weigh.
    """

    kind: ClassVar[str] = "fine-tune"

    backbone: str = "tf_efficientnet_lite0"
    weights: str = ""
    input_size: int = 112
    batch_size: int = 32
    accumulate: int = 1
    epochs: int = 12
    patience: int = 0
    metric: str = "balanced-accuracy"
    head_warmup: str = "linear"
    batch_norm: str = "frozen"
    warmup_epochs: float = 1.0
    head_learning_rate: float = 1e-3
    backbone_learning_rate: float = 2e-4
    layer_decay: float = 1.0
    weight_decay: float = 1e-2
    l1: float = 0.0
    label_smoothing: float = 0.0
    dropout: float = 0.0
    drop_path: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    ema: float = 0.0
    clip: float = 5.0
    precision: str = "fp32"
    channels_last: bool = True
    compile: bool = False
    augmentation: str = "light"
    class_weight: str = "balanced"
    sampling: str = "plain"

    def __post_init__(self) -> None:
        """Refuse values that cannot be used, with TrainingError."""
        _text(self, "backbone", "weights")
        rates = ("head_learning_rate", "backbone_learning_rate")
        _positive(self, *rates, at_most=_HIGHEST_RATE)
        _positive(self, "layer_decay", at_most=1.0)
        _whole(self, "input_size", at_least=32)
        _whole(self, "batch_size", "accumulate", "epochs", at_least=1)
        _whole(self, "patience", at_least=0)
        _least_zero(self, "warmup_epochs", "weight_decay", "l1", "mixup", "cutmix", "clip")
        _share(self, "label_smoothing", "dropout", "drop_path", "ema")
        _choice(self, "metric", STEERING)
        _choice(self, "head_warmup", ("linear", "none"))
        _choice(self, "batch_norm", ("frozen", "trained"))
        _choice(self, "precision", PRECISIONS)
        _choice(self, "class_weight", CLASS_WEIGHTS)
        _choice(self, "sampling", SAMPLINGS)
        _truth(self, "channels_last", "compile")
        if not str(self.augmentation).endswith(".toml"):
            _choice(self, "augmentation", AUGMENTATIONS)
        if self.accumulate > self.batch_size:
            raise TrainingError(
                f"accumulate is {self.accumulate} for a batch-size of {self.batch_size}; a step "
                "cannot have more parts than images."
            )


KINDS: dict[str, type[Settings]] = {
    kind.kind: kind for kind in (HeadSettings, MlpSettings, FineTuneSettings)
}


def read(path: Path) -> dict[str, Any]:
    """The settings that a TOML file names, unchecked.

    Raises:
        InputError: the file is missing or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"Cannot read settings from {path}: {error}.") from error


def kind_of(name: str) -> type[Settings]:
    """The settings of this kind of training.

    Raises:
        NotFound: there is no such kind.
    """
    if name not in KINDS:
        raise NotFound(f"No kind of training {name!r}. Choose one of: {', '.join(KINDS)}.")
    return KINDS[name]


def from_json(values: dict[str, Any]) -> Settings:
    """The settings that `as_json` gave, of whichever kind.

    Raises:
        NotFound: their kind is unknown.
        InputError: a name that does not exist.
        TrainingError: a value that cannot be used.
    """
    return kind_of(str(values.get("kind", ""))).from_json(values)


def _shown(name: str) -> str:
    return name.replace("_", "-")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _positive(settings: Settings, *names: str, at_most: float) -> None:
    for name in names:
        value = getattr(settings, name)
        if not (_number(value) and 0 < value <= at_most):
            raise TrainingError(f"{_shown(name)} is {value}; give above 0 up to {at_most:g}.")


def _least_zero(settings: Settings, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not (_number(value) and value >= 0):
            raise TrainingError(f"{_shown(name)} is {value}; give 0 or more.")


def _share(settings: Settings, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not (_number(value) and 0 <= value < 1):
            raise TrainingError(f"{_shown(name)} is {value}; give 0 to below 1.")


def _text(settings: Settings, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not isinstance(value, str):
            raise TrainingError(f"{_shown(name)} is {value!r}; give a text.")


def _truth(settings: Settings, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not isinstance(value, bool):
            raise TrainingError(f"{_shown(name)} is {value!r}; give true or false.")


def _whole(settings: Settings, *names: str, at_least: int) -> None:
    for name in names:
        value = getattr(settings, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
            raise TrainingError(
                f"{_shown(name)} is {value}; give a whole number of at least {at_least}."
            )


def _choice(settings: Settings, name: str, choices: tuple[str, ...]) -> None:
    value = getattr(settings, name)
    if value not in choices:
        raise TrainingError(f"{_shown(name)} is {value!r}; choose one of: {', '.join(choices)}.")
