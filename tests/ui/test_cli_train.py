"""`labelloop train` on the embedded sample data with its 300 labels."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import labelloop
from curation import workspace as workspaces
from curation.catalog import runs as run_rows
from curation.errors import InputError, Interrupted, NotFound, TrainingError
from curation.progress import silent
from tests.ui import commands
from tests.ui.commands import asked, run
from training import experiments, fitting, runs, worker
from training.asked import Asked
from training.heads import strength
from training.settings import HeadSettings
from ui import jobs
from ui.jobs import run as job_process
from ui.jobs.kinds import KINDS


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.getbasetemp()
    return commands.shop(base, tmp_path_factory.mktemp("train") / "shop")


def test_train__a_head_with_figures_and_everything_to_repeat_it(shop: Path) -> None:
    found = asked(shop, "train", "--kind", "head")
    accuracy = found["metrics"]["accuracy"]
    low, high = accuracy["ci"]
    assert low < accuracy["value"] < high and accuracy["n"] == found["images"]["test"]
    assert accuracy["value"] > 0.5
    assert (found["state"], found["kind"], found["judged_on"]) == ("done", "head", "drawn")
    assert found["temperature"] != 1.0
    assert {row["column"] for row in found["slices"]} >= {"studio"}
    home = Path(found["folder"])
    stored = json.loads((home / "run.json").read_text())
    assert (stored["snapshot"], stored["seed"]) == (found["snapshot"], found["seed"])
    assert stored["environment"]["packages"]["torch"]
    assert json.loads((home / "settings.json").read_text()) == found["settings"]
    assert set(found["files"]) >= {"model.safetensors", "rows.parquet", "settings.json"}


def test_train__settings_of_a_file_and_of_words(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('kind = "head"\nstrength = 10.0\n')
    found = asked(
        shop, "train", "--settings", str(tmp_path / "mine.toml"), "--set", "class-weight=none"
    )
    assert (found["settings"]["strength"], found["settings"]["class-weight"]) == (10.0, "none")
    for words, error, says in (
        (["--kind", "magic"], NotFound, "head, mlp, fine-tune"),
        (["--kind", "head", "--set", "depth=3"], InputError, "Unknown setting .*depth"),
        (["--kind", "head", "--set", "strength=-1"], TrainingError, "strength is -1"),
        (["--set", "strength"], InputError, "NAME=VALUE"),
        (["--minutes", "0"], InputError, "--minutes is 0"),
        (["--minutes", "inf"], InputError, "--minutes is inf"),
        (["--seed", "-1"], InputError, "--seed is -1"),
        (["--seed", "99999999999999999999"], InputError, "--seed is 9999"),
        (["--set", "backbone=5"], TrainingError, "backbone is 5; give a text"),
        (["--kind", "fine-tune", "--set", "weights=5"], TrainingError, "weights is 5"),
        (["--processes", "0"], InputError, "at least 1"),
        (["--kind", "mlp", "--settings", str(tmp_path / "mine.toml")], InputError, "does not fit"),
    ):
        with pytest.raises(error, match=says):
            run(shop, "train", *words)
    project = workspaces.project(workspaces.open(shop))
    with project.catalog.read() as connection:
        assert all(row["state"] == "done" for row in run_rows.every(connection, project.id))


def test_train__goes_on_with_what_was_prepared_and_says_so(shop: Path) -> None:
    words = ("train", "--kind", "head", "--set", "strength=7.0")
    first = asked(shop, *words, "--prepare")
    assert asked(shop, *words, "--prepare", "--processes", "2")["run"] == first["run"]
    anew = asked(shop, *words, "--prepare", "--fresh")
    assert anew["run"] != first["run"]
    assert asked(shop, "models", "show", first["run"])["state"] == "failed"
    (Path(anew["folder"]) / "card.md").mkdir()  # cannot be written: the run is done all the same
    found = asked(shop, *words, "--processes", "2")
    assert (found["run"], found["state"]) == (anew["run"], "done")
    says = f"Goes on with {anew['run']}, begun on {anew['created_at']} UTC"
    assert found["notes"][0].startswith(says)


def test_train__a_job_that_is_done_again_does_not_begin_anew_each_time(shop: Path) -> None:
    project = workspaces.project(workspaces.open(shop))
    old = experiments.prepare(project, Asked("head", seed=5))
    job = {"kind": "head", "seed": 5, "fresh": old}
    begun = experiments.prepare(project, Asked("head", seed=5), fresh=old)
    assert begun != old
    assert KINDS["train"].function(project, job, silent)["run"] == begun


def test_train__finished_but_not_answered_is_the_answer_once(shop: Path) -> None:
    project = workspaces.project(workspaces.open(shop))
    # What a kill between the end of the training and that of its command leaves.
    done = experiments.train(project, Asked("head", seed=11))
    words = ("train", "--kind", "head", "--seed", "11")
    found = asked(shop, *words)
    assert found["run"] == done and found["files"]
    assert f"{done}, begun on" in found["notes"][0] and "--fresh trains anew" in found["notes"][0]
    again = asked(shop, *words)["run"]
    assert again != done and asked(shop, *words)["run"] not in (done, again)
    for option in ("--fresh", "--prepare"):
        left = experiments.train(project, Asked("head", seed=11))
        anew = asked(shop, *words, option)["run"]
        assert anew != left and asked(shop, "models", "show", left)["state"] == "done"
        assert asked(shop, *words)["run"] != left


def test_train__a_job_killed_at_its_very_end_is_one_run(shop: Path) -> None:
    project = workspaces.project(workspaces.open(shop))
    words = {"kind": "head", "seed": 12}
    first = jobs.ask(project, "train", words)
    done = KINDS["train"].function(project, words, silent)["run"]  # and its row was not written
    ending = job_process.run(project.workspace, first.id)
    assert ending.result is not None and ending.result["run"] == done
    second = jobs.ask(project, "train", words)
    ending = job_process.run(project.workspace, second.id)
    assert ending.result is not None and ending.result["run"] != done


def test_train__a_run_that_is_deleted_meanwhile_leaves_nothing(shop: Path) -> None:
    project = workspaces.project(workspaces.open(shop))
    deleted: list[str] = []

    def report(done: int, total: int, says: str) -> None:
        # From a machine that does not see the lock, while the model is being judged.
        if says == "judge" and not deleted:
            with project.catalog.write() as connection:
                key = run_rows.every(connection, project.id)[-1]["id"]
                run_rows.update_run(connection, key, state="deleted")
            deleted.append(key)

    with pytest.raises(TrainingError, match="was deleted before it was trained"):
        experiments.train(project, Asked("head", seed=13), report=report)
    assert not runs.folder(project, deleted[0]).exists()
    with project.catalog.read() as connection:
        row = run_rows.get(connection, deleted[0])
    assert (row["state"], row["metrics"]) == ("deleted", {})


def test_train__what_stops_for_another_reason_goes_on(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise Interrupted("a process ended")

    with monkeypatch.context() as patched:
        patched.setattr(fitting, "fit", killed)
        with pytest.raises(Interrupted):
            run(shop, "train", "--kind", "head", "--seed", "6")
    project = workspaces.project(workspaces.open(shop))
    with project.catalog.read() as connection:
        newest = run_rows.every(connection, project.id)[-1]
    assert newest["state"] == "running"
    assert asked(shop, "train", "--kind", "head", "--seed", "6")["run"] == newest["id"]


def test_train__the_strength_that_was_searched_for_is_kept(
    shop: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(strength, "MANY_ROWS", 50)
    with caplog.at_level("INFO", "training.fitting"):
        found = asked(shop, "train", "--kind", "head")
    assert f"strength {found['settings']['strength']:g}: the least" in caplog.text
    assert found["settings"]["strength"] != HeadSettings().strength
    stored = json.loads((Path(found["folder"]) / "settings.json").read_text())
    assert stored == found["settings"]
    assert asked(shop, "models", "reproduce", found["run"])["same"]


def test_worker__one_at_a_time(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = workspaces.project(workspaces.open(shop))
    run_id = experiments.prepare(project, Asked("head", seed=8))
    monkeypatch.setattr(sys, "argv", ["worker", str(shop), project.record.name, run_id])
    with runs.alone(project, run_id):
        assert worker.main() == 1
    assert "Another process is training" in capsys.readouterr().out
    assert worker.main() == 0
    assert (runs.folder(project, run_id) / runs.MODEL).exists()


def test_train__fine_tunes_and_shows_its_curve(shop: Path) -> None:
    words = ["--set", "input-size=64", "--set", "epochs=2", "--set", "batch-size=32"]
    found = asked(shop, "train", "--kind", "fine-tune", *words)
    home = Path(found["folder"])
    epochs = [json.loads(line) for line in (home / "metrics.jsonl").read_text().splitlines()]
    assert [epoch["number"] for epoch in epochs][-1] == 2
    assert all(epoch["validation"]["accuracy"] > 0 for epoch in epochs)
    assert list((home / "tensorboard").glob("events.*"))
    assert found["metrics"]["accuracy"]["value"] > 0.3
    assert found["reasons"]


def test_train__killed_and_asked_again_goes_on(shop: Path) -> None:
    # What the probe would choose may change with the load.
    given = ("input-size=32", "epochs=3", "batch-size=32", "precision=fp32", "channels-last=true")
    words = [word for setting in given for word in ("--set", setting)]
    command = [
        sys.executable,
        "-c",
        "from ui.cli import main; main()",
        "train",
        "--kind",
        "fine-tune",
        *words,
    ]
    environment = {**os.environ, "LABELLOOP_WORKSPACE": str(shop)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    project = workspaces.project(workspaces.open(shop))
    begun = time.monotonic()
    epochs: list[dict[str, object]] = []
    while not epochs and process.poll() is None and time.monotonic() - begun < 240:
        time.sleep(0.1)
        with project.catalog.read() as connection:
            newest = next(reversed(run_rows.every(connection, project.id)), None)
        if newest is not None and newest["state"] == "running":
            epochs = runs.read_epochs(project, newest["id"])
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert newest is not None and newest["state"] == "running" and epochs
    found = asked(shop, "train", "--kind", "fine-tune", *words)
    assert (found["run"], found["state"]) == (newest["id"], "done")
    again = asked(shop, "train", "--kind", "fine-tune", *words)
    assert again["run"] != found["run"] and again["settings"] == found["settings"]
    assert again["files"]["model.safetensors"] == found["files"]["model.safetensors"]


def test_train__one_class_only_is_said_and_kept_as_failed(tmp_path: Path) -> None:
    images = tmp_path / "in" / "cat"
    images.mkdir(parents=True)
    for number, source in enumerate(sorted((commands.SAMPLE / "images").glob("*.jpg"))[:3]):
        (images / f"{number}.jpg").write_bytes(source.read_bytes())
    workspace = tmp_path / "w"
    run(workspace, "init", "--classes", "cat,dog")
    run(workspace, "import", str(tmp_path / "in"))
    with pytest.raises(TrainingError, match="only: cat"):
        run(workspace, "train", "--kind", "head")
    project = workspaces.project(workspaces.open(workspace))
    with project.catalog.read() as connection:
        (row,) = run_rows.every(connection, project.id)
    assert row["state"] == "failed" and "only: cat" in row["about"]["says"]


def test_train__from_python(shop: Path) -> None:
    found = labelloop.open(shop).train(kind="mlp", settings={"epochs": 3})
    assert (found["kind"], found["settings"]["epochs"]) == ("mlp", 3)
