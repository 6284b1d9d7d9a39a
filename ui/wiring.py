"""The composition root: joins the packages, and is what commands, pages, jobs and Python call.

Functions return what the command line prints with `--json`, so that every face says the same.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from curation import workspace as workspaces
from curation.catalog import (
    annotations,
    corrections,
    issues,
    labels,
    projects,
    remote,
    remote_answers,
    reserve,
    rounds,
)
from curation.catalog import images as image_rows
from curation.catalog import pool as pool_rows
from curation.errors import InputError, LabelStudioUnreachable
from curation.progress import Report, silent
from curation.records import RoundRecord, Target, Task
from curation.sources import LabelsFrom, Plan
from curation.workspace import Project, Workspace

if TYPE_CHECKING:
    from labeling.connection import Connection
    from labeling.queues import Shelf

METRICS = ("accuracy", "balanced-accuracy", "macro-f1")
TASKS: tuple[Task, ...] = ("single-label", "multi-label", "boxes")
LABELS_FROM: tuple[LabelsFrom, ...] = ("auto", "folder", "csv", "none")
LOOK = "labelloop issues (what is wrong with the images), then "


T = TypeVar("T")


def choice(value: str, choices: tuple[T, ...], option: str) -> T:
    """The one of the choices that the user typed; an InputError lists them otherwise."""
    for choice in choices:
        if choice == value:
            return choice
    raise InputError(
        f"{option} {value!r} is none of the choices: {', '.join(str(c) for c in choices)}."
    )


def create_project(
    path: Path,
    *,
    name: str,
    classes: str,
    task: str = "single-label",
    target: str = "",
    seconds_per_label: float = 4.0,
    guidelines: Path | None = None,
    seed: int | None = None,
    none_of_these: str = "",
) -> Project:
    """A new project from what the user typed.

    Raises:
        InputError: an option that cannot be used; nothing is written then.
    """
    from labeling import guidelines as told

    taken = None if guidelines is None else told.take(guidelines.expanduser())
    if not seconds_per_label > 0:
        raise InputError(f"--seconds-per-label {seconds_per_label} must be above 0.")
    made = workspaces.create_project(
        path.expanduser(),
        name=name,
        class_names=[part.strip() for part in classes.split(",") if part.strip()],
        task=choice(task, TASKS, "--task"),
        target=_target(target) if target else None,
        seconds_per_label=seconds_per_label,
        seed=seed,
        none_of_these=none_of_these,
    )
    if taken is not None:
        told.keep(made, taken)
    return workspaces.refreshed(made)


def _target(text: str) -> Target:
    metric, _, value = text.partition("=")
    metric = choice(metric.strip(), METRICS, "--target")
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number <= 1:
        raise InputError(
            f"--target {text!r}: give a value above 0 and up to 1, as in {metric}=0.92."
        )
    return Target(metric, number)


def list_projects(workspace: Workspace) -> dict[str, Any]:
    """The workspace's projects."""
    with workspace.catalog.read() as connection:
        found = projects.every(connection)
    return {
        "projects": [
            {
                "project": record.name,
                "state": record.state,
                "classes": list(record.classes),
                "task": record.task,
                "current": record.name == workspace.settings.project,
            }
            for record in found
        ]
    }


def switch_project(workspace: Workspace, name: str) -> Project:
    """Makes another project the current one."""
    project = workspaces.project(workspace, name)
    workspace.change(project=name)
    return project


def set_project_state(workspace: Workspace, name: str, state: str) -> None:
    """Archives, deletes or restores a project."""
    with workspace.catalog.write() as connection:
        record = projects.find(connection, name)
        projects.set_state(connection, record.id, state)


def understand_import(
    project: Project,
    source: Path,
    *,
    format: str = "auto",
    table: Path | None = None,
    labels_from: str = "auto",
) -> Plan:
    """What an import of this source would do; writes nothing."""
    from curation import importers

    return importers.understand(
        source.expanduser(),
        known_classes=project.record.classes,
        task=project.record.task,
        format=format,
        table=table.expanduser() if table else None,
        labels_from=choice(labels_from, LABELS_FROM, "--labels-from"),
    )


def import_images(
    project: Project,
    plan: Plan,
    *,
    copy: bool = False,
    strict: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Imports what the plan found."""
    from curation import ingest
    from labeling import consensus

    outcome = ingest.run(
        project, plan, copy=copy, strict=strict, settle=consensus.settle, report=report
    )
    return {
        "format": plan.format,
        "added": outcome.added,
        "already": outcome.already,
        "labeled": outcome.labeled,
        "relabeled": outcome.relabeled,
        "quarantined": [
            {"image": image, "reason": reason} for image, reason in outcome.quarantined
        ],
        "seconds": round(outcome.seconds, 3),
    }


def import_images_from(
    project: Project,
    source: str,
    *,
    format: str = "auto",
    table: str | None = None,
    labels_from: str = "auto",
    copy: bool = False,
    strict: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """The import as a job: understands the source and imports it."""
    plan = understand_import(
        project,
        Path(source),
        format=format,
        table=Path(table) if table else None,
        labels_from=labels_from,
    )
    return import_images(project, plan, copy=copy, strict=strict, report=report)


def embed(project: Project, *, backbone: str = "", report: Report = silent) -> dict[str, Any]:
    """Embeds what has no embedding yet."""
    from curation import features

    prepared = features.prepare(project, backbone=backbone, report=report)
    return {
        "embedded": prepared.embedded,
        "images_per_second": round(prepared.images_per_second, 1),
        "fingerprint": prepared.fingerprint,
        "backbone": prepared.backbone,
        "unreadable": len(prepared.unusable),
    }


def status(project: Project) -> dict[str, Any]:
    """Where the project stands."""
    from ui.servers import database

    with project.catalog.read() as connection:
        states = image_rows.count_by_state(connection, project.id)
        kept = reserve.progress(connection, project.id)
        counts = {
            "total": sum(states.values()),
            "quarantined": states.get("quarantined", 0),
            "excluded": states.get("excluded", 0),
            "missing": states.get("missing", 0) + states.get("changed", 0),
            "labeled": labels.count(connection, project.id),
            "propagated": labels.count_propagated(connection, project.id),
            "machine": labels.count_of_origin(connection, project.id, labels.MACHINE),
            "pool": pool_rows.count(connection, project.id),
            "reserve": kept.images,
        }
        classes = labels.count_by_class(connection, project.id)
        waiting = rounds.count_waiting(connection, project.id)
        held = rounds.every(connection, project.id)
        doubts = len(corrections.waiting(connection, project.id))
        looked = issues.was_looked(connection, project.id)
    return {
        "workspace": str(project.workspace.path),
        "project": project.record.name,
        "task": project.record.task,
        "databases": database.describe(project.workspace),
        "images": counts,
        "classes": classes,
        "reserve": {
            "images": kept.images,
            "settled": kept.prefix,
            "offered": kept.offered,
        },
        "waiting": waiting,
        "rounds": [round_summary(record) for record in held],
        "corrections": doubts,
        "next": (
            _next_of_boxes(counts, held, waiting, looked=looked)
            if project.record.task == "boxes"
            else _next_step(counts, held, waiting, doubts, looked=looked)
        ),
    }


def _next_step(
    counts: dict[str, int],
    held: list[RoundRecord],
    waiting: int,
    doubts: int,
    *,
    looked: bool,
) -> str:
    if not counts["total"]:
        return "labelloop import FOLDER"
    look = "" if looked else LOOK
    if not held:
        return look + "labelloop up --detach and labelloop round --budget 50"
    if held[-1].state == "running":
        return "labelloop round (goes on with the round that was interrupted)"
    if doubts:
        return f"review the {doubts:,} labels in doubt, then labelloop round"
    if waiting:
        return f"label the {waiting:,} images that wait, then labelloop round"
    return "labelloop round --budget 50"


def _next_of_boxes(
    counts: dict[str, int], held: list[RoundRecord], waiting: int, *, looked: bool
) -> str:
    """Of a project whose images no model chooses."""
    if not counts["total"]:
        return "labelloop import FOLDER"
    look = "" if looked else LOOK
    if held and held[-1].state == "running":
        return "labelloop label send (goes on with what was interrupted)"
    if waiting:
        return f"draw boxes in the {waiting:,} images that wait"
    export = "labelloop export --format coco OUT"
    if not counts["pool"]:
        return look + export
    done = f", or {export}" if counts["labeled"] else ""
    return f"{look}labelloop up --detach and labelloop label send{done}"


def round_summary(record: RoundRecord) -> dict[str, Any]:
    """A round as `labelloop round --json` prints it."""
    found = record.record
    return {
        "round": record.number,
        "state": record.state,
        "strategy": found.get("strategy", ""),
        "rule": found.get("rule", ""),
        "labels": found.get("labels", 0),
        "selected": found.get("selected", 0),
        "control": found.get("control", 0),
        "carried": found.get("carried", 0),
        "golds": found.get("golds", 0),
        "metrics": found.get("metrics", {}),
        "gain": found.get("gain", {}),
        "forecast": found.get("forecast", {}),
        "advice": found.get("advice", ""),
        "run": record.run_id,
        "created_at": f"{record.created_at:%Y-%m-%d %H:%M}",
    }


def run_round(
    project: Project,
    *,
    strategy: str = "auto",
    budget: int = 50,
    reserve: int = 150,
    unaided_share: float = 0.1,
    answers: int = 1,
    report: Report = silent,
) -> dict[str, Any]:
    """Runs the next round with Label Studio's people, or goes on with the interrupted one."""
    from training.rounds import active_loop

    begun = time.monotonic()
    settings = active_loop.RoundSettings(
        strategy=strategy,
        budget=budget,
        reserve=reserve,
        unaided_share=unaided_share,
        answers=answers,
    )
    with people(project) as annotator:
        record = active_loop.run(project, settings, annotator, report=report)
    return {**show_round(project, record.number), "seconds_total": time.monotonic() - begun}


def show_round(project: Project, number: int | None = None) -> dict[str, Any]:
    """One round with its steps; the newest by default."""
    with project.catalog.read() as connection:
        latest = rounds.latest(connection, project.id)
        if number is None and latest is None:
            raise InputError("There is no round yet. Start one with `labelloop round --budget 50`.")
        number = latest.number if number is None and latest else number
        record = rounds.get(connection, project.id, int(number or 0))
        steps = rounds.steps(connection, record.id)
        progress = rounds.progress(connection, record.id)
    return {
        **round_summary(record),
        "seconds": {name: round(step["seconds"], 3) for name, step in steps.items()},
        "queues": progress,
    }


class LabelStudioPeople:
    """The people behind Label Studio, as the round asks for them."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._opened: Connection | None = None

    def connected(self) -> "tuple[Connection, Shelf]":
        """The connection, opened when it is first needed, and where its images come from."""
        from labeling.queues import Shelf

        found = label_studio_of(self.project.workspace)
        if self._opened is None:
            self._opened = found.connect()
        return self._opened, Shelf(found.server_folder, found.document_root)

    def offer(self, round: RoundRecord, report: Report) -> None:
        """Pushes the round's ledger."""
        from labeling import sync

        connection, shelf = self.connected()
        sync.offer(self.project, connection, round, shelf=shelf, report=report)

    def collect(self, report: Report) -> dict[str, Any]:
        """Pulls all answers, and notices tasks that were deleted there."""
        from labeling import consensus, sync

        if not _has_queue(self.project):
            return {"images": 0, "annotations": 0}
        connection, _ = self.connected()
        found = sync.pull(self.project, connection, report=report)
        consensus.relearn_if_grown(self.project, report=report)
        gone = sync.sweep(self.project, connection)
        # Also what a pull that was cut short left undone.
        sync.ask_again(self.project, connection)
        return {**found, "tasks_gone": gone}

    def close(self) -> None:
        """Gives the connection back."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None


@contextmanager
def people(project: Project) -> Iterator[LabelStudioPeople]:
    """The project's annotators for the time of a block."""
    found = LabelStudioPeople(project)
    try:
        yield found
    finally:
        found.close()


def _has_queue(project: Project) -> bool:
    with project.catalog.read() as connection:
        return bool(remote.every(connection, project.id))


@dataclass(frozen=True)
class LabelStudio:
    """Where the workspace's Label Studio is, and what it needs to be told."""

    url: str
    public_url: str
    token: str = field(repr=False)
    server_folder: Path | None
    document_root: Path | None

    def connect(self, token: str = "") -> "Connection":
        """A new connection, as the administrator or as the person of this token."""
        from labeling.connection import connect

        return connect(self.url, token or self.token)


def label_studio_of(workspace: Workspace) -> LabelStudio:
    """The workspace's running Label Studio.

    Raises:
        LabelStudioUnreachable: it does not run.
    """
    from labeling import server
    from ui.servers import external

    existing = external.remembered(workspace)
    if existing is not None:
        root = workspace.settings.label_studio_root
        return LabelStudio(
            existing.url, existing.url, existing.token, None, Path(root) if root else None
        )
    folder = workspace.path / "label-studio"
    address = server.running(folder)
    if address is None:
        raise LabelStudioUnreachable(
            "Label Studio is not running. Start it with `labelloop up --detach`, then run this "
            "again; nothing is lost."
        )
    credentials = server.credentials_in(folder)
    return LabelStudio(address.url, address.public_url, credentials.token, folder, None)


def pull(project: Project, *, thoroughly: bool = False, report: Report = silent) -> dict[str, Any]:
    """Brings in what people have answered since the last time.

    Args:
        project: whose answers.
        thoroughly: look at what more people are to be asked also where nothing has changed.
        report: told of the progress.
    """
    from labeling import sync

    if not _has_queue(project):
        return {"images": 0, "annotations": 0}
    with label_studio_of(project.workspace).connect() as connection:
        found = sync.pull(project, connection, report=report)
        if thoroughly and not found["images"]:
            found |= sync.ask_again(project, connection)
        return found


def adopt(
    workspace: Workspace, remote_project_id: int, name: str = "", *, report: Report = silent
) -> dict[str, Any]:
    """Takes over a project of the workspace's Label Studio, or adds what is new in it."""
    from labeling import adoption

    with label_studio_of(workspace).connect() as connection:
        found = adoption.run(workspace, connection, remote_project_id, name=name, report=report)
    return {
        "project": found.project.record.name,
        "images": found.images,
        "annotations": found.annotations,
        "classes": list(found.project.record.classes),
        "quarantined": [{"image": image, "reason": reason} for image, reason in found.quarantined],
    }


def send(
    project: Project,
    images: Sequence[str] = (),
    *,
    count: int = 50,
    answers: int = 1,
    report: Report = silent,
) -> dict[str, Any]:
    """Sends images of boxes to people: those of these names, or as many at random."""
    from labeling import sending

    with people(project) as annotator:
        connection, shelf = annotator.connected()
        return sending.send(
            project,
            connection,
            shelf=shelf,
            names=images,
            count=count,
            answers=answers,
            report=report,
        )


def rebuild(project: Project, *, report: Report = silent) -> dict[str, Any]:
    """Makes vanished Label Studio projects anew and sends again what still waits."""
    from labeling import sync

    with people(project) as annotator:
        connection, shelf = annotator.connected()
        return {**sync.rebuild(project, connection, shelf=shelf, report=report)}


def take_over(project: Project) -> dict[str, Any]:
    """Goes on with Label Studio's projects where another copy of this workspace went on before."""
    from labeling import sync

    with label_studio_of(project.workspace).connect() as connection:
        return {"projects": sync.take_over(project, connection)}


def queue_links(project: Project) -> list[dict[str, Any]]:
    """The address at which people answer each queue, the reserve first."""
    found = label_studio_of(project.workspace)
    with project.catalog.read() as connection:
        queues = remote.every(connection, project.id)
        waiting = {
            queue.queue: remote.count_waiting(connection, project.id, queue.queue)
            for queue in queues
        }
    return [
        {
            "queue": queue.queue,
            "url": f"{found.public_url}/projects/{queue.remote_id}/data?labeling=1",
            "waiting": waiting[queue.queue],
        }
        for queue in sorted(queues, key=lambda queue: remote.QUEUES.index(queue.queue))
    ]


def label_status(project: Project) -> dict[str, Any]:
    """What waits for people, and what each of them has done."""
    from labeling import overlap
    from ui import asking

    with project.catalog.read() as connection:
        waiting = {
            queue: remote.count_waiting(connection, project.id, queue)
            for queue in remote.in_use(connection, project.id)
        }
        people_found = annotations.list_annotators(connection, project.id)
        standing = annotations.count(connection, project.id)
        doubles = remote_answers.doubles(connection, project.id)
    return {
        "waiting": waiting,
        "second_opinions": overlap.standing(project),
        "golds": asking.judged(project),
        "annotations": standing,
        "doubles": doubles,
        "annotators": people_found,
    }


def add_annotator(project: Project, name: str) -> dict[str, Any]:
    """Makes room for an annotator and gives the link with which they choose their own password."""
    found = label_studio_of(project.workspace)
    with found.connect() as connection:
        link = connection.invitation_url(base=found.public_url)
    with project.catalog.write() as connection_:
        annotations.add_annotator(connection_, project.id, name)
    return {"annotator": name, "invitation": link}
