"""Trials one after the other, in this process or in several that share them."""

import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from curation import workspace
from curation.errors import Cancelled, TrainingError
from curation.images import usable_cores
from curation.progress import Report
from training.tuning import studies
from training.tuning.study import Study
from training.tuning.trials import one_trial

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)

_FAILURES = 3
"""In a row and nothing else: then a search ends."""


@dataclass(frozen=True)
class Turn:
    """The trials of one kind in one call; a worker opens all else itself."""

    workspace: str
    project: str
    study: str
    storage: str
    kind: str
    first: int
    end: float | None


def work(study: Study, turn: Turn, tickets: Iterable[int], report: Report) -> int:
    """Trials for as long as there are tickets and time; returns how many."""
    count = len(tickets) if isinstance(tickets, range) else 0
    tried = failures = 0

    def of_trial(done: int, total: int, says: str) -> None:
        report(tried, count, f"tune {turn.kind}: {says}")

    for ticket in tickets:
        if turn.end is not None and time.time() > turn.end:
            break
        state = one_trial(study, turn.kind, turn.first + ticket, end=turn.end, report=of_trial)
        tried += 1
        failures = failures + 1 if state == TrialState.FAIL else 0
        if failures >= _FAILURES and failures == tried:
            break
    return tried


def work_together(turn: Turn, study: Study, count: int | None, workers: int, report: Report) -> int:
    """The same in several processes, which share the tickets and the database."""
    context = multiprocessing.get_context("spawn")  # threads and a GPU do not survive a fork
    taken, stop = context.Value("q", 0), context.Event()
    most = workers if count is None else min(workers, count)
    found = study.trials(turn.kind)
    before = len(found.get_trials(deepcopy=False, states=(*FINISHED, TrialState.FAIL)))
    with ProcessPoolExecutor(
        most, mp_context=context, initializer=_enter, initargs=(taken, stop, os.getpid(), most)
    ) as pool:
        futures = {pool.submit(_worker, turn, count) for _ in range(most)}
        waiting = set(futures)
        try:
            while waiting:
                ended, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                states = (*FINISHED, TrialState.FAIL)
                done = len(found.get_trials(deepcopy=False, states=states)) - before
                report(done, count or 0, f"tune {turn.kind}")
                for future in ended:
                    future.result()
        except BrokenProcessPool as error:
            raise TrainingError(
                f"A process of the search was killed, probably for want of memory: {most} work at "
                "a time. Lower --workers; the same command goes on with what there is."
            ) from error
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


def _worker(turn: Turn, count: int | None) -> int:
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

    project = workspace.project(workspace.open(Path(turn.workspace)), turn.project)
    with closing(studies.find(project, turn.study, storage=turn.storage)) as study:
        try:
            return work(study, turn, tickets(), report)
        except Cancelled:
            return 0
