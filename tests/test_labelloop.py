"""The public Python API."""

from pathlib import Path

import pytest
from PIL import Image

import labelloop


def test_exports__are_what_is_promised() -> None:
    assert sorted(labelloop.__all__) == ["LabelloopError", "Project", "create", "open"]


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
    assert list(opened.issues().columns) == ["image", "kind", "reason"]
    assert opened.status()["images"]["labeled"] == 4
    assert opened.classes == ("ok", "scratch")


def test_open__outside_a_workspace_raises_the_root_error(tmp_path: Path) -> None:
    with pytest.raises(labelloop.LabelloopError, match="not a workspace"):
        labelloop.open(tmp_path)
