"""Models of any kind fitted to some rows and asked about others, for cross-validation."""

import hashlib
import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation import balance, files
from curation.catalog import labels as label_rows
from curation.progress import Report, silent
from curation.workspace import Project
from training import examples
from training import material as materials
from training.calibration import to_probabilities
from training.heads import strength
from training.heads.head import Head, fit_head
from training.judging.cross_validation import Fit, Predictor, Rows
from training.material import Material, Part
from training.settings import FineTuneSettings, HeadSettings, MlpSettings, Settings


def learnable(project: Project, material: Material, part: Part) -> Part:
    """A part that was not meant to be learned from, with the weights that training gives.

    Args:
        project: whose images they are.
        material: of the run, with its balance plan.
        part: validation or test.
    """
    with project.catalog.read() as connection:
        known = label_rows.get(connection, part.ids.tolist())
    # A label may have gone since the material was gathered.
    held = [n for n, key in enumerate(part.ids.tolist()) if key in known]
    rows = [known[key] for key in part.ids[held].tolist()]
    weights = np.ones(len(part))
    weights[held] = [row.confidence for row in rows]
    weights[held] *= balance.weights(project, rows, plan=material.plan)
    return replace(part, weights=weights)


def taken(part: Part, rows: Rows) -> Part:
    """Some rows of a part."""
    return Part(part.ids[rows], part.targets[rows], part.groups[rows], part.weights[rows])


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
        home: where fine-tuning may keep its files; see `scratch.folder`.
        report: told of the progress.
    """
    if isinstance(settings, FineTuneSettings):
        return _on_files(project, material, whole, settings, home, report)
    return on_embeddings(project, material, whole, settings, facts, report=report)


def on_embeddings(
    project: Project,
    material: Material,
    whole: Part,
    settings: Settings,
    facts: dict[str, Any],
    *,
    report: Report = silent,
) -> Fit:
    """The same for a head or a small network, whose rows are stored embeddings.

    Copies that the balance plan asks for are learned from along with the images of their group. A
    head is solved exactly, and stops by nothing.
    """
    held = examples.embedded(project, replace(material, train=whole), facts, report=report)
    copies = np.arange(len(whole), len(held.X))
    seed = project.record.seed

    def fit(rows: Rows, steering: Rows) -> Predictor:
        own = copies[np.isin(held.groups[copies], whole.groups[rows])]
        learned = np.concatenate([rows, own])
        X, y, groups = held.X[learned], held.y[learned], held.groups[learned]
        given: dict[str, Any] = {
            "classes": material.classes,
            "task": material.task,
            "sample_weight": held.weight[learned],
            "class_weight": material.class_weight,
        }
        model: Any
        if isinstance(settings, MlpSettings):
            from training.heads.mlp_training import fit_mlp

            seen = (held.X[steering], whole.targets[steering]) if len(steering) else None
            model, _ = fit_mlp(
                X, y, settings=settings, validation=seen, seed=seed, report=report, **given
            )
        else:
            assert isinstance(settings, HeadSettings)
            model = _fit_head(X, y, groups, settings, seed, report, given)
        return lambda asked: np.asarray(model.probabilities(held.X[asked]))

    return fit


def _fit_head(
    X: NDArray[np.float32],
    y: NDArray[np.int64],
    groups: NDArray[np.int64],
    settings: HeadSettings,
    seed: int,
    report: Report,
    given: dict[str, Any],
) -> Head:
    """As a training fits it, with a search for the strength where the settings ask for one."""
    if not settings.search:
        return fit_head(X, y, settings=settings, **given)
    chosen = strength.choose(
        X, y, settings=settings, groups=groups, seed=seed, report=report, **given
    )
    found = replace(settings, strength=chosen.strength)
    return fit_head(X, y, settings=found, start=chosen.head, **given)


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

    def fit(rows: Rows, steering: Rows) -> Predictor:
        folder = home / _name(rows, steering)
        learned = examples.photos(project, replace(material, train=taken(whole, rows)))
        seen = examples.of_part(project, taken(whole, steering)) if len(steering) else None
        for _ in trainer.run(
            learned,
            seen,
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


def remembered(fit: Fit, home: Path) -> Fit:
    """The same, with its answers kept in a folder: what has them already is not fitted again.

    Args:
        fit: what is asked where the folder holds no answer.
        home: of this cross-validation alone; see `scratch.folder`.
    """

    def fit_later(rows: Rows, steering: Rows) -> Predictor:
        def predict(held: Rows) -> NDArray[np.float64]:
            path = home / f"{_name(rows, steering, held)}.npy"
            if not path.exists():
                answers = io.BytesIO()
                np.save(answers, fit(rows, steering)(held))
                files.write_bytes(path, answers.getvalue())
            return np.asarray(np.load(path, allow_pickle=False), np.float64)

        return predict

    return fit_later


def _name(*parts: Rows) -> str:
    """A word for these rows, and for no others."""
    digest = hashlib.sha256()
    for rows in parts:
        digest.update(f"{len(rows)} ".encode() + rows.astype("<i8").tobytes())
    return digest.hexdigest()[:16]
