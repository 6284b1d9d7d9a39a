"""A training with given settings, judged on validation alone: what every trial of a search does."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import TrainingError
from curation.progress import Report
from curation.workspace import Project
from training import examples, fitting, steering
from training.examples import Embedded
from training.heads.head import fit_head
from training.material import Material, Part
from training.settings import FineTuneSettings, HeadSettings, MlpSettings, Settings

METRICS = {
    "accuracy": "accuracy",
    "balanced-accuracy": "balanced_accuracy",
    "macro-f1": "macro_f1",
    "log-loss": "loss",
}
"""By the setting's name, that of an epoch's figure."""


@dataclass(frozen=True, eq=False)
class Bench:
    """What all trials of a study share.

    Attributes:
        project: whose images they are.
        material: frozen; the test part is not looked at.
        backbone: of the embeddings.
        fingerprint: of the embeddings.
        metric: of `METRICS`.
        seed: of all randomness in a training.
        home: folder of the study.
    """

    project: Project
    material: Material
    backbone: str
    fingerprint: str
    metric: str
    seed: int
    home: Path

    @cached_property
    def learned_from(self) -> Embedded:
        """Embeddings of the train part."""
        return examples.embedded(self.project, self.material, self._facts)

    @cached_property
    def held(self) -> NDArray[np.float32]:
        """(N, d) embeddings of the validation part."""
        store = examples.store_of(self.project, self._facts)
        return store.read(self.material.validation.ids.tolist())

    @property
    def _facts(self) -> dict[str, Any]:
        return {"fingerprint": self.fingerprint, "backbone": self.backbone}


@dataclass(frozen=True, eq=False)
class Step:
    """Where a trial stands after an epoch.

    Attributes:
        number: of the epoch, from 1.
        value: of the metric, by the epoch's model.
        best: of the metric, by the model that would be kept.
        model: that one; None in fine-tuning, which keeps it in its folder.
    """

    number: int
    value: float
    best: float
    model: Any


def run(bench: Bench, settings: Settings, *, report: Report) -> Iterator[Step]:
    """Trains with these settings, epoch by epoch; the caller may stop.

    Raises:
        TrainingError: settings that allow no model, or a loss that is no number.
        LabelloopError: an image or the backbone's weights cannot be read.
        Cancelled: asked to stop.
    """
    if isinstance(settings, HeadSettings):
        return _head(bench, settings)
    if isinstance(settings, MlpSettings):
        return _mlp(bench, settings, report)
    if isinstance(settings, FineTuneSettings):
        return _fine_tune(bench, settings, report)
    raise TrainingError(f"Settings of kind {settings.kind!r} cannot be tuned.")


def _head(bench: Bench, settings: HeadSettings) -> Iterator[Step]:
    material, rows = bench.material, bench.learned_from
    head = fit_head(
        rows.X,
        rows.y,
        classes=material.classes,
        task=material.task,
        settings=settings,
        sample_weight=rows.weight,
        class_weight=material.class_weight,
    )
    p = head.probabilities(bench.held)
    value = steering.figures(p, material.validation.targets)[METRICS[bench.metric]]
    yield Step(1, value, value, head)


def _mlp(bench: Bench, settings: MlpSettings, report: Report) -> Iterator[Step]:
    from training.heads import mlp_training

    material, rows = bench.material, bench.learned_from
    name, best = METRICS[bench.metric], float("nan")
    for epoch, model in mlp_training.run(
        rows.X,
        rows.y,
        classes=material.classes,
        task=material.task,
        settings=settings,
        validation=(bench.held, material.validation.targets),
        sample_weight=rows.weight,
        class_weight=material.class_weight,
        seed=bench.seed,
        report=report,
    ):
        if epoch.validation:
            best = epoch.validation[name] if epoch.best else best
            yield Step(epoch.number, epoch.validation[name], best, model)


def _fine_tune(bench: Bench, settings: FineTuneSettings, report: Report) -> Iterator[Step]:
    from training.finetuning import trainer

    material = bench.material
    name, best = METRICS[bench.metric], float("nan")
    for epoch in trainer.run(
        examples.photos(bench.project, material),
        examples.of_part(bench.project, material.validation),
        classes=material.classes,
        task=material.task,
        settings=settings,
        seed=bench.seed,
        folder=folder(bench, settings),
        class_weight=material.class_weight,
        weights=Path(settings.weights) if settings.weights else None,
        report=report,
    ):
        if epoch.validation:
            best = epoch.validation[name] if epoch.best else best
            yield Step(epoch.number, epoch.validation[name], best, None)


def folder(bench: Bench, settings: Settings) -> Path:
    """Where a trial's checkpoints are: by its settings, so that a repeated one goes on."""
    digest = hashlib.sha256(json.dumps(settings.as_json(), sort_keys=True).encode()).hexdigest()
    return bench.home / "trials" / f"{settings.kind}-{digest[:12]}"


def keep(bench: Bench, settings: Settings, model: Any, target: Path) -> None:
    """Puts a trial's model where the study keeps its best one, all or nothing."""
    if model is None:
        from training.finetuning import trainer

        target.parent.mkdir(parents=True, exist_ok=True)
        (folder(bench, settings) / trainer.MODEL).replace(target)
    else:
        model.save(target)


def discard(bench: Bench, settings: Settings) -> None:
    """Removes what a trial left behind."""
    shutil.rmtree(folder(bench, settings), ignore_errors=True)


def answers(bench: Bench, settings: Settings, path: Path, part: Part) -> NDArray[np.float64]:
    """(N, C) logits of a kept model for a part.

    Raises:
        TrainingError: the model's file is missing or broken.
    """
    model = fitting.load(path, settings)
    facts = {"fingerprint": bench.fingerprint}
    return fitting.logits(bench.project, model, settings, facts, part.ids)
