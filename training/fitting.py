"""Fitting a model of any kind to a run's material, and asking it about images of the catalog.

A head and a small network learn from stored embeddings, fine-tuning from the files. All that is
needed lies in the run's folder, so that several processes or machines can do it together.
"""

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from curation.embeddings import EmbeddingStore
from curation.progress import Report, silent
from curation.records import LabelRow
from curation.workspace import Project
from training import material as materials
from training import runs
from training.finetuning import distributed
from training.heads import strength
from training.heads.head import Head, fit_head
from training.material import Material, Part
from training.settings import FineTuneSettings, HeadSettings, MlpSettings, Settings, from_json

if TYPE_CHECKING:
    from training.finetuning import trainer

_BLOCK = 1024

_log = logging.getLogger(__name__)


class Model(Protocol):
    """What every kind of training leaves behind."""

    def calibrated(self, temperature: float) -> "Model":
        """The same model with another temperature."""

    def save(self, path: Path) -> None:
        """Writes it to one safetensors file, all or nothing."""


def fit(project: Project, run_id: str, *, report: Report = silent, processes: int = 1) -> None:
    """Fits the run's model and writes it into the run's folder; what was done already is not.

    Args:
        project: whose run it is.
        run_id: whose rows and settings are written.
        report: told of the progress.
        processes: that fine-tune together on this machine.

    Raises:
        TrainingError: the labels allow no model, or the loss is no number.
        Cancelled: asked to stop; called again it goes on.
    """
    home = runs.folder(project, run_id)
    settings = from_json(runs.read(project, run_id, runs.SETTINGS))
    if processes > 1 and isinstance(settings, FineTuneSettings):
        distributed.launch(project, run_id, processes=processes, report=report)
        return
    facts = runs.read(project, run_id, runs.FACTS)
    material = materials.load(project, home, facts["material"])
    if isinstance(settings, HeadSettings):
        _fit_head(project, home, settings, material, facts, report).save(home / runs.MODEL)
    elif isinstance(settings, MlpSettings):
        _fit_mlp(project, home, settings, material, facts, report)
    elif isinstance(settings, FineTuneSettings):
        _fine_tune(project, home, settings, material, facts, report)


def store_of(project: Project, facts: dict[str, Any]) -> EmbeddingStore:
    """The embeddings that a run's head looks at."""
    home = project.workspace.folder("embeddings")
    return EmbeddingStore(home / facts["fingerprint"][:16], facts["fingerprint"])


def _fit_head(
    project: Project,
    home: Path,
    settings: HeadSettings,
    material: Material,
    facts: dict[str, Any],
    report: Report,
) -> Head:
    X, y, weight, groups = _rows(project, material, facts, report)
    report(0, 0, "train")
    given: dict[str, Any] = {
        "classes": material.classes,
        "task": material.task,
        "sample_weight": weight,
        "class_weight": material.class_weight,
    }
    if not settings.search:
        return fit_head(X, y, settings=settings, **given)
    chosen = strength.choose(
        X, y, settings=settings, groups=groups, seed=facts["seed"], report=report, **given
    )
    _log.info("%s", chosen.says)
    settings = replace(settings, strength=chosen.strength)
    return fit_head(X, y, settings=settings, start=chosen.head, **given)


def _rows(
    project: Project, material: Material, facts: dict[str, Any], report: Report
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Embeddings, targets, weights and groups to learn from, with the copies the plan asks for."""
    train = material.train
    X = store_of(project, facts).read(train.ids.tolist())
    if not material.plan.get("augmentation"):
        return X, train.targets, train.weights, train.groups
    from curation.balance import copies

    of, more = copies.embed(
        project,
        _labels(project, material),
        material.plan,
        backbone=facts["backbone"],
        report=report,
    )
    return (
        np.concatenate([X, more]),
        np.concatenate([train.targets, train.targets[of]]),
        np.concatenate([train.weights, train.weights[of]]),
        np.concatenate([train.groups, train.groups[of]]),
    )


def _labels(project: Project, material: Material) -> list[LabelRow]:
    class_ids = project.record.ids_of(material.classes)
    train = material.train
    held = [
        np.atleast_1d(target if train.targets.ndim == 1 else np.flatnonzero(target))
        for target in train.targets
    ]
    return [
        LabelRow(int(key), int(group), tuple(class_ids[n] for n in numbers), "people", 1.0)
        for key, group, numbers in zip(train.ids, train.groups, held, strict=True)
    ]


def _fit_mlp(
    project: Project,
    home: Path,
    settings: MlpSettings,
    material: Material,
    facts: dict[str, Any],
    report: Report,
) -> None:
    from training.heads.mlp_training import fit_mlp

    X, y, weight, _ = _rows(project, material, facts, report)
    validation = material.validation
    held = store_of(project, facts).read(validation.ids.tolist()) if len(validation) else None
    model, epochs = fit_mlp(
        X,
        y,
        classes=material.classes,
        task=material.task,
        settings=settings,
        validation=None if held is None else (held, validation.targets),
        sample_weight=weight,
        class_weight=material.class_weight,
        seed=facts["seed"],
        report=report,
    )
    runs.write_epochs(home, [asdict(epoch) for epoch in epochs])
    model.save(home / runs.MODEL)


def _fine_tune(
    project: Project,
    home: Path,
    settings: FineTuneSettings,
    material: Material,
    facts: dict[str, Any],
    report: Report,
) -> None:
    from training import boards
    from training.finetuning import trainer

    epochs: list[dict[str, Any]] = []
    first = distributed.rank() == 0
    with boards.open(home / "tensorboard", write=first) as board:
        for epoch in trainer.run(
            _files(project, material.train, material.train.weights * _repeats(material)),
            _files(project, material.validation) if len(material.validation) else None,
            classes=material.classes,
            task=material.task,
            settings=settings,
            seed=facts["seed"],
            folder=home,
            class_weight=material.class_weight,
            weights=Path(settings.weights) if settings.weights else None,
            report=report,
        ):
            epochs.append(asdict(epoch))
            if first:
                runs.write_epochs(home, epochs)
                board.add(epochs[-1])


def _files(
    project: Project, part: Part, counted: NDArray[np.float64] | None = None
) -> "trainer.Rows":
    """The images of a part as fine-tuning reads them."""
    from training.finetuning import trainer

    return trainer.Rows(materials.paths(project, part.ids.tolist()), part.targets, counted)


def _repeats(material: Material) -> NDArray[np.float64]:
    """(N,) how often each image counts where the plan asks for augmented copies of its class.

    Fine-tuning changes every image anew in each epoch, so that a copy is one more look at it.
    """
    asked = material.plan.get("augmentation")
    y = material.train.targets
    if not asked:
        return np.ones(len(y))
    truth = np.eye(len(material.classes))[y] if y.ndim == 1 else y
    held = truth.sum(axis=0)
    more = np.array([asked.get(name, 0) for name in material.classes])
    repeats = 1 + np.divide(more, held, out=np.zeros(len(held)), where=held > 0)
    return np.asarray((truth * repeats).max(axis=1))


def load(project: Project, run_id: str, settings: Settings) -> Model:
    """The model of a run that was fitted.

    Raises:
        TrainingError: its file is missing or broken.
    """
    path = runs.folder(project, run_id) / runs.MODEL
    if isinstance(settings, HeadSettings):
        return Head.load(path)
    if isinstance(settings, MlpSettings):
        from training.heads.mlp import Mlp

        return Mlp.load(path)
    from training.finetuning.finetuned import FineTuned

    return FineTuned.load(path)


def logits(
    project: Project,
    model: Any,
    settings: Settings,
    facts: dict[str, Any],
    ids: NDArray[np.int64],
    *,
    report: Report = silent,
) -> NDArray[np.float64]:
    """(N, C) scores of images of the catalog before the temperature.

    Raises:
        UnreadableImage: fine-tuning reads the files, and one cannot be decoded.
    """
    found = []
    for start in range(0, len(ids), _BLOCK):
        report(start, len(ids), "judge")
        block = ids[start : start + _BLOCK].tolist()
        seen = (
            materials.paths(project, block)
            if isinstance(settings, FineTuneSettings)
            else store_of(project, facts).read(block)
        )
        found.append(model.logits(seen))
    return np.concatenate(found)
