"""What fine-tuning leaves behind: a network that answers about images, in one safetensors file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from curation import files
from curation.backbones import Preprocessing
from curation.errors import LabelloopError, TrainingError
from training.calibration import to_probabilities
from training.finetuning import distributed, network
from training.finetuning.data import Images
from training.settings import TASKS, FineTuneSettings

_FORMAT = "labelloop-fine-tuned-1"
_BATCH = 32


@dataclass(frozen=True, eq=False)
class FineTuned:
    """A fine-tuned model.

    Attributes:
        module: the network, in evaluation mode.
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

    @property
    def preprocessing(self) -> Preprocessing:
        """What makes the pixels that `logits_of` wants."""
        return network.preprocessing(self.settings)

    def logits(self, images: Sequence[Path]) -> NDArray[np.float64]:
        """(N, C) scores before the temperature; files are decoded ahead and not kept.

        Raises:
            UnreadableImage: a file that cannot be decoded.
        """
        found = np.empty((len(images), len(self.classes)))
        seen = Images(images, self.preprocessing, cache_bytes=0)
        starts = range(0, len(images), _BATCH)
        order = (np.arange(start, min(start + _BATCH, len(images))) for start in starts)
        for rows, pixels in seen.batches(order):
            found[rows] = self.logits_of(pixels)
        return found

    def logits_of(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N, C) scores before the temperature, of pixels (N, S, S, 3) in 8-bit RGB.

        A class that no training row had scores minus infinity.
        """
        how = self.preprocessing
        if pixels.shape[1:] != (how.size, how.size, 3):
            raise TrainingError(
                f"This model looks at pixels (N, {how.size}, {how.size}, 3); got {pixels.shape}. "
                "Prepare them with `inference.prepare`."
            )
        device = next(self.module.parameters()).device
        see = network.Input(how, channels_last=self.settings.channels_last).to(device)
        found = np.empty((len(pixels), len(self.classes)))
        self.module.eval()
        with torch.inference_mode():
            for start in range(0, len(pixels), _BATCH):
                part = network.tensor(pixels[start : start + _BATCH], device)
                found[start : start + _BATCH] = self.module(see(part)).double().cpu().numpy()
        found[:, ~np.asarray(self.known)] = -np.inf
        return found

    def probabilities(self, images: Sequence[Path]) -> NDArray[np.float64]:
        """(N, C), calibrated; rows sum to 1 in a single-label task."""
        return to_probabilities(self.logits(images), task=self.task, temperature=self.temperature)

    def probabilities_of(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The same of pixels (N, S, S, 3)."""
        logits = self.logits_of(pixels)
        return to_probabilities(logits, task=self.task, temperature=self.temperature)

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
        content = save(copied(self.module), metadata={"labelloop": json.dumps(about)})
        files.write_bytes(path, content)

    @classmethod
    def load(cls, path: Path) -> "FineTuned":
        """Read what `save` wrote, onto the GPU where there is one.

        Raises:
            TrainingError: the file is missing, broken, or something else.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {}).get("labelloop", "{}"))
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if about["format"] != _FORMAT:
                raise ValueError(f"format {about['format']!r}")
            classes, known = tuple(about["classes"]), tuple(map(bool, about["known"]))
            temperature = float(about["temperature"])
            if len(known) != len(classes) or about["task"] not in TASKS or not temperature > 0:
                raise ValueError("its description does not fit together")
            settings = FineTuneSettings.from_json(about["settings"])
            module = network.skeleton(settings, len(classes))
            module.load_state_dict(state)
        except (
            OSError,
            SafetensorError,
            LabelloopError,
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
            RuntimeError,
        ) as error:
            reason = " ".join(str(error).split())[:300]
            raise TrainingError(
                f"{path} is not a fine-tuned model that can be loaded ({reason}). Train it again."
            ) from error
        module = module.to(distributed.device())
        return cls(module, classes, known, about["task"], settings, temperature, about["recipe"])


def copied(module: nn.Module) -> dict[str, torch.Tensor]:
    """The weights and buffers as they are now, in ordinary memory, none sharing it."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in module.state_dict().items()
    }
