from collections.abc import Callable
from pathlib import Path

import pytest

from curation.errors import InputError
from curation.importers.found import Found, SetAside
from curation.workspace import Project
from tests.curation.conftest import picture
from tests.curation.importers.conftest import (
    boxes,
    label_names,
    metadata,
    read,
    take,
    understood,
)


def put(root: Path, name: str, text: str | None = None) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        picture(len(name), side=20).save(path)
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = tmp_path / "yolo"
    put(root, "images/train/one.png")
    put(root, "images/train/sub/three.png")
    put(root, "images/val/fifth.png")
    put(root, "labels/train/one.txt", "1 0.5 0.5 0.2 0.4\n0 0.1 0.1 0.1 0.1\n")
    put(root, "labels/train/sub/three.txt", "")
    return root


@pytest.mark.parametrize(
    "settings",
    [
        "train: images/train\nval: images/val\nnc: 2\nnames: ['cat', 'dog']\n",
        "path: .\ntrain: [images/train]\nval: ./images/val\nnames:\n  1: dog\n  0: cat\n",
        "path: ../datasets/of/another/machine\ntrain: images/train\nval: images/val\n"
        "test: # optional\nnames: {0: cat, 1: dog}\ndownload: |\n  import os\n",
        # Roboflow's paths start one folder too high.
        "train: ../images/train\nval: ../images/val\nnames: [cat, dog]\nroboflow: {version: 1}\n",
        "train: train.txt\nval: images/val\nnames: [cat, dog]\n",
        "names: [cat, dog]\n",
    ],
)
def test_read__settings_as_tools_write_them(
    dataset: Path, make_project: Callable[..., Project], settings: str
) -> None:
    put(dataset, "data.yaml", settings)
    put(dataset, "train.txt", "./images/train/one.png\nimages/train/sub/three.png\n")
    plan = understood(dataset)
    assert (plan.format, plan.parts, plan.classes) == (
        "yolo",
        ("train", "validation"),
        ("cat", "dog"),
    )
    project = make_project("boxes")
    outcome = take(project, dataset)
    assert (outcome.added, outcome.labeled, outcome.quarantined) == (3, 2, [])
    ((name, drawn),) = boxes(project).items()
    assert name == "images/train/one.png"
    assert [one[0] for one in drawn] == ["dog", "cat"]
    assert drawn[0][1:] == pytest.approx((8, 6, 4, 8))
    # An empty file says that nothing is there, no file that nobody looked.
    assert label_names(project) == {
        "images/train/one.png": ("cat", "dog"),
        "images/train/sub/three.png": (),
    }
    assert metadata(project, "images/val/fifth.png") == {"split": "validation"}


def test_read__images_and_labels_below_each_part(dataset: Path) -> None:
    root = dataset.parent / "roboflow"
    put(root, "valid/images/a.png")
    put(root, "valid/labels/a.txt", "0 0.5 0.5 1 1")
    put(root, "data.yaml", "val: ../valid/images\nnames: [cat]")
    (found,) = read(root)
    assert isinstance(found, Found)
    assert (dict(found.metadata), len(found.said)) == ({"split": "validation"}, 1)


def test_read__without_settings(dataset: Path) -> None:
    put(dataset, "classes.txt", "cat\ndog\n")
    assert understood(dataset).classes == ("cat", "dog")
    assert sum(bool(one.said) for one in read(dataset) if isinstance(one, Found)) == 2


def test_read__polygons_become_their_extent(dataset: Path) -> None:
    put(dataset, "data.yaml", "train: images/train\nnames: [cat, dog]")
    put(dataset, "labels/train/one.txt", "0 0.1 0.2 0.5 0.2 0.3 0.8\n")
    found = next(one for one in read(dataset) if isinstance(one, Found))
    ((box,),) = [said.boxes for said in found.said]
    assert (box.x, box.y, box.width, box.height) == pytest.approx((0.1, 0.2, 0.4, 0.6))


def test_read__lists_of_classes_instead_of_settings(dataset: Path) -> None:
    labelimg = dataset.parent / "labelimg"
    put(labelimg, "a.png")
    put(labelimg, "a.txt", "1 0.5 0.5 0.2 0.2\n")
    put(labelimg, "classes.txt", "cat\ndog\n")
    cvat = dataset.parent / "cvat"
    put(cvat, "obj_train_data/a.png")
    put(cvat, "obj_train_data/a.txt", "1 0.5 0.5 0.2 0.2\n")
    put(cvat, "obj.names", "cat\ndog\n")
    put(cvat, "train.txt", "data/obj_train_data/a.png\n")
    for root, part in [(labelimg, {}), (cvat, {"split": "train"})]:
        (found,) = read(root)
        assert isinstance(found, Found)
        assert (found.said[0].boxes or ())[0].label == "dog"
        assert found.metadata == part


def test_read__key_points_are_no_polygon(dataset: Path) -> None:
    put(dataset, "data.yaml", "train: images/train\nkpt_shape: [2, 2]\nnames: [cat, dog]")
    put(dataset, "labels/train/one.txt", "0 0.5 0.5 0.2 0.4 0.45 0.35 0.55 0.65\n")
    found = next(one for one in read(dataset) if isinstance(one, Found))
    ((box,),) = [said.boxes for said in found.said]
    assert (box.x, box.y, box.width, box.height) == pytest.approx((0.4, 0.3, 0.2, 0.4))


def test_read__what_only_has_a_name_like_settings(dataset: Path) -> None:
    (dataset / "folder.yaml").mkdir()
    (dataset / "gone.yaml").symlink_to(dataset / "nowhere")
    put(dataset, "settings.yaml", 'path: "\\0"\ntrain: images/train\nnames: [cat, dog]')
    assert understood(dataset).format == "yolo"


def test_read__train_and_validation_on_the_same_images(dataset: Path) -> None:
    put(dataset, "data.yaml", "train: images/train\nval: images/train\nnames: [cat, dog]")
    found = [one for one in read(dataset) if isinstance(one, Found)]
    assert [one.metadata.get("split") for one in found] == ["train", "train", "validation"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0 0.5 0.5 0.2", "line 2: 4 numbers; a class and 4 make a box"),
        ("0 0.5 0.5 0.2 0.2 0.9", "line 2: 6 numbers"),
        ("2 0.5 0.5 0.2 0.2", "line 2: class 2, and the classes go from 0 to 1"),
        ("-1 0.5 0.5 0.2 0.2", "line 2: class -1"),
        ("cat 0.5 0.5 0.2 0.2", "line 2: not numbers: cat"),
        ("0 nan 0.5 0.2 0.2", "line 2: a box with a coordinate that is no number"),
        ("0 0.5 1e999 0.2 0.2", "line 2: a box with a coordinate that is no number"),
        ("0 0.9 0.5 0.5 0.2", "line 2: a box 3 px over the edge"),
        ("0 0.5 0.5 0 0.2", "line 2: a box without a size"),
        ("0 1.5 0.5 0.2 0.2", "line 2: a box outside its image of 20x20"),
    ],
)
def test_run__one_bad_line_is_set_aside(
    dataset: Path, make_project: Callable[..., Project], line: str, says: str
) -> None:
    put(dataset, "data.yaml", "train: images/train\nval: images/val\nnames: [cat, dog]")
    put(dataset, "labels/train/one.txt", f"1 0.5 0.5 0.2 0.4\n{line}\n")
    put(dataset, "labels/val/fifth.txt", line.replace("0 0.5 0.5 0.2 0.2 0.9", "0"))
    project = make_project("boxes")
    outcome = take(project, dataset)
    (first, _) = outcome.quarantined
    assert first[0] == "images/train/one.png"
    assert says in first[1]
    assert "labels/train/one.txt" in first[1]
    # Only what can be used is a label; where nothing can, the image is not labeled.
    assert {name: len(found) for name, found in boxes(project).items()} == {first[0]: 1}
    assert "images/val/fifth.png" not in label_names(project)


def test_read__labels_of_no_image_and_broken_files(dataset: Path) -> None:
    put(dataset, "data.yaml", "train: images/train\nval: images/val\nnames: [cat, dog]")
    put(dataset, "labels/val/gone.txt", "0 0.5 0.5 0.2 0.2")
    (dataset / "labels/val/fifth.txt").write_bytes(b"0 \xff\xfe")
    assert [one for one in read(dataset) if isinstance(one, SetAside)] == [
        SetAside("images/val/fifth.png", "labels/val/fifth.txt: not UTF-8 text"),
        SetAside("labels/val/gone.txt", "no image of this name"),
    ]


def test_read__a_label_file_that_leaves_the_folder(dataset: Path) -> None:
    put(dataset, "data.yaml", "train: images/train\nval: images/val\nnames: [cat, dog]")
    secret = put(dataset.parent, "elsewhere/secret.txt", "root:x:0:0")
    (dataset / "labels/val").mkdir()
    (dataset / "labels/val/fifth.txt").symlink_to(secret)
    found = read(dataset)
    assert all(isinstance(one, Found) for one in found)
    assert "root:x" not in str(found)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("train: ../elsewhere\nnames: [cat]", "leaves"),
        ("train: /etc\nnames: [cat]", "`train: /etc` leaves"),
        ("train: images/gone\nnames: [cat]", "`train: images/gone` is not there"),
        ("train: images/train\nnames: cat", "`names` must list the classes"),
        ("train: images/train\nnames: {0: cat, 10000000: dog}", "an index of `names` is below 0"),
        ("train: {a: b}\nnames: [cat]", "which is no path"),
        ("names: [cat\ntrain: images/train", "is not valid YAML"),
        ("names: !!python/object/apply:os.system ['true']", "is not valid YAML"),
        ("- names", "holds no settings"),
        ("train: images/train\nkpt_shape: [17]\nnames: [cat]", "`kpt_shape` is [17]"),
    ],
)
def test_understand__settings_that_cannot_be_used(dataset: Path, settings: str, says: str) -> None:
    put(dataset.parent, "elsewhere/secret.png")
    put(dataset, "data.yaml", settings)
    with pytest.raises(InputError) as caught:
        understood(dataset)
    assert says in str(caught.value)
    assert "data.yaml" in str(caught.value)


def test_understand__the_layout_for_classification(
    tmp_path: Path, make_project: Callable[..., Project]
) -> None:
    root = tmp_path / "pets"
    for name in ("train/cat/1.png", "train/dog/12.png", "val/cat/deep/1.png"):
        put(root, name)
    plan = understood(root, task="single-label", format="yolo")
    assert plan.parts == ("train", "validation")
    project = make_project("single-label")
    assert take(project, root).labeled == 3  # and without naming the format
    assert label_names(project)["val/cat/deep/1.png"] == ("cat",)
    assert metadata(project, "val/cat/deep/1.png") == {"split": "validation"}
    with pytest.raises(InputError, match="is no YOLO dataset"):
        understood(root / "train", format="yolo")
