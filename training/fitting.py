"""Fitting a model of any kind to a run's material, and asking it about images of the catalog.

A head and a small network learn from stored embeddings, fine-tuning from the files. All that is
needed lies in the run's folder, so that several processes or machines can do it together.
"""

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from curation import files
from curation.progress import Report, silent
from curation.workspace import Project
from training import examples, runs
from training import material as materials
from training.finetuning import distributed
from training.heads import strength
from training.heads.head import Head, fit_head
from training.material import Material
from training.settings import FineTuneSettings, HeadSettings, MlpSettings, Settings, from_json

_BLOCK = 1024

_log = logging.getLogger(__name__)


class Model(Protocol):
    """What every kind of training leaves behind."""

    def calibrated(self, temperature: float) -> "Model":
        """The same model with another temperature."""

    def save(self, path: Path) -> None:
        """Writes it to one safetensors file, all or nothing."""


def fit(project: Project, run_id: str, *, report: Report = silent, processes: int = 1) -> Settings:
    """Fits the run's model and writes it into the run's folder; what was done already is not.

    Args:
        project: whose run it is.
        run_id: whose rows and settings are written.
        report: told of the progress.
        processes: that fine-tune together on this machine.

    Returns:
        The run's settings, with the strength that was searched for; written as well.

    Raises:
        TrainingError: the labels allow no model, or the loss is no number.
        Cancelled: asked to stop; called again it goes on.
    """
    home = runs.folder(project, run_id)
    settings = from_json(runs.read(project, run_id, runs.SETTINGS))
    if processes > 1 and isinstance(settings, FineTuneSettings):
        distributed.launch(project, run_id, processes=processes, report=report)
        return settings
    facts = runs.read(project, run_id, runs.FACTS)
    material = materials.load(home, facts["material"])
    if isinstance(settings, HeadSettings):
        head, settings = _fit_head(project, settings, material, facts, report)
        # A search ends alike wherever it begins, so that the run can still be repeated.
        files.write_json(home / runs.SETTINGS, settings.as_json())
        head.save(home / runs.MODEL)
    elif isinstance(settings, MlpSettings):
        _fit_mlp(project, home, settings, material, facts, report)
    elif isinstance(settings, FineTuneSettings):
        _fine_tune(project, home, settings, material, facts, report)
    return settings


def _fit_head(
    project: Project,
    settings: HeadSettings,
    material: Material,
    facts: dict[str, Any],
    report: Report,
) -> tuple[Head, HeadSettings]:
    """The head, and its settings with the strength that it has."""
    rows = examples.embedded(project, material, facts, report=report)
    every = examples.with_weak(project, material, facts, rows)
    report(0, 0, "train")
    given: dict[str, Any] = {
        "classes": material.classes,
        "task": material.task,
        "class_weight": material.class_weight,
    }
    if not settings.search:
        head = fit_head(every.X, every.y, settings=settings, sample_weight=every.weight, **given)
        return head, settings
    # By people's labels alone, since what others say must not judge.
    chosen = strength.choose(
        rows.X,
        rows.y,
        settings=settings,
        sample_weight=rows.weight,
        groups=rows.groups,
        seed=facts["seed"],
        report=report,
        **given,
    )
    _log.info("%s", chosen.says)
    settings = replace(settings, strength=chosen.strength)
    head = fit_head(
        every.X,
        every.y,
        settings=settings,
        start=chosen.head,
        sample_weight=every.weight,
        **given,
    )
    return head, settings


def _fit_mlp(
    project: Project,
    home: Path,
    settings: MlpSettings,
    material: Material,
    facts: dict[str, Any],
    report: Report,
) -> None:
    from training.heads.mlp_training import fit_mlp

    rows = examples.embedded(project, material, facts, report=report)
    rows = examples.with_weak(project, material, facts, rows)
    validation = material.validation
    held = (
        examples.store_of(project, facts).read(validation.ids.tolist()) if len(validation) else None
    )
    model, epochs = fit_mlp(
        rows.X,
        rows.y,
        classes=material.classes,
        task=material.task,
        settings=settings,
        validation=None if held is None else (held, validation.targets),
        sample_weight=rows.weight,
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
            examples.photos(project, material),
            examples.of_part(project, material.validation) if len(material.validation) else None,
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


def load(path: Path, settings: Settings) -> Model:
    """The model in a file.

    Raises:
        TrainingError: it is missing or broken.
    """
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
            else examples.store_of(project, facts).read(block)
        )
        found.append(model.logits(seen))
    return np.concatenate(found)
