"""The model of a run as something that answers about pictures, whatever kind of training made it.

A head or a small network looks at the embeddings of its backbone, a fine-tuned network at the
pixels. On a processor both run in openvino where that is faithful to fp32 torch.
"""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from curation import backbones, compiled, inference
from curation.backbones import Backbone, Preprocessing
from curation.catalog import Connection, rounds
from curation.catalog import images as image_rows
from curation.catalog import runs as run_rows
from curation.compiled import Compiled, Place
from curation.errors import TrainingError, UnreadableImage
from curation.inference import Pixels
from curation.workspace import Project
from training import runs
from training.calibration import to_probabilities
from training.finetuning.finetuned import FineTuned
from training.heads.head import Head
from training.heads.mlp import Mlp

FAITHFUL = 0.01
"""Largest difference of a probability from fp32 torch's at which another engine is accepted."""

PROBES = 48
"""Pictures of either kind, made ones and the project's own, that an engine is compared on."""

Scores = NDArray[np.float64]
Model = Head | Mlp | FineTuned

LOADERS: dict[str, type[Head] | type[Mlp] | type[FineTuned]] = {
    "head": Head,
    "mlp": Mlp,
    "fine-tune": FineTuned,
}
"""What reads the weights of each kind of training."""


@dataclass(frozen=True, eq=False)
class Classifier:
    """What answers about pictures. Safe to call from several threads at once.

    Attributes:
        run: whose model it is.
        identity: 16 hex digits of weights and temperature; another model has others.
        classes: C names.
        task: `single-label` or `multi-label`.
        temperature: above 0; logits are divided by it before they become probabilities.
        preprocessing: what `inference.prepare` must be given.
        engine: and precision, such as `openvino-bf16`.
        batch: pictures a call that the engine works best with.
        logits_of: pixels (N, size, size, 3) to scores (N, C) before the temperature.
    """

    run: str
    identity: str
    classes: tuple[str, ...]
    task: str
    temperature: float
    preprocessing: Preprocessing
    engine: str
    batch: int
    logits_of: Callable[[Pixels], Scores]

    def probabilities_of(self, pixels: Pixels) -> Scores:
        """(N, C), calibrated; rows sum to 1 in a single-label task."""
        logits = self.logits_of(pixels)
        return to_probabilities(logits, task=self.task, temperature=self.temperature)


@dataclass(frozen=True, eq=False)
class Stored:
    """What a run left on disk.

    Attributes:
        run: its id.
        kind: of training.
        model: with the temperature it is used with.
        path: of the weights.
        facts: of `run.json`.
        identity: as in `Classifier`.
    """

    run: str
    kind: str
    model: Model
    path: Path
    facts: dict[str, Any]
    identity: str

    @property
    def backbone(self) -> str:
        """The timm name of the network that looks at the pixels."""
        if isinstance(self.model, FineTuned):
            return self.model.settings.backbone
        return str(self.facts["backbone"])

    def open_backbone(self) -> Backbone:
        """The backbone that a head looks through.

        Raises:
            BackboneError: its weights cannot be had.
            TrainingError: they are not those that the run was trained with.
        """
        found = backbones.open(self.backbone)
        wanted = self.facts["fingerprint"]
        if found.fingerprint != wanted:
            raise TrainingError(
                f"{self.run} looks at embeddings {wanted} of {self.backbone}, and the weights of "
                f"this machine give {found.fingerprint}. Install those of then, or train again "
                "with `labelloop train`."
            )
        return found


def read(project: Project, run_id: str) -> Stored:
    """The model of a finished run.

    Raises:
        NotFound: there is no such run.
        TrainingError: it is not finished, was deleted, or its files are missing or damaged.
    """
    with project.catalog.read() as connection:
        row = run_rows.get(connection, run_id)
        temperature = _of_round(connection, project, run_id)
    if row["project_id"] != project.id or row["state"] != "done":
        is_ours = row["project_id"] == project.id
        raise TrainingError(
            f"{run_id} {'is ' + row['state'] if is_ours else 'belongs to another project'}, so "
            "there is no model to use. `labelloop models list` shows those that there are."
        )
    home = runs.folder(project, run_id)
    path = home / (runs.HEAD if (home / runs.HEAD).exists() else runs.MODEL)
    digest = runs.hashes(project, run_id).get(path.name, "")
    kept = row["about"].get("files", {}).get(path.name, digest)
    if not digest or kept != digest:
        raise TrainingError(
            f"{path} is {'not what the training wrote' if digest else 'missing'}. Restore it from "
            "a backup, or train again with `labelloop train`."
        )
    model: Model = LOADERS[row["kind"]].load(path)
    model = replace(model, classes=project.record.renamed(model.classes))
    if temperature is not None:
        model = model.calibrated(temperature)
    identity = hashlib.sha256(f"{digest} {model.temperature!r}".encode()).hexdigest()[:16]
    facts = runs.read(project, run_id, runs.FACTS)
    return Stored(run_id, row["kind"], model, path, facts, identity)


def _of_round(connection: Connection, project: Project, run_id: str) -> float | None:
    """The temperature of a round's head, which the round keeps; none for other runs."""
    for one in rounds.every(connection, project.id):
        if one.run_id == run_id:
            done = rounds.steps(connection, one.id).get("calibrate")
            return float(done["result"]["temperature"]) if done else None
    return None


def open(project: Project, run_id: str, *, exact: bool = False) -> Classifier:
    """The model of a finished run, in the fastest engine that is faithful.

    Args:
        project: whose run it is.
        run_id: of the run.
        exact: in fp32 torch, whatever is faster.

    Raises:
        NotFound: there is no such run.
        BackboneError: the weights of its backbone cannot be had.
        TrainingError: as `read`.
    """
    stored = read(project, run_id)
    if isinstance(stored.model, FineTuned):
        return _on_pixels(project, stored, stored.model, exact=exact)
    return _on_embeddings(project, stored, stored.model, exact=exact)


def _on_embeddings(
    project: Project, stored: Stored, model: Head | Mlp, *, exact: bool
) -> Classifier:
    backbone = stored.open_backbone()
    cache = project.workspace.folder("embeddings") / "engines"
    engine = inference.open_torch(backbone) if exact else inference.open(backbone, cache=cache)
    return Classifier(
        run=stored.run,
        identity=stored.identity,
        classes=model.classes,
        task=model.task,
        temperature=model.temperature,
        preprocessing=engine.preprocessing,
        engine=engine.name,
        batch=engine.batch,
        logits_of=lambda pixels: model.logits(engine.embed(pixels)),
    )


def _on_pixels(project: Project, stored: Stored, model: FineTuned, *, exact: bool) -> Classifier:
    how = model.preprocessing
    turn = threading.Lock()

    def by_torch(pixels: Pixels) -> Scores:
        # One forward at a time: torch spreads each over all cores by itself.
        with turn:
            return model.logits_of(pixels)

    def describe(engine: str, batch: int, logits_of: Callable[[Pixels], Scores]) -> Classifier:
        return Classifier(
            run=stored.run,
            identity=stored.identity,
            classes=model.classes,
            task=model.task,
            temperature=model.temperature,
            preprocessing=how,
            engine=engine,
            batch=batch,
            logits_of=logits_of,
        )

    if torch.cuda.is_available():
        model.module.to("cuda")
        return describe("torch-cuda-fp32", 128, by_torch)
    reference = describe("torch-cpu-fp32", 16, by_torch)
    if exact:
        return reference
    forgotten = ~np.asarray(model.known)

    def masked(outputs: NDArray[np.float32]) -> Scores:
        logits = outputs.astype(np.float64)
        logits[:, forgotten] = -np.inf
        return logits

    @cache
    def wanted() -> tuple[Pixels, Scores]:
        pixels = _probes(project, how)
        return pixels, reference.probabilities_of(pixels)

    def is_faithful(engine: Compiled) -> bool:
        pixels, expected = wanted()
        logits = masked(engine.run(pixels))
        found = to_probabilities(logits, task=model.task, temperature=model.temperature)
        return bool(np.abs(found - expected).max() <= FAITHFUL)

    engine = compiled.open(
        lambda: model.module,
        how,
        Place(stored.path.parent / "engine", stored.identity),
        is_faithful=is_faithful,
    )
    if engine is None:
        return reference
    return describe(engine.name, compiled.BATCH, lambda pixels: masked(engine.run(pixels)))


def _probes(project: Project, how: Preprocessing) -> Pixels:
    """Made pictures, and the project's own."""
    return np.concatenate([inference.probe(how.size, PROBES), sample(project, how, PROBES)])


def sample(project: Project, how: Preprocessing, count: int) -> Pixels:
    """Up to so many images from all over a project, as far as they can be read."""
    with project.catalog.read() as connection:
        ids = np.fromiter((key for key, _ in image_rows.usable(connection, project.id)), np.int64)
        chosen = ids[np.linspace(0, len(ids) - 1, min(count, len(ids))).astype(int)].tolist()
        places = image_rows.places(connection, chosen)
    found: list[Pixels] = [np.empty((0, how.size, how.size, 3), np.uint8)]
    for key in chosen:
        try:
            found.append(inference.prepare(Path(places[key].location), how)[None])
        except UnreadableImage:
            continue
    return np.concatenate(found)
