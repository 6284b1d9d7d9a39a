"""`labelloop audit` on the sample data, whose biases were planted, and on columns of no use."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import labelloop
from curation import balance
from curation import workspace as workspaces
from curation.bias import audit as audits
from curation.bias import evidence, slices
from curation.bias.evidence import Evidence
from curation.bias.slices import Slices
from curation.catalog import images, labels
from curation.errors import InputError
from tests.ui import commands
from tests.ui.commands import asked, run
from training.heads import out_of_fold

# The sample data ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample data with its 300 labels."""
    return commands.shop(tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("audit") / "shop")


@pytest.fixture(scope="module")
def studio(shop: Path) -> dict[str, Any]:
    return asked(shop, "audit", "--by", "studio")


@pytest.fixture(scope="module")
def gathered(shop: Path, studio: dict[str, Any]) -> tuple[Evidence, Slices]:
    """What the audit of studios rests on; the audit has embedded the images before."""
    project = workspaces.project(workspaces.open(shop))
    found = evidence.gather(project, out_of_fold=out_of_fold.probabilities)
    (column,) = slices.read(project, found.ids, ["studio"])
    assert studio["tested"]
    return found, column


def test_audit__the_planted_biases_are_the_first_two_findings(studio: dict[str, Any]) -> None:
    first, second = studio["findings"][:2]
    assert (first["kind"], first["slice"]) == ("quality", {"studio": "c"})
    assert (second["kind"], second["slice"]) == ("representation", {"studio": "b"})
    for one in studio["findings"]:
        assert {"kind", "slice", "metric", "gap", "ci", "p_adjusted", "n", "says"} <= set(one)
        assert one["ci"][0] <= one["gap"] <= one["ci"][1]
        assert one["p_adjusted"] <= 0.05
    assert first["gap"] > 0.1
    assert first["n"] == 48


def test_audit__shows_every_slice(studio: dict[str, Any]) -> None:
    rows = {row["slice"]["studio"]: row for row in studio["slices"]}
    assert {name: row["images"] for name, row in rows.items()} == {"a": 624, "b": 371, "c": 200}
    assert rows["b"]["labels"]["t-shirt"] == 40
    assert rows["b"]["labels"]["ankle-boot"] == 0
    assert rows["c"]["accuracy"]["n"] == rows["c"]["labeled"] == 48
    assert rows["c"]["accuracy"]["ci"][1] < rows["a"]["accuracy"]["value"]
    (widest,) = studio["largest_gaps"]
    assert widest["worst"] == {"studio": "c"}
    assert "out of fold" in studio["notes"][0]


def test_audit__the_same_again_and_for_people(shop: Path, studio: dict[str, Any]) -> None:
    assert labelloop.open(shop).audit(["studio"]) == studio
    text = run(shop, "audit", "--by", "studio")
    assert text.startswith("1. quality: The model is right on")
    assert "studio c: 200 images, 48 labeled, accuracy" in text


def test_audit__finds_nothing_by_season(shop: Path) -> None:
    found = asked(shop, "audit", "--by", "season")
    assert found["findings"] == []
    assert found["tested"] >= 15


def test_audit__discovers_the_bad_camera_without_being_told(
    gathered: tuple[Evidence, Slices],
) -> None:
    found, column = gathered
    codes = column.codes[found.labeled]
    hits = 0
    for seed in range(3):
        done = audits.examine(found, [], seed=seed, discover=True)
        examples = [key for one in done.settled.findings for key in one.tested.examples]
        places = np.isin(found.ids[found.labeled], examples)
        hits += bool(places.any()) and (codes[places] == 2).mean() > 0.5
        assert {one.tested.kind for one in done.settled.findings} <= {"discovered"}
    assert hits >= 1


def count_false_alarms(gathered: tuple[Evidence, Slices], copies: int) -> int:
    found, column = gathered
    alarms = 0
    for seed in range(copies):
        shuffled = np.random.default_rng(seed).permutation(column.codes)
        done = audits.examine(found, [replace(column, codes=shuffled)], seed=0)
        alarms += bool(done.settled.findings)
    return alarms


def test_audit__studios_shuffled_are_nearly_always_no_finding(
    gathered: tuple[Evidence, Slices],
) -> None:
    assert count_false_alarms(gathered, 5) <= 1


@pytest.mark.slow
def test_audit__studios_shuffled_100_times(gathered: tuple[Evidence, Slices]) -> None:
    assert count_false_alarms(gathered, 100) <= 10


@pytest.mark.parametrize("seed", range(2))
def test_audit__the_order_is_no_luck(gathered: tuple[Evidence, Slices], seed: int) -> None:
    found, column = gathered
    first, second = audits.examine(found, [column], seed=seed).settled.findings[:2]
    assert (first.tested.kind, first.tested.slice) == ("quality", {"studio": "c"})
    assert (second.tested.kind, second.tested.slice) == ("representation", {"studio": "b"})


def test_remedy__the_quota_goes_to_the_studio_that_the_model_fails(shop: Path) -> None:
    words = ("audit", "--by", "studio", "--remedy", "quota", "--budget", "40")
    plan = asked(shop, *words)
    given = {row["slice"]["studio"]: row["given"] for row in plan["slices"]}
    assert given == {"a": 0, "b": 0, "c": 40}
    assert all(row["gap_after"] <= row["gap_before"] for row in plan["slices"])
    assert plan["applied"] is False

    applied = asked(shop, *words, "--apply")
    assert applied["plan"]
    cleared = labelloop.open(shop).clear_balance(kind="labeling-quota")
    assert cleared["cleared"] == ["labeling-quota"]


def test_remedy__weights_are_shown_by_slice_and_class(shop: Path) -> None:
    plan = asked(shop, "audit", "--by", "studio", "--remedy", "reweigh")
    weights = {(cell["slice"]["studio"], cell["label"]): cell["weight"] for cell in plan["cells"]}
    assert weights["b", "shirt"] > 2
    assert weights["b", "t-shirt"] < 1
    assert "studio b, shirt: 4 x" in run(
        shop, "audit", "--by", "studio", "--remedy", "group-balanced"
    )


def test_remedy__weights_in_force_are_those_that_training_uses(shop: Path) -> None:
    words = ("audit", "--by", "studio", "--remedy", "reweigh")
    plan = asked(shop, *words, "--apply")
    weights = {(cell["slice"]["studio"], cell["label"]): cell["weight"] for cell in plan["cells"]}
    project = workspaces.project(workspaces.open(shop))
    with project.catalog.read() as connection:
        rows = labels.for_training(connection, project.id)
        values = images.metadata_of_many(connection, [row.image_id for row in rows])
    expected = [
        weights[values[row.image_id]["studio"], *project.record.class_names(row.classes)]
        for row in rows
    ]
    assert balance.weights(project, rows).tolist() == expected
    assert labelloop.open(shop).clear_balance()["cleared"] == ["balance"]
    assert set(balance.weights(project, rows)) == {1.0}


# Columns of no use --------------------------------------------------------------------------------


def made(tmp_path: Path, columns: dict[str, list[str]], labels: list[str], *init: str) -> Path:
    """A project of small pictures with these columns; an empty label is none."""
    rng = np.random.default_rng(1)
    photos = tmp_path / "photos"
    photos.mkdir()
    rows = ["filename,label," + ",".join(columns)]
    for number, label in enumerate(labels):
        name = f"{number:03}.png"
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(photos / name)
        rows.append(",".join([name, label, *(values[number] for values in columns.values())]))
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(rows), encoding="utf-8")
    workspace = tmp_path / "work"
    run(workspace, "init", "--classes", "ok,bad", *init)
    run(workspace, "import", str(photos), "--labels", str(table))
    return workspace


def test_audit__columns_that_make_no_slices(tmp_path: Path) -> None:
    columns = {
        "same": ["x"] * 12,
        "own": [f"v{number}" for number in range(12)],
        "site": ["x", "", "y"] * 4,
    }
    workspace = made(tmp_path, columns, ["ok", "bad"] * 6)
    project = labelloop.open(workspace)
    for by, says in {
        "nothere": "No image has a metadata column 'nothere'",
        "same": "the same same, 'x', so there is nothing to compare",
        "own": "own has 12 values on 12 images",
    }.items():
        with pytest.raises(InputError, match=says):
            project.audit([by])
    with pytest.raises(InputError, match="own, same, site"):
        project.audit(["nothere"])
    with pytest.raises(InputError, match="own, same, site"):
        project.audit()
    with pytest.raises(InputError, match="two different ones"):
        project.audit(["site", "site"])
    with pytest.raises(InputError, match="'hope' is no remedy"):
        project.plan_against_bias(["site"], "hope")
    with pytest.raises(InputError, match="needs slices"):
        project.plan_against_bias([], "quota")

    # Images without a value are a slice; 12 labels are too few for a model: nothing is embedded.
    found = project.audit(["site"])
    assert [row["slice"]["site"] for row in found["slices"]] == ["", "x", "y"]
    assert [row["images"] for row in found["slices"]] == [4, 4, 4]
    assert found["findings"] == []
    assert len(found["too_small"]) == 3
    assert "12 usable labels" in found["notes"][0]
    assert not (workspace / "embeddings").exists()


def test_audit__before_the_first_label(tmp_path: Path) -> None:
    workspace = made(tmp_path, {"site": ["x", "x", "y"] * 4}, [""] * 12)
    found = asked(workspace, "audit", "--by", "site")
    assert [(row["images"], row["labeled"]) for row in found["slices"]] == [(8, 0), (4, 0)]
    assert found["findings"] == []
    assert "no labels yet" in found["notes"][0]
    project = labelloop.open(workspace)
    assert project.plan_against_bias(["site"], "quota", budget=6)["slices"][1]["given"] > 0
    with pytest.raises(InputError, match="No label outside the reserve yet"):
        project.plan_against_bias(["site"], "reweigh")


def test_audit__without_any_image(tmp_path: Path) -> None:
    run(tmp_path / "work", "init", "--classes", "ok,bad")
    with pytest.raises(InputError, match="no usable images yet"):
        run(tmp_path / "work", "audit", "--by", "site")
    with pytest.raises(InputError, match="need a remedy"):
        run(tmp_path / "work", "audit", "--by", "site", "--apply")
