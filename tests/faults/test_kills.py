"""kill -9 in the middle of import, round and pull, then the same command again.

Every process here is the real command. The end must be the one of an undisturbed run.
"""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from curation import features, ingest, sources
from curation import workspace as workspaces
from curation.catalog import annotations, gallery, labels, remote, rounds, schema
from curation.catalog import images as image_rows
from curation.workspace import Project
from tests import engines
from tests.fixtures_label_studio import LabelStudio
from training.rounds.steps import STEPS
from ui import demo, wiring

SAMPLE = Path(__file__).resolve().parents[2] / "sample_data"
LABELLOOP = Path(sys.executable).with_name("labelloop")
COUNT = 200
SECONDS = 120.0

# The round in a process of its own, which SIGKILLs itself as soon as a step begins. Killing from
# outside cannot meet steps that take milliseconds.
KILLS_ITSELF = """
import os, signal, sys
from pathlib import Path
from curation import workspace
from ui import wiring

def report(done, total, says):
    if says == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

project = workspace.project(workspace.open(Path(sys.argv[1])))
wiring.run_round(project, budget=20, reserve=20, report=report)
"""


def truth() -> dict[str, str]:
    with (SAMPLE / "truth.csv").open(encoding="utf-8", newline="") as file:
        return {row["filename"]: row["label"] for row in csv.DictReader(file)}


def command(workspace: Path, *words: str) -> dict[str, Any]:
    """The command's JSON, once it has ended well."""
    done = subprocess.run(
        [LABELLOOP, *words, "--workspace", workspace, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def kill_when(reached: Callable[[], bool], workspace: Path, *words: str) -> bool:
    """Starts the command and kills it with SIGKILL as soon as `reached`.

    Returns:
        Whether it was still running then.
    """
    started = subprocess.Popen(
        [LABELLOOP, *words, "--workspace", workspace, "--json"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + SECONDS
    try:
        while started.poll() is None and not reached():
            assert time.monotonic() < deadline
            time.sleep(0.002)
        return started.poll() is None
    finally:
        if started.poll() is None:
            os.kill(started.pid, signal.SIGKILL)
        assert started.wait(10) in (0, -signal.SIGKILL)


def count_of(project: Project, table: Any) -> int:
    with project.catalog.read() as reading:
        return int(reading.scalar(select(func.count()).select_from(table)) or 0)


def opened(path: Path) -> Project:
    return workspaces.project(workspaces.open(path))


def new_project(path: Path) -> Project:
    classes = sorted(set(truth().values()))
    return workspaces.create_project(path, name="shop", class_names=classes, seed=11)


def images_of(project: Project) -> list[tuple[object, ...]]:
    """All that an import writes."""
    with project.catalog.read() as reading:
        rows = gallery.page(reading, project.id, size=5000)
        labeled = labels.get(reading, [row.id for row in rows])
        values = image_rows.metadata_of_many(reading, [row.id for row in rows])
    return [
        (
            row.name,
            row.location,
            row.state,
            row.reason,
            row.pixel_hash,
            row.group_id,
            labeled[row.id].classes if row.id in labeled else None,
            values.get(row.id),
        )
        for row in rows
    ]


def test_import__killed_in_the_middle(tmp_path: Path) -> None:
    words = ("import", str(SAMPLE / "images"), "--labels", str(SAMPLE / "labels.csv"))
    ends = []
    for name in ("undisturbed", "killed"):
        project = new_project(tmp_path / name)
        if name == "killed":

            def some(project: Project = project) -> bool:
                return count_of(project, schema.images) > 0

            assert kill_when(some, tmp_path / name, *words)
            assert 0 < count_of(project, schema.images) < 1200
        found = command(tmp_path / name, *words)
        assert found["added"] + found["already"] + len(found["quarantined"]) == 1200
        assert (found["already"] > 0) == (name == "killed")
        ends.append(images_of(project))
        project.catalog.close()
    assert len(ends[0]) == 1200
    assert ends[0] == ends[1]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of 200 photos with embeddings, about a quarter of them labeled."""
    home = tmp_path_factory.mktemp("embedded")
    (home / "photos").mkdir()
    for path in sorted((SAMPLE / "images").iterdir())[:: 1200 // COUNT][:COUNT]:
        shutil.copy2(path, home / "photos")
    project = new_project(home / "w")
    with closing(project.catalog):
        plan = sources.understand(
            home / "photos",
            known_classes=project.record.classes,
            table=SAMPLE / "labels.csv",
            labels_from="csv",
        )
        ingest.run(project, plan)
        engines.warm(tmp_path_factory.getbasetemp(), home / "w")
        features.prepare(project)
    return home / "w"


@pytest.fixture
def copies(
    embedded: Path, tmp_path: Path, label_studio: LabelStudio
) -> Iterator[Callable[[str], Path]]:
    """Makes copies of that workspace that use the session's server as their own."""
    before = {one.id for one in label_studio.connection.projects()}

    def make(name: str) -> Path:
        shutil.copytree(embedded, tmp_path / name)
        (tmp_path / name / "label-studio").symlink_to(label_studio.folder)
        return tmp_path / name

    yield make
    for one in label_studio.connection.projects():
        if one.id not in before:
            label_studio.connection.delete_project(one.id)
    for link in (label_studio.folder / "served").glob("*"):
        link.unlink()


def round_of(project: Project) -> tuple[object, ...]:
    """All that a round leaves: its record, its ledger, the predictions."""
    with project.catalog.read() as reading:
        (found,) = rounds.every(reading, project.id)
        ledger = rounds.ledger(reading, found.id)
        steps = list(rounds.steps(reading, found.id))
        rows = reading.execute(select(schema.predictions)).all()
    return (found.state, found.record, steps, ledger, [tuple(row) for row in rows])


def tasks_of(project: Project, studio: LabelStudio) -> list[list[tuple[str, int]]]:
    """Image names and the number of their pre-labels, queue by queue, in Label Studio."""
    with project.catalog.read() as reading:
        queues = remote.every(reading, project.id)
    return [
        [(str(t.data["name"]), len(t.predictions)) for t in studio.connection.tasks(one.remote_id)]
        for one in queues
    ]


@pytest.mark.label_studio
def test_round__killed_at_each_step(
    copies: Callable[[str], Path], label_studio: LabelStudio
) -> None:
    words = ("round", "--budget", "20", "--reserve", "20")
    undisturbed, killed = copies("undisturbed"), copies("killed")
    command(undisturbed, *words)
    project = opened(killed)
    before: list[str] = ["pull"]
    for step in STEPS:
        died = subprocess.run(
            [sys.executable, "-c", KILLS_ITSELF, killed, step],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        assert died.returncode == -signal.SIGKILL, (step, died.returncode, died.stderr)
        with project.catalog.read() as reading:
            latest = rounds.latest(reading, project.id)
            assert latest is not None
            assert (latest.number, latest.state) == (0, "running")
            assert list(rounds.steps(reading, latest.id)) == before, step
        before.append(step)
    command(killed, *words)
    other = opened(undisturbed)
    with closing(project.catalog), closing(other.catalog):
        assert round_of(project) == round_of(other)
        made = tasks_of(project, label_studio)
        assert made == tasks_of(other, label_studio)
        assert [len(queue) for queue in made] == [20, 20]
        assert all(len(dict(queue)) == len(queue) for queue in made), "one task for each image"


@pytest.mark.label_studio
def test_round__killed_once_its_tasks_are_there(
    copies: Callable[[str], Path], label_studio: LabelStudio
) -> None:
    words = ("round", "--budget", "20", "--reserve", "20")
    undisturbed, killed = copies("undisturbed"), copies("killed")
    before = {one.id for one in label_studio.connection.projects()}

    def tasks_there() -> bool:
        """The first queue's tasks exist: usually before the catalog has their numbers."""
        found = [one for one in label_studio.connection.projects() if one.id not in before]
        return any(one.task_count for one in found)

    assert kill_when(tasks_there, killed, *words)
    command(killed, *words)
    command(undisturbed, *words)
    project, other = opened(killed), opened(undisturbed)
    with closing(project.catalog), closing(other.catalog):
        assert round_of(project) == round_of(other)
        assert tasks_of(project, label_studio) == tasks_of(other, label_studio)


@pytest.mark.label_studio
def test_pull__killed_in_the_middle(
    copies: Callable[[str], Path], tmp_path: Path, label_studio: LabelStudio
) -> None:
    killed = copies("killed")
    project = opened(killed)
    wiring.run_round(project, budget=20, reserve=20)
    with label_studio.annotator() as person:
        assert demo.answer_all(project, person, truth()) >= 40
    project.catalog.close()
    shutil.copytree(killed, tmp_path / "undisturbed", symlinks=True)

    def some_stored() -> bool:
        with project.catalog.read() as reading:
            return annotations.count(reading, project.id) > 0

    # The batch's answers are stored before the reserve's are asked for.
    kill_when(some_stored, killed, "label", "pull")
    command(killed, "label", "pull")
    command(tmp_path / "undisturbed", "label", "take-over")  # two copies at once are not let in
    command(tmp_path / "undisturbed", "label", "pull")
    ends = []
    for path in (killed, tmp_path / "undisturbed"):
        one = opened(path)
        with closing(one.catalog), one.catalog.read() as reading:
            ends.append(
                (
                    labels.every(reading, one.id),
                    annotations.count(reading, one.id),
                    annotations.newest_version(reading, one.id),
                    rounds.waiting(reading, one.id),
                )
            )
    assert ends[0] == ends[1]
    assert ends[0][1] >= 40
