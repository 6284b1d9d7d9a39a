"""The model of a run as one network from pixels to class scores, and what its classifier sees."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from curation import backbones
from curation.backbones import Backbone
from curation.inference import Pixels, TorchEngine
from training.calibration import to_probabilities
from training.explain.heat import Eye
from training.finetuning.finetuned import FineTuned
from training.finetuning.network import tensor
from training.heads.head import Head
from training.heads.mlp import Mlp
from training.serving.classifier import Stored


def open(stored: Stored) -> Eye:
    """The whole network of a run: a head stands behind the backbone that it looks through.

    Raises:
        BackboneError: the backbone's weights cannot be had.
        TrainingError: they are not those of the training, or the network's features are no map.
    """
    model = stored.model
    if isinstance(model, FineTuned):
        # An eye is made, and tried, in ordinary memory.
        return Eye(model.module.cpu(), model.preprocessing)
    backbone = stored.open_backbone()
    network = backbones.load_model(backbone.name, weights=backbone.weights)
    return Eye(network, backbone.preprocessing, answer=_Answer(_layers(model)))


def probabilities(stored: Stored, eye: Eye, pixels: Pixels) -> NDArray[np.float64]:
    """(N, C), calibrated, of pixels (N, S, S, 3)."""
    model = stored.model
    with torch.inference_mode():
        images = eye.see(tensor(pixels, next(eye.parameters()).device))
        logits = eye(images).double().cpu().numpy()
    if isinstance(model, FineTuned):
        logits[:, ~np.asarray(model.known)] = -np.inf
    return to_probabilities(logits, task=model.task, temperature=model.temperature)


def engine(stored: Stored, eye: Eye) -> TorchEngine:
    """What embeds pictures as the classifier of the run sees them."""
    pooled = _Pooled(eye.network).eval()
    size = eye.preprocessing.size
    device = next(eye.parameters()).device
    with torch.inference_mode():
        blank = eye.see(torch.zeros(1, size, size, 3, device=device))
        width = int(pooled(blank).shape[1])
    backbone = Backbone(stored.backbone, width, eye.preprocessing, stored.identity)
    return TorchEngine(backbone, pooled, device.type)


class _Pooled(nn.Module):
    """A network up to what its classifier sees."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, d) of normalised images (B, 3, S, S)."""
        network = cast(Any, self.network)
        features = network.forward_features(images)
        found: torch.Tensor = network.forward_head(features, pre_logits=True)
        return found.flatten(1)


class _Answer(nn.Module):
    """A head or a small network on unit-norm embeddings, in torch.

    Args:
        layers: weight (out, in) and bias (out,) of each, with rectified units between them.
    """

    def __init__(self, layers: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> None:
        super().__init__()
        self._count = len(layers)
        for number, (weight, bias) in enumerate(layers):
            self.register_buffer(f"weight{number}", torch.from_numpy(weight.copy()))
            self.register_buffer(f"bias{number}", torch.from_numpy(bias.copy()))

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Class scores (B, C) of embeddings (B, d) of any length."""
        found = functional.normalize(embeddings.flatten(1))
        for number in range(self._count):
            found = functional.relu(found) if number else found
            weight, bias = self.get_buffer(f"weight{number}"), self.get_buffer(f"bias{number}")
            found = functional.linear(found, weight, bias)
        return found


def _layers(model: Head | Mlp) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    last = (model.weight, model.bias)
    if isinstance(model, Mlp):
        return [(model.hidden_weight, model.hidden_bias), last]
    return [last]
