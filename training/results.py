"""What a fitted model is worth: calibrated on validation, judged on test, per slice, in words."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.catalog import images as image_rows
from curation.progress import Report, silent
from curation.workspace import Project
from training import calibration, diagnosis, evaluation, examples, fitting, runs
from training.calibration import to_probabilities
from training.heads import out_of_fold
from training.material import Material, Part
from training.settings import HeadSettings, Settings

MOST_VALUES = 20
"""A metadata column with more values is no slice: the name of a file, a time."""

_STREAM = (0x1D6E,)


@dataclass(frozen=True)
class Result:
    """What a run came to.

    Attributes:
        metrics: as `Metrics.as_json`; empty where nothing could be measured.
        about: judged_on, validation, slices, temperature, calibration, diagnosis.
    """

    metrics: dict[str, Any]
    about: dict[str, Any]


def judge(
    project: Project,
    run_id: str,
    material: Material,
    settings: Settings,
    facts: Mapping[str, Any],
    *,
    report: Report = silent,
) -> Result:
    """Calibrates a fitted model, writes it again, and judges it.

    The temperature is fitted to validation, never to test. Where there is no test part, a head is
    judged by heads that never saw the image, and other models by validation, which steered them.

    Raises:
        TrainingError: the model's file is broken.
        UnreadableImage: a file cannot be decoded.
    """
    model: Any = fitting.load(runs.folder(project, run_id) / runs.MODEL, settings)
    facts = dict(facts)
    scores = {
        name: fitting.logits(project, model, settings, facts, part.ids, report=report)
        for name in ("validation", "test")
        if len(part := material.part(name))
    }
    temperature, says = 1.0, "There is no validation part, so the model is not calibrated."
    if "validation" in scores:
        fitted = calibration.fit_temperature(
            scores["validation"], material.validation.targets, task=material.task
        )
        temperature = fitted.temperature
        says = f"{fitted.note[:1].upper()}{fitted.note[1:]}." if fitted.note else ""
    model = model.calibrated(temperature)
    model.save(runs.folder(project, run_id) / runs.MODEL)
    found = {
        name: to_probabilities(logits, task=material.task, temperature=temperature)
        for name, logits in scores.items()
    }
    judged_on, metrics, slices, unseen = _measure(project, material, settings, facts, found)
    validation = (
        _evaluate(found["validation"], material.validation, material, facts)
        if "validation" in found
        else {}
    )
    epochs = runs.read_epochs(project, run_id)
    evidence = diagnosis.gather(
        project,
        material,
        model,
        settings,
        facts,
        held_out=found.get("validation", unseen),
        epochs=epochs,
        report=report,
    )
    return Result(
        metrics,
        {
            "judged_on": judged_on,
            "validation": validation,
            "slices": slices,
            "temperature": temperature,
            "calibration": says,
            "diagnosis": [asdict(finding) for finding in diagnosis.diagnose(evidence)],
            "epochs": len(epochs),
        },
    )


def _measure(
    project: Project,
    material: Material,
    settings: Settings,
    facts: dict[str, Any],
    found: Mapping[str, NDArray[np.float64]],
) -> tuple[str, dict[str, Any], list[dict[str, Any]], NDArray[np.float64] | None]:
    """What the model is judged on, its metrics and slices; and, where cross-validation judged it,
    the answers (N, C) to the training images.
    """
    if "test" in found:
        metrics = _evaluate(found["test"], material.test, material, facts)
        slices = _slices(project, material, found["test"], facts)
        return material.origins["test"], metrics, slices, None
    groups = len(np.unique(material.train.groups))
    if isinstance(settings, HeadSettings) and groups > 1:
        unseen = out_of_fold.probabilities(
            examples.store_of(project, facts).read(material.train.ids.tolist()),
            material.train.targets,
            material.train.groups,
            classes=len(material.classes),
            seed=facts["seed"],
            settings=settings,
        )
        metrics = _evaluate(unseen, material.train, material, facts)
        return "cross-validation", metrics, [], unseen
    if "validation" in found:
        metrics = _evaluate(found["validation"], material.validation, material, facts)
        return "validation", metrics, [], None
    return "nothing", {}, [], None


def _rng(facts: Mapping[str, Any]) -> np.random.Generator:
    return np.random.default_rng([facts["seed"], *_STREAM])


def _evaluate(
    probabilities: NDArray[np.float64],
    part: Part,
    material: Material,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    return evaluation.evaluate(
        probabilities, part.targets, material.classes, rng=_rng(facts), groups=part.groups
    ).as_json()


def _slices(
    project: Project,
    material: Material,
    probabilities: NDArray[np.float64],
    facts: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The figures of each value of the metadata columns that divide the test part."""
    with project.catalog.read() as connection:
        of = image_rows.metadata_of_many(connection, material.test.ids.tolist())
    columns: dict[str, list[str]] = {}
    for column in sorted({name for values in of.values() for name in values}):
        values = [of.get(key, {}).get(column, "") for key in material.test.ids.tolist()]
        if 1 < len(set(values)) <= MOST_VALUES:
            columns[column] = values
    if not columns:
        return []
    found = evaluation.by_slice(
        probabilities,
        material.test.targets,
        material.classes,
        columns,
        rng=_rng(facts),
        groups=material.test.groups,
    )
    return [{"column": column, **one.as_json()} for column, rows in found.items() for one in rows]
