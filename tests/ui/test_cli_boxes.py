"""A project of boxes, from somebody's COCO file to somebody else's YOLO folder."""

import json
from pathlib import Path

import pytest
from PIL import Image

import labelloop
from curation.errors import InputError, RoundError
from tests.ui.commands import asked, run


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """Three photos with boxes and one without."""
    folder = tmp_path / "coco"
    (folder / "images").mkdir(parents=True)
    for number in range(4):
        photo = Image.new("RGB", (80, 60), (number * 50, 90, 120))
        photo.save(folder / "images" / f"{number}.png")
    given = [(0, 1, [1.5, 2, 20, 30.25]), (0, 2, [40, 10, 30, 30]), (1, 1, [0, 0, 80, 60])]
    given += [(2, 2, [70, 50, 10, 10]), (2, 9, [1, 1, 5, 5]), (2, 1, [90, 1, 5, 5])]
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 80, "height": 60} for n in range(4)],
        "annotations": [
            {"id": n, "image_id": image, "category_id": category, "bbox": bbox}
            for n, (image, category, bbox) in enumerate(given)
        ],
        "categories": [{"id": 1, "name": "dent"}, {"id": 2, "name": "scratch"}],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    workspace = tmp_path / "w"
    run(workspace, "init", "--classes", "dent,scratch", "--task", "boxes")
    found = asked(workspace, "import", str(folder))
    reasons = [row["reason"] for row in found["quarantined"]]
    assert (found["added"], len(reasons)) == (4, 2)
    assert "category_id 9 is unknown" in reasons[0]
    assert "a box outside its image of 80x60" in reasons[1]
    return workspace


def test_boxes__there_and_out_again(boxes: Path, tmp_path: Path) -> None:
    found = asked(boxes, "export", "--format", "yolo", str(tmp_path / "yolo"))
    assert (found["in"], found["out"], found["left_out"]) == (4, 3, {"unlabeled": 1})
    (labels,) = (tmp_path / "yolo").rglob("0.txt")
    numbers = [[float(word) for word in line.split()] for line in labels.read_text().splitlines()]
    first = [0, (1.5 + 10) / 80, (2 + 15.125) / 60, 20 / 80, 30.25 / 60]
    assert numbers[0] == pytest.approx(first)
    assert "labelloop export" in asked(boxes, "status")["next"]


def test_boxes__what_needs_whole_images_says_so(boxes: Path, tmp_path: Path) -> None:
    with pytest.raises(RoundError, match="rounds train models of whole images"):
        run(boxes, "round")
    with pytest.raises(InputError, match="Boxes are not propagated"):
        labelloop.open(boxes).propagate()
    with pytest.raises(InputError, match=r"cannot hold boxes\. These can: coco, yolo, voc"):
        run(boxes, "export", "--format", "csv", str(tmp_path / "csv"))
    assert "| dent |" in Path(
        asked(boxes, "card", str(tmp_path / "card"), "--no-map")["markdown"]
    ).read_text(encoding="utf-8")
