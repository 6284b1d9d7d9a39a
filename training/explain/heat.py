"""Grad-CAM: which parts of a picture speak for a class, in convolutional and attention networks.

Source: Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization"; the package `grad-cam` computes it.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from curation.backbones import Preprocessing
from curation.errors import TrainingError
from curation.inference import Pixels
from training.finetuning.network import Input, tensor

Heat = NDArray[np.float32]

BATCH = 8
"""Pictures at a time: gradients of all layers are held."""


class Eye(nn.Module):
    """A network from pixels to class scores, with the place at which Grad-CAM looks.

    Args:
        network: of timm; its classifier, or pooled features if it has none.
        how: what its pictures are prepared with.
        answer: from what the network gives to class scores; nothing for a network with a
            classifier.

    Raises:
        TrainingError: the network's features are no map of the picture.
    """

    def __init__(
        self, network: nn.Module, how: Preprocessing, *, answer: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.answer = answer or nn.Identity()
        self.features = nn.Identity()
        self.preprocessing = how
        self.see = Input(how, channels_last=False)
        self.eval()
        self.target, self._layout = self._find()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Class scores (B, C) of what `see` makes of pixels."""
        network = cast(Any, self.network)
        found = self.features(network.forward_features(images))
        scores: torch.Tensor = self.answer(network.forward_head(found))
        return scores

    def map_of(self, activations: torch.Tensor) -> torch.Tensor:
        """What the target gives, as maps (B, d, h, w)."""
        if self._layout == "channels-first":
            return activations
        if self._layout == "channels-last":
            return activations.permute(0, 3, 1, 2)
        side = _side(activations.shape[1], self._prefix())
        patches = activations[:, activations.shape[1] - side * side :]
        return patches.transpose(1, 2).reshape(len(patches), -1, side, side)

    def _prefix(self) -> int:
        return int(getattr(self.network, "num_prefix_tokens", 1))

    def _find(self) -> tuple[nn.Module, str]:
        """The layer to look at, and how its output is laid out, tried on one picture."""
        network = cast(Any, self.network)
        size = self.preprocessing.size
        name = type(self.network).__name__
        if not hasattr(network, "forward_features") or not hasattr(network, "forward_head"):
            raise TrainingError(f"{name} has no features that can be shown on a picture.")
        with torch.inference_mode():
            found = network.forward_features(self.see(torch.zeros(1, size, size, 3)))
        if not isinstance(found, torch.Tensor) or found.ndim not in (3, 4):
            raise TrainingError(f"The features of {name} are no map of the picture.")
        if found.ndim == 4:
            # The picture is a square, so that the two equal sides are those of the map.
            first = found.shape[2] == found.shape[3]
            return self.features, "channels-first" if first else "channels-last"
        if _side(found.shape[1], self._prefix()) == 0:
            raise TrainingError(f"The {found.shape[1]} tokens of {name} are no map of the picture.")
        blocks = getattr(network, "blocks", None)
        if blocks is not None and len(blocks) and hasattr(blocks[-1], "norm1"):
            # Where only the class token is pooled, patches have no gradient behind the last block.
            return cast(nn.Module, blocks[-1].norm1), "tokens"
        if getattr(network, "global_pool", "avg") == "token":
            raise TrainingError(f"{name} has no layer from which its answer could be traced back.")
        return self.features, "tokens"


def _side(tokens: int, prefix: int) -> int:
    """Patches along one side of the picture; 0 if they are no square."""
    for others in (prefix, 0):
        side = math.isqrt(max(0, tokens - others))
        if side and side * side == tokens - others:
            return side
    return 0


def of(eye: Eye, pixels: Pixels, targets: Sequence[int]) -> Heat:
    """(N, S, S) from 0 to 1 for each picture: how much each place speaks for a class.

    All 0 where nothing speaks for it.

    Args:
        eye: the network.
        pixels: (N, S, S, 3) in 8-bit RGB.
        targets: N class numbers.
    """
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    found = np.zeros(pixels.shape[:3], np.float32)
    device = next(eye.parameters()).device
    with GradCAM(eye, [eye.target], reshape_transform=eye.map_of) as camera, torch.enable_grad():
        for start in range(0, len(pixels), BATCH):
            images = eye.see(tensor(pixels[start : start + BATCH], device))
            wanted = [ClassifierOutputTarget(int(c)) for c in targets[start : start + BATCH]]
            found[start : start + BATCH] = camera(input_tensor=images, targets=wanted)
    eye.zero_grad(set_to_none=True)
    return found
