"""Taking over projects that others made, against the real server."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from curation import workspace as workspaces
from curation.catalog import annotations, gallery, labels, remote
from curation.errors import InputError, NotFound
from curation.records import Box, LedgerRow
from curation.workspace import Workspace
from labeling import adoption, interfaces, queues, tasks
from labeling.queues import Shelf
from tests import bench as benches
from tests.bench import Bench
from tests.fixtures_label_studio import LabelStudio

pytestmark = pytest.mark.label_studio

# As somebody else would have written it: other names, other words.
FOREIGN = """
<View>
  <Header value="What do you see?"/>
  <Image name="photo" value="$picture"/>
  <Choices name="verdict" toName="photo" choice="single-radio">
    <Choice value="fine"/><Choice value="broken" alias="bad"/>
  </Choices>
</View>
"""


def png(number: int) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 8), (number % 256, number * 7 % 256, 50)).save(content, "PNG")
    return content.getvalue()


def upload(studio: LabelStudio, project: int, name: str, content: bytes) -> None:
    """As the browser's import page does: the file lands in Label Studio's media folder."""
    httpx.post(
        f"{studio.url}/api/projects/{project}/import",
        files={"file": (name, content, "image/png")},
        headers={"Authorization": f"Token {studio.credentials.token}"},
        timeout=60.0,
        trust_env=False,
    ).raise_for_status()


def said(name: str) -> list[dict[str, object]]:
    value = {"choices": [name]}
    return [{"from_name": "verdict", "to_name": "photo", "type": "choices", "value": value}]


@pytest.fixture
def foreign(label_studio: LabelStudio) -> Iterator[int]:
    """A project with six uploaded images, two of them answered, one skipped."""
    opened = label_studio.connection
    made = opened.create_project(
        "Shelf photos", FOREIGN, sampling="sequential", show_predictions=False
    )
    for number in range(6):
        upload(label_studio, made.id, f"shelf {number}.png", png(number))
    ids = [task.id for task in opened.tasks(made.id)]
    opened.create_annotation(ids[0], said("fine"), lead_time=3.0)
    opened.create_annotation(ids[1], said("bad"))
    opened.create_annotation(ids[2], [], was_cancelled=True)
    yield made.id
    opened.delete_project(made.id)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspaces.create_project(tmp_path / "w", name="other", class_names=["a", "b"])
    return workspaces.open(tmp_path / "w")


def test_run__takes_images_and_answers(
    label_studio: LabelStudio, foreign: int, workspace: Workspace
) -> None:
    opened = label_studio.connection
    upload(label_studio, foreign, "torn.png", png(9)[:40])
    opened.import_tasks(foreign, [{"data": {"picture": "https://example.org/a/far.png"}}])
    found = adoption.run(workspace, opened, foreign)
    project = found.project
    assert (found.images, found.annotations) == (6, 2)
    assert project.record.name == "Shelf photos" == workspaces.open(workspace.path).settings.project
    assert (project.record.classes, project.record.task) == (("fine", "bad"), "single-label")
    reasons = {name.split("-")[-1]: reason for name, reason in found.quarantined}
    assert set(reasons) == {"torn.png", "a/far.png"}
    assert "https://example.org" in reasons["a/far.png"]
    assert "labelloop import" in reasons["a/far.png"]
    with project.catalog.read() as reading:
        rows = gallery.page(reading, project.id)
        assert labels.count_by_class(reading, project.id) == {"fine": 1, "bad": 1}
        (mine,) = (a for a in annotations.list_annotators(reading, project.id) if a["answered"])
        assert (mine["name"], mine["skipped"]) == (opened.whoami().name, 1)
        history = annotations.history(reading, rows[0].id)
    assert [(row["state"], row["seconds"]) for row in history] == [("answered", 3.0)]
    usable = [row for row in rows if row.state == "ok"]
    assert [Path(row.location).read_bytes() for row in usable] == [png(n) for n in range(6)]
    assert all(Path(row.location).is_relative_to(workspace.path / "images") for row in usable)
    assert not list((workspace.path / "images").glob(".adopting*"))


def test_run__takes_boxes(label_studio: LabelStudio, workspace: Workspace) -> None:
    opened = label_studio.connection
    xml = (
        '<View><Image name="photo" value="$picture"/><RectangleLabels name="boxes" toName="photo">'
        '<Label value="bolt"/><Label value="nut"/></RectangleLabels></View>'
    )
    made = opened.create_project("Bolts", xml)
    try:
        upload(label_studio, made.id, "a.png", png(1))
        (task,) = opened.tasks(made.id)
        drawn = tasks.drawn(
            [tasks.Rectangle("nut", 2, 1, 4, 6)],
            size=(8, 8),
            interface=interfaces.understood(xml),
        )
        opened.create_annotation(task.id, drawn)
        project = adoption.run(workspace, opened, made.id).project
        assert (project.record.task, project.record.classes) == ("boxes", ("bolt", "nut"))
        with project.catalog.read() as reading:
            (label,) = labels.every(reading, project.id)
            boxes = labels.boxes_of(reading, [label.image_id])
        assert boxes == {label.image_id: (Box(project.record.class_ids[1], 2, 1, 4, 6),)}
        assert opened.project(made.id).label_config == xml
    finally:
        opened.delete_project(made.id)


def test_run__again_adds_what_is_new(
    label_studio: LabelStudio, foreign: int, workspace: Workspace
) -> None:
    opened = label_studio.connection
    upload(label_studio, foreign, "torn.png", b"not yet an image, but it will be")
    first = adoption.run(workspace, opened, foreign, name="shelves")
    assert len(first.quarantined) == 1
    again = adoption.run(workspace, opened, foreign)
    assert again.project.record == first.project.record
    assert (again.images, again.annotations) == (first.images, first.annotations)
    assert again.quarantined == first.quarantined
    upload(label_studio, foreign, "late.png", png(77))
    upload(label_studio, foreign, "late.png", png(78))
    *_, newest = opened.tasks(foreign)
    opened.create_annotation(newest.id, said("fine"))
    found = adoption.run(workspace, opened, foreign)
    assert (found.images, found.annotations) == (8, 3)
    with workspace.catalog.read() as reading:
        assert len(gallery.page(reading, found.project.id)) == 9


def test_run__killed_in_the_middle_goes_on(
    label_studio: LabelStudio,
    foreign: int,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = label_studio.connection
    monkeypatch.setattr(adoption, "AT_ONCE", 2)

    def stop(done: int, total: int, says: str) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adoption.run(workspace, opened, foreign, report=stop)
    (workspace.path / "images" / ".adopting-2").mkdir(exist_ok=True)
    found = adoption.run(workspace, opened, foreign)
    assert (found.images, found.annotations) == (6, 2)
    with workspace.catalog.read() as reading:
        assert len(gallery.page(reading, found.project.id)) == 6
        (queue,) = remote.every(reading, found.project.id)
    assert queue.cursor


def test_run__later_rounds_are_offered_into_it(
    label_studio: LabelStudio, foreign: int, workspace: Workspace
) -> None:
    opened = label_studio.connection
    found = adoption.run(workspace, opened, foreign)
    bench = Bench(found.project, label_studio, workspace.path)
    ids = bench.ids()
    reserve = [LedgerRow(image_id=ids[5], queue="reserve", rank=0)]
    rows = benches.batch(found.project, [ids[4], ids[3]], hint="bad")
    bench.offer(bench.plan([*rows, *reserve]))
    there = opened.project(foreign)
    assert (there.sampling, there.model_version) == ("Uncertainty sampling", "round-0")
    assert there.task_count == 6, "images that are there already get no second task"
    with label_studio.annotator() as ann:
        for image_id in (ids[4], ids[3]):
            task = ann.next_task(foreign)
            assert task is not None
            assert task.id == bench.task_of(image_id)
            hint = opened.task(task.id).predictions[0]
            result = [{**part, "origin": "prediction"} for part in hint["result"]]
            assert result[0]["from_name"] == "verdict"
            ann.create_annotation(task.id, result, parent_prediction=hint["id"])
        queue = bench.queue("reserve").remote_id
        task = ann.next_task(queue)
        assert task is not None
        assert ann.download(task.data["image"]) == png(5)
        ann.create_annotation(task.id, tasks.chosen(["fine"]))
        bench.pull()
        bench.pull()
    assert [bench.label(key) for key in ids[3:]] == [(("bad",), 1.0)] * 2 + [(("fine",), 1.0)]
    for link in (label_studio.folder / "served").glob("*"):
        link.unlink()
    opened.delete_project(queue)


def test_run__what_cannot_be_taken_over(
    label_studio: LabelStudio, foreign: int, workspace: Workspace
) -> None:
    opened = label_studio.connection
    with pytest.raises(NotFound, match=rf"no project 99999\. It has: .*{foreign} \(Shelf photos\)"):
        adoption.run(workspace, opened, 99999)
    with pytest.raises(InputError, match="already a project named 'other'; choose another"):
        adoption.run(workspace, opened, foreign, name="other")
    text = '<View><Text name="t" value="$text"/></View>'
    other = opened.create_project("texts", text).id
    try:
        with pytest.raises(InputError, match="0 images and 0 sets of choices"):
            adoption.run(workspace, opened, other)
    finally:
        opened.delete_project(other)


def test_adopt__as_a_command(label_studio: LabelStudio, foreign: int, workspace: Workspace) -> None:
    (workspace.path / "label-studio").symlink_to(label_studio.folder)

    def labelloop(*words: str) -> dict[str, object]:
        done = subprocess.run(
            [Path(sys.executable).with_name("labelloop"), *words, "--json"],
            cwd=workspace.path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, object] = json.loads(done.stdout)
        return found

    found = labelloop("adopt", "--project", str(foreign))
    assert found == {
        "project": "Shelf photos",
        "images": 6,
        "annotations": 2,
        "classes": ["fine", "bad"],
        "quarantined": [],
    }
    assert labelloop("label", "pull") == {"images": 0, "annotations": 2}
    assert labelloop("label", "rebuild") == {"projects": 0, "images": 0}


def test_show_images__an_existing_server_shows_what_was_adopted_from_it(
    label_studio: LabelStudio, foreign: int, workspace: Workspace
) -> None:
    opened = label_studio.connection
    project = adoption.run(workspace, opened, foreign).project
    bench = Bench(project, label_studio, workspace.path)
    first = bench.ids()[0]
    shown = queues.show_images(project, opened, bench.queue(), [first], Shelf())
    name, address = shown[first]
    assert opened.download(address) == png(0)
    assert name.startswith("shelf")
