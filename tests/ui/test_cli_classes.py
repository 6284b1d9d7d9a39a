"""`labelloop classes`, and what rests on a class that is renamed or merged."""

import csv
import shutil
from pathlib import Path

import pytest

import labelloop
from curation import balance, snapshots, versions, workspace
from curation.catalog import images, labels, rounds
from curation.errors import InputError
from tests import trained
from tests.ui.commands import asked, run


@pytest.fixture
def shop(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    return trained.copied(tmp_path_factory.getbasetemp(), tmp_path / "w").workspace.path


def test_classes__added_renamed_moved_and_merged(tmp_path: Path) -> None:
    here = tmp_path / "w"
    made = asked(here, "init", "--classes", "ok,dent,scratch", "--none-of-these")
    assert made["classes"] == ["ok", "dent", "scratch", "none of these"]
    assert asked(here, "classes", "add", "rust", "dent") == {
        "added": ["rust"],
        "already": ["dent"],
        "classes": ["ok", "dent", "scratch", "rust", "none of these"],
    }
    assert asked(here, "classes", "rename", "dent", "dented")["classes"][1] == "dented"
    assert asked(here, "classes", "move", "rust", "1")["classes"][0] == "rust"
    merged = asked(here, "classes", "merge", "scratch", "--into", "dented")
    assert merged == {
        "merged": ["scratch"],
        "into": "dented",
        "labels": 0,
        "annotations": 0,
        "plans_taken_back": [],
        "classes": ["rust", "ok", "dented", "none of these"],
    }
    assert run(here, "classes", "list").splitlines() == [
        "1. rust: 0 labels",
        "2. ok: 0 labels",
        "3. dented: 0 labels (formerly dent, scratch)",
        "4. none of these: 0 labels (none of the others)",
    ]
    for words, says in (
        (["classes", "add", "two  spaces"], "cannot be a class"),
        (["classes", "add"], "Name one or more classes"),
        (["classes", "add", "a", "b", "--none"], "--none takes one name, got 2"),
        (["classes", "add", "other", "--none"], "stands for none of the others already"),
        (["classes", "move", "moss", "1"], "There is no class 'moss'. The classes are rust, ok"),
    ):
        with pytest.raises(InputError, match=says):
            run(here, *words)
    opened = labelloop.open(here)
    opened.add_classes(["moss"])
    assert opened.classes == ("rust", "ok", "dented", "moss", "none of these")
    assert list(opened.class_table()["kind"]) == ["class"] * 4 + ["none"]


def test_classes__a_round_under_way_holds_them(tmp_path: Path) -> None:
    run(tmp_path / "w", "init", "--classes", "ok,dent")
    project = workspace.project(workspace.open(tmp_path / "w"))
    with project.catalog.write() as writing:
        rounds.start(writing, project.id, {})
    with pytest.raises(InputError, match="Round 0 is under way"):
        run(tmp_path / "w", "classes", "rename", "ok", "fine")
    assert asked(tmp_path / "w", "classes", "list")["classes"][0]["class"] == "ok"


def test_classes__models_plans_and_snapshots_outlive_a_rename(shop: Path, tmp_path: Path) -> None:
    project = workspace.project(workspace.open(shop))
    before = snapshots.create(project)
    balance.apply(project, balance.propose(project, "class-weights"))
    run(shop, "classes", "rename", "sneaker", "trainers")
    now = workspace.project(workspace.open(shop))
    assert set(balance.in_force(now)["balance"]["class_weights"]) == {"dress", "trainers"}
    with now.catalog.write() as writing:
        labeled = labels.every(writing, now.id)
        places = images.places(writing, [row.image_id for row in labeled])
        photos = [places[row.image_id].location for row in labeled][-3:]
        labels.remove(writing, [row.image_id for row in labeled])
    assert versions.restore(now, before).labeled == len(labeled)
    counts = {row["class"]: row["labels"] for row in asked(shop, "classes", "list")["classes"]}
    assert sum(counts.values()) == len(labeled)
    assert counts["trainers"] > 0

    (tmp_path / "photos").mkdir()
    for photo in photos:
        shutil.copy(photo, tmp_path / "photos")
    out = tmp_path / "answers.csv"
    run(shop, "predict", str(tmp_path / "photos"), "--out", str(out), "--run", trained.HEAD)
    with out.open() as file:
        said = {row["prediction"] for row in csv.DictReader(file)}
    assert said
    assert said <= {"dress", "trainers"}

    run(shop, "classes", "add", "coat")
    merged = asked(shop, "classes", "merge", "trainers", "--into", "coat")
    assert (merged["labels"], merged["plans_taken_back"]) == (counts["trainers"], ["balance"])
    merged_project = workspace.project(workspace.open(shop))
    assert "balance" not in balance.in_force(merged_project)
    # Models that know one of them by its former name are judged by what it is now.
    compared = asked(shop, "models", "compare", "train-1", "train-2")
    found = [compared["accuracy"][one]["value"] for one in ("first", "second")]
    assert found == [1.0, 1.0]
    again = versions.restore(merged_project, before)
    assert (again.labeled, again.unlabeled) == (0, 0)
    # The snapshot itself says what was said then.
    names = {name for entry in snapshots.entries(now, before) for name in entry.classes or ()}
    assert names == {"dress", "sneaker"}
