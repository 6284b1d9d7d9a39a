"""The loop with an oracle in people's place: what would each strategy have reached?

The heads and choices are those of real rounds; only the answers come from a truth.
"""

import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from curation.errors import InputError, NeedsModel, SelectionError
from curation.images import usable_cores
from curation.progress import Report, silent
from training.heads.head import Head, fit_head
from training.rounds import choosing
from training.rounds.truth import Trial
from training.strategies import STRATEGIES

STARTS = ("random", "own")
SET_ASIDE = 0.2
"""Share of the groups that score where there is no test."""

WORTH_PROCESSES_SECONDS = 8.0
"""Less work than this is done sooner than processes start."""

_TASK = "single-label"
# What the randomness is for: one stream each, the same for every strategy.
_SPLIT, _CHOICE = 0, 1


@dataclass(frozen=True)
class Plan:
    """What to simulate.

    Attributes:
        rounds: at least 1; the first is the start.
        budget: labels a round.
        seeds: how many; they are 0 to seeds - 1.
        strategies: names of `STRATEGIES`, each once.
        start: `random`: all strategies start from the same random batch for a seed; `own`: each
            chooses its first batch too.
        first_batch: labels of the first round, the budget if None.
    """

    rounds: int
    budget: int
    seeds: int
    strategies: tuple[str, ...]
    start: str = "random"
    first_batch: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated, before anything is read."""
        for name in ("rounds", "budget", "seeds", "first_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"--{name.replace('_', '-')} is {value}; give at least 1.")
        if self.start not in STARTS:
            raise InputError(f"--start {self.start!r}: choose one of: {', '.join(STARTS)}.")
        if not self.strategies:
            raise InputError(f"--strategies is empty. Choose from: {', '.join(STRATEGIES)}.")
        for name in self.strategies:
            if name not in STRATEGIES:
                raise SelectionError(
                    f"Unknown strategy {name!r}. Choose from: {', '.join(STRATEGIES)}."
                )
            if self.strategies.count(name) > 1:
                raise InputError(f"--strategies names {name!r} twice. Name each once.")
            if self.start == "own" and STRATEGIES[name].needs_model:
                able = ", ".join(key for key, entry in STRATEGIES.items() if not entry.needs_model)
                raise NeedsModel(
                    f"Strategy {name!r} needs a trained model, so it cannot choose the first "
                    f"batch. Use --start random, or strategies that need none: {able}."
                )


@dataclass(frozen=True)
class Curve:
    """What one strategy reached with one seed, one value for each round.

    Attributes:
        strategy: its name.
        seed: of the start, the split and the strategy.
        labels: labels given by the end of the round.
        accuracy: of the model trained on them, 0 to 1.
        balanced_accuracy: mean recall over the classes of the test.
    """

    strategy: str
    seed: int
    labels: tuple[int, ...]
    accuracy: tuple[float, ...]
    balanced_accuracy: tuple[float, ...]


class _Rows:
    """Embeddings in memory, by row."""

    def __init__(self, embeddings: NDArray[np.float32]) -> None:
        self._embeddings = embeddings

    def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        return self._embeddings[list(ids)]


def run(
    trial: Trial, plan: Plan, *, workers: int | None = None, report: Report = silent
) -> list[Curve]:
    """One curve for each strategy and seed, in the plan's order.

    Each is computed on one thread, so the result does not depend on the cores or the processes.

    Args:
        trial: of `truth.load`.
        plan: what to simulate.
        workers: processes; by default one a usable core where the work is worth starting them. In
            a script of your own that has no `if __name__ == "__main__":`, pass 1: new processes
            read the script again.
        report: told after each curve; may raise `Cancelled`.
    """
    tasks = [(name, seed) for seed in range(plan.seeds) for name in plan.strategies]
    done: dict[tuple[str, int], Curve] = {}

    def keep(found: Curve) -> None:
        done[found.strategy, found.seed] = found
        report(len(done), len(tasks), "simulate")

    report(0, len(tasks), "simulate")
    count = usable_cores() if workers is None else workers
    if workers is None or count == 1:
        begun = time.monotonic()
        keep(curve(trial, plan, *tasks[0]))
        left = (time.monotonic() - begun) * (len(tasks) - 1)
        if count == 1 or left < WORTH_PROCESSES_SECONDS:
            for task in tasks[1:]:
                keep(curve(trial, plan, *task))
    waiting = [task for task in tasks if task not in done]
    if waiting:
        with _processes(trial, plan, min(count, len(waiting))) as pool:
            running: list[Future[Curve]] = [pool.submit(_given_curve, *task) for task in waiting]
            for finished in as_completed(running):
                keep(finished.result())
    return [done[name, seed] for name in plan.strategies for seed in range(plan.seeds)]


def curve(trial: Trial, plan: Plan, strategy: str, seed: int) -> Curve:
    """All rounds of one strategy with one seed.

    While the labels hold one class only there is no model: that class is the answer to everything,
    and a strategy that needs a model draws at random.
    """
    with threadpool_limits(limits=1):
        return Curve(strategy, seed, *zip(*_rounds(trial, plan, strategy, seed), strict=True))


def _rounds(
    trial: Trial, plan: Plan, strategy: str, seed: int
) -> Iterator[tuple[int, float, float]]:
    """(labels, accuracy, balanced accuracy) of each round, until the pool is empty."""
    if trial.test_embeddings is None:
        trial = set_aside(trial, np.random.default_rng([seed, _SPLIT]))
    store = _Rows(trial.embeddings)
    is_open = np.ones(len(trial.answers), dtype=np.bool_)
    labeled: list[int] = []
    head: Head | None = None
    for number in range(plan.rounds):
        pool = np.flatnonzero(is_open)
        wanted = plan.budget if number else plan.first_batch or plan.budget
        count = min(wanted, len(np.unique(trial.groups[pool])))
        if count == 0:
            return
        paired_start = number == 0 and plan.start == "random"
        unable = head is None and STRATEGIES[strategy].needs_model
        chosen = choosing.choose(
            "random" if paired_start or unable else strategy,
            ids=pool,
            groups=trial.groups[pool],
            store=store,
            head=head,
            known_ids=labeled,
            known_targets=trial.answers[labeled] if labeled else None,
            count=count,
            rng=np.random.default_rng([seed, _CHOICE, number]),
        )
        labeled.extend(int(row) for row in chosen.ids)
        is_open &= ~np.isin(trial.groups, trial.groups[labeled])
        answers = trial.answers[labeled]
        head = _learn(trial, labeled) if len(np.unique(answers)) > 1 else None
        yield len(labeled), *_score(trial, head, otherwise=int(answers[0]))


def _learn(trial: Trial, labeled: list[int]) -> Head:
    return fit_head(
        trial.embeddings[labeled], trial.answers[labeled], classes=trial.classes, task=_TASK
    )


def _score(trial: Trial, head: Head | None, *, otherwise: int) -> tuple[float, float]:
    """Accuracy and balanced accuracy on the test."""
    if trial.test_embeddings is None or trial.test_answers is None:
        raise ValueError("a trial without a test cannot be scored: set a part aside first")
    truth = trial.test_answers
    if head is None:
        right = truth == otherwise
    else:
        right = head.logits(trial.test_embeddings).argmax(axis=1) == truth
    recalls = [right[truth == one].mean() for one in np.unique(truth)]
    return float(right.mean()), float(np.mean(recalls))


def set_aside(trial: Trial, rng: np.random.Generator) -> Trial:
    """The same trial with a random fifth of its groups taken from the pool to score on."""
    groups = np.unique(trial.groups)
    drawn = rng.permutation(groups)[: max(1, round(SET_ASIDE * len(groups)))]
    scores = np.isin(trial.groups, drawn)
    return replace(
        trial,
        embeddings=trial.embeddings[~scores],
        answers=trial.answers[~scores],
        groups=trial.groups[~scores],
        test_embeddings=trial.embeddings[scores],
        test_answers=trial.answers[scores],
    )


def notes(trial: Trial, plan: Plan, curves: Sequence[Curve]) -> list[str]:
    """What a reader of the curves must know, in sentences."""
    found = list(trial.notes)
    pool = len(np.unique(trial.groups))
    if trial.test_embeddings is None:
        aside = max(1, round(SET_ASIDE * pool))
        found.append(
            f"There is no --test: a random fifth of the truth ({aside:,} of {pool:,} distinct "
            "images), drawn anew for each seed, was set aside for scoring."
        )
        pool -= aside
    asked = (plan.first_batch or plan.budget) + (plan.rounds - 1) * plan.budget
    if asked > pool:
        found.append(
            f"The pool is exhausted: {asked:,} labels were asked for and it holds {pool:,} "
            f"distinct images, so the curves end after round {len(curves[0].labels)} of "
            f"{plan.rounds}. Lower --budget or --rounds."
        )
    if plan.start == "random":
        found.append("All strategies start from the same random first batch for each seed.")
    return found


# Processes ----------------------------------------------------------------------------------------

_given: ContextVar[tuple[Trial, Plan]] = ContextVar("_given")


@contextmanager
def _processes(trial: Trial, plan: Plan, workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that hold the trial; those waiting are dropped when the block ends early."""
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_receive,
        initargs=(trial, plan),
    )
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _receive(*given: Any) -> None:
    # Ctrl-C reaches every process of the terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _given.set(given)


def _given_curve(strategy: str, seed: int) -> Curve:
    return curve(*_given.get(), strategy, seed)
