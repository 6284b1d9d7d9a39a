"""`labelloop import` of the formats that people have, as the command line shows it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import labelloop
from curation.errors import InputError
from curation.importers import FORMATS
from tests.curation.conftest import picture
from ui.cli import app


def run(workspace: Path, *words: str) -> Any:
    done = CliRunner().invoke(app, [*words, "--workspace", str(workspace)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    root = tmp_path / "shots"
    (root / "images").mkdir(parents=True)
    picture(1, side=20).save(root / "images" / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "gone.png"}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "ski"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}],
    }
    (root / "instances_train.json").write_text(json.dumps(content))
    return root


def test_import__says_what_it_understood_and_does_it(tmp_path: Path, coco: Path) -> None:
    workspace = tmp_path / "w"
    run(workspace, "init", "--classes", "cat,dog", "--task", "boxes")
    done = run(workspace, "import", str(coco), "--json")
    found = json.loads(done.stdout)
    assert {key: found[key] for key in ("format", "added", "already", "labeled", "relabeled")} == {
        "format": "coco",
        "added": 1,
        "already": 0,
        "labeled": 1,
        "relabeled": 0,
    }
    assert found["quarantined"] == [
        {"image": "gone.png", "reason": "instances_train.json, images[1]: no such image"}
    ]
    for sentence in ("format: coco", "not classes of this project: ski", "split, kept as metadata"):
        assert sentence in done.stderr
    text = (coco / "instances_train.json").read_text().replace("[1, 1, 5, 5]", "[1, 1, 5, 6]")
    (coco / "instances_train.json").write_text(text)
    assert "1 labels are others than before" in run(workspace, "import", str(coco)).stdout


def test_import__what_does_not_fit_writes_nothing(tmp_path: Path, coco: Path) -> None:
    workspace = tmp_path / "w"
    run(workspace, "init", "--classes", "cat,dog")
    with pytest.raises(InputError, match="--task multi-label"):
        run(workspace, "import", str(coco))
    with pytest.raises(InputError, match=r"'tfrecord' is no format\. The formats are auto, folder"):
        run(workspace, "import", str(coco), "--format", "tfrecord")
    (coco / "data.yaml").write_text("train: images\nnames: [cat]")
    with pytest.raises(InputError, match=r"looks like coco and like yolo\. Choose with --format"):
        run(workspace, "import", str(coco))
    assert labelloop.open(workspace).status()["images"]["total"] == 0
    project = labelloop.open(workspace)
    assert project.add_images(coco, format="coco", labels_from="none")["labeled"] == 0
    assert project.status()["images"]["total"] == 1


def test_import__help_names_every_format() -> None:
    said = CliRunner().invoke(app, ["import", "--help"]).output
    assert all(name in said for name in FORMATS)
