"""Engines that turn pixels into embeddings: openvino where it is faithful, torch otherwise.

`open` tries the fastest engine first and accepts it only if its embeddings of a probe batch point
the same way as fp32 torch's. Workers hand over 8-bit pixels; scaling, normalisation and the change
of layout are part of the openvino graph.
"""

import importlib
import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from curation import backbones, graphs, images
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
    """Compiled openvino graphs, one behind the other, with one single-threaded stream a core.

    One stream a core with small batches keeps the activations in the second-level cache, and lets a
    thread that decodes take turns with a thread that infers.
    """

    def __init__(self, backbone: Backbone, stages: list[Any], name: str) -> None:
        self.name = name
        self.batch = BATCH
        self.dimension = backbone.dimension
        self.preprocessing = backbone.preprocessing
        self._stages = stages
        self._local = threading.local()

    def embed(self, batch: Pixels) -> Vectors:
        """Unit-norm embeddings (N, d) of pixels (N, size, size, 3)."""
        requests = self._requests()
        found = np.empty((len(batch), self.dimension), np.float32)
        for start in range(0, len(batch), self.batch):
            part = batch[start : start + self.batch]
            count = len(part)
            if count < self.batch:
                part = np.resize(part, (self.batch, *part.shape[1:]))  # repeats rows
            requests[0].infer({0: np.ascontiguousarray(part)}, share_inputs=True)
            for request in requests[1:]:
                request.infer()
            found[start : start + count] = requests[-1].get_output_tensor(0).data[:count]
        return _unit(found)

    def _requests(self) -> list[Any]:
        """One request a stage for this thread, each reading what the one before it wrote."""
        requests: list[Any] | None = getattr(self._local, "requests", None)
        if requests is None:
            requests = [stage.create_infer_request() for stage in self._stages]
            for before, after in pairwise(requests):
                after.set_input_tensor(before.get_output_tensor(0))
            self._local.requests = requests
        return requests


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
    """The fastest faithful graph: from the cache, or else exported, probed and cached."""
    core = openvino.Core()
    bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    version = openvino.get_version().split("-")[0]
    stem = f"{backbone.fingerprint}-openvino-{version}-batch{BATCH}-{'bf16' if bf16 else 'f32'}"
    accepted = cache / f"{stem}.json"

    def compiled(name: str, stages: list[tuple[Any, str]]) -> OpenVinoEngine:
        settings = {
            "NUM_STREAMS": cores,
            "INFERENCE_NUM_THREADS": cores,
            # The decoding threads float; pinned streams would wait for whichever shares their core.
            "ENABLE_CPU_PINNING": False,
        }
        models = [
            core.compile_model(graph, "CPU", {**settings, "INFERENCE_PRECISION_HINT": precision})
            for graph, precision in stages
        ]
        return OpenVinoEngine(backbone, models, name)

    try:
        cached = json.loads(accepted.read_text())
        stages = [
            (core.read_model(cache / file), precision) for file, precision in cached["stages"]
        ]
        engine = compiled(cached["name"], stages)
        # The first call of a process sets openvino up; two threads that do so at once can wait for
        # each other for good, one holding the interpreter's lock, the other openvino's.
        size = backbone.preprocessing.size
        engine.embed(np.zeros((1, size, size, 3), np.uint8))
        return engine
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        _log.warning("the export in %s is damaged and is made again: %s", cache, error)

    model = backbones.load_model(backbone.name, weights=backbone.weights)
    pixels = probe(backbone.preprocessing.size)
    wanted = TorchEngine(backbone, model).embed(pixels)
    model = model.to(memory_format=torch.contiguous_format)
    traced = graphs.trace(model, backbone.preprocessing, batch=BATCH)
    for name, build in _PLANS if bf16 else _PLANS[-1:]:
        graph = graphs.export(openvino, traced, backbone.preprocessing, batch=BATCH)
        stages = build(openvino, graph)
        if not stages:
            continue
        engine = compiled(name, stages)
        cosine = float((engine.embed(pixels) * wanted).sum(axis=1).min())
        if cosine >= FAITHFUL:
            files = [f"{stem}-{index}.xml" for index in range(len(stages))]
            for (graph, _), file in zip(stages, files, strict=True):
                _save(openvino, graph, cache / file)
            precisions = [precision for _, precision in stages]
            entry = {"stages": list(zip(files, precisions, strict=True))}
            _write(accepted, json.dumps({"name": name, "cosine": cosine, **entry}))
            return engine
        _log.info("%s gives cosine %.5f on the probe: not used", name, cosine)
    return None


def _all_fp32(openvino: Any, graph: Any) -> list[tuple[Any, str]]:
    return [(graph, "f32")]


def _bf16_behind(convolutions: int) -> Callable[[Any, Any], list[tuple[Any, str]]]:
    """A plan that keeps so many convolutions in fp32 and runs the rest in bf16."""

    def build(openvino: Any, graph: Any) -> list[tuple[Any, str]]:
        graphs.round_depthwise(openvino, graph)
        if convolutions == 0:
            return [(graph, "bf16")]
        parts = graphs.split(openvino, graph, convolutions)
        return [] if parts is None else [(parts[0], "f32"), (parts[1], "bf16")]

    return build


_PLANS: tuple[tuple[str, Callable[[Any, Any], list[tuple[Any, str]]]], ...] = (
    ("openvino-bf16", _bf16_behind(0)),
    ("openvino-bf16-behind-3", _bf16_behind(3)),
    ("openvino-bf16-behind-9", _bf16_behind(9)),
    ("openvino-bf16-behind-18", _bf16_behind(18)),
    ("openvino-fp32", _all_fp32),
)
"""Name and graphs of each way to run, fastest first; a plan that suits no cut gives none."""


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
