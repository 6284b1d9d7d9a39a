import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from curation import acts, ingest, snapshots, sources, versions, workspace
from curation.catalog import images, labels, plans, reserve, runs
from curation.errors import InputError, NotFound, WorkspaceError
from curation.manifest import Entry, NamedBox
from curation.records import Box
from curation.snapshots import Filters, Snapshot
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


def by_name(project: Project, snapshot: Snapshot) -> dict[str, Entry]:
    return {entry.name: entry for entry in snapshots.entries(project, snapshot)}


def all_labels(project: Project) -> dict[str, tuple[str, ...]]:
    with project.catalog.read() as connection:
        rows = labels.every(connection, project.id)
        names = images.names_by_id(connection, [row.image_id for row in rows])
    return {names[row.image_id]: project.record.class_names(row.classes) for row in rows}


def test_create__a_manifest_and_its_header(labeled: Project) -> None:
    acts.exclude(labeled, images=["d.png"], reason="not ours")
    made = snapshots.create(labeled)
    folder = labeled.workspace.path / "snapshots"
    content = (folder / f"{made.id}.parquet").read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{made.id}.json",
        f"{made.id}.parquet",
    ]
    assert made.header["file_sha256"] == hashlib.sha256(content).hexdigest()
    assert made.id == f"s-{made.header['sha256'][:12]}"
    assert json.loads((folder / f"{made.id}.json").read_text()) == made.header
    assert (made.header["images"], made.header["labels"], made.header["parent"]) == (6, 4, None)
    assert made.header["classes"] == ["ok", "scratch", "dent"]
    assert made.header["labels_by_class"] == {"ok": 3, "scratch": 0, "dent": 1}
    assert made.header["splits"] == {"train": 4}
    assert made.header["states"] == {"excluded": 1, "ok": 5}
    found = by_name(labeled, made)
    assert {name: entry.classes for name, entry in found.items()} == {
        **{"a.png": ("ok",), "b.png": ("dent",), "c.png": ("ok",), "f.png": ("ok",)},
        **{"d.png": None, "e.png": None},
    }
    assert found["a.png"].group == found["f.png"].group != found["b.png"].group
    assert found["a.png"].sha256 == found["f.png"].sha256
    assert found["a.png"].metadata == {"studio": "x"}
    assert (found["a.png"].width, found["a.png"].origin) == (12, "import")
    assert (found["d.png"].state, found["d.png"].reason) == ("excluded", "not ours")


def test_create__the_same_dataset_the_same_snapshot(labeled: Project) -> None:
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
    assert [one.id for one in snapshots.every(labeled)] == [first.id, second.id]
    change_label(labeled, "b.png", "ok")
    assert snapshots.create(labeled).header["parent"] == first.id


def test_create__the_order_of_import_does_not_matter(
    tmp_path: Path, make_images: MakeImages
) -> None:
    root = make_images("a.png", "b.png", "c.png")
    made = []
    for number, order in enumerate((["a.png", "b.png", "c.png"], ["c.png", "b.png", "a.png"])):
        project = workspace.create_project(
            tmp_path / f"w{number}", name="parts", class_names=["ok", "bad"]
        )
        for name in order:
            table = root / "one.csv"
            table.write_text(f"filename,label\n{name},ok\n")
            ingest.run(project, sources.understand(table, known_classes=("ok", "bad")))
        made.append(snapshots.create(project))
    assert made[0].id == made[1].id


def test_create__the_parts_of_the_reserve(labeled: Project) -> None:
    with labeled.catalog.write() as connection:
        assert reserve.freeze(connection, labeled.id) == 2
        kept = {row.image_id: row.half for row in reserve.rows(connection, labeled.id)}
        groups = {images.get(connection, key).group_id for key in kept}
    made = snapshots.create(labeled)
    with labeled.catalog.read() as connection:
        names = sorted(by_name(labeled, made))
        ids = images.ids_by_name(connection, labeled.id, names)
        found = images.get_many(connection, list(ids.values()))
    for name, entry in by_name(labeled, made).items():
        left_out = "left-out" if found[ids[name]].group_id in groups else "train"
        assert entry.split == kept.get(ids[name], left_out)


def test_create__filters(labeled: Project) -> None:
    def names(**wanted: object) -> list[str]:
        made = snapshots.create(labeled, filters=Filters(**wanted))  # type: ignore[arg-type]
        return sorted(by_name(labeled, made))

    assert names(labeled=True) == ["a.png", "b.png", "c.png", "f.png"]
    assert names(classes=("dent",)) == ["b.png"]
    assert names(metadata={"studio": "x"}) == ["a.png", "f.png"]
    with pytest.raises(InputError, match="Unknown class 'okay'; the classes are ok, scratch, dent"):
        names(classes=("okay",))


def test_create__the_plan_in_force_is_part_of_it(labeled: Project) -> None:
    first = snapshots.create(labeled)
    with labeled.catalog.write() as connection:
        plans.put(connection, labeled.id, "balance", {"remedy": "class-weights"})
    made = snapshots.create(labeled)
    assert made.id != first.id
    assert made.header["plans"] == {"balance": {"remedy": "class-weights"}}


def test_create__boxes_and_images_without_any(tmp_path: Path, make_images: MakeImages) -> None:
    project = workspace.create_project(
        tmp_path / "w", name="b", class_names=["cat", "dog"], task="boxes"
    )
    root = make_images("a.png", "b.png")
    ingest.run(project, sources.understand(root, known_classes=()))
    cat, dog = project.record.class_ids
    boxes = (Box(dog, 1, 2, 3.5, 4), Box(cat, 0, 0, 2, 2), Box(dog, 5, 5, 1, 1))
    base = {"origin": "people", "confidence": 1.0, "answers": 1, "version_id": 0}
    with project.catalog.write() as connection:
        ids = images.ids_by_name(connection, project.id, ["a.png", "b.png"])
        rows: list[dict[str, object]] = [
            {"image_id": ids["a.png"], "classes": (cat, dog), "boxes": boxes, **base},
            {"image_id": ids["b.png"], "classes": (), "boxes": (), **base},
        ]
        labels.put(connection, project.id, rows)
        assert labels.boxes_of(connection, list(ids.values())) == {ids["a.png"]: boxes}
    made = snapshots.create(project)
    found = by_name(project, made)
    assert found["a.png"].classes == ("cat", "dog")
    assert found["a.png"].boxes[0] == NamedBox("dog", 1, 2, 3.5, 4)
    assert (found["b.png"].classes, found["b.png"].boxes) == ((), ())
    with project.catalog.write() as connection:
        labels.remove(connection, list(ids.values()))
    snapshots.create(project)
    assert versions.restore(project, made).labeled == 2
    assert snapshots.create(project) == made


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
    assert snapshots.get(labeled) == first
    folder.unlink()
    folder.with_name("kept").rename(folder)
    assert snapshots.create(labeled).header["parent"] == first.id
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_create__a_manifest_that_was_lost_is_written_again(labeled: Project) -> None:
    first = snapshots.create(labeled)
    path = snapshots.path_of(labeled, first)
    path.unlink()
    with pytest.raises(InputError, match=r"is gone\. Bring it back from a backup"):
        list(snapshots.entries(labeled, first))
    assert snapshots.create(labeled) == first
    assert versions.verify(labeled, first).ok


def test_get__by_the_start_of_its_id(labeled: Project) -> None:
    with pytest.raises(NotFound, match="There is no snapshot yet"):
        snapshots.get(labeled)
    first = snapshots.create(labeled)
    change_label(labeled, "b.png", "scratch")
    second = snapshots.create(labeled)
    assert snapshots.get(labeled) == second
    assert snapshots.get(labeled, first.id[:8]) == first
    with pytest.raises(NotFound, match="2 snapshots begin with 's-'"):
        snapshots.get(labeled, "s-")
    with pytest.raises(NotFound, match=f"No snapshot 's-x'.*{second.id}"):
        snapshots.get(labeled, "s-x")
