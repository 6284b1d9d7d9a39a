"""Questions about models that take longer than a training's own figures.

How robust is a run's model? How good are such models, judged by cross-validation? What would more
labels bring? None of them learns from the test part, and the last two do not look at it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation import features, splits
from curation.catalog import runs as run_rows
from curation.errors import InputError, TrainingError
from curation.progress import Report, silent
from curation.workspace import Project
from training import auto, choices, runs
from training import material as materials
from training.finetuning import augmentation
from training.finetuning.data import Images
from training.judging import cross_validation, forecast, learning_curve, robustness, scratch
from training.judging.cross_validation import CrossValidation
from training.judging.folds import fitter, learnable, on_embeddings, remembered
from training.judging.forecast import Forecast
from training.judging.learning_curve import LearningCurve
from training.judging.robustness import Robustness
from training.material.parts import DRAWN, LEAST_GROUPS
from training.serving import classifier
from training.settings import FineTuneSettings, HeadSettings, Settings

MOST_JUDGED = 1_000
"""Images of the test part that are corrupted, each in 27 ways."""

_CHOICE, _CORRUPTION, _FIGURES, _CURVE = 0x20, 0x21, 0x22, 0x23
"""Tell random numbers of one seed apart."""


def robust(
    project: Project, run_id: str, *, most: int = MOST_JUDGED, report: Report = silent
) -> Robustness:
    """How much a run's model loses on its test part under named corruptions; kept with the run.

    Args:
        project: whose run it is.
        run_id: of the run.
        most: images, a random part of the test part.
        report: told of the progress.

    Raises:
        NotFound: there is no such run.
        TrainingError: it has no model, or no test part.
        UnreadableImage: a file is gone.
    """
    model = classifier.open(project, run_id)
    with project.catalog.read() as connection:
        row = run_rows.get(connection, run_id)
    about = row["about"]
    if "material" not in about:
        raise TrainingError(
            f"{run_id} belongs to a round and has no test part of its own. Train a model with "
            "`labelloop train` for it."
        )
    test = materials.load(runs.folder(project, run_id), about["material"]).test
    if not len(test):
        raise TrainingError(
            f"{run_id} was trained without a test part. Label more images, or make one with "
            "`labelloop split`, and train again."
        )
    drawn = np.random.default_rng([row["seed"], _CHOICE]).permutation(len(test))[:most]
    chosen = np.sort(drawn)
    paths = materials.paths(project, test.ids[chosen].tolist())
    images = Images(paths, model.preprocessing, cache_bytes=0)
    starts = range(0, len(chosen), model.batch)
    order = (np.arange(start, min(start + model.batch, len(chosen))) for start in starts)
    found = robustness.judge(
        model.logits_of,
        images.batches(order),
        test.targets[chosen],
        seed=row["seed"] + _CORRUPTION,
        ids=test.ids[chosen],
        groups=test.groups[chosen],
        report=report,
    )
    with project.catalog.write() as connection:
        # Measuring takes minutes, in which the run may have changed or been deleted.
        about = run_rows.get(connection, run_id)["about"]
        run_rows.update_run(connection, run_id, about={**about, "robustness": found.as_json()})
    return found


@dataclass(frozen=True)
class CrossValidated:
    """What `cross_validate` found: settings with their reasons, figures and notes on them."""

    settings: Settings
    reasons: tuple[str, ...]
    found: CrossValidation
    images: int
    notes: tuple[str, ...]


def cross_validate(
    project: Project,
    *,
    kind: str = "auto",
    asked: Mapping[str, Any] | None = None,
    folds: int = 5,
    split: str = "",
    minutes: float | None = None,
    report: Report = silent,
) -> CrossValidated:
    """Judges each label by a model that saw neither it nor a copy of it.

    The test part stays out, unless a split made of folds is named, which decides alone. Each fold's
    model is made as a training makes one: by the balance plan in force, and a network is stopped by
    a part of the other folds' labels, held back by group, never by the fold that it is judged on.

    What was killed or stopped goes on when it is asked for again, while the labels, the settings
    and the packages are the same.

    Args:
        project: whose labels they are.
        kind: as in `asked.Asked`.
        asked: settings that stand.
        folds: how many, by group.
        split: name of a split made of folds, in place of `folds`.
        minutes: that all folds of a fine-tuning may take together.
        report: told of the progress.

    Raises:
        TrainingError: fewer than two groups, labels that allow no model, or another process does
            the same.
        NotFound, InputError: there is no such split, or it has no folds.
        UnreadableImage: a file is gone; the same call goes on once it is there again.
        Cancelled: asked to stop; the same call goes on.
    """
    if folds < 2:
        raise InputError(f"--folds is {folds}; give at least 2.")
    prepared = features.prepare(project, report=report)
    material = materials.gather(project, report=report)
    more = [material.validation, *([material.test] if split else [])]
    whole = materials.joined(
        [material.train, *(learnable(project, material, part) for part in more)]
    )
    if split:
        fold_of, names = cross_validation.of_split(splits.folds(project, split), whole.ids)
    else:
        fold_of, names = cross_validation.assign(whole.targets, whole.groups, folds=folds), None
    count = int(fold_of.max()) + 1
    others = len(whole) * (count - 1) // count
    steering = round(others * DRAWN)
    chosen = choices.choose(
        project,
        material,
        kind,
        asked=asked or {},
        backbone=prepared.backbone,
        images=others - steering,
        validation=steering,
        minutes=(auto.MINUTES if minutes is None else minutes) / count,
    )
    settings = chosen.settings
    facts = {"fingerprint": prepared.fingerprint, "backbone": prepared.backbone}
    job = {
        "settings": settings.as_json(),
        "files": _digests(settings),
        "facts": facts,
        "material": material.as_json(),
        "rows": _digest(whole.ids, whole.targets, whole.groups, whole.weights, fold_of),
        "seed": project.record.seed,
        "packages": runs.environment()["packages"],
    }
    with scratch.folder(project, job) as home:
        fit = fitter(project, material, whole, settings, facts, home, report)
        found = cross_validation.run(
            remembered(fit, home),
            whole.targets,
            fold_of,
            classes=material.classes,
            rng=np.random.default_rng([project.record.seed, _FIGURES]),
            names=names,
            groups=whole.groups,
            steers=not isinstance(settings, HeadSettings),
            seed=project.record.seed,
            report=report,
        )
    return CrossValidated(settings, chosen.reasons, found, len(whole), _notes(settings, found))


def _notes(settings: Settings, found: CrossValidation) -> tuple[str, ...]:
    """Where models of folds are not quite those that a training makes."""
    notes = ["Each fold is calibrated by the temperature that suits the other folds' answers."]
    if not isinstance(settings, HeadSettings):
        least = min(fold.steered for fold in found.folds)
        notes.append(
            f"The model of each fold is that of its best epoch by labels of other folds, {least:,} "
            "at least, held back from learning by group."
            if least
            else "The model of a fold is that of its last epoch: fewer than "
            f"{LEAST_GROUPS} groups are too few to hold labels back to stop by."
        )
    return tuple(notes)


def _digests(settings: Settings) -> list[str]:
    """Of what the settings name and do not hold: an own recipe, a backbone's weights."""
    if not isinstance(settings, FineTuneSettings):
        return []
    recipe = augmentation.recipe(settings.augmentation)
    found = ["" if recipe is None else recipe.digest]
    if settings.weights and Path(settings.weights).is_file():  # or the training says what is wrong
        with Path(settings.weights).open("rb") as file:
            found.append(hashlib.file_digest(file, "sha256").hexdigest())
    return found


def _digest(*columns: NDArray[Any]) -> str:
    found = hashlib.sha256()
    for column in columns:
        found.update(f"{column.shape} ".encode() + np.ascontiguousarray(column).tobytes())
    return found.hexdigest()


def foresee(
    project: Project,
    *,
    more: int = 100,
    target: float | None = None,
    metric: str = "accuracy",
    report: Report = silent,
) -> tuple[LearningCurve, Forecast]:
    """What more labels would bring, from heads trained on growing parts of those there are.

    Args:
        project: whose labels they are.
        more: labels.
        target: score, above 0 to 1; that of the project's goal if it is of this metric.
        metric: accuracy or balanced-accuracy.
        report: told of the progress.

    Raises:
        TrainingError: too few labels, or no validation part to judge by.
    """
    prepared = features.prepare(project, report=report)
    material = materials.gather(project, report=report)
    if not len(material.validation):
        raise TrainingError(
            f"A forecast takes a validation part, and {len(material.train):,} labels are too few "
            "for one. Label more images."
        )
    goal = project.record.target
    if target is None and goal is not None and goal.metric == metric:
        target = goal.value
    whole = materials.joined([material.train, material.validation])
    facts = {"fingerprint": prepared.fingerprint, "backbone": prepared.backbone}
    rows = np.arange(len(whole))
    seed = project.record.seed
    fit = on_embeddings(project, material, whole, HeadSettings(), facts)
    curve = learning_curve.measure(
        lambda learned: fit(learned, learned[:0]),
        whole.targets,
        whole.groups,
        rows[: len(material.train)],
        rows[len(material.train) :],
        rng=np.random.default_rng([seed, _CURVE]),
        metric=metric,
        report=report,
    )
    rng = np.random.default_rng([seed, _CURVE, 1])
    return curve, forecast.forecast(curve, rng=rng, more=more, target=target)
