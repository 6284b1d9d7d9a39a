"""The demonstration: the sample data in a real project, labeled by you or by the truth."""

import csv
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from curation import workspace as workspaces
from curation.catalog import images as image_rows
from curation.catalog import labels, remote
from curation.errors import InputError
from curation.progress import Report, silent
from curation.workspace import Project
from labeling import tasks
from labeling.connection import Connection
from ui import servers, wiring

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
SEED = 20_260_101
BUDGET = 50
ORACLE = "oracle@labelloop.local"
ORACLE_SECONDS = 2.0  # a made-up time per answer, so that the pages have something to show

Tell = Callable[[str], None]


def sample_project(folder: Path, *, report: Report = silent) -> Project:
    """The project with the sample data imported and embedded; the one that is there already, if so.

    Raises:
        InputError: the sample data was not installed with labelloop.
    """
    if not (SAMPLE / "labels.csv").is_file():
        raise InputError(f"The sample data is missing in {SAMPLE}. Install labelloop from a clone.")
    if (folder / workspaces.SETTINGS).is_file():
        project = workspaces.project(workspaces.open(folder))
    else:
        with (SAMPLE / "truth.csv").open(encoding="utf-8", newline="") as file:
            classes = sorted({row["label"] for row in csv.DictReader(file)})
        project = wiring.create_project(
            folder, name="catalogue", classes=",".join(classes), target="", seed=SEED
        )
    plan = wiring.understand_import(project, SAMPLE / "images", table=SAMPLE / "labels.csv")
    wiring.import_images(project, plan, report=report)
    wiring.embed(project, report=report)
    return project


def first_round(project: Project, *, report: Report = silent) -> dict[str, Any]:
    """Chooses and pushes the first batch, unless a round has been held already."""
    status = wiring.status(project)
    if status["rounds"] and status["rounds"][-1]["state"] != "running":
        return wiring.show_round(project)
    return wiring.run_round(project, budget=BUDGET, report=report)


def with_oracle(
    folder: Path, *, rounds: int, tell: Tell, report: Report = silent
) -> Iterator[dict[str, Any]]:
    """Runs whole rounds with the truth in people's place, through Label Studio's own API.

    Yields:
        After each round what it reached; at the end what Label Studio holds.
    """
    project = sample_project(folder, report=report)
    truth = _truth()
    with servers.start(project.workspace, tell=tell):
        first_round(project, report=report)
        with wiring.label_studio_of(project.workspace).connect() as admin:
            password = secrets.token_urlsafe(24)
            token = admin.create_annotator(ORACLE, password)
            with wiring.label_studio_of(project.workspace).connect(token) as oracle:
                answered = answer_all(project, oracle, truth)
                tell(f"The oracle answered {answered} images.")
                for _ in range(rounds):
                    found = wiring.run_round(project, budget=BUDGET, report=report)
                    answered = answer_all(project, oracle, truth)
                    tell(f"Round {found['round']} is done; the oracle answered {answered} images.")
                    yield _summary(project, found)
            wiring.pull(project)
            yield _held(project, admin)


def _truth() -> dict[str, str]:
    with (SAMPLE / "truth.csv").open(encoding="utf-8", newline="") as file:
        return {row["filename"]: row["label"] for row in csv.DictReader(file)}


def answer_all(project: Project, annotator: Connection, truth: dict[str, str]) -> int:
    """Answers every task that Label Studio serves to this person, queue after queue.

    Args:
        truth: class names by image name.

    Returns:
        How many were answered.
    """
    with project.catalog.read() as connection:
        queues = remote.every(connection, project.id)
    answered = 0
    for queue in queues:
        while (task := annotator.next_task(queue.remote_id)) is not None:
            annotator.create_annotation(
                task.id, tasks.chosen([truth[task.data["name"]]]), lead_time=ORACLE_SECONDS
            )
            answered += 1
    return answered


def _summary(project: Project, found: dict[str, Any]) -> dict[str, Any]:
    with project.catalog.read() as connection:
        total = labels.count(connection, project.id)
        usable = image_rows.count_by_state(connection, project.id).get("ok", 0)
    return {
        "round": found["round"],
        "labels": found["labels"],
        "labels_total": total,
        "images": usable,
        "strategy": found["strategy"],
        "selected": found["selected"],
        "control": found["control"],
        "accuracy": found["metrics"].get("accuracy"),
        "balanced_accuracy": found["metrics"].get("balanced_accuracy"),
        "seconds": found["seconds"],
    }


def _held(project: Project, admin: Connection) -> dict[str, Any]:
    with project.catalog.read() as connection:
        queues = remote.every(connection, project.id)
    projects = [admin.project(queue.remote_id) for queue in queues]
    return {
        "version": admin.version(),
        "tasks": sum(there.task_count for there in projects),
        "annotations": sum(there.annotation_count for there in projects),
    }
