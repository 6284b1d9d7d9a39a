"""`labelloop tune` on the embedded sample data with its 300 labels."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

import labelloop
from curation import workspace as workspaces
from curation.catalog import audit
from curation.errors import InputError, NotFound
from tests.ui import commands
from tests.ui.commands import asked, run

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.getbasetemp()
    return commands.shop(base, tmp_path_factory.mktemp("tune") / "shop")


def openings(shop: Path) -> list[dict[str, object]]:
    project = workspaces.project(workspaces.open(shop))
    with project.catalog.read() as connection:
        entries = audit.entries(connection, project.id)
    return [entry["subject"] for entry in entries if entry["act"] == "test-opened"]


def test_tune__finds_settings_that_train_takes(shop: Path) -> None:
    found = asked(shop, "tune", "--kind", "head", "--trials", "7", "--metric", "accuracy")
    assert (found["study"], found["sampler"], found["trials"]["done"]) == ("head", "tpe", 7)
    values = [row["value"] for row in found["history"]]
    assert found["best"]["value"] == max(values)
    assert [row["best"] for row in found["history"]] == [max(values[: i + 1]) for i in range(7)]
    accuracy = found["validation"]["accuracy"]
    assert accuracy["value"] == pytest.approx(max(values))
    assert accuracy["n"] == found["images"]["validation"] and len(accuracy["ci"]) == 2
    assert set(found["importance"]["head"]) == {"strength", "class-weight"}
    for name in ("history", "importance"):
        assert Path(found["files"][name]).read_bytes()[:4] == PNG
    assert found["test"] is None and openings(shop) == []
    trained = asked(shop, "train", "--settings", found["files"]["settings"])
    assert trained["settings"] == found["best"]["settings"]


def test_tune__the_test_part_is_opened_on_demand_and_that_is_recorded(shop: Path) -> None:
    first = asked(shop, "tune", "--study", "look", "--kind", "head", "--trials", "1", "--open-test")
    accuracy = first["test"]["metrics"]["accuracy"]
    assert accuracy["n"] == first["images"]["test"] and first["test"]["opened"] == 1
    assert not any("opened" in note for note in first["notes"])
    second = asked(shop, "tune", "--study", "look", "--trials", "0", "--open-test")
    assert second["test"]["metrics"] == first["test"]["metrics"]
    assert "opened 2 times" in " ".join(second["notes"])
    assert [one["study"] for one in openings(shop)] == ["look", "look"]
    shown = run(shop, "tune", "--study", "look", "--trials", "0")
    assert "on the test part: accuracy" in shown and "labelloop train --settings" in shown


@pytest.mark.slow
def test_tune__killed_goes_on(shop: Path) -> None:
    words = ["tune", "--kind", "mlp", "--study", "killed", "--workspace", str(shop)]
    process = subprocess.Popen(
        [sys.executable, "-c", "from ui.cli import main; main()", *words, "--trials", "500"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=Path(labelloop.__file__).parent,
    )
    try:
        home = shop / "tuning" / f"p{workspaces.project(workspaces.open(shop)).id}-killed"
        give_up = time.monotonic() + 120
        while not (home / "mlp.json").exists():
            assert process.poll() is None and time.monotonic() < give_up
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    before = asked(shop, "tune", "--study", "killed", "--trials", "0")["trials"]
    after = asked(shop, "tune", "--study", "killed", "--trials", "2")["trials"]
    assert before["done"] + before["running"] >= 1 and after["running"] == 0
    assert after["done"] + after["pruned"] == before["done"] + before["pruned"] + 2
    assert after["failed"] == before["running"]


def test_tune__what_cannot_be_used(shop: Path) -> None:
    for words, error, says in (
        (["--kind", "magic"], InputError, "auto, head, mlp, fine-tune"),
        (["--workers", "0"], InputError, "--workers is 0"),
        (["--minutes", "-1"], InputError, "--minutes is -1"),
        (["--backbones", "no_such_net"], labelloop.LabelloopError, "no_such_net"),
        (["--storage", "nonsense"], labelloop.LabelloopError, "Not a database's address"),
    ):
        with pytest.raises(error, match=says):
            run(shop, "tune", "--study", "bad", *words)
    assert not list((shop / "tuning").glob("*-bad"))


def test_tune__from_python(shop: Path) -> None:
    found = labelloop.open(shop).tune(kind="head", sampler="grid", study="grid", trials=2)
    assert found["trials"]["done"] == 2 and found["kinds"] == ["head"]
    with pytest.raises(NotFound):
        from training.tuning import studies

        studies.find(workspaces.project(workspaces.open(shop)), "none")
