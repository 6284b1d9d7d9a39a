"""Fine-tuning of a timm backbone: slower than the head, from the same labels, same interface."""

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from curation import backbones, files, inference
from curation.augmentation.recipes import Recipe
from curation.backbones import Preprocessing
from curation.errors import TrainingError
from training import augmentation, weights
from training.head import fit_head, to_probabilities
from training.settings import FineTuneSettings, HeadSettings

_FORMAT = "labelloop-fine-tuned-1"
_MOST_GRADIENT = 5.0


@dataclass(frozen=True, eq=False)
class FineTuned:
    """A fine-tuned model.

    Attributes:
        module: the network, in evaluation mode outside a training step.
        classes: C names.
        known: (C,) False for classes that no training row had; their probability is 0.
        task: `single-label` or `multi-label`.
        settings: what it was trained with.
        temperature: above 0; logits are divided by it before they become probabilities.
        recipe: that its images were augmented with, in full; None for none.
    """

    module: nn.Module
    classes: tuple[str, ...]
    known: tuple[bool, ...]
    task: str
    settings: FineTuneSettings
    temperature: float = 1.0
    recipe: dict[str, Any] | None = None

    def logits(self, images: Sequence[Path]) -> NDArray[np.float64]:
        """(N, C) scores before the temperature.

        Raises:
            UnreadableImage: a file that cannot be decoded.
        """
        how = _preprocessing(self.settings)
        found = np.empty((len(images), len(self.classes)))
        self.module.eval()
        for start in range(0, len(images), self.settings.batch_size):
            stop = start + self.settings.batch_size
            batch = np.stack([inference.prepare(path, how) for path in images[start:stop]])
            with torch.inference_mode():
                found[start:stop] = self.module(_normalised(_tensor(batch), how)).double().numpy()
        found[:, ~np.asarray(self.known)] = -np.inf
        return found

    def probabilities(self, images: Sequence[Path]) -> NDArray[np.float64]:
        """(N, C); rows sum to 1 in a single-label task."""
        return to_probabilities(self.logits(images), task=self.task, temperature=self.temperature)

    def calibrated(self, temperature: float) -> "FineTuned":
        """The same network with another temperature."""
        return replace(self, temperature=float(temperature))

    def save(self, path: Path) -> None:
        """Write to one safetensors file, all or nothing."""
        from safetensors.torch import save

        about = {
            "format": _FORMAT,
            "classes": list(self.classes),
            "known": list(self.known),
            "task": self.task,
            "settings": self.settings.as_json(),
            "temperature": self.temperature,
            "recipe": self.recipe,
        }
        state = {name: tensor.contiguous() for name, tensor in self.module.state_dict().items()}
        files.write_bytes(path, save(state, metadata={"labelloop": json.dumps(about)}))

    @classmethod
    def load(cls, path: Path) -> "FineTuned":
        """Read what `save` wrote.

        Raises:
            TrainingError: the file is missing, broken, or something else.
        """
        import timm
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {}).get("labelloop", "{}"))
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if about["format"] != _FORMAT:
                raise ValueError(f"format {about['format']!r}")
            settings = FineTuneSettings.from_json(about["settings"])
            module = timm.create_model(settings.backbone, num_classes=len(about["classes"]))
            module.load_state_dict(state)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise TrainingError(
                f"{path} is not a fine-tuned model that can be loaded ({error}). Train it again."
            ) from error
        return cls(
            module=module.eval(),
            classes=tuple(about["classes"]),
            known=tuple(about["known"]),
            task=about["task"],
            settings=settings,
            temperature=float(about["temperature"]),
            recipe=about.get("recipe"),
        )


@dataclass(frozen=True, eq=False)
class Epoch:
    """What one pass over the labels gave.

    Attributes:
        number: 0 is the linear head on frozen features; `settings.epochs` is the last.
        loss: weighted mean over the pass; None for number 0.
        seconds: that it took.
        model: as it stands now. The next epoch goes on with the same network: save it, or stop.
    """

    number: int
    loss: float | None
    seconds: float
    model: FineTuned


def fit(
    images: Sequence[Path],
    y: NDArray[np.integer[Any]],
    *,
    classes: Sequence[str],
    rng: np.random.Generator,
    task: str = "single-label",
    settings: FineTuneSettings | None = None,
    sample_weight: NDArray[np.floating[Any]] | None = None,
    class_weight: NDArray[np.floating[Any]] | None = None,
) -> Iterator[Epoch]:
    """Train from the original checkpoint; yield after each epoch, so that the caller may stop.

    First the classifier alone, exactly, on frozen features; then all layers by AdamW, the backbone
    more slowly, with a cosine schedule (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained
    Features and Underperform Out-of-Distribution"). Batch normalisation keeps its statistics: a
    few hundred images are too few to estimate them.

    Args:
        images: N files; decoded once and held at the input size (37 KB each at 112 pixels).
        y: (N,) class indices, or (N, C) of 0 and 1 for multi-label.
        classes: C names.
        rng: order of the images and augmentation.
        task: `single-label` or `multi-label`.
        settings: defaults when None.
        sample_weight: (N,) at least 0.
        class_weight: (C,) at least 0; replaces the settings' rule. Multi-label: of the positives.

    Raises:
        TrainingError: labels that allow no model, or a loss that is not a number.
        LabelloopError: the settings' recipe is missing or cannot be used at this input size.
        UnreadableImage: a file that cannot be decoded.
    """
    settings = settings or FineTuneSettings()
    begun = time.monotonic()
    if len(images) != len(y):
        raise TrainingError(f"{len(images)} images for {len(y)} labels: pass one for each.")
    how = _preprocessing(settings)
    recipe = augmentation.recipe(settings.augmentation)
    augment = _augment(recipe, settings, rng=rng)
    pixels = _read(images, how)
    module = backbones.load_model(settings.backbone, classes=len(classes))
    module = module.to(memory_format=torch.channels_last)
    head = _fill_classifier(
        module,
        _pooled(module, pixels, how, settings.batch_size),
        y,
        classes=classes,
        task=task,
        settings=settings,
        sample_weight=sample_weight,
        class_weight=class_weight,
    )
    model = FineTuned(
        module,
        tuple(classes),
        head,
        task,
        settings,
        recipe=None if recipe is None else recipe.as_json(),
    )
    yield Epoch(0, None, time.monotonic() - begun, model)
    targets, cells = _targets(
        y, len(classes), settings=settings, sample_weight=sample_weight, class_weight=class_weight
    )
    steps_per_epoch = math.ceil(len(pixels) / settings.batch_size)
    optimizer = _optimizer(module, settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: _factor(step, steps_per_epoch, steps_per_epoch * settings.epochs),
    )
    for number in range(1, settings.epochs + 1):
        begun, total = time.monotonic(), 0.0
        for rows in np.array_split(rng.permutation(len(pixels)), steps_per_epoch):
            seen = pixels[rows] if augment is None else augment(pixels[rows], rows, number)
            batch = _tensor(seen)
            loss = _loss(
                module(_normalised(batch, how)), targets[rows], cells[rows], settings=settings
            )
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"The loss became {loss.item()} in epoch {number}, so this model is dropped. "
                    f"Lower backbone-learning-rate, now {settings.backbone_learning_rate}."
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(module.parameters(), _MOST_GRADIENT)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        yield Epoch(number, total / len(pixels), time.monotonic() - begun, model)


def _preprocessing(settings: FineTuneSettings) -> Preprocessing:
    return replace(backbones.preprocessing(settings.backbone), size=settings.input_size)


def _augment(
    recipe: Recipe | None, settings: FineTuneSettings, *, rng: np.random.Generator
) -> augmentation.Augment | None:
    """What changes each image in each epoch, by a seed that the run's randomness gives."""
    if recipe is None:
        return None
    seed = int(rng.integers(2**63))
    return augmentation.prepare(recipe, size=settings.input_size, seed=seed)


def _read(images: Sequence[Path], how: Preprocessing) -> NDArray[np.uint8]:
    pixels = np.empty((len(images), how.size, how.size, 3), dtype=np.uint8)
    for row, path in enumerate(images):
        pixels[row] = inference.prepare(path, how)
    return pixels


def _tensor(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """(B, 3, S, S) from 0 to 1, channels last in memory: a third faster on a CPU."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255)


def _normalised(batch: torch.Tensor, how: Preprocessing) -> torch.Tensor:
    mean, std = (torch.tensor(side).view(1, 3, 1, 1) for side in (how.mean, how.std))
    return (batch - mean) / std


def _pooled(
    module: nn.Module, pixels: NDArray[np.uint8], how: Preprocessing, batch_size: int
) -> NDArray[np.float32]:
    """(N, d) what the classifier sees."""
    network = cast(Any, module)
    rows = []
    with torch.inference_mode():
        for start in range(0, len(pixels), batch_size):
            batch = _normalised(_tensor(pixels[start : start + batch_size]), how)
            features = network.forward_features(batch)
            rows.append(network.forward_head(features, pre_logits=True).numpy())
    if not rows:
        raise TrainingError("No labeled images to train on. Label some images first.")
    return np.concatenate(rows)


def _fill_classifier(
    module: nn.Module,
    features: NDArray[np.float32],
    y: NDArray[np.integer[Any]],
    *,
    classes: Sequence[str],
    task: str,
    settings: FineTuneSettings,
    sample_weight: NDArray[np.floating[Any]] | None,
    class_weight: NDArray[np.floating[Any]] | None,
) -> tuple[bool, ...]:
    """Start the classifier from the best linear head; returns which classes have a row."""
    scale = float(np.linalg.norm(features, axis=1).mean())
    head = fit_head(
        features / scale,
        y,
        classes=classes,
        task=task,
        settings=HeadSettings(class_weight=settings.class_weight),
        sample_weight=sample_weight,
        class_weight=class_weight,
    )
    known = np.isfinite(head.bias)
    classifier = cast(Any, module).get_classifier()
    with torch.no_grad():
        classifier.weight.copy_(torch.from_numpy(head.weight / scale))
        # A class without a row has no finite bias; its outputs are masked in `logits`.
        classifier.bias.copy_(torch.from_numpy(np.where(known, head.bias, -30.0)))
    return tuple(known.tolist())


def _targets(
    y: NDArray[np.integer[Any]],
    classes: int,
    *,
    settings: FineTuneSettings,
    sample_weight: NDArray[np.floating[Any]] | None,
    class_weight: NDArray[np.floating[Any]] | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels, and the weight of each row (single-label) or of each row and class."""
    row_weight = weights.of_rows(len(y), sample_weight)
    row_weight = row_weight / row_weight.mean()
    if y.ndim == 1:
        truth = np.eye(classes)[y]
        cells = weights.of_labels(truth, row_weight, rule=settings.class_weight, given=class_weight)
        return torch.from_numpy(y.astype(np.int64)), torch.from_numpy(cells).float()
    cells = weights.of_cells(y, row_weight, rule=settings.class_weight, given=class_weight)
    return torch.from_numpy(y).float(), torch.from_numpy(cells).float()


def _loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    cells: torch.Tensor,
    *,
    settings: FineTuneSettings,
) -> torch.Tensor:
    if targets.ndim == 1:
        each = functional.cross_entropy(
            logits, targets, reduction="none", label_smoothing=settings.label_smoothing
        )
    else:
        each = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (each * cells).mean()


def _optimizer(module: nn.Module, settings: FineTuneSettings) -> torch.optim.Optimizer:
    head = {id(parameter) for parameter in cast(Any, module).get_classifier().parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in module.parameters():
        groups.setdefault((id(parameter) in head, parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": settings.head_learning_rate if top else settings.backbone_learning_rate,
                "weight_decay": settings.weight_decay if matrix else 0.0,
            }
            for (top, matrix), parameters in groups.items()
        ]
    )


def _factor(step: int, rising: int, total: int) -> float:
    """Share of the learning rate: up over the first epoch, then down along a cosine."""
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))
