import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pycocotools import coco

from curation.errors import InputError
from curation.importers.found import Found
from curation.workspace import Project
from tests.curation.conftest import picture
from tests.curation.importers.conftest import boxes, label_names, metadata, read, take, understood

CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}, {"id": 90, "name": "ski"}]


def image(key: int, name: str, **more: Any) -> dict[str, Any]:
    return {"id": key, "file_name": name, "width": 20, "height": 20, **more}


def annotation(image_id: Any, category_id: Any, *bbox: Any, **more: Any) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": category_id, "bbox": list(bbox), **more}


def write(root: Path, content: object, name: str = "annotations/instances_val2017.json") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "coco"
    for seed, name in enumerate(["a.png", "b.png", "deep/c.png"]):
        path = root / "val2017" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(seed, side=20).save(path)
    return root


def test_read__as_cocos_own_files_are(photos: Path, make_project: Callable[..., Project]) -> None:
    content = {
        "info": {"year": 2017, "nested": {"annotations": [1]}},
        "licenses": [{"id": 1, "url": "u"}],
        # In the order that sorted keys give: annotations come before their images.
        "annotations": [
            annotation(9, 18, 1.5, 2, 3.25, 4, id=1, segmentation=[[1, 2, 3, 4, 5, 6]], iscrowd=0),
            annotation(9, 17, 0, 0, 20, 20, id=2, iscrowd=0),
            annotation(
                9, 17, 0, 0, 5, 5, id=3, iscrowd=1, segmentation={"counts": [1], "size": []}
            ),
        ],
        "categories": CATEGORIES,
        "images": [image(9, "a.png", coco_url="http://x/a.png"), image(4, "c.png")],
    }
    path = write(photos, content)
    plan = understood(photos)
    assert (plan.format, plan.candidates, plan.classes) == ("coco", 2, ("cat", "dog"))
    assert (plan.unknown_classes, plan.parts) == (("ski",), ("validation",))
    told = " ".join(plan.sentences())
    assert "1 crowd regions are left out" in told
    assert "--classes cat,dog,ski" in told
    project = make_project("boxes")
    outcome = take(project, photos)
    assert (outcome.added, outcome.labeled, outcome.quarantined) == (2, 1, [])
    theirs = coco.COCO(str(path))
    expected = [
        (theirs.cats[one["category_id"]]["name"], *map(float, one["bbox"]))
        for one in theirs.loadAnns(theirs.getAnnIds(imgIds=9, iscrowd=False))
    ]
    assert boxes(project) == {"val2017/a.png": expected}
    assert metadata(project, "val2017/deep/c.png") == {"split": "validation"}


def test_read__the_file_alone_names_its_folder(photos: Path) -> None:
    path = write(photos, {"images": [image(1, "a.png")], "annotations": [], "categories": []})
    (found,) = read(path)
    assert isinstance(found, Found)
    assert (found.candidate.name, found.said) == ("val2017/a.png", ())
    elsewhere = write(photos.parent, json.loads(path.read_text()), "labels.json")
    (found,) = read(photos, table=elsewhere)
    assert isinstance(found, Found)


def test_run__boxes_in_a_project_of_classes(
    photos: Path, make_project: Callable[..., Project]
) -> None:
    content = {
        "images": [image(1, "a.png"), image(2, "b.png")],
        "categories": CATEGORIES,
        "annotations": [annotation(1, 18, 1, 1, 2, 2), annotation(1, 17, 5, 1, 2, 2)],
    }
    write(photos, content)
    with pytest.raises(InputError, match="has boxes, and this project gives each image one class"):
        understood(photos, task="single-label")
    project = make_project("multi-label")
    assert take(project, photos).labeled == 1
    assert label_names(project) == {"val2017/a.png": ("cat", "dog")}


def test_run__labels_of_whole_images(photos: Path, make_project: Callable[..., Project]) -> None:
    content = {
        "images": [image(1, "a.png"), image(2, "b.png")],
        "categories": CATEGORIES,
        # Without a box, and with one that is the whole image: both are written by tools.
        "annotations": [
            {"image_id": 1, "category_id": 18, "area": 400.0},
            annotation(2, 17, 0, 0, 20, 20),
        ],
    }
    write(photos, content)
    with pytest.raises(InputError, match="labels of whole images, and this project is one of box"):
        understood(photos)
    project = make_project("single-label")
    assert take(project, photos).quarantined == []
    assert label_names(project) == {"val2017/a.png": ("dog",), "val2017/b.png": ("cat",)}


BAD = [
    (annotation(1, 18, 25, 1, 2, 2), "a box outside its image of 20x20 (25, 1, 2 x 2)"),
    (annotation(1, 18, 1, 1, 0, 2), "a box without a size (1, 1, 0 x 2)"),
    (annotation(1, 18, 18, 1, 5, 2), "a box 3 px over the edge of its image of 20x20"),
    (annotation(1, 18, 1, 1, 1e308, 1e308), "a box 1e+308 px over the edge"),
    (annotation(1, 18, 1, 1, float("nan"), 2), "a bbox that is not four numbers"),
    (annotation(1, 18, 1, 1, float("inf"), 2), "no number or out of all bounds"),
    (annotation(1, 18, 10**400, 1, 2, 2), "a bbox that is not four numbers"),
    (annotation(1, 18, 1, 1, 2), "a bbox that is not four numbers: [1, 1, 2]"),
    (annotation(1, 18, "1", 1, 2, 2), "a bbox that is not four numbers"),
    (annotation(1, 5, 1, 1, 2, 2), "category_id 5 is unknown"),
    (annotation(1, 90, 1, 1, 2, 2), "unknown class 'ski'; the classes are cat, dog"),
    (annotation(7, 18, 1, 1, 2, 2), "image_id 7 is none of the images"),
    (annotation(None, 18, 1, 1, 2, 2), "an annotation without image_id"),
    ("nonsense", "not an object"),
]


@pytest.mark.parametrize(("bad", "says"), BAD)
def test_run__one_bad_annotation_is_set_aside(
    photos: Path, make_project: Callable[..., Project], bad: Any, says: str
) -> None:
    good = annotation(1, 18, 19.5, 1, 1, 2)  # half a pixel over the edge: clipped
    content = {"images": [image(1, "a.png")], "categories": CATEGORIES, "annotations": [good, bad]}
    write(photos, content)
    project = make_project("boxes")
    with pytest.raises(InputError, match="import without --strict"):
        take(project, photos, strict=True)
    assert boxes(project) == {}
    outcome = take(project, photos)
    ((name, reason),) = outcome.quarantined
    assert says in reason
    assert "annotations[1]" in f"{name} {reason}"
    assert boxes(project) == {"val2017/a.png": [("dog", 19.5, 1, 0.5, 2)]}


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ([image(1, "a.png"), image(2, "gone.png")], "images[1]: no such image"),
        ([image(1, "a.png"), image(2, "a.png")], "the image stands in instances_val2017.json"),
        ([image(1, "a.png"), image(1, "b.png")], "the image 'b.png' has the id 1 of 'a.png'"),
        ([image(1, "a.png"), {"id": 2}], "an image without file_name"),
        ([image(1, "a.png"), image(2, "../../etc/passwd")], "the path leaves the folder"),
        ([image(1, "a.png"), image(2, "/etc/passwd")], "the path leaves the folder"),
        ([image(1, "a.png"), image(2, "x\0y")], "not a file's name"),
        ([image(1, "a.png"), image(2, "n" * 5000 + ".png")], "no such image"),
    ],
)
def test_run__one_bad_image_is_set_aside(
    photos: Path, make_project: Callable[..., Project], images: Any, says: str
) -> None:
    write(photos, {"images": images, "categories": CATEGORIES, "annotations": []})
    outcome = take(make_project("boxes"), photos)
    ((_, reason),) = outcome.quarantined
    assert says in reason
    assert outcome.added == 1
    assert "etc/passwd" not in reason


def test_read__a_name_that_two_folders_have(photos: Path) -> None:
    picture(8, side=20).save(photos / "val2017" / "deep" / "a.png")
    names = [image(1, "deep/a.png"), image(2, "elsewhere/a.png"), image(3, "a.png")]
    write(photos, {"images": names, "categories": CATEGORIES, "annotations": []})
    found = [one.candidate for one in read(photos) if isinstance(one, Found)]
    assert [(one.name, one.reason) for one in found] == [
        ("val2017/deep/a.png", ""),
        ("elsewhere/a.png", "several images have this name; name the folder"),
        ("val2017/a.png", ""),
    ]


def test_run__boxes_for_a_picture_of_another_size(
    photos: Path, make_project: Callable[..., Project]
) -> None:
    content = {
        "images": [image(1, "a.png") | {"width": 640, "height": 480}],
        "categories": CATEGORIES,
        "annotations": [annotation(1, 18, 1, 1, 2, 2)],
    }
    write(photos, content)
    ((_, reason),) = take(make_project("boxes"), photos).quarantined
    assert "the boxes are for an image of 640x480, and this one is 20x20" in reason


def test_understand__a_file_for_each_part(photos: Path) -> None:
    for part, name in [("train", "a.png"), ("test", "b.png")]:
        content = {"images": [image(1, name)], "categories": CATEGORIES, "annotations": []}
        write(photos, content, f"annotations/instances_{part}.json")
    write(photos, {"not": "coco"}, "annotations/notes.json")
    assert understood(photos).parts == ("test", "train")
    assert [dict(one.metadata) for one in read(photos) if isinstance(one, Found)] == [
        {"split": "test"},
        {"split": "train"},
    ]


def test_read__each_part_beside_its_images(photos: Path) -> None:
    root = photos.parent / "roboflow"
    for seed, part in enumerate(("train", "valid")):
        (root / part).mkdir(parents=True)
        picture(seed, side=20).save(root / part / "same.png")  # a name that both parts have
        content = {
            "images": [image(0, "same.png")],
            "categories": CATEGORIES,
            "annotations": [annotation(0, 17 + seed, 1, 1, 2, 2)],
        }
        write(root, content, f"{part}/_annotations.coco.json")
    found = {one.candidate.name: one for one in read(root) if isinstance(one, Found)}
    assert [
        (name, one.metadata["split"], [box.label for box in one.said[0].boxes or ()])
        for name, one in sorted(found.items())
    ] == [("train/same.png", "train", ["cat"]), ("valid/same.png", "validation", ["dog"])]
    assert understood(root / "valid").parts == ("validation",)


def test_read__an_address_that_is_none(photos: Path) -> None:
    write(photos, {"images": [image(1, "http://[x/a.png")], "categories": [], "annotations": []})
    ((name, reason),) = [(one.image, one.reason) for one in read(photos)]  # type: ignore[union-attr]
    assert (name, reason[-13:]) == ("http://[x/a.png", "no such image")


def test_understand__not_valid(photos: Path) -> None:
    path = write(photos, {"images": []})
    with pytest.raises(InputError, match="no images are listed"):
        understood(photos)
    path.write_text('{"images": [{"id": 1,\n "file_name": nonsense}]}')
    with pytest.raises(InputError, match=r"instances_val2017\.json, line 2, column 15: Expecting"):
        understood(photos)
    with pytest.raises(InputError, match="holds no COCO file"):
        understood(photos / "val2017", format="coco")
    path.write_text('[{"image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], "score": 0.9}]')
    with pytest.raises(InputError, match="Predictions alone, such as COCO results, are no labels"):
        understood(path)


def test_read__many_annotations_are_held_in_arrays(photos: Path) -> None:
    import tracemalloc

    path = photos / "annotations" / "instances_val.json"
    path.parent.mkdir()
    with path.open("w") as file:
        file.write('{"images": [{"id": 1, "file_name": "a.png"}], "categories": [')
        file.write('{"id": 1, "name": "cat"}], "annotations": [')
        row = json.dumps(annotation(1, 1, 1.5, 2.5, 3.5, 4.5, segmentation=[[0.5] * 20]))
        file.write(",".join([row] * 40_000))
        file.write("]}")
    tracemalloc.start()
    plan = understood(photos)
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(plan.details[0].position) == 40_000
    assert held < 100 * 40_000
    assert most < 30_000_000
