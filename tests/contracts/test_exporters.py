"""What every format promises, whichever it is."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pyarrow.parquet as pq
import pytest
from PIL import Image

from curation import exporters, snapshots
from curation.catalog import audit
from curation.catalog import images as image_rows
from curation.errors import Cancelled, InputError, LabelloopError
from curation.exporters import EXPORTERS, Exported, blocks
from curation.exporters.destination import STATE
from curation.records import Task
from curation.snapshots import Snapshot
from curation.workspace import Project
from tests import exportable

CASES = [(name, task) for name, exporter in EXPORTERS.items() for task in exporter.tasks]
HARDEST = [(name, EXPORTERS[name].tasks[-1]) for name in EXPORTERS]
PLAIN = {"a|b\\c": "bird", "=1+1": "fish"}


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Task, Project]]:
    """One of each task: with images that are excluded, quarantined, changed and gone."""
    folder = tmp_path_factory.mktemp("exporters")
    made = {task: _project(folder / task, task) for task in get_args(Task)}
    yield made
    for project in made.values():
        project.catalog.close()


def _project(folder: Path, task: Task) -> Project:
    base = {
        "single-label": exportable.SINGLE,
        "multi-label": exportable.SEVERAL,
        "boxes": exportable.BOXES,
    }[task]
    given = {name: _plain(said) for name, said in base.items()}
    box = ("cat", 1.0, 1.0, 3.0, 3.0)
    more = {
        f"{state}.jpg": [box if task == "boxes" else "cat"]
        for state in ("out", "bad", "changed", "gone")
    }
    classes = [PLAIN.get(name, name) for name in exportable.SINGLE_CLASSES]
    project = exportable.project(
        folder, {**given, **more}, classes=classes, task=task, metadata=exportable.METADATA
    )
    with project.catalog.write() as connection:
        ids = image_rows.ids_by_name(connection, project.id, ["out.jpg", "bad.jpg"])
        image_rows.set_state(connection, [ids["out.jpg"]], "excluded", reason="dark: 3 of 255")
        image_rows.set_state(connection, [ids["bad.jpg"]], "quarantined", reason="truncated: 12")
    exportable.save(folder / "photos" / "changed.jpg", 99)
    (folder / "photos" / "gone.jpg").unlink()
    return project


def _plain(said: exportable.Label | None) -> exportable.Label | None:
    """With classes that can be folders, too."""
    if said is None:
        return None
    return [
        PLAIN.get(one, one) if isinstance(one, str) else (PLAIN.get(one[0], one[0]), *one[1:])
        for one in said
    ]


def export(
    project: Project, to: Path, name: str, snapshot: Snapshot | None = None, **options: object
) -> Exported:
    return exporters.write(
        project,
        snapshot or snapshots.create(project),
        to=to,
        format=name,
        **options,  # type: ignore[arg-type]
    )


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(("name", "task"), CASES)
def test_write__accounts_for_every_image(
    name: str, task: Task, projects: dict[Task, Project], tmp_path: Path
) -> None:
    project = projects[task]
    done = export(project, tmp_path / "out", name)
    assert done.images == done.out + sum(done.left_out.values()) == 13
    for reason in ("excluded: dark", "quarantined: truncated", "unlabeled"):
        assert done.left_out[reason] >= 1
    if EXPORTERS[name].images[0] == "copy":
        assert {key.partition(":")[0] for key in done.left_out} >= {"changed", "missing"}
    assert not (tmp_path / "out" / STATE).exists()
    said = json.loads((tmp_path / "out" / "export.json").read_text())
    assert (said["in"], said["out"], said["left_out"]) == (done.images, done.out, done.left_out)
    assert len(said["images_left_out"]) == sum(done.left_out.values())
    assert {"image": "out.jpg", "reason": "excluded: dark: 3 of 255"} in said["images_left_out"]
    files = content(tmp_path / "out")
    assert done.files == len(files) - 1
    assert done.bytes == sum(map(len, files.values())) - len(files["export.json"])
    with project.catalog.read() as connection:
        entry = audit.newest(connection, project.id, ["export"])
    assert entry is not None
    assert entry["subject"]["left_out"] == done.left_out


@pytest.mark.parametrize(("name", "task"), HARDEST)
def test_write__tells_nothing_that_a_camera_or_a_person_wrote_into_a_file(
    name: str, task: Task, projects: dict[Task, Project], tmp_path: Path
) -> None:
    export(projects[task], tmp_path / "out", name)
    assert exportable.GPS not in everything(tmp_path / "out")
    export(projects[task], tmp_path / "kept", name, keep_metadata=True)
    assert exportable.GPS in everything(tmp_path / "kept")


def everything(folder: Path) -> bytes:
    """All that an export holds; Parquet is compressed, so its images are taken out."""
    packed = [
        row["bytes"]
        for path in folder.glob("data/*.parquet")
        for row in pq.read_table(path)["image"].to_pylist()
    ]
    return b"".join([*content(folder).values(), *packed])


@pytest.mark.parametrize(("name", "task"), HARDEST)
def test_write__gives_the_same_bytes_twice_and_whenever_it_was_stopped(
    name: str,
    task: Task,
    projects: dict[Task, Project],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exporters, "BLOCK", 2)
    project = projects[task]
    snapshot = snapshots.create(project)
    whole = tmp_path / "whole"
    export(project, whole, name, snapshot)
    steps: list[tuple[int, int, str]] = []
    export(project, tmp_path / "again", name, snapshot, report=lambda *step: steps.append(step))
    assert content(tmp_path / "again") == content(whole)
    for limit in (len(steps) // 3, len(steps) * 2 // 3, len(steps) - 1):
        left = iter(range(limit))

        def report(done: int, total: int, says: str, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise Cancelled("stopped")

        stopped = tmp_path / str(limit)
        with pytest.raises(Cancelled):
            export(project, stopped, name, snapshot, report=report)
        assert not (stopped / "export.json").exists()
        assert not export(project, stopped, name, snapshot).already
        assert content(stopped) == content(whole)
    assert export(project, whole, name, snapshot).already


def test_write__an_image_that_went_while_it_was_stopped_is_not_left_behind(tmp_path: Path) -> None:
    project = exportable.project(
        tmp_path, {f"{n}.jpg": ["a"] for n in range(6)}, classes=["a", "b"]
    )
    snapshot = snapshots.create(project)

    def report(done: int, total: int, says: str) -> None:
        if (says, done) == ("export", 4):
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        export(project, tmp_path / "out", "csv", snapshot, report=report)
    assert (tmp_path / "out" / "0.jpg").exists()
    (tmp_path / "photos" / "0.jpg").unlink()
    done = export(project, tmp_path / "out", "csv", snapshot)
    assert done.out == 5
    assert not (tmp_path / "out" / "0.jpg").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from curation import exporters, snapshots, workspace

exporters.BLOCK = 2
project = workspace.project(workspace.open(Path(sys.argv[1])))
written = []

def hook(event, arguments):
    if event == "os.rename" and sys.argv[2] in str(arguments[1]):
        written.append(1)
        if len(written) == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
exporters.write(project, snapshots.get(project), to=Path(sys.argv[2]), format=sys.argv[4])
"""


@pytest.mark.parametrize(("name", "moment"), [("coco", 4), ("coco", 17), ("webdataset", 2)])
def test_write__goes_on_after_a_kill(
    name: str,
    moment: int,
    projects: dict[Task, Project],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exporters, "BLOCK", 2)
    project = projects["single-label"]
    snapshot = snapshots.create(project)
    out = tmp_path / "out"
    words = [project.workspace.path, out, str(moment), name]
    done = subprocess.run([sys.executable, "-c", KILLED, *words], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert not (out / "export.json").exists()
    export(project, out, name, snapshot)
    export(project, tmp_path / "whole", name, snapshot)
    assert content(out) == content(tmp_path / "whole")


@pytest.mark.parametrize("name", EXPORTERS)
def test_write__a_full_disk_is_said_and_the_same_command_goes_on(
    name: str, projects: dict[Task, Project], tmp_path: Path
) -> None:
    import resource

    project = projects[EXPORTERS[name].tasks[-1]]
    snapshot = snapshots.create(project)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (900, before[1]))
    try:
        with pytest.raises(LabelloopError, match=r"Cannot write .*too large"):
            export(project, tmp_path / "out", name, snapshot)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    half = [path for path in content(tmp_path / "out") if not path.startswith(STATE)]
    export(project, tmp_path / "out", name, snapshot)
    export(project, tmp_path / "whole", name, snapshot)
    whole = content(tmp_path / "whole")
    assert content(tmp_path / "out") == whole
    assert set(half) < set(whole)


@pytest.mark.parametrize("name", EXPORTERS)
def test_write__nothing_outside_the_folder(name: str, tmp_path: Path) -> None:
    task = EXPORTERS[name].tasks[0]
    box = ("a", 1.0, 1.0, 3.0, 3.0)
    said = [box if task == "boxes" else "a"]
    project = exportable.project(
        tmp_path / "in", {"x.jpg": said, "y.jpg": said}, classes=["a", "b"], task=task
    )
    outside = [str(tmp_path / "absolute.jpg"), "../../climbed.jpg"]
    with project.catalog.write() as connection:
        connection.exec_driver_sql("UPDATE images SET name = ? WHERE name = 'x.jpg'", (outside[0],))
        connection.exec_driver_sql("UPDATE images SET name = ? WHERE name = 'y.jpg'", (outside[1],))
    before = {path for path in tmp_path.rglob("*") if "workspace" not in path.parts}
    done = export(project, tmp_path / "deep" / "out", name)
    assert done.out == 2
    new = {path for path in tmp_path.rglob("*") if "workspace" not in path.parts} - before
    inside = tmp_path / "deep"
    assert all(path == inside or inside in path.parents for path in new)


def test_write__a_shard_closes_early_where_images_are_large(
    projects: dict[Task, Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = projects["single-label"]
    whole = export(project, tmp_path / "whole", "webdataset")
    monkeypatch.setattr(blocks, "SHARD_BYTES", 1)
    done = export(project, tmp_path / "out", "webdataset")
    assert done.out == whole.out
    assert len(list((tmp_path / "out").glob("*.tar"))) == done.out


def test_write__links_are_the_very_files(projects: dict[Task, Project], tmp_path: Path) -> None:
    project = projects["single-label"]
    export(project, tmp_path / "out", "folder", images="link")
    source = project.workspace.path.parent / "photos" / "a.jpg"
    assert (tmp_path / "out" / "train" / "cat" / "a.jpg").samefile(source)


def test_write__labels_alone_need_no_files(projects: dict[Task, Project], tmp_path: Path) -> None:
    done = export(projects["single-label"], tmp_path / "out", "coco", images="none")
    assert not [path for path in content(tmp_path / "out") if path.endswith(".jpg")]
    assert not {key.partition(":")[0] for key in done.left_out} & {"changed", "missing"}


def test_write__refuses_folders_that_are_not_its_own(
    projects: dict[Task, Project], tmp_path: Path
) -> None:
    project = projects["single-label"]
    photos = project.workspace.path.parent / "photos"
    with pytest.raises(InputError, match="where images are imported from"):
        export(project, photos / "export", "csv")
    assert not (photos / "export").exists()
    with pytest.raises(InputError, match="a folder of the workspace"):
        export(project, project.workspace.path / "images" / "export", "csv")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match=r"not empty \(it holds thesis.txt\)"):
        export(project, tmp_path / "mine", "csv")
    with pytest.raises(InputError, match="is a file"):
        export(project, tmp_path / "mine" / "thesis.txt", "csv")
    export(project, tmp_path / "done", "csv")
    with pytest.raises(InputError, match=r"holds an export of s-.* as csv already"):
        export(project, tmp_path / "done", "coco")


@pytest.mark.parametrize(
    ("name", "task", "options", "says"),
    [
        ("parquet", "single-label", {}, "No format 'parquet'"),
        ("folder", "boxes", {}, "cannot hold boxes. These can: coco, yolo, voc"),
        ("voc", "multi-label", {}, "cannot hold several labels"),
        ("webdataset", "boxes", {"images": "link"}, "cannot do --images link; it can do copy"),
        ("folder", "single-label", {"unlabeled": True}, "cannot hold unlabeled images"),
        ("yolo", "single-label", {"images": "none"}, "leaves nothing"),
    ],
)
def test_write__what_a_format_cannot_do_is_said_before_anything_is_written(
    name: str,
    task: Task,
    options: dict[str, object],
    says: str,
    projects: dict[Task, Project],
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match=says):
        export(projects[task], tmp_path / "out", name, **options)
    assert not (tmp_path / "out").exists()


def test_write__upright_pixels_survive(projects: dict[Task, Project], tmp_path: Path) -> None:
    """Of a picture that its EXIF turns, so do those who read the copy."""
    from PIL import ImageOps

    project = projects["single-label"]
    export(project, tmp_path / "out", "csv")
    name = "shelf/a.jpg"
    copy = Image.open(tmp_path / "out" / name)
    source = Image.open(project.workspace.path.parent / "photos" / name)
    assert copy.getexif()[0x0112] == 6
    assert ImageOps.exif_transpose(copy).tobytes() == ImageOps.exif_transpose(source).tobytes()
