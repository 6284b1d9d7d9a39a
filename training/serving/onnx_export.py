"""A run's model as one ONNX file that needs nothing of labelloop.

The graph takes 8-bit RGB pixels and gives calibrated probabilities: normalisation, backbone, head
and temperature are inside. Classes, task and how pictures are cut to size stand in the file's
metadata, which the script beside it reads, and in a JSON for other programs.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from curation import backbones, inference
from curation.backbones import Preprocessing
from curation.errors import TrainingError
from curation.inference import Pixels
from curation.progress import Report, silent
from curation.workspace import Project
from training.finetuning import network
from training.finetuning.finetuned import FineTuned
from training.heads.head import Head
from training.heads.mlp import Mlp
from training.serving import classifier, model_folder
from training.serving.classifier import Stored
from training.targets import THRESHOLD

TOLERANCE = 1e-3
"""Largest difference of a probability from torch's at which a file is written."""

IMAGES = 200
"""That it is compared on: the project's own, and made ones where there are fewer."""

MODEL, SCRIPT = "model.onnx", "predict_onnx.py"

_FORMAT = "labelloop-onnx-1"
_OPSET = 18
_NEVER = -1e9
"""The score of a class without a training row: its probability is 0, and the graph stays finite."""

_BATCH = 8


@dataclass(frozen=True)
class Exported:
    """What `export` wrote.

    Attributes:
        files: their paths.
        difference: largest of a probability between onnxruntime and torch.
        to_predict: the same between onnxruntime and `labelloop predict` on this machine, whose
            engine may be of lower precision.
        same_answers: share of the images that both give the same classes.
        images: that were compared.
        own: of them, the project's.
        bytes: of the model.
    """

    files: tuple[Path, ...]
    difference: float
    to_predict: float
    same_answers: float
    images: int
    own: int
    bytes: int


class Portable(nn.Module):
    """From pixels (N, S, S, 3), 8-bit, to calibrated probabilities (N, C)."""

    def __init__(self, stored: Stored) -> None:
        super().__init__()
        model = stored.model
        if isinstance(model, FineTuned):
            self.preprocessing = model.preprocessing
            self.body: nn.Module = model.module.cpu()
            self.top: nn.Module = nn.Identity()
            known = np.asarray(model.known)
        else:
            backbone = stored.open_backbone()
            self.preprocessing = backbone.preprocessing
            self.body = backbones.load_model(backbone.name, weights=backbone.weights)
            self.top, known = _head(model)
        self.see = network.Input(self.preprocessing, channels_last=False)
        self.is_unit = not isinstance(model, FineTuned)
        self.task = model.task
        self.temperature = model.temperature
        self.register_buffer("known", torch.from_numpy(known.copy()))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Calibrated probabilities."""
        features = self.body(self.see(pixels))
        if self.is_unit:
            features = functional.normalize(features, dim=1)
        logits = self.top(features) / self.temperature
        known = cast(torch.Tensor, self.known)
        logits = torch.where(known, logits, torch.full_like(logits, _NEVER))
        if self.task == "multi-label":
            return torch.sigmoid(logits)
        return torch.softmax(logits, dim=1)

    def probabilities(self, pixels: Pixels) -> NDArray[np.float32]:
        """What torch gives for pixels (N, S, S, 3)."""
        found = []
        with torch.inference_mode():
            for start in range(0, len(pixels), _BATCH):
                part = torch.from_numpy(np.ascontiguousarray(pixels[start : start + _BATCH]))
                found.append(self(part).numpy())
        return np.concatenate(found)


def _head(model: Head | Mlp) -> tuple[nn.Module, NDArray[np.bool_]]:
    """The layers behind the embedding, and which classes had a training row."""
    known = np.isfinite(model.bias)
    last = _linear(model.weight, np.where(known, model.bias, 0))
    if isinstance(model, Head):
        return last, known
    hidden = _linear(model.hidden_weight, model.hidden_bias)
    return nn.Sequential(hidden, nn.ReLU(), last), known


def _linear(weight: NDArray[np.float32], bias: NDArray[np.floating[Any]]) -> nn.Module:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


def export(project: Project, run_id: str, folder: Path, *, report: Report = silent) -> Exported:
    """Writes a run's model, compared with torch on pictures before anything is written.

    Args:
        project: whose run it is.
        run_id: of the run.
        folder: as `model_folder.write`; files of an earlier export are replaced.
        report: told of the progress.

    Raises:
        TrainingError: as `classifier.read`; the network cannot be written as ONNX; or the file's
            answers differ from torch's by more than `TOLERANCE`.
    """
    report(0, 0, "read the model")
    stored = classifier.read(project, run_id)
    portable = Portable(stored).eval()
    how = portable.preprocessing
    about = _about(stored, how)
    report(0, 0, "write ONNX")
    content = _graph(portable, run_id, about)
    own = classifier.sample(project, how, IMAGES)
    made = inference.probe(how.size, IMAGES)[: IMAGES - len(own)]
    pixels = np.concatenate([own, made])
    report(0, len(pixels), "compare")
    found = _run(content, pixels)
    difference = float(np.abs(found - portable.probabilities(pixels)).max())
    if not difference <= TOLERANCE:
        raise TrainingError(
            f"{run_id} as ONNX gives probabilities that differ from torch's by up to "
            f"{difference:.2g}; at most {TOLERANCE:g} is accepted. Nothing was written. Use "
            "--format safetensors."
        )
    here = classifier.open(project, run_id).probabilities_of(pixels)
    report(len(pixels), len(pixels), "compare")
    about["compared"] = {"images": len(pixels), "largest_difference": difference}
    return Exported(
        files=model_folder.write(folder, {MODEL: content, SCRIPT: _SCRIPT.encode()}, about),
        difference=difference,
        to_predict=float(np.abs(found - here).max()),
        same_answers=float(np.mean(_answers(found, stored) == _answers(here, stored))),
        images=len(pixels),
        own=len(own),
        bytes=len(content),
    )


def _about(stored: Stored, how: Preprocessing) -> dict[str, Any]:
    """What the JSON beside the model says."""
    return {
        "format": _FORMAT,
        "run": stored.run,
        "model": stored.identity,
        "task": stored.model.task,
        "classes": list(stored.model.classes),
        "temperature": stored.model.temperature,
        "threshold": THRESHOLD,
        "input": {"name": "pixels", "type": "uint8", "shape": ["batch", how.size, how.size, 3]},
        "output": {"name": "probabilities", "shape": ["batch", len(stored.model.classes)]},
        "preprocessing": {
            "colour": "RGB",
            "resize_shorter_side_to": round(how.size / how.crop_fraction),
            "decode_at_least": inference.DRAFT_FACTOR * round(how.size / how.crop_fraction),
            "interpolation": how.interpolation,
            "crop_middle": how.size,
        },
    }


def _graph(portable: Portable, run_id: str, about: dict[str, Any]) -> bytes:
    """The ONNX file."""
    size = portable.preprocessing.size
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    try:
        with _quiet():
            program: Any = torch.onnx.export(
                portable,
                (example,),
                dynamo=True,
                dynamic_shapes={"pixels": {0: torch.export.Dim("batch")}},
                input_names=["pixels"],
                output_names=["probabilities"],
                opset_version=_OPSET,
                verbose=False,
            )
        proto = program.model_proto
        for key, value in about.items():
            entry = proto.metadata_props.add()
            entry.key = key
            entry.value = value if isinstance(value, str) else json.dumps(value)
        content: bytes = proto.SerializeToString()
    except (torch.onnx.OnnxExporterError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise TrainingError(
            f"{run_id} cannot be written as ONNX ({reason}). Use --format safetensors."
        ) from error
    return content


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of packages that are not installed."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _run(content: bytes, pixels: Pixels) -> NDArray[np.float32]:
    """What onnxruntime gives."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = [
        session.run(None, {"pixels": np.ascontiguousarray(pixels[start : start + _BATCH])})[0]
        for start in range(0, len(pixels), _BATCH)
    ]
    return np.concatenate(found)


def _answers(probabilities: NDArray[Any], stored: Stored) -> NDArray[Any]:
    if stored.model.task == "multi-label":
        return np.array([row.tobytes() for row in probabilities >= THRESHOLD])
    return np.asarray(probabilities.argmax(axis=1))


_SCRIPT = '''\
"""python predict_onnx.py IMAGE...: what model.onnx beside this file says of 8-bit images."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

home = Path(__file__).parent
session = onnxruntime.InferenceSession(home / "model.onnx")
model = session.get_modelmeta().custom_metadata_map
classes, how, threshold = (json.loads(model[k]) for k in ("classes", "preprocessing", "threshold"))
shorter, crop = how["resize_shorter_side_to"], how["crop_middle"]
for name in sys.argv[1:]:
    image = Image.open(name)
    image.draft(None, (how["decode_at_least"],) * 2)
    image = ImageOps.exif_transpose(image).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    size = [max(shorter, int(side * shorter / min(image.size))) for side in image.size]
    image = image.resize(size, Image.Resampling[how["interpolation"].upper()])
    left, top = (round((side - crop) / 2) for side in size)
    pixels = np.asarray(image.crop((left, top, left + crop, top + crop)))
    p = session.run(None, {"pixels": pixels[None]})[0][0]
    chosen = np.flatnonzero(p >= threshold) if model["task"] == "multi-label" else [p.argmax()]
    said = {"image": name, "prediction": "|".join(classes[k] for k in chosen)}
    print(json.dumps({**said, "probabilities": [round(float(q), 6) for q in p]}))
'''
