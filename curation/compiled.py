"""A network as openvino graphs that are faithful to fp32 torch, kept on disk for the next process.

The fastest plan that the caller finds faithful is taken. 8-bit pixels go in; scaling, normalisation
and the change of layout are part of the graph. One single-threaded stream a core works on a few
pictures at a time: that keeps the activations in the second-level cache, and lets a thread that
decodes take turns with a thread that infers.
"""

import importlib
import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from curation import files, graphs, images
from curation.backbones import Preprocessing

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

BATCH = 4
"""Images a call: 4.9 ms of processor time an image with the default backbone, at 32 5.8 ms."""

_log = logging.getLogger(__name__)


class Compiled:
    """Graphs one behind the other. Safe to call from several threads at once.

    Attributes:
        name: engine and precision, such as `openvino-bf16`.
    """

    def __init__(self, name: str, stages: list[Any]) -> None:
        self.name = name
        self._stages = stages
        self._local = threading.local()

    def run(self, pixels: Pixels) -> Floats:
        """Outputs (N, C) of pixels (N, size, size, 3); N at least 1."""
        requests = self._requests()
        found = []
        for start in range(0, len(pixels), BATCH):
            part = pixels[start : start + BATCH]
            count = len(part)
            if count < BATCH:
                part = np.resize(part, (BATCH, *part.shape[1:]))  # repeats rows
            requests[0].infer({0: np.ascontiguousarray(part)}, share_inputs=True)
            for request in requests[1:]:
                request.infer()
            found.append(requests[-1].get_output_tensor(0).data[:count].copy())
        outputs: Floats = np.concatenate(found)
        return outputs

    def _requests(self) -> list[Any]:
        """One request a stage for this thread, each reading what the one before it wrote."""
        requests: list[Any] | None = getattr(self._local, "requests", None)
        if requests is None:
            requests = [stage.create_infer_request() for stage in self._stages]
            for before, after in pairwise(requests):
                after.set_input_tensor(before.get_output_tensor(0))
            self._local.requests = requests
        return requests


@dataclass(frozen=True)
class Place:
    """Where the graphs of one network are kept.

    Attributes:
        folder: anything in it may be deleted at will.
        name: how their files' names begin; other weights need another one.
    """

    folder: Path
    name: str


def open(
    load: Callable[[], nn.Module],
    preprocessing: Preprocessing,
    place: Place,
    *,
    is_faithful: Callable[[Compiled], bool],
    threads: int | None = None,
) -> Compiled | None:
    """The fastest faithful way to run a network, from the disk or made now.

    Args:
        load: gives the network in evaluation mode, which takes normalised pictures (N, 3, size,
            size); called only where its graphs are not kept yet.
        preprocessing: what its pictures are made with.
        place: where the graphs are kept.
        is_faithful: asked of each way that is new here, the fastest first.
        threads: cores to use, all usable ones by default.

    Returns:
        None where openvino is not installed, cannot run this network, or no way is faithful.
    """
    openvino = _import_openvino()
    if openvino is None:
        return None
    try:
        return _open(
            openvino,
            load,
            preprocessing,
            place,
            is_faithful=is_faithful,
            cores=threads or images.usable_cores(),
        )
    except (RuntimeError, OSError) as error:
        _log.warning("openvino cannot run this network (%s): torch does", error)
        return None


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


def _core(openvino: Any) -> Any:
    """The one core of this process, kept to its end.

    Each core of openvino 2026.4 sets a signal stack of its own for the thread that makes it, and
    gives it back to the one before it. Two that end in another order than they began in leave the
    thread with a stack that is gone: the next signal, such as Ctrl-C, is a segmentation fault.
    """
    with _lock:
        if not _cores:
            _cores.append(openvino.Core())
        return _cores[0]


_lock = threading.Lock()
_cores: list[Any] = []


def _open(
    openvino: Any,
    load: Callable[[], nn.Module],
    preprocessing: Preprocessing,
    place: Place,
    *,
    is_faithful: Callable[[Compiled], bool],
    cores: int,
) -> Compiled | None:
    core = _core(openvino)
    bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    version = openvino.get_version().split("-")[0]
    stem = f"{place.name}-openvino-{version}-batch{BATCH}-{'bf16' if bf16 else 'f32'}"
    accepted = place.folder / f"{stem}.json"

    def compiled(name: str, stages: list[tuple[Any, str]]) -> Compiled:
        settings = {
            "NUM_STREAMS": cores,
            "INFERENCE_NUM_THREADS": cores,
            # The decoding threads float; pinned streams would wait for whichever shares their core.
            "ENABLE_CPU_PINNING": False,
        }
        made = Compiled(
            name,
            [
                core.compile_model(graph, "CPU", {**settings, "INFERENCE_PRECISION_HINT": hint})
                for graph, hint in stages
            ],
        )
        # The first call of a process sets openvino up; two threads that do so at once can wait for
        # each other for good, one holding the interpreter's lock, the other openvino's.
        made.run(np.zeros((1, preprocessing.size, preprocessing.size, 3), np.uint8))
        return made

    try:
        kept = json.loads(accepted.read_text())
        stages = [(core.read_model(place.folder / file), hint) for file, hint in kept["stages"]]
        return compiled(kept["name"], stages)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        _log.warning("the export in %s is damaged and is made again: %s", place.folder, error)

    traced = graphs.trace(load(), preprocessing, batch=BATCH)
    for name, build in _PLANS if bf16 else _PLANS[-1:]:
        stages = build(openvino, graphs.export(openvino, traced, preprocessing, batch=BATCH))
        if not stages:
            continue
        made = compiled(name, stages)
        if is_faithful(made):
            names = [f"{stem}-{index}.xml" for index in range(len(stages))]
            for (graph, _), file in zip(stages, names, strict=True):
                _save(openvino, graph, place.folder / file)
            hints = [hint for _, hint in stages]
            kept = {"name": name, "stages": list(zip(names, hints, strict=True))}
            files.write_json(accepted, kept)
            return made
        _log.info("%s strays too far from fp32 torch: not used", name)
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
