"""A timm model made ready to be trained: any name, any input size that it can take."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from timm.models import group_parameters
from timm.optim import auto_group_layers  # type: ignore[attr-defined]
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from curation import backbones
from curation.backbones import Preprocessing
from curation.errors import BackboneError, TrainingError
from training.settings import FineTuneSettings

Pixels = NDArray[np.uint8]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

_COMPILERS = ("torch._dynamo", "torch._inductor")
"""Where torch defines the errors of compiling, under names that change from release to release."""


def build(
    settings: FineTuneSettings, classes: int, *, seed: int, weights: Path | None = None
) -> nn.Module:
    """The pretrained network with a fresh classifier, in evaluation mode.

    Args:
        settings: backbone, input size, dropout and drop-path.
        classes: outputs.
        seed: of the classifier's first weights.
        weights: a local safetensors file with a state dict of the backbone.

    Raises:
        BackboneError: unknown name, weights that cannot be had, an input size that it cannot take.
        TrainingError: drop-path for a model that has none.
    """
    with seeded(seed):
        try:
            module = backbones.load_model(
                settings.backbone,
                classes=classes,
                drop_rate=settings.dropout,
                drop_path=settings.drop_path,
                weights=weights,
            )
        except TypeError as error:
            if not settings.drop_path:
                raise
            raise TrainingError(
                f"{settings.backbone} has no drop-path, now {settings.drop_path}; give 0."
            ) from error
        return _sized(module, settings, classes)


def skeleton(settings: FineTuneSettings, classes: int) -> nn.Module:
    """The same network without its weights, for those that a file holds.

    Raises:
        BackboneError: timm has no such model, or it cannot take the input size.
    """
    with seeded(0):
        try:
            module = timm.create_model(settings.backbone, num_classes=classes)
        except RuntimeError as error:
            raise BackboneError(f"timm has no model {settings.backbone!r} ({error}).") from error
        return _sized(module.eval(), settings, classes)


def preprocessing(settings: FineTuneSettings) -> Preprocessing:
    """What the backbone was pretrained with, at the input size of the training."""
    return replace(backbones.preprocessing(settings.backbone), size=settings.input_size)


@contextmanager
def seeded(*numbers: int, device: torch.device | None = None) -> Iterator[None]:
    """Inside, torch's random numbers follow from these; outside, they go on as if nothing was."""
    devices = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
        torch.manual_seed(int(state[0]))
        yield


def autocast(settings: FineTuneSettings, device: torch.device) -> torch.autocast:
    """In which the network works at the settings' precision."""
    dtype = _DTYPES.get(settings.precision)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


@contextmanager
def in_words(settings: FineTuneSettings) -> Iterator[None]:
    """Inside, what torch cannot do with these settings is said with the settings to change.

    Raises:
        TrainingError: the memory of the GPU is too small, or the network cannot be compiled.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"The GPU has too little memory for steps of {settings.batch_size} images in "
            f"{settings.accumulate} parts at {settings.input_size} pixels. Raise accumulate, or "
            "lower batch-size or input-size."
        ) from error
    except RuntimeError as error:
        if not type(error).__module__.startswith(_COMPILERS):
            raise
        reason = " ".join(str(error).split())[:200]
        raise TrainingError(
            f"{settings.backbone} cannot be compiled here ({reason}). Set compile false."
        ) from error


class Input(nn.Module):
    """From 8-bit pixels (B, S, S, 3) to what the network sees: (B, 3, S, S), normalised.

    Args:
        how: mean and std.
        channels_last: the layout in memory.
    """

    def __init__(self, how: Preprocessing, *, channels_last: bool = True) -> None:
        super().__init__()
        mean, std = (torch.tensor(side).view(1, 3, 1, 1) for side in (how.mean, how.std))
        self.register_buffer("shift", -mean / std, persistent=False)
        self.register_buffer("scale", 1 / (255 * std), persistent=False)
        self._layout = torch.channels_last if channels_last else torch.contiguous_format

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised images."""
        images = pixels.permute(0, 3, 1, 2).float()
        shift, scale = cast(torch.Tensor, self.shift), cast(torch.Tensor, self.scale)
        return torch.addcmul(shift, images, scale).contiguous(memory_format=self._layout)


def tensor(pixels: Pixels, device: torch.device) -> torch.Tensor:
    """The pixels where the network is."""
    found = torch.from_numpy(np.ascontiguousarray(pixels))
    if device.type == "cuda":
        return found.pin_memory().to(device, non_blocking=True)
    return found


def train_mode(module: nn.Module, settings: FineTuneSettings) -> None:
    """Dropout and drop-path act; batch normalisation learns statistics only if it is asked to."""
    module.train()
    if settings.batch_norm == "frozen":
        for part in module.modules():
            if isinstance(part, _BatchNorm):
                part.eval()


def classifiers(module: nn.Module) -> tuple[nn.Module, ...]:
    """The last layers, whose outputs are the classes: two in distilled models, else one."""
    known = cast(Any, module).pretrained_cfg.get("classifier") or ()
    names = (known,) if isinstance(known, str) else known
    try:
        found = tuple(module.get_submodule(name) for name in names)
    except AttributeError:
        found = ()
    return found or (cast(Any, module).get_classifier(),)


def parameter_groups(module: nn.Module, settings: FineTuneSettings) -> list[dict[str, Any]]:
    """For an optimizer: learning rate by depth, no weight decay on biases and normalisation.

    Depth is the block that timm's `group_matcher` gives a layer, as in its layer-wise decay (Clark
    et al. 2020, "ELECTRA"). `base` in each group is the learning rate before the schedule.
    """
    network = cast(Any, module)
    head = {id(weight) for layer in classifiers(module) for weight in layer.parameters()}
    if hasattr(network, "group_matcher"):
        depth = group_parameters(module, network.group_matcher(coarse=False), reverse=True)
    else:
        depth = auto_group_layers(module)  # type: ignore[no-untyped-call]
    spared = set(network.no_weight_decay()) if hasattr(network, "no_weight_decay") else set()
    last = max((depth[name] for name, own in module.named_parameters() if id(own) not in head))
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, weight in module.named_parameters():
        if not weight.requires_grad:
            continue
        if id(weight) in head:
            rate = settings.head_learning_rate
        else:
            rate = settings.backbone_learning_rate * settings.layer_decay ** (last - depth[name])
        decays = weight.ndim > 1 and not name.endswith(".bias") and name not in spared
        groups.setdefault((rate, decays), []).append(weight)
    return [
        {
            "params": weights,
            "lr": rate,
            "base": rate,
            "weight_decay": settings.weight_decay if decays else 0.0,
            "decays": decays,
        }
        for (rate, decays), weights in groups.items()
    ]


def _sized(module: nn.Module, settings: FineTuneSettings, classes: int) -> nn.Module:
    """The network for the settings' input size, tried on one image."""
    size = settings.input_size
    native = cast(Any, module).pretrained_cfg.get("input_size", (3, size, size))[-1]
    try:
        if size != native and hasattr(module, "set_input_size"):
            with warnings.catch_warnings():  # of torch, about how timm calls it
                warnings.simplefilter("ignore", UserWarning)
                # Position embeddings are interpolated to the new number of patches.
                cast(Any, module).set_input_size(img_size=(size, size))
        with torch.inference_mode():
            found = module(torch.zeros(1, 3, size, size))
    except (RuntimeError, AssertionError, ValueError, TypeError, IndexError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise BackboneError(
            f"{settings.backbone} cannot take images of {size} pixels ({reason}). It was made for "
            f"{native}: set input-size {native}, or take another backbone."
        ) from error
    if not isinstance(found, torch.Tensor) or found.shape != (1, classes):
        shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise BackboneError(
            f"{settings.backbone} gives {shape} for one image in place of {classes} scores: it is "
            "no classifier of images. Take another backbone."
        )
    if settings.channels_last:
        module = module.to(memory_format=torch.channels_last)
    return module
