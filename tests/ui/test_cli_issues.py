"""`labelloop issues` on the sample data, whose defects were planted, and on datasets of no use."""

import csv
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import labelloop
from curation.errors import InputError, LabelloopError, LabelStudioUnreachable
from tests.ui import commands
from tests.ui.commands import SAMPLE, asked, run


def started(workspace: Path, photos: Path, *words: str, classes: str = "ok,bad") -> Path:
    run(workspace, "init", "--classes", classes)
    run(workspace, "import", str(photos), *words)
    return workspace


def warm(workspace: Path, like: Path) -> Path:
    """With the exported backbone of another workspace, which takes seconds to make."""
    shutil.copytree(like / "embeddings" / "engines", workspace / "embeddings" / "engines")
    return workspace


# The sample data ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample data, in which every detector has looked."""
    base = tmp_path_factory.getbasetemp()
    workspace = commands.shop(base, tmp_path_factory.mktemp("issues") / "shop")
    run(workspace, "issues")
    return workspace


@pytest.fixture(scope="module")
def found(shop: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """By kind and image, what is held for an issue."""
    rows: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in asked(shop, "issues", "--last")["issues"]:
        rows[row["kind"]][row["image"]] = row
    return rows


def truth() -> dict[str, tuple[str, str]]:
    """By image, its planted defect and what it is a copy of."""
    with (SAMPLE / "truth.csv").open(encoding="utf-8", newline="") as file:
        return {row["filename"]: (row["defect"], row["defect_of"]) for row in csv.DictReader(file)}


def planted(defect: str) -> set[str]:
    return {name for name, (what, _) in truth().items() if what.startswith(defect)}


@pytest.mark.parametrize(
    ("kind", "defect", "precision", "recall"),
    [
        ("dark", "dark", 1.0, 1.0),
        ("bright", "bright", 1.0, 1.0),
        ("blurry", "blurry", 1.0, 1.0),
        ("low-information", "low-information", 1.0, 1.0),
        ("wrong-label", "wrong-label", 0.4, 0.8),
    ],
)
def test_issues__finds_what_was_planted(
    found: dict[str, dict[str, dict[str, Any]]],
    kind: str,
    defect: str,
    precision: float,
    recall: float,
) -> None:
    right = set(found[kind]) & planted(defect)
    assert len(right) >= precision * len(found[kind])
    assert len(right) >= recall * len(planted(defect))


def test_issues__finds_the_copies_that_were_planted(
    found: dict[str, dict[str, dict[str, Any]]],
) -> None:
    pairs = {frozenset((name, of)) for name, (what, of) in truth().items() if "duplicate" in what}
    said = {
        frozenset((name, other))
        for name, row in found["near-duplicate"].items()
        for other in row["related"]
    }
    right = [pair for pair in pairs if pair in said]
    assert len(right) >= 0.97 * len(pairs)
    assert len(right) >= 0.93 * len(said)


def test_issues__the_worst_labels_come_first(shop: Path) -> None:
    rows = asked(shop, "issues", "--last", "--kind", "wrong-label", "--all")["issues"]
    first = [row["image"] in planted("wrong-label") for row in rows[:10]]
    assert sum(first) >= 8
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)


def test_issues__json_is_the_contract(shop: Path) -> None:
    said = asked(shop, "issues", "--last")
    assert set(said) == {"counts", "issues", "confusions"}
    keys = {"image", "kind", "score", "is_issue", "reason", "related", "suggested_label"}
    for row in said["issues"]:
        assert set(row) == keys
        assert 0 <= row["score"] <= 1
        assert row["is_issue"] is True
    assert said["counts"]["near-duplicate"] == sum(
        row["kind"] == "near-duplicate" for row in said["issues"]
    )


def test_issues__says_which_classes_are_confused(shop: Path) -> None:
    said = asked(shop, "issues", "--last", "--kind", "wrong-label")
    assert sum(row["count"] for row in said["confusions"]) == said["counts"]["wrong-label"]
    for row in said["confusions"]:
        assert 1 <= row["count"] <= row["of"]
        assert row["label"] != row["suggested_label"]


def test_issues__for_people_says_how_many_and_the_worst(shop: Path) -> None:
    lines = run(shop, "issues", "--last", "--kind", "dark").splitlines()
    assert lines[1].split() == ["dark", "8"]
    assert "darker than" in lines[2]
    assert "labelloop exclude" in lines[-1]


def test_exclude__copies_and_back(shop: Path, tmp_path: Path) -> None:
    mine = tmp_path / "shop"
    shutil.copytree(shop, mine)
    usable = asked(mine, "status")["images"]
    kinds = "exact-duplicate,near-duplicate"
    would = asked(mine, "exclude", "--kind", kinds, "--dry-run")
    assert asked(mine, "status")["images"] == usable
    done = asked(mine, "exclude", "--kind", kinds, "--reason", "copies")
    assert done["excluded"] == would["excluded"]
    assert asked(mine, "status")["images"]["excluded"] == done["excluded"]
    assert asked(mine, "issues", "--last", "--kind", kinds)["issues"] == []
    assert asked(mine, "issues", "--kind", kinds)["counts"]["near-duplicate"] == 0
    assert asked(mine, "restore")["restored"] == done["excluded"]
    assert asked(mine, "status")["images"] == usable


def test_propagate__over_copies_and_back(shop: Path, tmp_path: Path) -> None:
    mine = tmp_path / "shop"
    shutil.copytree(shop, mine)
    labeled = asked(mine, "status")["images"]["labeled"]
    would = asked(mine, "duplicates", "propagate", "--dry-run")
    done = asked(mine, "duplicates", "propagate")
    assert done["propagated"] == would["propagated"] > 0
    assert asked(mine, "status")["images"]["labeled"] == labeled + done["propagated"]
    assert asked(mine, "restore")["kind"] == "propagate"
    assert asked(mine, "status")["images"]["labeled"] == labeled


def test_judge__outranks_the_detector(shop: Path, tmp_path: Path) -> None:
    mine = tmp_path / "shop"
    shutil.copytree(shop, mine)
    kind = ("--kind", "near-duplicate")
    row = asked(mine, "issues", "--last", *kind)["issues"][0]
    pair = row["image"], row["related"][0]
    run(mine, "duplicates", "judge", *pair, "not-copy")
    found = asked(mine, "issues", *kind)["issues"]
    assert not [row for row in found if row["image"] in pair and set(row["related"]) & set(pair)]
    run(mine, "duplicates", "judge", *pair, "copy")
    found = asked(mine, "issues", *kind)["issues"]
    assert [row for row in found if row["image"] in pair]


def test_python__says_what_the_command_says(shop: Path) -> None:
    frame = labelloop.open(shop).issues(["blurry"])
    rows = asked(shop, "issues", "--last", "--kind", "blurry")["issues"]
    assert frame.to_dict("records") == rows


# Datasets of no use -------------------------------------------------------------------------------


def drawn(folder: Path, count: int, *, alike: bool = False) -> Path:
    """Pictures of noise; the same one `count` times where they are alike."""
    import numpy as np

    folder.mkdir()
    for number in range(count):
        rng = np.random.default_rng(0 if alike else number)
        pixels = rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((96, 96)).save(folder / f"{number}.png")
    return folder


def test_issues__without_images(tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    run(workspace, "init", "--classes", "ok,bad")
    assert asked(workspace, "issues")["issues"] == []
    assert run(workspace, "issues").splitlines() == ["Nothing found in 0 images."]
    with pytest.raises(LabelloopError, match="labelloop import"):
        run(workspace, "duplicates", "calibrate")


def test_issues__of_three_images(shop: Path, tmp_path: Path) -> None:
    workspace = warm(started(tmp_path / "w", drawn(tmp_path / "photos", 3)), shop)
    said = asked(workspace, "issues")
    assert said["images"] == 3
    assert said["issues"] == []


def test_issues__every_image_is_the_same(shop: Path, tmp_path: Path) -> None:
    workspace = warm(started(tmp_path / "w", drawn(tmp_path / "photos", 8, alike=True)), shop)
    said = asked(workspace, "issues")
    assert {row["kind"] for row in said["issues"]} == {"exact-duplicate"}
    assert said["counts"]["exact-duplicate"] == 7
    assert asked(workspace, "exclude", "--kind", "exact-duplicate")["excluded"] == 7


@pytest.mark.parametrize("labels", [["ok"] * 30, ["ok"] * 29 + ["bad"]])
def test_issues__labels_that_cannot_be_compared(
    shop: Path, tmp_path: Path, labels: list[str]
) -> None:
    photos = drawn(tmp_path / "photos", len(labels))
    table = tmp_path / "labels.csv"
    rows = [f"{number}.png,{name}" for number, name in enumerate(labels)]
    table.write_text("\n".join(["filename,label", *rows]) + "\n")
    workspace = warm(started(tmp_path / "w", photos, "--labels", str(table)), shop)
    said = asked(workspace, "issues", "--kind", "wrong-label,group-conflict,atypical,leak")
    assert said["images"] == len(labels)
    assert said["counts"]["wrong-label"] == 0


def test_issues__an_image_that_has_gone(shop: Path, tmp_path: Path) -> None:
    photos = drawn(tmp_path / "photos", 6)
    workspace = warm(started(tmp_path / "w", photos), shop)
    (photos / "3.png").unlink()
    assert asked(workspace, "issues")["images"] == 5
    assert asked(workspace, "status")["images"]["missing"] == 1


def test_issues__says_what_is_wrong_with_the_question(shop: Path, tmp_path: Path) -> None:
    workspace = warm(started(tmp_path / "w", drawn(tmp_path / "photos", 3)), shop)
    with pytest.raises(InputError, match=r"no kind of issue\. The kinds are exact-duplicate"):
        run(workspace, "issues", "--kind", "near-dupe")
    with pytest.raises(InputError, match="Run `labelloop issues` first"):
        run(workspace, "exclude", "--kind", "dark")
    with pytest.raises(InputError, match="Only wrong labels"):
        run(workspace, "issues", "--kind", "dark", "--to-label-studio")
    run(workspace, "issues", "--kind", "dark")
    assert asked(workspace, "exclude", "--kind", "dark")["excluded"] == 0
    with pytest.raises(LabelStudioUnreachable, match="labelloop up"):
        run(workspace, "issues", "--kind", "wrong-label", "--to-label-studio")
