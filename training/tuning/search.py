"""The search for settings: trials until the budget is spent, in one process or in several.

First heads and small networks on embeddings, which take seconds, then a few fine-tunings. Killed at
any moment, the same call goes on: trials that were under way are marked failed and repeated.
Everything is judged on validation; the test part is not looked at.
"""

import fcntl
import itertools
import json
import math
import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from curation import files, workspace
from curation.errors import Cancelled, InputError, TrainingError
from curation.images import usable_cores
from curation.progress import Report, silent
from curation.workspace import Project
from training.settings import Settings
from training.tuning import search_space, studies, trials
from training.tuning.studies import Study

TRIALS = 20
"""Where neither trials nor minutes are given."""

MOST_WORKERS = 64

_SHARE = {"head": 0.2, "mlp": 0.5, "fine-tune": 0.3}
"""Of the trials: fine-tunings are few."""

_SHARE_OF_TIME = {"head": 0.1, "mlp": 0.3, "fine-tune": 0.6}
_FAILURES = 3
"""In a row and nothing else: then a search ends."""

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


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


@dataclass(frozen=True)
class _Run:
    """The trials of one kind in one call; a worker opens all else itself."""

    workspace: str
    project: str
    study: str
    kind: str
    first: int
    end: float | None


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
                project, study, kind, count=count, end=end, workers=budget.workers, report=report
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
    workers: int,
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
    run = _Run(str(project.workspace.path), project.record.name, study.name, kind, first, end)
    if workers == 1:
        done = _work(study, run, itertools.count() if count is None else range(count), report)
    else:
        done = _work_together(run, study, count, workers, report)
    ended = found.get_trials(deepcopy=False, states=_FINISHED)
    failed = found.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    if failed and not ended and (end is None or time.time() < end):
        says = failed[-1].user_attrs.get("says", "killed")
        raise TrainingError(f"No trial of {kind} succeeded. The last one: {says}")
    return done, exhausted


def _work(study: Study, run: _Run, tickets: Iterable[int], report: Report) -> int:
    """Trials for as long as there are tickets and time; returns how many."""
    count = len(tickets) if isinstance(tickets, range) else 0
    tried = failures = 0

    def of_trial(done: int, total: int, says: str) -> None:
        report(tried, count, f"tune {run.kind}: {says}")

    for ticket in tickets:
        if run.end is not None and time.time() > run.end:
            break
        state = one_trial(study, run.kind, run.first + ticket, end=run.end, report=of_trial)
        tried += 1
        failures = failures + 1 if state == TrialState.FAIL else 0
        if failures >= _FAILURES and failures == tried:
            break
    return tried


def _work_together(run: _Run, study: Study, count: int | None, workers: int, report: Report) -> int:
    """The same in several processes, which share the tickets and the database."""
    context = multiprocessing.get_context("spawn")  # threads and a GPU do not survive a fork
    taken, stop = context.Value("q", 0), context.Event()
    most = workers if count is None else min(workers, count)
    found = study.trials(run.kind)
    before = len(found.get_trials(deepcopy=False, states=(*_FINISHED, TrialState.FAIL)))
    with ProcessPoolExecutor(
        most, mp_context=context, initializer=_enter, initargs=(taken, stop, os.getpid(), most)
    ) as pool:
        futures = {pool.submit(_worker, run, count) for _ in range(most)}
        waiting = set(futures)
        try:
            while waiting:
                ended, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                states = (*_FINISHED, TrialState.FAIL)
                done = len(found.get_trials(deepcopy=False, states=states)) - before
                report(done, count or 0, f"tune {run.kind}")
                for future in ended:
                    future.result()
        except BaseException:
            stop.set()  # the workers give up at their next report
            raise
    return sum(future.result() for future in futures)


_shared: dict[str, Any] = {}
"""Of a worker process: what its parent gave it."""


def _enter(taken: Any, stop: Any, parent: int, workers: int) -> None:
    import torch

    _shared.update(taken=taken, stop=stop, parent=parent)
    torch.set_num_threads(max(1, usable_cores() // workers))


def _worker(run: _Run, count: int | None) -> int:
    """Trials in a process of its own."""

    def tickets() -> Iterator[int]:
        while True:
            with _shared["taken"].get_lock():
                ticket = int(_shared["taken"].value)
                if count is not None and ticket >= count:
                    return
                _shared["taken"].value = ticket + 1
            yield ticket

    def report(done: int, total: int, says: str) -> None:
        # A parent that was killed can no longer ask to stop.
        if _shared["stop"].is_set() or os.getppid() != _shared["parent"]:
            raise Cancelled("The search was stopped.")

    project = workspace.project(workspace.open(Path(run.workspace)), run.project)
    with closing(studies.find(project, run.study)) as study:
        try:
            return _work(study, run, tickets(), report)
        except Cancelled:
            return 0


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
        for step in trials.run(study.bench, settings, report=told):
            best, model = step.best, step.model
            trial.report(step.value, step.number)
            if trial.should_prune():
                state, says = TrialState.PRUNED, "pruned: worse than most others at this epoch"
                break
        if not math.isfinite(best):
            state, says = TrialState.FAIL, "no epoch gave a finite loss"
    except TrainingError as error:
        state, says = TrialState.FAIL, str(error)
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
        trials.discard(study.bench, settings)
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
            before = float(json.loads(note.read_text(encoding="utf-8"))["value"])
            if (value >= before) if study.is_least_best else (value <= before):
                return
        # The note last: a kill between the two leaves a model that the next trial replaces.
        trials.keep(study.bench, settings, model, study.home / f"{kind}.safetensors")
        files.write_json(note, {"trial": number, "value": value, "settings": settings.as_json()})


def _repeat_killed(found: optuna.Study) -> int:
    """Marks trials failed that nobody works on any more, and has them tried again."""
    killed = found.get_trials(states=(TrialState.RUNNING,))
    for trial in killed:
        found.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        if params := _params(trial):
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
