import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curation import ingest, snapshots, sources, workspace
from curation.catalog import images, labels, reserve, runs
from curation.errors import WorkspaceError
from curation.workspace import Project

MakeImages = Callable[..., Path]


@pytest.fixture
def labeled(project: Project, make_images: MakeImages) -> Project:
    """Six images, four of them labeled, two of these exact copies of each other."""
    root = make_images("a.png", "b.png", "c.png", "d.png", "e.png")
    (root / "f.png").write_bytes((root / "a.png").read_bytes())
    table = root / "labels.csv"
    table.write_text("filename,label,studio\na.png,ok,x\nb.png,dent,\nc.png,ok,y\nf.png,ok,x\n")
    plan = sources.understand(root, known_classes=project.record.classes, table=table)
    ingest.run(project, plan)
    return project


def change_label(project: Project, name: str, class_name: str) -> None:
    with project.catalog.write() as connection:
        row: dict[str, object] = {
            "image_id": images.find(connection, project.id, name).id,
            "classes": project.record.ids_of((class_name,)),
            "origin": "import",
            "confidence": 1.0,
            "answers": 1,
            "version_id": 0,
        }
        labels.put(connection, project.id, [row])


def test_create__a_manifest_and_its_header(labeled: Project) -> None:
    made = snapshots.create(labeled)
    folder = labeled.workspace.path / "snapshots"
    content = (folder / f"{made.id}.parquet").read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{made.id}.json",
        f"{made.id}.parquet",
    ]
    assert made.header["sha256"] == hashlib.sha256(content).hexdigest()
    assert made.id == f"s-{made.header['sha256'][:12]}"
    assert json.loads((folder / f"{made.id}.json").read_text()) == made.header
    assert (made.header["images"], made.header["parent"]) == (4, None)
    assert made.header["classes"] == ["ok", "scratch", "dent"]
    assert made.header["splits"] == {"train": 4}
    rows = pq.read_table(folder / f"{made.id}.parquet").to_pylist()
    assert [(row["name"], row["label"]) for row in rows] == [
        ("a.png", ["ok"]),
        ("b.png", ["dent"]),
        ("c.png", ["ok"]),
        ("f.png", ["ok"]),
    ]
    assert rows[0]["group"] == rows[3]["group"] != rows[1]["group"]
    assert rows[0]["sha256"] == rows[3]["sha256"]
    assert [dict(row["metadata"]) for row in rows] == [
        {"studio": "x"},
        {"studio": ""},
        {"studio": "y"},
        {"studio": "x"},
    ]


def test_create__the_same_labels_the_same_snapshot(labeled: Project) -> None:
    first = snapshots.create(labeled)
    assert snapshots.create(labeled) == first
    change_label(labeled, "b.png", "scratch")
    second = snapshots.create(labeled)
    assert second.id != first.id
    assert second.header["parent"] == first.id
    change_label(labeled, "b.png", "dent")
    assert snapshots.create(labeled) == first
    header = labeled.workspace.path / "snapshots" / f"{first.id}.json"
    assert json.loads(header.read_text()) == first.header
    with labeled.catalog.read() as connection:
        found = runs.list_snapshots(connection, labeled.id)
    assert [row["id"] for row in found] == [first.id, second.id]


def test_create__the_parts_of_the_reserve(labeled: Project) -> None:
    with labeled.catalog.write() as connection:
        assert reserve.freeze(connection, labeled.id) == 2
        kept = {row.image_id: row.half for row in reserve.rows(connection, labeled.id)}
        groups = {images.get(connection, key).group_id for key in kept}
    made = snapshots.create(labeled)
    path = labeled.workspace.path / "snapshots" / f"{made.id}.parquet"
    with labeled.catalog.read() as connection:
        ids = images.ids_by_name(connection, labeled.id, ["a.png", "b.png", "c.png", "f.png"])
    for row in pq.read_table(path).to_pylist():
        expected = kept.get(ids[row["name"]], "left-out" if row["group"] in groups else "train")
        assert row["split"] == expected


def test_create__two_projects_with_the_same_rows(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        project = workspace.create_project(tmp_path / "w", name=name, class_names=["a", "b"])
        made.append(snapshots.create(project))
        with project.catalog.read() as connection:
            assert runs.snapshot(connection, project.id, made[-1].id) is not None
    assert made[0].id != made[1].id


def test_create__a_folder_that_cannot_be_written_changes_nothing(labeled: Project) -> None:
    first = snapshots.create(labeled)
    folder = labeled.workspace.path / "snapshots"
    folder.rename(folder.with_name("kept"))
    folder.write_text("in the way")
    change_label(labeled, "b.png", "scratch")
    with pytest.raises(WorkspaceError, match=r"Cannot make .*snapshots"):
        snapshots.create(labeled)
    with labeled.catalog.read() as connection:
        latest = runs.latest_snapshot(connection, labeled.id)
    assert latest is not None
    assert latest["id"] == first.id
    folder.unlink()
    folder.with_name("kept").rename(folder)
    assert snapshots.create(labeled).header["parent"] == first.id
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
