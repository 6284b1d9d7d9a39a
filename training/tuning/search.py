"""The search for settings: trials until the budget is spent, in one process or in several.

First heads and small networks on embeddings, which take seconds, then a few fine-tunings. Killed at
any moment, the same call goes on: trials that were under way are marked failed and repeated.
Everything is judged on validation; the test part is not looked at.
"""

import itertools
import json
import time
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from curation.errors import InputError, TrainingError
from curation.progress import Report, silent
from curation.workspace import Project
from training.tuning import search_space, workers
from training.tuning.study import Study
from training.tuning.workers import FINISHED, Turn

TRIALS = 20
"""Where neither trials nor minutes are given."""

MOST_WORKERS = 64

_SHARE = {"head": 0.2, "mlp": 0.5, "fine-tune": 0.3}
"""Of the trials: fine-tunings are few."""

_SHARE_OF_TIME = {"head": 0.1, "mlp": 0.3, "fine-tune": 0.6}


@dataclass(frozen=True)
class Budget:
    """When a search ends, whichever comes first.

    Attributes:
        trials: beside those that there are; 0 for none. `TRIALS` if minutes are not given either.
        minutes: from now on.
        workers: processes at a time.
    """

    trials: int | None = None
    minutes: float | None = None
    workers: int = 1

    def check(self) -> None:
        """Refuse what cannot be used.

        Raises:
            InputError: naming the option.
        """
        if self.trials is not None and self.trials < 0:
            raise InputError(f"--trials is {self.trials}; give 0 or more.")
        if self.minutes is not None and not self.minutes > 0:
            raise InputError(f"--minutes is {self.minutes}; give a number above 0.")
        if not 1 <= self.workers <= MOST_WORKERS:
            raise InputError(f"--workers is {self.workers}; give 1 to {MOST_WORKERS}.")


def search(project: Project, study: Study, budget: Budget, *, report: Report = silent) -> list[str]:
    """Runs trials until the budget is spent; the study's best models are then on disk.

    Returns:
        What should be known of it, in sentences.

    Raises:
        InputError: a budget that cannot be used.
        TrainingError: another process works on the study, or no trial succeeds.
        Cancelled: asked to stop; the same call goes on.
    """
    budget.check()
    left = TRIALS if budget.trials is None and budget.minutes is None else budget.trials
    notes = []
    with study.alone():
        repeated = sum(_repeat_killed(study.trials(kind)) for kind in study.kinds)
        if repeated:
            notes.append(f"Trials that were killed are marked failed and repeated: {repeated}.")
        over = None if budget.minutes is None else time.time() + 60 * budget.minutes
        for place, kind in enumerate(study.kinds):
            later = study.kinds[place:]
            count = None if left is None else round(left * _part(_SHARE, later))
            end = None
            if over is not None:
                end = time.time() + max(0.0, over - time.time()) * _part(_SHARE_OF_TIME, later)
            done, exhausted = _search_kind(
                project, study, kind, count=count, end=end, processes=budget.workers, report=report
            )
            left = None if left is None else left - done
            if exhausted:
                notes.append(f"The grid of {kind} has been tried as a whole.")
    return notes


def _part(shares: dict[str, float], kinds: tuple[str, ...]) -> float:
    """What the first of these kinds gets of what is left."""
    return shares[kinds[0]] / sum(shares[kind] for kind in kinds)


def _search_kind(
    project: Project,
    study: Study,
    kind: str,
    *,
    count: int | None,
    end: float | None,
    processes: int,
    report: Report,
) -> tuple[int, bool]:
    """How many trials were run, and whether the grid holds no other."""
    found = study.trials(kind)
    exhausted = False
    if study.facts["sampler"] == "grid":
        waiting = _fill_grid(study, found, kind)
        exhausted = count is None or count >= waiting
        count = waiting if count is None else min(count, waiting)
    if count == 0:
        return 0, exhausted
    known = found.get_trials(deepcopy=False)
    first = sum(trial.state != TrialState.WAITING for trial in known)
    turn = Turn(
        str(project.workspace.path), project.record.name, study.name, study.url, kind, first, end
    )
    if processes == 1:
        done = workers.work(
            study, turn, itertools.count() if count is None else range(count), report
        )
    else:
        done = workers.work_together(turn, study, count, processes, report)
    ended = found.get_trials(deepcopy=False, states=FINISHED)
    failed = found.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    if failed and not ended and (end is None or time.time() < end):
        says = failed[-1].user_attrs.get("says", "killed")
        raise TrainingError(f"No trial of {kind} succeeded. The last one: {says}")
    return done, exhausted


def _repeat_killed(found: optuna.Study) -> int:
    """Marks trials failed that nobody works on any more, and has them tried once again."""
    killed = found.get_trials(states=(TrialState.RUNNING,))
    for trial in killed:
        found.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        # One that is killed twice would kill the search each time it goes on.
        params = {} if "repeats" in trial.user_attrs else _params(trial)
        if params:
            found.enqueue_trial(params, user_attrs={"repeats": trial.number})
    return len(killed)


def _fill_grid(study: Study, found: optuna.Study, kind: str) -> int:
    """Puts all points of the grid that were never tried on the list; returns what is on it."""
    space = study.space(kind)
    known = found.get_trials(deepcopy=False)
    seen = {_key(_params(trial)) for trial in known}
    for point in search_space.grid(space, seed=study.facts["seed"]):
        if _key(point) not in seen:
            found.enqueue_trial(point)
    return len(found.get_trials(deepcopy=False, states=(TrialState.WAITING,)))


def _params(trial: FrozenTrial) -> dict[str, Any]:
    """What a trial was given; also if it was killed before it asked for all of it."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def _key(params: dict[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)
