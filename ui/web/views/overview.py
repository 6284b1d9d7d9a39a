"""Where a project stands, and the one thing to do next."""

from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from curation.catalog import Connection, images, jobs, labels, remote, reserve, rounds
from curation.catalog import pool as pool_rows
from curation.records import JobRecord, ReserveProgress, RoundRecord
from curation.workspace import Project
from ui.web.views import wording
from ui.web.views.wording import Figure
from ui.web.views.work import KINDS, UNFINISHED

Act = Literal["import", "watch", "resume", "start-round", "label", "read"]
METRICS = {
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
}
"""The figures of a model that pages show, by their key in a round's record."""
MOST_SET_ASIDE = 200


@dataclass(frozen=True)
class Stage:
    """One stage of the way from images to a model."""

    name: str
    count: str
    says: str


@dataclass(frozen=True)
class NextStep:
    """The next best action: what its button says, and why it is the best."""

    act: Act
    button: str
    reason: str


@dataclass(frozen=True)
class Standing:
    """Everything the overview shows.

    Attributes:
        trained: whether there is a model, measured or not.
        quarantined: columns image and reason; the first of those set aside.
    """

    stages: tuple[Stage, ...]
    next_step: NextStep
    metrics: dict[str, Figure]
    trained: bool
    metrics_of_round: int | None
    target: str
    reserve: ReserveProgress
    classes: pd.DataFrame
    quarantined_count: int
    quarantined: pd.DataFrame


@dataclass(frozen=True)
class _Counts:
    total: int
    usable: int
    quarantined: int
    excluded: int
    pool: int
    labeled: int
    propagated: int
    waiting: int
    doubts: int


def standing(project: Project) -> Standing:
    """Reads where the project stands, in one consistent state of the catalog."""
    with project.catalog.read() as connection:
        states = images.count_by_state(connection, project.id)
        counts = _Counts(
            total=sum(states.values()),
            usable=states.get("ok", 0),
            quarantined=states.get("quarantined", 0),
            excluded=states.get("excluded", 0),
            pool=pool_rows.count(connection, project.id),
            labeled=labels.count(connection, project.id),
            propagated=labels.count_propagated(connection, project.id),
            waiting=rounds.count_waiting(connection, project.id),
            doubts=_count_doubts(connection, project),
        )
        per_class = labels.count_by_class(connection, project.id)
        every = rounds.every(connection, project.id)
        work = jobs.newest(connection, project.id, most=1, states=UNFINISHED)
        failed = _newest_failure(connection, project)
        set_aside = images.quarantined(connection, project.id, most=MOST_SET_ASIDE)
        kept = reserve.progress(connection, project.id)
    measured = next((r for r in reversed(every) if r.record.get("metrics")), None)
    metrics: dict[str, Any] = measured.record["metrics"] if measured else {}
    latest = every[-1] if every else None
    trained = any(one.run_id for one in every)
    return Standing(
        stages=_stages(counts, measured, metrics, trained=trained),
        next_step=_next_step(project, counts, latest, metrics, work, failed),
        metrics={key: metrics[key] for key in METRICS if wording.known(metrics.get(key))},
        trained=trained,
        metrics_of_round=measured.number if measured else None,
        target=_target(project),
        reserve=kept,
        classes=pd.DataFrame(list(per_class.items()), columns=["class", "labels"]),
        quarantined_count=counts.quarantined,
        quarantined=pd.DataFrame(set_aside, columns=["image", "reason"]),
    )


def _count_doubts(connection: Connection, project: Project) -> int:
    """Labels that wait for a reviewer."""
    if "correction" not in remote.in_use(connection, project.id):
        return 0
    return remote.count_waiting(connection, project.id, "correction")


def _newest_failure(connection: Connection, project: Project) -> JobRecord | None:
    found = jobs.newest(connection, project.id, most=1)
    return found[0] if found and found[0].state == "failed" else None


def _stages(
    counts: _Counts, measured: RoundRecord | None, metrics: dict[str, Any], *, trained: bool
) -> tuple[Stage, ...]:
    aside = f"{counts.quarantined:,} set aside"
    if counts.excluded:
        aside += f", {counts.excluded:,} excluded"
    labeled = f"{counts.pool:,} in the pool"
    if counts.propagated:
        labeled = f"{counts.propagated:,} from copies, {labeled}"
    figure = metrics.get("balanced_accuracy")
    model = Stage("Model", "none yet", "a round trains one")
    if measured and figure:
        model = Stage("Model", wording.percent(figure), f"balanced accuracy, n = {figure['n']:,}")
    elif trained:
        model = Stage("Model", "trained", "to be measured on the reserve")
    return (
        Stage("Images", f"{counts.total:,}", "imported"),
        Stage("Usable", f"{counts.usable:,}", aside),
        Stage("Labeled", f"{counts.labeled:,}", labeled),
        model,
    )


def _target(project: Project) -> str:
    target = project.record.target
    return f"{target.metric.replace('-', ' ')} {100 * target.value:g} %" if target else ""


def _next_step(
    project: Project,
    counts: _Counts,
    latest: RoundRecord | None,
    metrics: dict[str, Any],
    work: list[JobRecord],
    failed: JobRecord | None,
) -> NextStep:
    """The first that applies, from what blocks everything to what merely improves."""
    obstacle = _obstacle(counts, latest, work, failed)
    if obstacle:
        return obstacle
    if counts.waiting or counts.doubts:
        return _people_first(project, counts)
    if latest is None:
        return NextStep(
            "start-round",
            "Start round 0",
            f"{wording.counted(counts.usable, 'image')} are ready. The first round draws the "
            "reserve for honest figures and chooses the images to label first.",
        )
    if _target_met(project, metrics):
        return NextStep(
            "read",
            "Read the result",
            f"The target is met: the whole interval lies above {_target(project)}.",
        )
    if not counts.pool:
        return NextStep("read", "Read the result", "The pool is empty: every image was sent.")
    return NextStep(
        "start-round",
        f"Run round {latest.number + 1}",
        f"Every image of round {latest.number} is answered. The next round learns from the answers "
        f"and chooses among {counts.pool:,} images.",
    )


def _people_first(project: Project, counts: _Counts) -> NextStep:
    """What people have to do before the next round can learn from it."""
    if counts.waiting:
        return NextStep(
            "label",
            f"Label {wording.counted(counts.waiting, 'image')}",
            f"{wording.counted(counts.waiting, 'image')} "
            f"{'waits' if counts.waiting == 1 else 'wait'} for an answer: about "
            f"{_effort(project, counts.waiting)} of work.",
        )
    return NextStep(
        "label",
        f"Review {wording.counted(counts.doubts, 'label')}",
        f"{wording.counted(counts.doubts, 'label')} may be wrong: about "
        f"{_effort(project, counts.doubts)} of work, before the next round learns from "
        f"{'it' if counts.doubts == 1 else 'them'}.",
    )


def _obstacle(
    counts: _Counts, latest: RoundRecord | None, work: list[JobRecord], failed: JobRecord | None
) -> NextStep | None:
    """What has to be waited for or mended before anything else."""
    if work:
        name = KINDS.get(work[0].kind, work[0].kind)
        return NextStep("watch", "Watch it work", f"Under way: {name.lower()}.")
    if failed:
        name = KINDS.get(failed.kind, failed.kind)
        reason = f"{name} failed: {failed.says or 'no reason given'}"
        if failed.kind == "round":
            return NextStep("read", "Go to Rounds", reason)
        return NextStep("resume", "Try again", reason)
    if not counts.usable:
        return NextStep("import", "Import images", "There is no image to label yet.")
    if latest and latest.state == "running":
        return NextStep(
            "resume",
            f"Resume round {latest.number}",
            f"Round {latest.number} stopped half-way. It goes on where it stopped and sends "
            "nothing twice.",
        )
    return None


def _effort(project: Project, count: int) -> str:
    return wording.duration(count * project.record.seconds_per_label)


def _target_met(project: Project, metrics: dict[str, Any]) -> bool:
    target = project.record.target
    figure = metrics.get(target.metric.replace("-", "_")) if target else None
    return bool(target and figure and wording.known(figure) and figure["ci"][0] >= target.value)
