"""Engines that turn pixels into embeddings: openvino where it is faithful, torch otherwise.

`open` tries the fastest engine first and accepts it only if its embeddings of a probe batch point
the same way as fp32 torch's. Workers hand over 8-bit pixels; scaling, normalisation and the change
of layout are part of the openvino graph.
"""

import threading
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from curation import backbones, compiled, images
from curation.backbones import Backbone, Preprocessing
from curation.compiled import Compiled, Place

Pixels = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]

FAITHFUL = 0.999
"""Smallest cosine to fp32 torch, over the probe batch, at which another engine is accepted."""

DRAFT_FACTOR = 4
"""A JPEG may be decoded at reduced scale down to this many times the input size: at 4 the cosine
to the full decode stays above 0.9997, at 2 it falls to 0.998, at 1 to 0.99."""

LONGEST = 4
"""Panoramas longer than this many times their width are cut to it before they are resized."""


class Engine(Protocol):
    """What embeds. Safe to call from several threads at once.

    Attributes:
        name: engine and precision, such as `openvino-bf16`.
        batch: images a call that the engine works best with.
        dimension: length of an embedding.
        preprocessing: what `prepare` must be given.
    """

    name: str
    batch: int
    dimension: int
    preprocessing: Preprocessing

    def embed(self, batch: Pixels) -> Vectors:
        """Unit-norm embeddings (N, d) of pixels (N, size, size, 3)."""


def open(backbone: Backbone, *, cache: Path, threads: int | None = None) -> Engine:
    """The fastest engine of this machine that is faithful to fp32 torch.

    Args:
        backbone: of `backbones.open`.
        cache: folder for the exported graph; anything in it may be deleted at will.
        threads: cores to use, all usable ones by default.

    Raises:
        BackboneError: the weights cannot be had.
    """
    if torch.cuda.is_available():
        return open_torch(backbone, device="cuda")
    return _open_openvino(backbone, cache, threads) or open_torch(backbone)


def open_torch(backbone: Backbone, *, device: str = "cpu") -> "TorchEngine":
    """The torch engine: fp32, the reference that other engines are compared with.

    Raises:
        BackboneError: the weights cannot be had.
    """
    model = backbones.load_model(backbone.name, weights=backbone.weights)
    return TorchEngine(backbone, model, device)


def prepare(source: Path | bytes, preprocessing: Preprocessing) -> Pixels:
    """Decode safely and resize to the model's input.

    The result is within one grey level of Pillow's resize; torch's kernel is the same algorithm,
    three times as fast.

    Returns:
        Pixels (size, size, 3), 8-bit RGB.

    Raises:
        UnreadableImage: as `images.decode`.
    """
    shorter = round(preprocessing.size / preprocessing.crop_fraction)
    image = images.decode(source, at_least=DRAFT_FACTOR * shorter)
    return fit(image, preprocessing)


def fit(image: Image.Image, preprocessing: Preprocessing) -> Pixels:
    """Resize the shorter side and keep the middle square, as timm's evaluation transform does."""
    size = preprocessing.size
    shorter = round(size / preprocessing.crop_fraction)
    width, height = image.size
    if max(width, height) > LONGEST * min(width, height):
        image = _cut(image, LONGEST * min(width, height))
        width, height = image.size
    scale = shorter / min(width, height)
    wide, high = max(shorter, int(width * scale)), max(shorter, int(height * scale))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    if (wide, high) != (width, height):
        pixels = functional.interpolate(
            pixels,
            size=(high, wide),
            mode=preprocessing.interpolation,
            antialias=True,
            align_corners=False,
        )
    left, top = round((wide - size) / 2), round((high - size) / 2)
    middle: Pixels = pixels[0, :, top : top + size, left : left + size].permute(1, 2, 0).numpy()
    return middle


class OpenVinoEngine:
    """Compiled openvino graphs."""

    def __init__(self, backbone: Backbone, graphs: Compiled) -> None:
        self.name = graphs.name
        self.batch = compiled.BATCH
        self.dimension = backbone.dimension
        self.preprocessing = backbone.preprocessing
        self._graphs = graphs

    def embed(self, batch: Pixels) -> Vectors:
        """Unit-norm embeddings (N, d) of pixels (N, size, size, 3)."""
        return _unit(self._graphs.run(batch))


class TorchEngine:
    """fp32 torch: the reference on a processor, and what runs on a GPU."""

    def __init__(self, backbone: Backbone, model: nn.Module, device: str = "cpu") -> None:
        self.name = f"torch-{device}-fp32"
        self.batch = 16 if device == "cpu" else 128
        self.dimension = backbone.dimension
        self.preprocessing = backbone.preprocessing
        self._device = torch.device(device)
        self._model = model.to(self._device).to(memory_format=torch.channels_last)
        self._mean = torch.tensor(self.preprocessing.mean, device=self._device)[:, None, None]
        self._std = torch.tensor(self.preprocessing.std, device=self._device)[:, None, None]
        # One forward at a time: torch spreads each over all cores by itself.
        self._turn = threading.Lock()

    def embed(self, batch: Pixels) -> Vectors:
        """Unit-norm embeddings (N, d) of pixels (N, size, size, 3)."""
        with self._turn, torch.inference_mode():
            pixels = torch.from_numpy(batch.copy()).to(self._device).permute(0, 3, 1, 2)
            found = self._model((pixels.float() / 255 - self._mean) / self._std)
            vectors: Vectors = found.float().cpu().numpy()
        return _unit(vectors)


def probe(size: int, count: int = 48) -> Pixels:
    """Pictures (count, size, size, 3) made of the two photos that scikit-learn ships.

    By turns a crop, one in dim grey, and one small on black and on white, as in a catalogue: flat
    areas are where coarse arithmetic errs most, since every pixel errs the same way.
    """
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    pictures = []
    for index in range(count):
        side = int(rng.integers(160, 420))
        left, top = int(rng.integers(0, 640 - side)), int(rng.integers(0, 427 - side))
        crop = photos[index % 2].crop((left, top, left + side, top + side))
        picture = crop.resize((size, size), Image.Resampling.BICUBIC)
        kind = index // 2 % 4
        if kind == 1:
            picture = picture.convert("L").point(lambda value: 0.4 * value).convert("RGB")
        elif kind > 1:
            card = Image.new("RGB", (size, size), "black" if kind == 2 else "white")
            inner = int(size * rng.uniform(0.35, 0.7))
            card.paste(picture.resize((inner, inner)), ((size - inner) // 2,) * 2)
            picture = card
        pictures.append(np.asarray(picture))
    return np.stack(pictures)


def _open_openvino(backbone: Backbone, cache: Path, threads: int | None) -> OpenVinoEngine | None:
    """The fastest faithful graphs: from the cache, or else exported, probed and cached."""

    @lru_cache(maxsize=1)
    def reference() -> tuple[nn.Module, Pixels, Vectors]:
        model = backbones.load_model(backbone.name, weights=backbone.weights)
        pixels = probe(backbone.preprocessing.size)
        vectors = TorchEngine(backbone, model).embed(pixels)
        return model.to(memory_format=torch.contiguous_format), pixels, vectors

    def is_faithful(graphs: Compiled) -> bool:
        _, pixels, wanted = reference()
        return float((_unit(graphs.run(pixels)) * wanted).sum(axis=1).min()) >= FAITHFUL

    found = compiled.open(
        lambda: reference()[0],
        backbone.preprocessing,
        Place(cache, backbone.fingerprint),
        is_faithful=is_faithful,
        threads=threads,
    )
    return None if found is None else OpenVinoEngine(backbone, found)


def _cut(image: Image.Image, longest: int) -> Image.Image:
    """The middle of an image, at most `longest` pixels in either direction."""
    width, height = min(image.width, longest), min(image.height, longest)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _unit(vectors: Vectors) -> Vectors:
    """Scaled to length 1; a vector of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = vectors / np.maximum(lengths, np.float32(1e-12))
    return scaled
