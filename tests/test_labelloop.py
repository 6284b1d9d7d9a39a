"""The public Python API."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import labelloop

SAMPLE = Path(__file__).parents[1] / "sample_data"


def test_exports__are_what_is_promised() -> None:
    assert sorted(labelloop.__all__) == ["LabelloopError", "Project", "create", "open"]


@pytest.mark.parametrize("asked", ["", "ACTIVE"])
def test_import__threads_of_torch_will_soon_sleep_while_they_wait(asked: str) -> None:
    """It is read when torch is imported, so torch must not have been by then."""
    program = (
        "import labelloop, os, sys; print('torch' in sys.modules, os.getenv('GOMP_SPINCOUNT'))"
    )
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    settings = {key: value for key, value in os.environ.items() if key not in names}
    if asked:
        settings["OMP_WAIT_POLICY"] = asked
    said = subprocess.check_output([sys.executable, "-c", program], env=settings, text=True)
    assert said.split() == ["False", "None" if asked else "10000"]


def test_project__images_and_tables(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for number in range(4):
        folder = photos / ("ok" if number % 2 else "scratch")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 30), (60 * number, 0, 0)).save(folder / f"{number}.png")
    project = labelloop.create(tmp_path / "parts", classes=["ok", "scratch"])
    assert project.add_images(photos)["labeled"] == 4

    opened = labelloop.open(tmp_path / "parts")
    frame = opened.images(label="ok")
    assert list(frame["image"]) == ["ok/1.png", "ok/3.png"]
    assert set(frame["label_origin"]) == {"import"}
    assert opened.snapshot() == opened.snapshot()
    assert list(opened.snapshots()["images"]) == [4]
    assert opened.rounds().empty
    assert opened.models().empty
    assert list(opened.quarantine().columns) == ["image", "reason"]
    assert opened.issues().empty
    assert opened.status()["images"]["labeled"] == 4
    assert opened.classes == ("ok", "scratch")


def test_project__cleans_and_searches(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, path in enumerate(sorted((SAMPLE / "test").iterdir())[:6]):
        shutil.copy(path, photos / f"{number}.png")
    with Image.open(photos / "0.png") as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photos / "mirrored.png")
    project = labelloop.create(tmp_path / "shop", classes=["ok", "bad"])
    project.add_images(photos)

    found = project.find_issues(["near-duplicate"])
    assert list(found["image"]) == ["mirrored.png"]
    assert list(found["related"]) == [["0.png"]]
    assert project.issues(["near-duplicate"]).equals(found)
    assert project.exclude(kinds=["near-duplicate"], dry_run=True)["excluded"] == 1
    assert project.status()["images"]["excluded"] == 0
    assert project.exclude(kinds=["near-duplicate"])["images"] == ["mirrored.png"]
    assert project.restore()["restored"] == 1
    assert project.propagate()["propagated"] == 0
    assert next(iter(project.similar("0.png", count=1)["image"])) == "mirrored.png"
    assert len(project.similar(photos / "0.png", count=2)) == 2
    assert list(project.map().columns) == ["image", "x", "y"]
    assert len(project.map()) == 7


def test_open__outside_a_workspace_raises_the_root_error(tmp_path: Path) -> None:
    with pytest.raises(labelloop.LabelloopError, match="not a workspace"):
        labelloop.open(tmp_path)
