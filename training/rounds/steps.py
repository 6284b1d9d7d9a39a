"""The steps of a round, in their order.

Each takes the work in progress and returns what it found together with the rows that say so; the
loop writes both at once. A later step reads what an earlier one recorded, never its variables,
since the two may run in different processes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from curation import balance, features, snapshots
from curation.catalog import Connection, rounds, runs
from curation.catalog import images as image_rows
from curation.errors import TrainingError
from curation.records import LabelRow
from training import calibration, evaluation, frozen, weighing
from training import runs as run_files
from training.heads.head import Head, fit_head
from training.material import weak
from training.material.records import Weak
from training.rounds import choosing
from training.rounds.batch import select
from training.rounds.work import Done, Work
from training.settings import HeadSettings

BLOCK = 8192


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
    judging = [row.image_id for row in (*work.labels.calibration, *work.labels.holdout)]
    found = weak.gather(project, rules=None, judging=judging, machine=work.labels.machine)
    counts: dict[str, Any] = {
        "labels": len(rows),
        "machine": found.machine,
        "rules": found.rules,
    }
    plan = balance.in_force(project).get("balance")
    # Weights that the head chooses would undo the plan's; what a plan leaves out or adds does not
    # even all classes out, so there they stay.
    how = HeadSettings(class_weight="none") if balance.sets_weights(plan) else HeadSettings()
    try:
        head, found = _fit(work, rows, how, plan or {}, found)
        counts |= {"rules": found.rules, "weighed": found.says}
    except TrainingError as error:
        return Done({**counts, "run": None, "says": str(error)})
    run_id = run_files.name(project, work.round)
    settings = how.as_json()
    if found.plan is not None:
        settings["rules"] = {"plan": found.plan}
    if plan:
        settings["plan"] = {"id": plan["id"], "remedy": plan["remedy"]}
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


def _fit(
    work: Work,
    rows: Sequence[LabelRow],
    settings: HeadSettings,
    plan: dict[str, Any],
    more_labels: Weak,
) -> tuple[Head, Weak]:
    if not rows:
        raise TrainingError("No label outside the reserve yet; the first batch needs no model.")
    record = work.project.record
    X = work.store.read([row.image_id for row in rows])
    y = work.targets([row.classes for row in rows])
    counted = np.array([row.confidence for row in rows])
    counted *= balance.weights(work.project, rows, plan=plan)
    if plan.get("augmentation"):
        from curation.balance import copies

        backbone = work.result("embed")["backbone"]
        of, more = copies.embed(work.project, rows, plan, backbone=backbone, report=work.report)
        X, y = np.concatenate([X, more]), np.concatenate([y, y[of]])
        counted = np.concatenate([counted, counted[of]])
    judges = work.labels.calibration
    labeled = weighing.Rows(X, y, counted)
    class_weight = balance.class_weights(work.project, plan)
    found = weighing.weigh(
        labeled,
        more_labels,
        weighing.Rows(
            work.store.read([row.image_id for row in judges]),
            work.targets([row.classes for row in judges]),
            np.ones(len(judges)),
        )
        if judges
        else None,
        work.store,
        classes=record.classes,
        settings=settings,
        class_weight=class_weight,
        report=work.report,
    )
    every = weighing.joined(labeled, found, work.store)
    head = fit_head(
        every.X,
        every.y,
        classes=record.classes,
        task=record.task,
        settings=settings,
        sample_weight=every.weight,
        class_weight=class_weight,
    )
    return head, found


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
    head.calibrated(found.temperature).save(work.folder / run_files.HEAD)
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
        groups=np.array([row.group_id for row in rows], dtype=np.int64),
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
        margins = choosing.margins(probabilities, task=head.task)
        for row, key in enumerate(block):
            scored.append(
                (key, class_ids[best[row]], float(probabilities[row, best[row]]), margins[row])
            )
        work.report(start + len(block), len(ids), "predict")
    return Done(
        {"predicted": len(scored)},
        lambda connection: runs.put_predictions(connection, work.project.id, run_id, scored),
    )


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
    with work.project.catalog.read() as connection:
        waiting = rounds.count_waiting(connection, work.project.id)
    facts = {
        "labels": trained["labels"],
        "strategy": chosen["strategy"],
        "rule": chosen["rule"],
        "selected": chosen["selected"],
        "control": chosen["control"],
        "carried": chosen["carried"],
        "golds": chosen.get("golds", 0),
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
