"""What each format's own tools read from an export."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest
import yaml
from PIL import Image, ImageOps

from curation import exporters, snapshots, tables
from curation.records import Task
from curation.workspace import Project
from tests import exportable

CLASSES = exportable.SINGLE_CLASSES
LABELED = {
    "single-label": exportable.SINGLE,
    "multi-label": exportable.SEVERAL,
    "boxes": exportable.BOXES,
}
Boxes = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Task, Project]]:
    folder = tmp_path_factory.mktemp("read-back")
    made = {task: exportable.of_task(folder / task, task) for task in get_args(Task)}
    yield made
    for project in made.values():
        project.catalog.close()


@pytest.fixture
def out(projects: dict[Task, Project], tmp_path: Path) -> Any:
    """Exports one of the projects into a folder."""

    def export(format: str, task: Task, **options: Any) -> Path:
        project = projects[task]
        exporters.write(
            project, snapshots.create(project), to=tmp_path / "out", format=format, **options
        )
        return tmp_path / "out"

    return export


def expected(task: Task, part: str = "") -> dict[str, list[Any]]:
    """By name what is labeled, as class names or boxes, of a part."""
    parts = [*exportable.PARTS] * len(LABELED[task])
    return {
        name: list(said)
        for (name, said), its in zip(LABELED[task].items(), parts, strict=False)
        if said is not None and part in ("", its)
    }


def opened(path: Path) -> Image.Image:
    """A picture as it is shown."""
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image)


def upright(image: Path | Image.Image) -> bytes:
    shown = opened(image) if isinstance(image, Path) else ImageOps.exif_transpose(image)
    return shown.convert("RGB").tobytes()


def original(projects: dict[Task, Project], task: Task, name: str) -> bytes:
    return upright(projects[task].workspace.path.parent / "photos" / name)


# Folders ------------------------------------------------------------------------------------------


def test_folder__torchvision_reads_images_and_classes(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    given = {"a.png": ["cat"], "s/a.png": ["dog"], "b.png": ["dog"], "s/b.PNG": ["cat"]}
    project = exportable.project(tmp_path, given, classes=["cat", "dog"])
    exporters.write(project, snapshots.create(project), to=tmp_path / "out", format="folder")
    found = ImageFolder(tmp_path / "out" / "train")
    assert found.classes == ["cat"]
    assert [Path(path).relative_to(tmp_path / "out").as_posix() for path, _ in found.samples] == [
        "train/cat/a.png",
        "train/cat/s/b.PNG",
    ]
    assert upright(found[0][0]) == upright(tmp_path / "photos" / "a.png")


# CSV ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_csv__our_import_reads_the_labels_and_metadata(task: Task, out: Any) -> None:
    folder = out("csv", task)
    rows = [row for row in tables.open_table(folder / "labels.csv").rows()]
    assert {row.image: sorted(row.labels or ()) for row in rows if isinstance(row, tables.Row)} == {
        name: sorted(said) for name, said in expected(task).items()
    }
    assert all((folder / row.image).is_file() for row in rows if isinstance(row, tables.Row))


def test_csv__no_cell_is_a_formula_and_reviewed_images_are_told_from_unlabeled(out: Any) -> None:
    folder = out("csv", "single-label", unlabeled=True)
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["filename"]: row for row in csv.DictReader(file)}
    assert not [
        cell for row in rows.values() for cell in row.values() if cell[:1] in set("=+-@\t\r")
    ]
    assert rows["a.jpg"]["studio"] == "'=cmd()"
    assert rows["a.png"]["note"] == "''+1"
    assert rows["a.png"]["studio"] == 'b, "c"\r\nd'
    assert rows["a.jpg"]["metadata.Split"] == "imported"
    assert (rows["nothing.jpg"]["label"], rows["nothing.jpg"]["reviewed"]) == ("", "yes")
    assert (rows["nobody.jpg"]["label"], rows["nobody.jpg"]["reviewed"]) == ("", "")


# COCO ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", get_args(Task))
def test_coco__pycocotools_reads_it(task: Task, out: Any, projects: dict[Task, Project]) -> None:
    from pycocotools.coco import COCO

    folder = out("coco", task)
    for part in exportable.PARTS:
        found = COCO(folder / "annotations" / f"instances_{part}.json")
        names = {one["id"]: one["name"] for one in found.loadCats(found.getCatIds())}
        assert list(names.items()) == list(enumerate(CLASSES, 1))
        read = {}
        for image in found.loadImgs(found.getImgIds()):
            every = found.loadAnns(found.getAnnIds(image["id"], areaRng=[0, 1e9], iscrowd=False))
            read[image["file_name"]] = [
                (names[one["category_id"]], *one["bbox"]) if "bbox" in one
                else names[one["category_id"]]
                for one in every
            ]  # fmt: skip
            assert image["reviewed"]
            assert (folder / "images" / image["file_name"]).is_file()
            pixels = original(projects, task, image["file_name"])
            assert len(pixels) == image["width"] * image["height"] * 3
        key = None if task == "boxes" else CLASSES.index
        assert read == {
            name: said if task == "boxes" else sorted(said, key=key)
            for name, said in expected(task, part).items()
        }


# YOLO and VOC -------------------------------------------------------------------------------------


def test_yolo__boxes_are_shares_of_the_upright_image(
    out: Any, projects: dict[Task, Project]
) -> None:
    folder = out("yolo", "boxes", unlabeled=True)
    settings = yaml.safe_load((folder / "data.yaml").read_text())
    assert settings["names"] == dict(enumerate(CLASSES))
    assert settings["nc"] == len(CLASSES)
    for key, part in (("train", "train"), ("val", "validation"), ("test", "test")):
        read: dict[str, Boxes] = {}
        bare = set()
        base = folder / settings[key]
        for path in sorted(one for one in base.rglob("*") if one.is_file()):
            name = path.relative_to(base).as_posix()
            text = folder / "labels" / path.relative_to(folder / "images").with_suffix(".txt")
            if not text.exists():
                bare.add(name)
                continue
            width, height = opened(path).size
            lines = [line.split() for line in text.read_text().splitlines()]
            read[name] = [
                (CLASSES[int(c)], *((float(x) - float(w) / 2) * width,
                 (float(y) - float(h) / 2) * height, float(w) * width, float(h) * height))
                for c, x, y, w, h in lines
            ]  # fmt: skip
        _same(read, expected("boxes", part))
        assert bare == {
            name
            for at, (name, said) in enumerate(exportable.BOXES.items())
            if said is None and exportable.PARTS[at % 3] == part
        }


def _same(found: dict[str, Boxes], wanted: dict[str, Boxes]) -> None:
    assert found.keys() == wanted.keys()
    for name, boxes in wanted.items():
        assert [box[0] for box in found[name]] == [box[0] for box in boxes]
        for one, other in zip(found[name], boxes, strict=True):
            assert one[1:] == pytest.approx(other[1:], abs=1e-6)


def test_yolo__single_labels_are_class_folders(tmp_path: Path) -> None:
    given = {"a.png": ["cat"], "b.png": ["dog"], "c.png": ["dog"]}
    project = exportable.project(tmp_path, given, classes=["cat", "dog"])
    exporters.write(project, snapshots.create(project), to=tmp_path / "out", format="yolo")
    found = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")
    }
    assert found == {"train/cat/a.png", "val/dog/b.png", "test/dog/c.png"}


def test_voc__counts_pixels_from_one_and_includes_the_last(out: Any) -> None:
    folder = out("voc", "boxes")
    for file, part in (("train", "train"), ("val", "validation"), ("test", "test")):
        read: dict[str, Boxes] = {}
        for stem in (folder / "ImageSets" / "Main" / f"{file}.txt").read_text().splitlines():
            root = ElementTree.parse(folder / "Annotations" / f"{stem}.xml").getroot()
            path = folder / "JPEGImages" / str(root.findtext("filename"))
            size = opened(path).size
            assert size == tuple(
                int(str(root.findtext(f"size/{key}"))) for key in ("width", "height")
            )
            boxes: Boxes = []
            for thing in root.iter("object"):
                left, top, right, bottom = (
                    float(str(thing.findtext(f"bndbox/{key}")))
                    for key in ("xmin", "ymin", "xmax", "ymax")
                )
                boxes.append(
                    (thing.findtext("name"), left - 1, top - 1, right - left + 1, bottom - top + 1)
                )
            read[stem] = boxes
        wanted = expected("boxes", part)
        by_stem = {
            next(s for s in read if _is_of(s, name)): boxes for name, boxes in wanted.items()
        }
        _same(read, by_stem)
    whole = ElementTree.parse(next((folder / "Annotations").glob("a-*.xml"))).find("object/bndbox")
    assert whole is not None
    if whole.findtext("xmin") == "1":
        assert [one.text for one in whole] == ["1", "1", "16", "12"]


def _is_of(stem: str, name: str) -> bool:
    """Whether a list's entry is of this image; `a.jpg` and `a.png` get a suffix each."""
    from curation.exporters.names import _digest

    plain = name.rpartition(".")[0]
    return stem in (plain, f"{plain}-{_digest(name)}")


# Label Studio -------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", get_args(Task))
def test_label_studio__tasks_address_images_and_hold_the_answers(
    task: Task, out: Any, projects: dict[Task, Project]
) -> None:
    folder = out("label-studio", task, unlabeled=True)
    found = json.loads((folder / "tasks.json").read_text())
    read = {}
    for one in found:
        name = one["data"]["name"]
        url = urlsplit(one["data"]["image"])
        assert url.path == "/data/local-files/"
        path = folder / parse_qs(url.query)["d"][0]
        assert upright(path) == original(projects, task, name)
        for answer in one.get("annotations", []):
            assert not answer["ground_truth"]
            read[name] = [said for part in answer["result"] for said in _said(part)]
    if task == "boxes":
        _same(read, expected(task))
    else:
        assert {name: set(said) for name, said in read.items()} == {
            name: set(said) for name, said in expected(task).items()
        }
    config = ElementTree.parse(folder / "label_config.xml").getroot()
    options = [one.get("value") for one in config.iter("Label" if task == "boxes" else "Choice")]
    assert tuple(options) == CLASSES


def _said(part: dict[str, Any]) -> list[Any]:
    if part["type"] == "choices":
        return list(part["value"]["choices"])
    value = part["value"]
    width, height = part["original_width"], part["original_height"]
    numbers = (
        value["x"] * width / 100,
        value["y"] * height / 100,
        value["width"] * width / 100,
        value["height"] * height / 100,
    )
    return [(value["rectanglelabels"][0], *numbers)]


# WebDataset ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore:.*FileIO:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("task", get_args(Task))
def test_webdataset__webdataset_reads_it(
    task: Task, out: Any, projects: dict[Task, Project]
) -> None:
    import webdataset

    folder = out("webdataset", task, unlabeled=True)
    read: dict[str, list[Any]] = {}
    bare = set()
    for part in exportable.PARTS:
        shards = [str(path) for path in sorted(folder.glob(f"{part}-*.tar"))]
        for sample in webdataset.WebDataset(shards, shardshuffle=False).decode("pil"):
            about = sample["json"]
            name = about["name"]
            (ending,) = {"jpg", "png", "webp"} & sample.keys()
            assert about["split"] == part
            if not about["labeled"]:
                bare.add(name)
                continue
            if name != "shelf/a.jpg":  # its decoder leaves EXIF's turn undone
                assert upright(sample[ending]) == original(projects, task, name)
            read[name] = [(box["label"], *box["bbox"]) for box in about["boxes"]] or about["labels"]
            if task == "single-label":
                assert (
                    [CLASSES[sample["cls"]]] == about["labels"]
                    if about["labels"]
                    else "cls" not in sample
                )
    if task == "boxes":
        _same(read, expected(task))
    else:
        assert {name: set(said) for name, said in read.items()} == {
            name: set(said) for name, said in expected(task).items()
        }
    assert bare == {name for name, said in LABELED[task].items() if said is None}


# Hugging Face -------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", get_args(Task))
def test_huggingface__datasets_decodes_images_and_knows_the_classes(
    task: Task, out: Any, projects: dict[Task, Project], tmp_path: Path
) -> None:
    import datasets

    folder = out("huggingface", task, unlabeled=True)
    found = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert set(found) == set(exportable.PARTS)
    read: dict[str, list[Any]] = {}
    for part in found.values():
        column = {"single-label": "label", "multi-label": "labels", "boxes": "objects"}[task]
        feature = part.features[column]
        known = feature["category"] if task == "boxes" else feature
        known = getattr(known, "feature", known)
        assert tuple(known.names) == CLASSES
        for row in part:
            assert upright(row["image"]) == original(projects, task, row["name"])
            if not row["labeled"]:
                assert LABELED[task][row["name"]] is None
                continue
            said = row[column]
            if task == "boxes":
                read[row["name"]] = [
                    (known.int2str(number), *box)
                    for number, box in zip(said["category"], said["bbox"], strict=True)
                ]
            else:
                numbers = said if isinstance(said, list) else [] if said is None else [said]
                read[row["name"]] = sorted(known.int2str(number) for number in numbers)
            if row["name"] == "a.jpg":
                assert row["metadata"]["studio"] == "=cmd()"
    assert read == {
        name: said if task == "boxes" else sorted(said) for name, said in expected(task).items()
    }


# Croissant ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index")
@pytest.mark.parametrize("task", get_args(Task))
def test_croissant__mlcroissant_validates_it_and_iterates(
    task: Task, out: Any, projects: dict[Task, Project]
) -> None:
    import mlcroissant

    folder = out("croissant", task, unlabeled=True)
    found = mlcroissant.Dataset(jsonld=folder / "croissant.json")
    assert not found.metadata.ctx.issues.errors
    read: dict[str, list[Any]] = {}
    bare = set()
    for row in found.records(record_set="records"):
        name = row["records/path"].decode().removeprefix("images/")
        assert upright(row["records/image"]) == original(projects, task, name) or (
            name == "shelf/a.jpg"  # its reader leaves EXIF's turn undone
        )
        if not row["records/labeled"]:
            bare.add(name)
        elif task == "boxes":
            labels = [label.decode() for label in row["records/box_labels"]]
            boxes = row["records/boxes"]
            read[name] = [(label, *box) for label, box in zip(labels, boxes, strict=True)]
        else:
            read[name] = sorted(label.decode() for label in row["records/labels"])
    if task == "boxes":
        _same(read, expected(task))
    else:
        assert read == {name: sorted(said) for name, said in expected(task).items()}
    assert bare == {name for name, said in LABELED[task].items() if said is None}
