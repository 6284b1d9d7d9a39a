"""One trial: settings that the sampler draws, a training with them, and how it went."""

import fcntl
import json
import math
import time
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from curation import files
from curation.errors import BackboneError, Cancelled, TrainingError
from curation.progress import Report, silent
from training.settings import Settings
from training.tuning import bench, search_space
from training.tuning.study import Study


def one_trial(
    study: Study, kind: str, number: int, *, end: float | None = None, report: Report = silent
) -> TrialState:
    """Asks for settings, trains with them, and tells how it went.

    Args:
        study: of which.
        kind: of training.
        number: trials before this one; with the seed it decides what a sampler draws.
        end: when the trial is given up, in seconds since 1970.
        report: told of the progress.

    Raises:
        Cancelled: asked to stop; the trial is marked failed and repeated later.
    """
    found = study.trials(kind)
    found.sampler = study.sampler(number)
    trial = found.ask()
    begun = time.monotonic()
    best, model = math.nan, None
    settings: Settings | None = None
    state, says = TrialState.FAIL, ""

    def told(done: int, total: int, says: str) -> None:
        if end is not None and time.time() > end:
            raise _OutOfTime("The time for this search is over.")
        report(done, total, f"trial {trial.number}, {says}")

    try:
        settings = search_space.suggest(trial, kind, study.space(kind), study.facts["base"][kind])
        told(0, 0, "train")
        state = TrialState.COMPLETE
        for step in bench.run(study.bench, settings, report=told):
            best, model = step.best, step.model
            trial.report(step.value, step.number)
            if trial.should_prune():
                state, says = TrialState.PRUNED, "pruned: worse than most others at this epoch"
                break
        if not math.isfinite(best):
            state, says = TrialState.FAIL, "no epoch gave a finite loss"
    except (TrainingError, BackboneError, MemoryError, RuntimeError) as error:
        # Too large for this machine, or no network: settings that are no good here.
        state, says = TrialState.FAIL, str(error) or type(error).__name__
    except Cancelled as stopped:
        is_late = isinstance(stopped, _OutOfTime)
        _tell(found, trial, TrialState.FAIL, begun, says="out of time" if is_late else "stopped")
        found.enqueue_trial(trial.params, user_attrs={"repeats": trial.number})
        if not is_late:
            raise
        return TrialState.FAIL
    if state == TrialState.COMPLETE and settings is not None:
        _keep_if_best(study, kind, trial.number, best, settings, model)
    _tell(found, trial, state, begun, value=best, says=says)
    if settings is not None:
        bench.discard(study.bench, settings)
    return state


class _OutOfTime(Cancelled):
    """The budget, and not the user, ended the trial."""


def _tell(
    found: optuna.Study,
    trial: Trial,
    state: TrialState,
    begun: float,
    *,
    value: float = math.nan,
    says: str = "",
) -> None:
    trial.set_user_attr("seconds", round(time.monotonic() - begun, 2))
    if says:
        trial.set_user_attr("says", says)
    if state == TrialState.COMPLETE:
        found.tell(trial, value)
    else:
        found.tell(trial, state=state)


def _keep_if_best(
    study: Study, kind: str, number: int, value: float, settings: Settings, model: Any
) -> None:
    """Keeps the best model of a kind; several workers take turns."""
    note = study.home / f"{kind}.json"
    with (study.home / f".{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if note.exists():
            kept = json.loads(note.read_text(encoding="utf-8"))
            sign = 1.0 if study.is_least_best else -1.0
            # Of equal ones the first, as `Study.best` has it.
            if (sign * float(kept["value"]), kept["trial"]) <= (sign * value, number):
                return
        # The note last: a kill between the two leaves a model that the next trial replaces.
        bench.keep(study.bench, settings, model, study.home / f"{kind}.safetensors")
        files.write_json(note, {"trial": number, "value": value, "settings": settings.as_json()})
