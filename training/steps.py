"""The steps of a round, in their order.

Each takes the work in progress and returns what it found together with the rows that say so; the
loop writes both at once. A later step reads what an earlier one recorded, never its variables,
since the two may run in different processes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from curation import features, snapshots
from curation.catalog import Connection, reserve, rounds, runs
from curation.catalog import images as image_rows
from curation.embeddings import EmbeddingStore
from curation.errors import RoundError, TrainingError
from curation.progress import Report
from curation.records import LabelRow, LedgerRow, PoolRow, RoundRecord
from curation.workspace import Project
from training import calibration, evaluation, frozen, learner
from training import runs as run_files
from training.frozen import Frozen
from training.head import Head
from training.settings import HeadSettings
from training.strategies import STRATEGIES, Selection

BLOCK = 8192
NOTHING = Selection(ids=np.array([], dtype=np.int64), scores=np.array([]), reasons=())


class Annotator(Protocol):
    """People, or an oracle in their place. `ui.wiring` fills it."""

    def offer(self, round: RoundRecord, report: Report) -> None:
        """Shows people what the round's ledger holds, in its order; twice is the same as once."""

    def collect(self, report: Report) -> dict[str, int]:
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
    """

    strategy: str = "auto"
    budget: int = 50
    reserve: int = 150
    control_share: float = 0.1
    reserve_width: float = 0.03

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
        """Class ids as the model wants them: see `learner.targets`."""
        record = self.project.record
        return learner.targets(classes, record.class_ids, task=record.task)

    @cached_property
    def labels(self) -> Frozen:
        """The labels as the snapshot step froze them."""
        return frozen.load(self.folder)

    @property
    def folder(self) -> Path:
        """Where the files of this round's run are."""
        return run_files.folder(self.project, run_files.name(self.project, self.round))


def embed(work: Work) -> Done:
    """Embeds the images that have no embedding yet."""
    prepared = features.prepare(work.project, report=work.report)
    return Done(
        {
            "folder": prepared.folder.name,
            "fingerprint": prepared.fingerprint,
            "backbone": prepared.backbone,
            "embedded": prepared.embedded,
        }
    )


def snapshot(work: Work) -> Done:
    """Freezes the labels that this round learns from and is judged by."""
    while True:
        taken = frozen.take(work.project)
        made = snapshots.create(work.project)
        # An answer that was pulled between the two would be in one of them only.
        if frozen.take(work.project) == taken:
            break
    frozen.save(work.folder, taken)
    return Done({"snapshot": made.id, "splits": made.header["splits"], "version": taken.version})


def train(work: Work) -> Done:
    """Fits the head from scratch to everything labeled outside the reserve."""
    project, rows = work.project, work.labels.train
    counts = {"labels": len(rows)}
    try:
        head = _fit(work, rows)
    except TrainingError as error:
        return Done({**counts, "run": None, "says": str(error)})
    run_id = run_files.name(project, work.round)
    settings = {"recipe": "head", **HeadSettings().as_json()}
    run_files.save(
        project,
        run_id,
        head=head,
        settings=settings,
        facts={
            "round": work.round.number,
            "snapshot": work.result("snapshot")["snapshot"],
            "backbone": work.result("embed")["backbone"],
            "fingerprint": work.result("embed")["fingerprint"],
            "seed": project.record.seed,
            **counts,
        },
    )

    def write(connection: Connection) -> None:
        runs.add(
            connection,
            project.id,
            run_id,
            kind="head",
            snapshot_id=work.result("snapshot")["snapshot"],
            seed=project.record.seed,
            settings=settings,
            metrics={},
        )
        rounds.set_run(connection, work.round.id, run_id)

    return Done({**counts, "run": run_id, "says": ""}, write)


def _fit(work: Work, rows: Sequence[LabelRow]) -> Head:
    if not rows:
        raise TrainingError("No label outside the reserve yet; the first batch needs no model.")
    record = work.project.record
    return learner.fit(
        work.store.read([row.image_id for row in rows]),
        work.targets([row.classes for row in rows]),
        classes=record.classes,
        task=record.task,
        sample_weight=np.array([row.confidence for row in rows]),
    )


def calibrate(work: Work) -> Done:
    """Sets the temperature on the calibration half."""
    run_id = work.result("train")["run"]
    rows = work.labels.calibration
    if run_id is None or not rows:
        return Done({"temperature": 1.0, "n": len(rows)})
    head = run_files.load_head(work.project, run_id)
    logits = head.logits(work.store.read([row.image_id for row in rows]))
    found = calibration.fit_temperature(
        logits, work.targets([row.classes for row in rows]), task=head.task
    )
    return Done({"temperature": found.temperature, "n": len(rows), "says": found.note})


def evaluate(work: Work) -> Done:
    """Judges the calibrated head on the holdout half, which steers nothing."""
    rows = work.labels.holdout
    if work.head is None or not rows:
        return Done({"metrics": {}, "n": len(rows)})
    probabilities = work.head.probabilities(work.store.read([row.image_id for row in rows]))
    metrics = evaluation.evaluate(
        probabilities,
        work.targets([row.classes for row in rows]),
        work.project.record.classes,
        rng=work.rng("evaluate"),
    ).as_json()
    run_id = work.result("train")["run"]
    run_files.save_metrics(work.project, run_id, metrics)
    return Done(
        {"metrics": metrics, "n": len(rows)},
        lambda connection: runs.set_metrics(connection, run_id, metrics),
    )


def predict(work: Work) -> Done:
    """Writes the model's answer for every usable image."""
    head, run_id = work.head, work.result("train")["run"]
    if head is None:
        return Done({"predicted": 0})
    with work.project.catalog.read() as connection:
        ids = [key for key, _ in image_rows.usable(connection, work.project.id)]
    scored: list[tuple[int, int, float, float]] = []
    class_ids = work.project.record.class_ids
    for start in range(0, len(ids), BLOCK):
        block = ids[start : start + BLOCK]
        probabilities = head.probabilities(work.store.read(block))
        best = probabilities.argmax(axis=1)
        margins = learner.margins(probabilities, task=head.task)
        for row, key in enumerate(block):
            scored.append(
                (key, class_ids[best[row]], float(probabilities[row, best[row]]), margins[row])
            )
        work.report(start + len(block), len(ids), "predict")
    return Done(
        {"predicted": len(scored)},
        lambda connection: runs.put_predictions(connection, work.project.id, run_id, scored),
    )


def select(work: Work) -> Done:
    """Chooses the batch, and takes the next images of the reserve's order as random control."""
    project, known = work.project, work.labels.known
    with project.catalog.read() as connection:
        waiting = rounds.waiting(connection, project.id)
        ordered = reserve.rows(connection, project.id)
        about = image_rows.get_many(connection, [*waiting, *(row.image_id for row in ordered)])
        sent_groups = {about[key].group_id for key in waiting}
        pool = [
            row
            for row in image_rows.pool(connection, project.id)
            if row.group_id not in sent_groups
        ]
        carried = rounds.waiting(connection, project.id, queue="batch")
    reserved = {row.image_id for row in ordered}
    # An image that waits is of no use any more once its copy is labeled, or is in the reserve.
    closed = {about[key].group_id for key in reserved} | {row.group_id for row in known}
    carried = [key for key in carried if key in reserved or about[key].group_id not in closed]
    fresh = [row.image_id for row in ordered if not row.offered and not row.settled]
    control = fresh[: _control_size(work)]
    wanted = work.settings.budget - (len(control) if work.round.number else 0)
    count = min(wanted, len(pool))
    chosen = _choose(work, pool, count) if count > 0 else NOTHING
    picks = [int(key) for key in chosen.ids]
    hints = _prelabels(work, [*picks, *(key for key in carried if key not in reserved)])
    rows = [
        LedgerRow(
            image_id=key,
            queue="batch",
            rank=rank,
            score=float(chosen.scores[rank]),
            reason=chosen.reasons[rank],
            probability=(
                None if chosen.probabilities is None else float(chosen.probabilities[rank])
            ),
        )
        for rank, key in enumerate(picks)
    ]
    drawn = [
        LedgerRow(image_id=key, queue="reserve", rank=rank, reason="random: next in the reserve")
        for rank, key in enumerate(control)
    ]
    left = [
        LedgerRow(image_id=key, queue="batch", rank=0, reason="waiting since an earlier round")
        for key in carried
    ]
    if work.round.number:
        # People answer one queue from now on; the reserve's images carry no pre-label there either.
        rows, drawn = _interleaved(rows, drawn), []
    ledger = [
        replace(
            row,
            rank=rank,
            prelabel_class_id=hints[row.image_id][0] if row.image_id in hints else None,
            prelabel_confidence=hints[row.image_id][1] if row.image_id in hints else None,
        )
        for rank, row in enumerate([*rows, *left])
    ]
    return Done(
        {
            "strategy": chosen.strategy or work.settings.strategy,
            "rule": chosen.rule or "",
            "selected": len(picks),
            "control": len(control),
            "carried": len(carried),
            "pool": len(pool),
            "short": max(wanted - len(picks), 0),
        },
        lambda connection: rounds.plan(connection, project.id, work.round.id, [*ledger, *drawn]),
    )


def _choose(work: Work, pool: Sequence[PoolRow], count: int) -> Selection:
    name, known = work.settings.strategy, work.labels.known
    rule = ""
    if STRATEGIES[name].needs_model and work.head is None:
        # Better than a round that could neither go on nor be asked for anything else.
        rule = f"{name} needs a model and there is none yet; "
        name = "auto"
    chosen = learner.choose(
        name,
        ids=np.array([row.id for row in pool], dtype=np.int64),
        groups=np.array([row.group_id for row in pool], dtype=np.int64),
        store=work.store,
        head=work.head,
        known_ids=[row.image_id for row in known],
        known_targets=work.targets([row.classes for row in known]) if known else None,
        count=count,
        rng=work.rng("select"),
    )
    return replace(chosen, rule=rule + (chosen.rule or "")) if rule else chosen


def _interleaved(chosen: list[LedgerRow], drawn: list[LedgerRow]) -> list[LedgerRow]:
    """The chosen rows in their order, with the drawn ones spread evenly among them."""
    if not drawn:
        return chosen
    gap = len(chosen) / len(drawn)
    placed = [(float(rank), row) for rank, row in enumerate(chosen)]
    placed += [((n + 0.5) * gap - 0.5, replace(row, queue="batch")) for n, row in enumerate(drawn)]
    return [row for _, row in sorted(placed, key=lambda pair: pair[0])]


def _control_size(work: Work) -> int:
    if work.round.number == 0:
        return work.settings.reserve
    accuracy = work.result("evaluate")["metrics"].get("accuracy")
    if accuracy:
        low, high = accuracy["ci"]
        if (high - low) / 2 <= work.settings.reserve_width:
            return 0
    return round(work.settings.control_share * work.settings.budget)


def _prelabels(work: Work, ids: list[int]) -> dict[int, tuple[int, float]]:
    """Likeliest class id and its confidence, by image id."""
    if work.head is None or not ids:
        return {}
    probabilities = work.head.probabilities(work.store.read(ids))
    best = probabilities.argmax(axis=1)
    class_ids = work.project.record.class_ids
    return {
        key: (class_ids[best[row]], float(probabilities[row, best[row]]))
        for row, key in enumerate(ids)
    }


def push(work: Work) -> Done:
    """Offers the ledger to people."""
    work.annotator.offer(work.round, work.report)
    with work.project.catalog.read() as connection:
        rows = rounds.ledger(connection, work.round.id)
    return Done(
        {"pushed": len(rows)},
        lambda connection: rounds.mark_pushed(
            connection, work.round.id, [row.image_id for row in rows]
        ),
    )


def record(work: Work) -> Done:
    """Brings together what the round came to, for people and for `labelloop rounds show`."""
    chosen, trained = work.result("select"), work.result("train")
    metrics = work.result("evaluate")["metrics"]
    waiting = chosen["selected"] + chosen["control"] + chosen["carried"]
    facts = {
        "labels": trained["labels"],
        "strategy": chosen["strategy"],
        "rule": chosen["rule"],
        "selected": chosen["selected"],
        "control": chosen["control"],
        "carried": chosen["carried"],
        "metrics": metrics,
        "gain": {},
        "forecast": {},
        "advice": _advice(work, metrics, waiting),
        "waiting": waiting,
        "snapshot": work.result("snapshot")["snapshot"],
        "temperature": work.result("calibrate")["temperature"],
        "seed": work.project.record.seed,
    }
    return Done(facts, lambda connection: rounds.note(connection, work.round.id, facts))


def _advice(work: Work, metrics: dict[str, Any], waiting: int) -> str:
    label = f"Label the {waiting} images that wait, then run the next round."
    if not waiting:
        label = "No image is left to label; import more to go on."
    elif short := work.result("select")["short"]:
        label = (
            f"The pool held {short} images less than --budget {work.settings.budget} asks for. "
            f"{label}"
        )
    if problem := work.result("train")["says"]:
        return f"{problem} {label}"
    if not metrics:
        return f"There is no figure yet, since the reserve has not been answered. {label}"
    target = work.project.record.target
    figure = metrics.get(target.metric.replace("-", "_")) if target else None
    if target is None or not figure:
        return label
    low, high = figure["ci"]
    if low >= target.value:
        return (
            f"The target is met: {target.metric} is at least {low:.3f} (95 % interval) and "
            f"{target.value:g} was asked for. You may stop here."
        )
    so_far = "is below" if high < target.value else "cannot be told yet to reach"
    return f"{target.metric} {so_far} the target of {target.value:g}. {label}"


STEPS: dict[str, Callable[[Work], Done]] = {
    "embed": embed,
    "snapshot": snapshot,
    "train": train,
    "calibrate": calibrate,
    "evaluate": evaluate,
    "predict": predict,
    "select": select,
    "push": push,
    "record": record,
}
