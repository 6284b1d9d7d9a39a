"""A round in progress: what was asked, who answers, and what every step may look at."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from curation.catalog import Connection, rounds
from curation.embeddings import EmbeddingStore
from curation.errors import RoundError
from curation.progress import Report
from curation.records import RoundRecord
from curation.workspace import Project
from training import frozen
from training import runs as run_files
from training.frozen import Frozen
from training.heads.head import Head
from training.strategies import STRATEGIES
from training.targets import to_targets

MOST_ANSWERS = 20


class Annotator(Protocol):
    """People, or an oracle in their place. `ui.wiring` fills it."""

    def offer(self, round: RoundRecord, report: Report) -> None:
        """Shows people what the round's ledger holds, in its order; twice is the same as once."""

    def collect(self, report: Report) -> dict[str, Any]:
        """Returns once all answers given so far, and the labels they make, are in the catalog."""


@dataclass(frozen=True)
class RoundSettings:
    """What the user asks of a round.

    Attributes:
        strategy: a name from `STRATEGIES`.
        budget: images to send. Round 0 sends the reserve's first images on top of it; in later
            rounds the reserve's share is taken out of it.
        reserve: images of the reserve that round 0 sends.
        control_share: share of a later round's budget that goes to the reserve's order, as random
            control.
        reserve_width: half the width of the holdout's accuracy interval at which the reserve is
            large enough, and the control share goes to chosen images as well.
        unaided_share: share of the chosen images whose pre-label people do not see, 0 to below 1,
            so that what pre-labels do is measured.
        answers: how many people answer each image of the batch.
    """

    strategy: str = "auto"
    budget: int = 50
    reserve: int = 150
    control_share: float = 0.1
    reserve_width: float = 0.03
    unaided_share: float = 0.1
    answers: int = 1

    def check(self) -> None:
        """Raises RoundError for settings that cannot work."""
        if self.strategy not in STRATEGIES:
            raise RoundError(
                f"Unknown strategy {self.strategy!r}. Choose one of: {', '.join(STRATEGIES)}."
            )
        if self.budget < 1:
            raise RoundError(f"Asked for {self.budget} images; --budget must be at least 1.")
        if self.reserve < 0:
            raise RoundError(f"--reserve {self.reserve} must be 0 or more.")
        if not 1 <= self.answers <= MOST_ANSWERS:
            raise RoundError(f"--answers {self.answers} must be from 1 to {MOST_ANSWERS}.")
        if not 0 <= self.unaided_share < 1:
            raise RoundError(
                f"--unaided-share {self.unaided_share:g} must be 0 or more and below 1. 0.1 holds "
                "the pre-label of every tenth image back."
            )


def _nothing(_connection: Connection) -> None:
    """A step whose result is all there is to write."""


@dataclass(frozen=True)
class Done:
    """What a step found, and the rows to write in the transaction that marks it done."""

    result: dict[str, Any]
    write: Callable[[Connection], None] = _nothing


@dataclass(frozen=True)
class Work:
    """One round in progress: what every step may look at."""

    project: Project
    round: RoundRecord
    settings: RoundSettings
    annotator: Annotator
    report: Report

    def result(self, step: str) -> dict[str, Any]:
        """What an earlier step of this round recorded."""
        with self.project.catalog.read() as connection:
            found: dict[str, Any] = rounds.steps(connection, self.round.id)[step]["result"]
        return found

    def rng(self, step: str) -> np.random.Generator:
        """Randomness fixed by project, round and step, so that a resumed step repeats itself."""
        return np.random.default_rng([self.project.record.seed, self.round.number, *step.encode()])

    @cached_property
    def store(self) -> EmbeddingStore:
        """The embeddings that the embed step completed."""
        found = self.result("embed")
        home = self.project.workspace.folder("embeddings")
        return EmbeddingStore(home / found["folder"], found["fingerprint"])

    @cached_property
    def head(self) -> Head | None:
        """The calibrated model of this round; none if there are too few labels for one."""
        run_id = self.result("train")["run"]
        if run_id is None:
            return None
        head = run_files.load_head(self.project, run_id)
        return head.calibrated(self.result("calibrate")["temperature"])

    def targets(self, classes: list[tuple[int, ...]]) -> NDArray[np.int64]:
        """Class ids as the model wants them: see `to_targets`."""
        record = self.project.record
        return to_targets(classes, record.class_ids, task=record.task)

    @cached_property
    def labels(self) -> Frozen:
        """The labels as the snapshot step froze them."""
        return frozen.load(self.folder)

    @property
    def folder(self) -> Path:
        """Where the files of this round's run are."""
        return run_files.folder(self.project, run_files.name(self.project, self.round))
