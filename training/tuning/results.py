"""What a search came to: its trials, what mattered, and, on demand, the test part."""

import json
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from curation import files
from curation.catalog import audit
from curation.errors import TrainingError
from curation.workspace import Project
from training import calibration, evaluation
from training.calibration import to_probabilities
from training.material import Part
from training.settings import from_json
from training.tuning import bench
from training.tuning.study import Study

ACT = "test-opened"
"""In the audit log."""

LEAST_TRIALS = 6
"""Of one kind, below which nothing is said about what mattered."""

_STATES = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
_OPENINGS = "openings.json"
_STREAM = 0x7E57


@dataclass(frozen=True)
class Entry:
    """One trial.

    Attributes:
        kind: of training.
        trial: its number within the kind.
        state: done, pruned, failed, running or waiting.
        value: of the metric on validation; of the last epoch where pruned; None if there is none.
        best: the best value so far, over all kinds.
        settings: those that were varied.
        seconds: that it took.
        says: why it did not end.
        repeats: the trial that this one makes up for.
    """

    kind: str
    trial: int
    state: str
    value: float | None
    best: float | None
    settings: dict[str, Any]
    seconds: float | None
    says: str
    repeats: int | None


def history(study: Study) -> list[Entry]:
    """All trials in the order in which they began."""
    begun: list[tuple[datetime, str, FrozenTrial]] = []
    waiting: list[tuple[str, FrozenTrial]] = []
    for kind in study.kinds:
        latest = datetime.min
        for trial in study.trials(kind).get_trials():
            if trial.datetime_start is None:
                waiting.append((kind, trial))
                continue
            # Numbers decide within a kind, also where the clock was put back.
            latest = max(latest, trial.datetime_start)
            begun.append((latest, kind, trial))
    begun.sort(key=itemgetter(0))
    rows = [(kind, trial) for _, kind, trial in begun] + waiting
    found: list[Entry] = []
    best: float | None = None
    for kind, trial in rows:
        done = trial.state == TrialState.COMPLETE
        if done and trial.value is not None:
            pick = min if study.is_least_best else max
            best = trial.value if best is None else pick(best, trial.value)
        found.append(
            Entry(
                kind=kind,
                trial=trial.number,
                state=_STATES[trial.state],
                value=trial.value,
                best=best,
                settings=dict(trial.params),
                seconds=trial.user_attrs.get("seconds"),
                says=trial.user_attrs.get("says", ""),
                repeats=trial.user_attrs.get("repeats"),
            )
        )
    return found


def importance(study: Study) -> dict[str, dict[str, float]]:
    """By kind, the share of the spread between trials that each setting explains, largest first.

    Source: fANOVA, Hutter, Hoos, Leyton-Brown 2014. Pruned trials do not count.
    """
    found = {}
    for kind in study.kinds:
        of_kind = study.trials(kind)
        done = of_kind.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(done) < LEAST_TRIALS or len({trial.value for trial in done}) < 2:
            continue
        shares = get_param_importances(of_kind, evaluator=FanovaImportanceEvaluator(seed=0))
        found[kind] = {name: round(float(share), 4) for name, share in shares.items()}
    return found


def judge(study: Study) -> dict[str, Any]:
    """The best model on validation, each figure with its interval; empty if there is none."""
    kept = _kept(study)
    if kept is None:
        return {}
    logits, held = _logits(study, kept, "validation")
    return _figures(study, to_probabilities(logits, task=study.bench.material.task), held)


def open_test(project: Project, study: Study) -> dict[str, Any]:
    """Judges the best model on the test part, and writes down that it was looked at.

    The temperature is fitted to validation.

    Returns:
        metrics, and opened: how often studies of this project have looked at the test part.

    Raises:
        TrainingError: there is no test part, or no trial has ended.
    """
    material = study.bench.material
    if not len(material.test):
        raise TrainingError(
            f"The study {study.name!r} has no test part: its {len(material.train):,} labels were "
            "too few to hold some back. Label more, or draw one with `labelloop split`."
        )
    kept = _kept(study)
    if kept is None:
        raise TrainingError(
            f"No trial of the study {study.name!r} has ended, so there is nothing to test. Run "
            f"`labelloop tune --study {study.name}` first."
        )
    # Written before anything is seen: whoever breaks off here may have seen it.
    subject = {
        "study": study.name,
        "snapshot": material.snapshot,
        "images": len(material.test),
        "kind": kept.kind,
        "trial": kept.trial,
    }
    with project.catalog.write() as connection:
        audit.append(connection, project.id, act=ACT, subject=subject)
        opened = audit.count(connection, project.id, ACT)
    for kind in study.kinds:
        of_kind = study.trials(kind)
        of_kind.set_user_attr("test-opened", of_kind.user_attrs.get("test-opened", 0) + 1)
    steering, held = _logits(study, kept, "validation")
    temperature = calibration.fit_temperature(
        steering, held.targets, task=material.task
    ).temperature
    logits, tested = _logits(study, kept, "test")
    p = to_probabilities(logits, task=material.task, temperature=temperature)
    found = {"opened": opened, "kind": kept.kind, "trial": kept.trial}
    found["metrics"] = _figures(study, p, tested)
    path = study.home / _OPENINGS
    files.write_json(path, [*openings(study), found])
    return found


def openings(study: Study) -> list[dict[str, Any]]:
    """What the test part said each time that this study looked at it."""
    path = study.home / _OPENINGS
    found: list[dict[str, Any]] = (
        json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    )
    return found


@dataclass(frozen=True)
class _Kept:
    kind: str
    trial: int
    settings: dict[str, Any]
    path: Path


def _kept(study: Study) -> _Kept | None:
    """The best model on disk."""
    best = study.best()
    if best is None:
        return None
    kind, trial = best
    try:
        note = json.loads((study.home / f"{kind}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"The best model of the study {study.name!r} is missing from {study.home}. Train it "
            f"again: `labelloop train --settings {study.home / 'best.toml'}`."
        ) from error
    return _Kept(kind, trial.number, note["settings"], study.home / f"{kind}.safetensors")


def _logits(study: Study, kept: _Kept, part: str) -> tuple[NDArray[np.float64], Part]:
    held = study.bench.material.part(part)
    settings = from_json(kept.settings)
    return bench.answers(study.bench, settings, kept.path, held), held


def _figures(study: Study, p: NDArray[np.float64], held: Part) -> dict[str, Any]:
    return evaluation.evaluate(
        p,
        held.targets,
        study.bench.material.classes,
        rng=np.random.default_rng([study.facts["seed"], _STREAM]),
        groups=held.groups,
    ).as_json()
