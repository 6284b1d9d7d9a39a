"""A search for settings: what it was begun with, its trials, and the best of them."""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from curation import files
from curation.catalog import tuning as databases
from curation.errors import TrainingError
from training.settings import Settings, from_json
from training.tuning import search_space
from training.tuning.bench import Bench

FIRST = 5
"""Trials drawn at random before TPE looks at what they gave, and before any is pruned."""

_PATIENCE = 8
"""Part of a training before which it is not pruned: an eighth."""


@dataclass(frozen=True, eq=False)
class Study:
    """A search.

    Attributes:
        name: without the project's number.
        facts: of study.json.
        bench: what its trials share.
        url: of the database with its trials.
        opened: what `trials` has given, by kind.
    """

    name: str
    facts: dict[str, Any]
    bench: Bench
    url: str
    opened: dict[str, optuna.Study] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """Its folder."""
        return self.bench.home

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of training, in the order in which they are searched."""
        return tuple(self.facts["kinds"])

    @property
    def is_least_best(self) -> bool:
        """Whether a smaller value of the metric is better."""
        return bool(self.facts["metric"] == "log-loss")

    def space(self, kind: str) -> search_space.Space:
        """What is varied."""
        return search_space.of(
            kind, backbones=tuple(self.facts["backbones"]), fixed=self.facts["fixed"]
        )

    @cached_property
    def storage(self) -> optuna.storages.RDBStorage:
        """The database, opened; `close` gives it back."""
        return optuna.storages.RDBStorage(self.url, engine_kwargs=databases.options(self.url))

    def close(self) -> None:
        """Gives connections back; what is asked next opens new ones."""
        if "storage" in self.__dict__:
            self.storage.remove_session()
            self.storage.engine.dispose()
            self.opened.clear()
            del self.__dict__["storage"]

    def trials(self, kind: str) -> optuna.Study:
        """Optuna's study of a kind, made where it is missing."""
        if kind not in self.opened:
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            self.opened[kind] = optuna.create_study(
                study_name=f"{self.home.name}-{self.facts['key']}-{kind}",
                storage=self.storage,
                direction="minimize" if self.is_least_best else "maximize",
                sampler=optuna.samplers.RandomSampler(seed=0),  # each trial gets its own
                pruner=optuna.pruners.MedianPruner(
                    n_startup_trials=FIRST,
                    # Slow learners are not hopeless.
                    n_warmup_steps=max(2, self.facts["base"][kind].get("epochs", 1) // _PATIENCE),
                ),
                load_if_exists=True,
            )
        return self.opened[kind]

    def sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """For one trial, so that a search that goes on draws what it would have drawn.

        Args:
            number: trials before it.
        """
        seed = int(np.random.SeedSequence([self.facts["seed"], number]).generate_state(1)[0])
        if self.facts["sampler"] == "tpe":
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=FIRST)
        return optuna.samplers.RandomSampler(seed=seed)

    def settings(self, kind: str, params: Mapping[str, Any]) -> Settings:
        """What a trial with these parameters was trained with."""
        return from_json({**self.facts["base"][kind], **params, "kind": kind})

    def best(self) -> tuple[str, FrozenTrial] | None:
        """Kind and trial of the best; none if no trial has ended."""
        found = [
            (kind, trial)
            for kind in self.kinds
            for trial in self.trials(kind).get_trials(states=(TrialState.COMPLETE,))
        ]
        sign = 1.0 if self.is_least_best else -1.0
        return min(found, key=lambda one: sign * float(one[1].value or 0.0), default=None)

    def write_best(self) -> Path | None:
        """Writes the settings of the best trial for `labelloop train`; none if there is none."""
        best = self.best()
        if best is None:
            return None
        kind, trial = best
        path = self.home / "best.toml"
        files.write_bytes(path, self.settings(kind, trial.params).as_toml().encode())
        return path

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One process at a time searches; the lock goes with its process.

        Raises:
            TrainingError: another one does.
        """
        with (self.home / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise TrainingError(
                    f"Another process works on the study {self.name!r}. Wait for it to end, or "
                    "begin one of your own with --study NAME."
                ) from error
            yield
