"""Models of any kind fitted to some rows and asked about others, for cross-validation."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.progress import Report
from curation.workspace import Project
from training import examples
from training import material as materials
from training.calibration import to_probabilities
from training.heads.head import fit_head
from training.judging.cross_validation import Fit, Rows
from training.material import Material, Part
from training.settings import FineTuneSettings, HeadSettings, MlpSettings, Settings


@contextmanager
def scratch_folder(project: Project) -> Iterator[Path]:
    """Where fine-tuning keeps its models of folds, which nobody wants afterwards."""
    home = project.workspace.folder("runs") / f".cross-validation-p{project.id}"
    shutil.rmtree(home, ignore_errors=True)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def fitter(
    project: Project,
    material: Material,
    whole: Part,
    settings: Settings,
    facts: dict[str, Any],
    home: Path,
    report: Report,
) -> Fit:
    """What fits a model with these settings to some rows, and answers about others.

    Args:
        project: whose images they are.
        material: of the run.
        whole: the rows that folds are made of.
        settings: complete.
        facts: of the run.
        home: where fine-tuning may keep its files; see `scratch_folder`.
        report: told of the progress.
    """
    if isinstance(settings, FineTuneSettings):
        return _on_files(project, material, whole, settings, home, report)
    return on_embeddings(project, material, whole, settings, facts)


def on_embeddings(
    project: Project,
    material: Material,
    whole: Part,
    settings: Settings,
    facts: dict[str, Any],
) -> Fit:
    """The same for a head or a small network, whose rows are stored embeddings."""
    X = examples.store_of(project, facts).read(whole.ids.tolist())
    given: dict[str, Any] = {
        "classes": material.classes,
        "task": material.task,
        "class_weight": material.class_weight,
    }

    def fit(rows: Rows) -> Callable[[Rows], NDArray[np.float64]]:
        y, weight = whole.targets[rows], whole.weights[rows]
        model: Any
        if isinstance(settings, MlpSettings):
            from training.heads.mlp_training import fit_mlp

            seed = project.record.seed
            model, _ = fit_mlp(
                X[rows], y, settings=settings, sample_weight=weight, seed=seed, **given
            )
        else:
            assert isinstance(settings, HeadSettings)
            model = fit_head(X[rows], y, settings=settings, sample_weight=weight, **given)
        return lambda held: np.asarray(model.probabilities(X[held]))

    return fit


def _on_files(
    project: Project,
    material: Material,
    whole: Part,
    settings: FineTuneSettings,
    home: Path,
    report: Report,
) -> Fit:
    from training.finetuning import trainer
    from training.finetuning.finetuned import FineTuned

    paths = materials.paths(project, whole.ids.tolist())

    def fit(rows: Rows) -> Callable[[Rows], NDArray[np.float64]]:
        folder = home / f"{int(rows.sum())}-{len(rows)}"
        learned = trainer.Rows(
            [paths[row] for row in rows.tolist()], whole.targets[rows], whole.weights[rows]
        )
        for _ in trainer.run(
            learned,
            None,
            classes=material.classes,
            task=material.task,
            settings=settings,
            seed=project.record.seed,
            folder=folder,
            class_weight=material.class_weight,
            weights=Path(settings.weights) if settings.weights else None,
            report=report,
        ):
            pass
        model = FineTuned.load(folder / trainer.MODEL)
        shutil.rmtree(folder)

        def predict(held: Rows) -> NDArray[np.float64]:
            logits = model.logits([paths[row] for row in held.tolist()])
            return to_probabilities(logits, task=material.task)

        return predict

    return fit
