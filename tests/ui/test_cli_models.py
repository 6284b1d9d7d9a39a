"""`labelloop models` and `labelloop predict`, as people and scripts use them."""

import csv
import json
from pathlib import Path

import pytest

import labelloop
from curation.errors import InputError, NotFound, TrainingError
from tests import trained
from tests.ui.commands import asked, run
from training import runs


@pytest.fixture
def shop(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    return trained.copied(tmp_path_factory.getbasetemp(), tmp_path / "w").workspace.path


def test_models__from_the_list_to_the_champion(shop: Path) -> None:
    rows = asked(shop, "models", "list")["models"]
    assert [(row["run"], row["kind"], row["state"]) for row in rows] == [
        (trained.HEAD, "head", "done"),
        (trained.MLP, "mlp", "done"),
        (trained.TUNED, "fine-tune", "done"),
    ]
    assert set(rows[0]["metrics"]["accuracy"]) == {"value", "n", "ci"}
    assert asked(shop, "models", "tag", "train-2", "best")["tags"] == ["best"]
    assert asked(shop, "models", "promote", "best") == {"champion": trained.MLP, "before": None}
    shown = asked(shop, "models", "show", "champion")
    assert (shown["run"], shown["champion"], shown["tags"]) == (trained.MLP, True, ["best"])
    assert shown["damaged"] == []
    assert "[champion, best]" in run(shop, "models", "list").splitlines()[1]
    path = Path(shown["folder"]) / runs.MODEL
    path.write_bytes(path.read_bytes() + b"0")
    assert asked(shop, "models", "show", "best")["damaged"] == [runs.MODEL]
    assert "DAMAGED since it was trained: model.safetensors" in run(shop, "models", "show", "best")
    deleted = asked(shop, "models", "delete", "train-1")
    assert deleted["deleted"] == trained.HEAD
    assert labelloop.open(shop).model("train-1")["state"] == "deleted"


def test_models__says_what_is_wrong_with_the_question(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no champion yet"):
        run(shop, "models", "show", "champion")
    with pytest.raises(InputError, match="are the same run"):
        run(shop, "models", "compare", "train-1", trained.HEAD)
    with pytest.raises(InputError, match="--format torchscript: choose from onnx, safetensors"):
        run(shop, "models", "export", "train-1", "--format", "torchscript", "--out", str(tmp_path))
    with pytest.raises(InputError, match="Cannot read"):
        run(shop, "models", "import", str(tmp_path / "no.safetensors"))


def test_models__compare_says_whether_it_can_tell(shop: Path) -> None:
    said = asked(shop, "models", "compare", "train-1", "train-2")
    assert said["models"] == [trained.HEAD, trained.MLP]
    assert set(said["accuracy"]["difference"]) == {"value", "n", "ci"}
    assert said["settings"]["kind"] == ["head", "mlp"]
    lines = run(shop, "models", "compare", "train-1", "train-2").splitlines()
    assert lines[0] == said["says"]
    assert "  kind: head -> mlp" in lines


def test_models__out_and_in_again(shop: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    said = asked(
        shop, "models", "export", "train-1", "--format", "safetensors", "--out", str(folder)
    )
    assert said["files"] == ["model.safetensors", "model.json"]
    made = asked(shop, "models", "import", str(folder / "model.safetensors"))
    assert made["run"] == "p1-train-4"
    assert made["imported"]["run"] == trained.HEAD
    assert "imported" in run(shop, "models", "list").splitlines()[3]


def test_predict__the_champion_else_the_newest(
    shop: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    photos = trained.photos(tmp_path_factory.getbasetemp())
    out = tmp_path / "predictions.csv"
    said = asked(shop, "predict", str(photos), "--out", str(out))
    assert said["says"].startswith(f"{trained.TUNED}, the newest run; there is no champion.")
    assert (said["images"], said["predicted"], said["rejected"]) == (48, 48, 0)
    again = asked(shop, "predict", str(photos), "--out", str(out))
    assert (again["predicted"], again["already"]) == (0, 48)
    run(shop, "models", "promote", "train-1")
    with pytest.raises(InputError, match=f"holds answers of {trained.TUNED}"):
        run(shop, "predict", str(photos), "--out", str(out))
    run(shop, "models", "promote", "train-3")
    with pytest.raises(InputError, match=r"the model runs in torch-cpu-fp32 now.* --exact"):
        run(shop, "predict", str(photos), "--out", str(out), "--exact")
    run(shop, "models", "promote", "train-1")
    lines = tmp_path / "p.jsonl"
    told = run(shop, "predict", str(photos), "--out", str(lines), "--top", "2")
    assert told.startswith(f"Model: {trained.HEAD}, the champion.")
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    with (photos.with_name("trained.csv")).open(encoding="utf-8", newline="") as file:
        truth = {row["filename"]: row["label"] for row in csv.DictReader(file)}
    right = [row["prediction"] == truth[row["image"]] for row in rows]
    assert sum(right) >= 46
    assert rows[0]["top"][0]["class"] == rows[0]["prediction"]


def test_predict__says_how_to_look_again(shop: Path, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "p.csv"
    photos.mkdir()
    (photos / "broken.jpg").write_bytes(b"no picture")
    words = ("predict", str(photos), "--run", "train-1", "--out", str(out))
    assert run(shop, *words).splitlines()[-1] == (
        "1 image rejected: the column `rejected` says why. Mend them, then run the same command "
        "with --retry-rejected."
    )
    assert asked(shop, *words, "--retry-rejected")["retried"] == 1


def test_predict__without_a_model(tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    run(workspace, "init", "--classes", "a,b")
    with pytest.raises(NotFound, match="Train one with `labelloop train`"):
        run(workspace, "predict", str(trained.SAMPLE / "images"), "--out", str(tmp_path / "p.csv"))


def test_models__reproduce_says_whether_it_is_the_same(shop: Path) -> None:
    made = asked(shop, "train", "--kind", "head")["run"]
    said = asked(shop, "models", "reproduce", made)
    assert (said["of"], said["same"]) == (made, True)
    assert said["says"] == f"The same weights as {made}, bit for bit."
    assert said["metrics"]["accuracy"]["then"] == said["metrics"]["accuracy"]["now"]
    facts = runs.folder(labelloop.open(shop)._project, made) / runs.FACTS
    told = json.loads(facts.read_text())
    told["environment"]["packages"]["torch"] = "0.1"
    facts.write_text(json.dumps(told))
    assert asked(shop, "models", "reproduce", made)["changed"]["torch"][0] == "0.1"
    asked(shop, "models", "delete", made)
    with pytest.raises(TrainingError, match="can be repeated"):
        run(shop, "models", "reproduce", made)
