import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curation import workspace
from curation.augmentation import candidates, output, recipes
from curation.augmentation.output import Written
from curation.augmentation.pipeline import Pipeline
from curation.catalog import images, labels
from curation.errors import Cancelled, InputError
from curation.records import Box
from curation.workspace import Project
from tests import searchable


@pytest.fixture
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp()


@pytest.fixture
def shop(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """24 photos, 18 of them labeled; written in batches of 5, so that there are several."""
    monkeypatch.setattr(output, "BATCH", 5)
    project = searchable.copied(base, tmp_path / "shop")
    label(project, {f"{number:02}.jpg": "ab"[number % 3 == 0] for number in range(18)})
    return project


def label(project: Project, classes: dict[str, str]) -> None:
    with project.catalog.write() as connection:
        ids = images.ids_by_name(connection, project.id, list(classes))
        by_name = dict(zip(project.record.classes, project.record.class_ids, strict=True))
        rows: list[dict[str, object]] = [
            {
                "image_id": ids[name],
                "classes": (by_name[held],),
                "origin": "people",
                "confidence": 1.0,
                "answers": 1,
                "version_id": 0,
            }
            for name, held in classes.items()
        ]
        labels.put(connection, project.id, rows)


def written(project: Project, folder: Path, *, per_image: int = 2, **how: Any) -> Written:
    rows = candidates.find(project).rows
    recipe = how.pop("recipe", recipes.find("standard"))
    copies = candidates.per_image(rows, per_image)
    return output.write(project, recipe, folder, rows=rows, copies=copies, **how)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "augmented.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_write__copies_and_what_each_is(shop: Project, base: Path, tmp_path: Path) -> None:
    done = written(shop, tmp_path / "out", seed=3)
    assert (done.images, done.copies, done.already, done.left_out) == (18, 36, 0, {})
    rows = table(tmp_path / "out")
    assert len({row["filename"] for row in rows}) == 36
    assert {row["recipe"] + row["version"] for row in rows} == {"standard1"}
    pipeline = Pipeline(recipes.find("standard"))
    for row in rows:
        number = int(row["original"].removesuffix(".jpg"))
        assert row["label"] == "ab"[number % 3 == 0]
        with Image.open(searchable.photo(base, number)) as photo:
            original = np.asarray(photo.convert("RGB"))
        made = pipeline.apply(original, seed=int(row["seed"])).pixels
        with Image.open(tmp_path / "out" / row["filename"]) as image:
            np.testing.assert_array_equal(np.asarray(image), made)
    about = json.loads((tmp_path / "out" / "augmentation.json").read_text())
    assert about["recipe"]["steps"] == recipes.find("standard").as_json()["steps"]
    assert about["counts"]["copies"] == 36
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "images",
        "augmented.csv",
        "augmentation.json",
    }


def test_write__jpeg(shop: Project, tmp_path: Path) -> None:
    written(shop, tmp_path / "out", per_image=1, format="jpeg")
    with Image.open(tmp_path / "out" / table(tmp_path / "out")[0]["filename"]) as image:
        assert image.format == "JPEG"
    with pytest.raises(InputError, match="'gif' is none of the choices: png, jpeg"):
        written(shop, tmp_path / "gif", format="gif")
    assert not (tmp_path / "gif").exists()


def stop_after(batches: int) -> Any:
    def report(done: int, total: int, says: str) -> None:
        if says == "augment" and done >= batches * output.BATCH:
            raise Cancelled("stopped")

    return report


def test_write__goes_on_where_it_was_stopped(shop: Project, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    written(shop, whole)
    with pytest.raises(Cancelled):
        written(shop, parts, report=stop_after(2))
    assert not (parts / "augmented.csv").exists()
    kept = {path: path.stat().st_mtime_ns for path in (parts / "images").iterdir()}
    assert len(kept) == 20
    with pytest.raises(InputError, match="another recipe, seed, format or selection"):
        written(shop, parts, seed=1)
    done = written(shop, parts)
    assert (done.copies, done.already) == (36, 20)
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    assert content(parts) == content(whole)
    again = written(shop, parts)
    assert (again.copies, again.already) == (36, 36)


def test_write__killed_in_the_middle_of_a_batch(shop: Project, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    written(shop, whole)
    with pytest.raises(Cancelled):
        written(shop, parts, report=stop_after(2))
    # As after a kill: a file of the next batch, and one that was being written.
    later = next(path for path in (whole / "images").iterdir() if path.name.startswith("12-"))
    (parts / "images" / later.name).write_bytes(b"half")
    (parts / "images" / f".{later.name}.x1y2").write_bytes(b"half")
    written(shop, parts)
    assert content(parts) == content(whole)
    # And as after one just before the end.
    (parts / ".parts").mkdir()
    assert written(shop, parts).already == 36
    assert content(parts) == content(whole)
    assert not (parts / ".parts").exists()


def test_write__the_disk_is_full(shop: Project, tmp_path: Path) -> None:
    script = """
import resource, signal, sys
from pathlib import Path
from curation import workspace
from curation.augmentation import candidates, output, recipes
from curation.errors import LabelloopError
project = workspace.project(workspace.open(Path(sys.argv[1])))
rows = candidates.find(project).rows
copies = candidates.per_image(rows, 1)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    output.write(project, recipes.find("light"), Path(sys.argv[2]), rows=rows, copies=copies)
except LabelloopError as error:
    print(error)
"""
    shop.catalog.close()
    said = subprocess.run(
        [sys.executable, "-c", script, shop.workspace.path, tmp_path / "out"],
        cwd=Path(__file__).parents[3],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert said.startswith(f"Cannot write {tmp_path}/out/images/")
    assert "Free some space" in said
    assert not (tmp_path / "out" / "augmented.csv").exists()
    assert not list((tmp_path / "out").glob("images/*"))
    done = written(shop, tmp_path / "out", per_image=1, recipe=recipes.find("light"))
    assert done.copies == 18


def test_write__places_that_are_not_free(shop: Project, base: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(InputError, match=r"full is not an empty folder"):
        written(shop, tmp_path / "full")
    with pytest.raises(InputError, match=r"letter.txt is not an empty folder"):
        written(shop, tmp_path / "full" / "letter.txt")
    with pytest.raises(InputError, match="workspace's own folder images"):
        written(shop, shop.workspace.path / "images" / "augmented")
    with pytest.raises(InputError, match="is the workspace itself"):
        written(shop, shop.workspace.path)
    with pytest.raises(InputError, match="the next import would take the copies for new images"):
        written(shop, searchable.photo(base, 0).parent / "augmented")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["letter.txt"]
    assert not (shop.workspace.path / "images" / "augmented").exists()


def test_write__images_that_cannot_be_copied(shop: Project, tmp_path: Path) -> None:
    with shop.catalog.read() as connection:
        gone = Path(images.find(connection, shop.id, "00.jpg").location)
    hidden = gone.with_suffix(".hidden")
    gone.rename(hidden)
    try:
        done = written(shop, tmp_path / "out", per_image=1)
    finally:
        hidden.rename(gone)
    assert (done.images, done.left_out) == (17, {"the file is missing": 1})
    crop = 'name = "x"\nversion = 1\n[[steps]]\ntransform = "RandomCrop"\np = 1.0\n'
    large = recipes.parse(crop + "height = 9000\nwidth = 9000\n", origin="x.toml")
    with pytest.raises(InputError, match="18 smaller than the crop of 9000 x 9000 pixels"):
        written(shop, tmp_path / "none", recipe=large)
    written(shop, tmp_path / "none")  # nothing of the failed call is in the way


def test_write__nothing_wanted(shop: Project, tmp_path: Path) -> None:
    rows = candidates.find(shop).rows
    none = np.zeros(len(rows), np.int64)
    with pytest.raises(InputError, match="No copies are wanted"):
        output.write(shop, recipes.find("light"), tmp_path / "out", rows=rows, copies=none)


def test_write__boxes_follow_and_are_counted(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "BATCH", 5)
    searchable.copied(base, tmp_path / "photos")
    project = workspace.create_project(
        tmp_path / "boxes", name="boxes", class_names=["a", "b"], task="boxes", seed=1
    )
    from curation import ingest, sources

    photos = searchable.photo(base, 0).parent
    ingest.run(project, sources.understand(photos, known_classes=project.record.classes))
    first, second = project.record.class_ids
    with project.catalog.write() as connection:
        ids = images.ids_by_name(connection, project.id, ["00.jpg", "01.jpg"])
        drawn = {"00.jpg": (Box(first, 10, 10, 30, 30), Box(second, 100, 0, 12, 12)), "01.jpg": ()}
        rows: list[dict[str, object]] = [
            {
                "image_id": ids[name],
                "classes": tuple(box.class_id for box in boxes),
                "boxes": boxes,
                "origin": "people",
                "confidence": 1.0,
                "answers": 1,
                "version_id": 0,
            }
            for name, boxes in drawn.items()
        ]
        labels.put(connection, project.id, rows)
    shift = 'name = "x"\nversion = 1\n[[steps]]\ntransform = "Affine"\np = 1.0\n'
    recipe = recipes.parse(shift + "translate_percent = [0.25, 0.25]\n", origin="x.toml")
    done = written(project, tmp_path / "out", per_image=1, recipe=recipe)
    assert (done.images, done.boxes, done.boxes_dropped) == (2, 1, 1)
    boxed, empty = table(tmp_path / "out")
    assert boxed["label"] == "a"
    (box,) = json.loads(boxed["boxes"])
    assert box == {"class": "a", "x": 38.0, "y": 38.0, "width": 30.0, "height": 30.0}
    assert (empty["label"], empty["boxes"]) == ("", "")
