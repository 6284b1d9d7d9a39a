"""`labelloop balance` on the sample data, which is as lopsided as a real catalogue."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import labelloop
from curation import workspace as workspaces
from curation.catalog import annotations, labels, reserve, runs
from curation.catalog import images as image_rows
from curation.errors import InputError, LabelloopError, NotFound
from curation.records import RemoteAnswer
from labeling import consensus
from tests.ui import commands
from tests.ui.commands import CLASSES, SAMPLE, run


def asked(workspace: Path, *words: str) -> dict[str, Any]:
    return commands.asked(workspace, "balance", *words)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample data, of which no model knows anything yet."""
    base = tmp_path_factory.getbasetemp()
    return commands.shop(base, tmp_path_factory.mktemp("balance") / "shop")


def rows(name: str) -> list[dict[str, str]]:
    with (SAMPLE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_balance__counts_what_the_table_says(shop: Path) -> None:
    found = asked(shop, "--by", "studio")
    labeled = [row for row in rows("labels.csv") if row["label"]]
    cells = Counter((row["studio"], row["label"]) for row in labeled)
    assert found["classes"] == {
        name: Counter(r["label"] for r in labeled)[name] for name in CLASSES.split(",")
    }
    for studio, row in found["slices"].items():
        assert row == {name: cells[studio, name] for name in CLASSES.split(",")}
    assert found["imbalance_ratio"] == pytest.approx(85 / 8)
    assert 7 < found["effective_classes"] < 8
    empty = [row for row in found["missing"] if row["kind"] == "empty-cell"]
    assert [(row["slice"], row["class"]) for row in empty] == [({"studio": "b"}, "ankle-boot")]


def test_balance__a_remedy_is_shown_then_applied_then_cleared(shop: Path) -> None:
    shown = asked(shop, "--remedy", "class-weights")
    assert (shown["applied"], shown["plan"]) == (False, None)
    assert asked(shop)["in_force"] == {}
    applied = asked(shop, "--remedy", "class-weights", "--apply")
    assert applied["after"] == shown["after"]
    assert asked(shop)["in_force"]["balance"]["id"] == applied["plan"]
    quota = asked(shop, "--remedy", "labeling-quota", "--by", "studio", "--apply")
    assert asked(shop, "--clear", "--kind", "labeling-quota") == {"cleared": ["labeling-quota"]}
    assert asked(shop, "--clear") == {"cleared": ["balance"]}
    assert quota["plan"] > applied["plan"]


def test_balance__the_same_in_python(shop: Path) -> None:
    project = labelloop.open(shop)
    assert project.balance() == asked(shop)
    found = project.plan_balance("oversampling", threshold=0.05)
    assert found == asked(shop, "--remedy", "oversampling", "--threshold", "0.05")
    with pytest.raises(LabelloopError, match="No option treshold"):
        project.plan_balance("oversampling", treshold=0.05)


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (["--by", "studo"], InputError, "Columns there are: season, studio"),
        (["--apply"], InputError, "--apply needs a remedy"),
        (["--target", "5"], InputError, "--target needs a remedy"),
        (["--clear"], InputError, "nothing to clear"),
        (["--clear", "--by", "studio"], InputError, "takes no remedy"),
        (["--kind", "balance"], InputError, "use it with --clear"),
        (["--remedy", "weights"], InputError, "Choose from: class-weights"),
        (["--remedy", "augmentation", "--recipe", "none"], NotFound, "No recipe 'none'"),
    ],
)
def test_balance__bad_input(
    shop: Path, words: list[str], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        run(shop, "balance", *words)


def test_balance__nothing_labeled(tmp_path: Path) -> None:
    run(tmp_path / "w", "init", "--classes", "a,b")
    with pytest.raises(InputError, match="has a label yet"):
        run(tmp_path / "w", "balance")


def test_balance__the_pool_by_a_model_that_errs(shop: Path) -> None:
    """A model that calls every third shirt a t-shirt; the reserve tells, and the counts follow."""
    project = workspaces.project(workspaces.open(shop))
    truth = {row["filename"]: row["label"] for row in rows("truth.csv")}
    ids = dict(zip(project.record.classes, project.record.class_ids, strict=True))
    with project.catalog.write() as connection:
        reserve.freeze(connection, project.id)
        usable = [key for key, _ in image_rows.usable(connection, project.id)]
        names = image_rows.names_by_id(connection, usable)
        said = {key: truth[name] for key, name in names.items()}
        for n, key in enumerate(key for key in usable if said[key] == "shirt"):
            said[key] = "t-shirt" if n % 3 == 0 else "shirt"
        run_of = {"kind": "head", "snapshot_id": None, "seed": 0, "settings": {}, "metrics": {}}
        runs.add(connection, project.id, "r", **run_of)  # type: ignore[arg-type]
        runs.put_predictions(
            connection, project.id, "r", [(key, ids[said[key]], 0.9, 0.8) for key in usable]
        )
        person = annotations.annotator_of_user(connection, project.id, 1, name="ann")
        answers = [
            RemoteAnswer(
                remote_id=row.image_id,
                image_id=row.image_id,
                remote_user_id=1,
                state="answered",
                classes=(ids[truth[names[row.image_id]]],),
                seconds=1.0,
                prelabel="none",
                model_version="",
                updated_at="",
            )
            for row in reserve.rows(connection, project.id)
        ]
        changed = annotations.put_remote(connection, project.id, answers, annotator_ids={1: person})
        consensus.settle(connection, project, sorted(changed))
        now = labels.count_by_class(connection, project.id)
    project.catalog.close()

    found = asked(shop)
    change = found["expected"]
    assert (change["run"], change["n"]) == ("r", len(answers))
    assert found["classes"] == now
    shirts = change["classes"]["shirt"]
    low, high = shirts["expected"]["ci"]
    real = Counter(truth[name] for name in names.values())["shirt"]
    assert shirts["predicted"] < low <= real <= high
    assert low < shirts["expected"]["value"] < high
    assert "t-shirt" in run(shop, "balance", "--by", "studio")
