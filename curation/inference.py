"""Engines that turn pixels into embeddings: openvino where it is faithful, torch otherwise.

`open` tries the fastest engine first and accepts it only if its embeddings of a probe batch point
the same way as fp32 torch's. Workers hand over 8-bit pixels; scaling, normalisation and the change of
layout are part of the openvino graph.
"""

import importlib
import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from curation import backbones, images
from curation.backbones import Backbone, Preprocessing

Pixels = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]

FAITHFUL = 0.999
"""Smallest cosine to fp32 torch, over the probe batch, at which another engine is accepted."""

DRAFT_FACTOR = 4
"""A JPEG may be decoded at reduced scale down to this many times the input size: at 4 the cosine
to the full decode stays above 0.9997, at 2 it falls to 0.998, at 1 to 0.99."""

BATCH = 4
"""Images a call of the openvino graph: 4.9 ms of processor time an image, at 32 5.8 ms."""

LONGEST = 4
"""Panoramas longer than this many times their width are cut to it before they are resized."""

_log = logging.getLogger(__name__)


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


def open(backbone: Backbone, *, cache: Path, threads: int | None = None) -> Engine:  # noqa: A001 - read as inference.open
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
    openvino = _import_openvino()
    if openvino is not None:
        cores = threads or images.usable_cores()
        try:
            engine = _open_openvino(openvino, backbone, cache, cores)
        except (RuntimeError, OSError) as error:
            _log.warning("openvino cannot be used (%s): torch takes over", error)
        else:
            if engine is not None:
                return engine
    return open_torch(backbone)


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
    """A compiled openvino graph with one single-threaded stream a core.

    One stream a core with small batches keeps the activations in the second-level cache, and lets a
    thread that decodes take turns with a thread that infers.
    """

    def __init__(self, backbone: Backbone, compiled: Any, name: str) -> None:
        self.name = name
        self.batch = BATCH
        self.dimension = backbone.dimension
        self.preprocessing = backbone.preprocessing
        self._compiled = compiled
        self._local = threading.local()

    def embed(self, batch: Pixels) -> Vectors:
        """Unit-norm embeddings (N, d) of pixels (N, size, size, 3)."""
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        found = np.empty((len(batch), self.dimension), np.float32)
        for start in range(0, len(batch), self.batch):
            part = batch[start : start + self.batch]
            count = len(part)
            if count < self.batch:
                part = np.resize(part, (self.batch, *part.shape[1:]))  # repeats rows
            request.infer({0: np.ascontiguousarray(part)}, share_inputs=True)
            found[start : start + count] = request.get_output_tensor(0).data[:count]
        return _unit(found)


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


def probe(size: int, count: int = 12) -> Pixels:
    """Crops (count, size, size, 3) of the two photos that scikit-learn ships, always the same."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    crops = []
    for index in range(count):
        side = int(rng.integers(160, 420))
        left, top = int(rng.integers(0, 640 - side)), int(rng.integers(0, 427 - side))
        crop = photos[index % 2].crop((left, top, left + side, top + side))
        crops.append(np.asarray(crop.resize((size, size), Image.Resampling.BICUBIC)))
    return np.stack(crops)


def _import_openvino() -> Any:
    """The openvino module, None where it is not installed.

    Its telemetry package is masked first: openvino reports every import to its maker's server, and
    falls back to a stub where that package cannot be imported.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return importlib.import_module("openvino")
    except ImportError:
        return None


def _open_openvino(
    openvino: Any, backbone: Backbone, cache: Path, cores: int
) -> OpenVinoEngine | None:
    """The graph at the fastest faithful precision: cached, or else exported, probed and cached."""
    core = openvino.Core()
    settings = {
        "NUM_STREAMS": cores,
        "INFERENCE_NUM_THREADS": cores,
        # The decoding threads float; pinned streams would wait for whichever shares their core.
        "ENABLE_CPU_PINNING": False,
    }
    bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    precisions = ["bf16", "f32"] if bf16 else ["f32"]
    version = openvino.get_version().split("-")[0]
    stem = f"{backbone.fingerprint}-openvino-{version}-batch{BATCH}"
    graph_path = cache / f"{stem}.xml"
    verdict_path = cache / f"{stem}-{precisions[0]}.json"

    def compiled_at(graph: Any, precision: str) -> OpenVinoEngine:
        compiled = core.compile_model(
            graph, "CPU", {**settings, "INFERENCE_PRECISION_HINT": precision}
        )
        return OpenVinoEngine(backbone, compiled, f"openvino-{precision}")

    accepted = _read_verdict(verdict_path)
    if accepted is not None and graph_path.exists():
        return compiled_at(core.read_model(graph_path), accepted)

    model = backbones.load_model(backbone.name, weights=backbone.weights)
    graph = _export(openvino, model, backbone.preprocessing)
    pixels = probe(backbone.preprocessing.size)
    wanted = TorchEngine(backbone, model).embed(pixels)
    for precision in precisions:
        engine = compiled_at(graph, precision)
        cosine = float((engine.embed(pixels) * wanted).sum(axis=1).min())
        if cosine >= FAITHFUL:
            _save(openvino, graph, graph_path)
            _write(verdict_path, json.dumps({"precision": precision, "cosine": cosine}))
            return engine
        _log.warning("openvino in %s gives cosine %.5f: not used", precision, cosine)
    return None


def _export(openvino: Any, model: nn.Module, preprocessing: Preprocessing) -> Any:
    """Trace a model into a graph that takes 8-bit pixels (batch, size, size, 3)."""
    size = preprocessing.size
    shape = [BATCH, 3, size, size]
    with torch.inference_mode():
        graph = openvino.convert_model(model, example_input=torch.zeros(shape), input=shape)
    steps = openvino.preprocess.PrePostProcessor(graph)
    entry = steps.input()
    entry.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    entry.model().set_layout(openvino.Layout("NCHW"))
    (
        entry.preprocess()
        .convert_element_type(openvino.Type.f32)
        .mean([255 * value for value in preprocessing.mean])
        .scale([255 * value for value in preprocessing.std])
    )
    return steps.build()


def _save(openvino: Any, graph: Any, path: Path) -> None:
    """Write the graph under a temporary name, weights first, then give both their names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}-{os.getpid()}-partial.xml")
    openvino.save_model(graph, partial, compress_to_fp16=False)
    partial.with_suffix(".bin").replace(path.with_suffix(".bin"))
    partial.replace(path)


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}-{os.getpid()}-partial")
    partial.write_text(text)
    partial.replace(path)


def _read_verdict(path: Path) -> str | None:
    """The precision that the probe accepted, None where it has not been asked yet."""
    try:
        return str(json.loads(path.read_text())["precision"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
