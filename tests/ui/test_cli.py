"""The command line as people and scripts meet it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.main import get_command

from ui.cli import app

LABELLOOP = Path(sys.executable).with_name("labelloop")


def labelloop(
    *words: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if key != "LABELLOOP_WORKSPACE"}
    return subprocess.run(
        [str(LABELLOOP), *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**clean, **environment},
        timeout=120,
        check=False,
    )


def commands() -> list[tuple[str, typer.core.TyperCommand]]:
    def below(prefix: str, group: object) -> list[tuple[str, typer.core.TyperCommand]]:
        found = []
        for name, command in group.commands.items():  # type: ignore[attr-defined]
            if hasattr(command, "commands"):
                found += below(f"{prefix}{name} ", command)
            else:
                found.append((f"{prefix}{name}", command))
        return found

    return below("", get_command(app))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (40, 30), (40 * number, 90, 120)).save(folder / f"{number}.png")
    (folder / "broken.jpg").write_bytes(b"<html></html>")
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "parts"
    made = labelloop("init", "--workspace", str(folder), "--classes", "ok,scratch")
    assert made.returncode == 0, made.stderr
    return folder


@pytest.mark.parametrize("name,command", commands(), ids=[name for name, _ in commands()])
def test_help__every_command_has_an_example(name: str, command: typer.core.TyperCommand) -> None:
    assert "Example: labelloop" in (command.help or ""), name
    for parameter in command.params:
        assert getattr(parameter, "help", "") or parameter.name == "help", (name, parameter.name)


def test_help__answers_at_once() -> None:
    labelloop("--help")
    seconds = []
    for _ in range(3):
        begun = time.monotonic()
        assert labelloop("--help").returncode == 0
        seconds.append(time.monotonic() - begun)
    # The promise is 0.5 s on an idle machine; whatever else runs here, no heavy import fits in 2 s.
    assert min(seconds) < 2.0


def test_help__imports_nothing_heavy() -> None:
    heavy = ("torch", "timm", "streamlit", "label_studio_sdk", "pandas", "sqlalchemy", "numpy")
    script = (
        f"import sys; import ui.cli; print([name for name in {heavy!r} if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_init__json_is_the_contract(tmp_path: Path) -> None:
    made = labelloop("init", "--workspace", str(tmp_path / "w"), "--classes", "a, b", "--json")
    assert json.loads(made.stdout) == {
        "workspace": str(tmp_path / "w"),
        "project": "default",
        "classes": ["a", "b"],
    }


@pytest.mark.parametrize(
    "words,says",
    [
        (["--classes", "a"], "at least two classes"),
        (["--classes", "a,b,a"], "named twice: a"),
        (
            ["--classes", "a,b", "--task", "poses"],
            "none of the choices: single-label, multi-label, boxes",
        ),
        (["--classes", "a,b", "--target", "speed=1"], "accuracy, balanced-accuracy, macro-f1"),
        (["--classes", "a,b", "--target", "accuracy=92"], "above 0 and up to 1"),
        (["--classes", "a,b", "--seconds-per-label", "0"], "must be above 0"),
        (["--classes", "a,b", "--guidelines", "nowhere.md"], "Cannot read the guidelines"),
    ],
)
def test_init__bad_options_are_one_line(tmp_path: Path, words: list[str], says: str) -> None:
    made = labelloop("init", "--workspace", str(tmp_path / "w"), *words)
    assert made.returncode == 1
    assert says in made.stderr
    assert len(made.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "w").exists()


def test_init__twice_says_so(workspace: Path) -> None:
    again = labelloop("init", "--workspace", str(workspace), "--classes", "ok,scratch")
    assert again.returncode == 1
    assert "already a project named 'default'" in again.stderr


def test_usage_errors__end_with_2(workspace: Path) -> None:
    assert labelloop("nonsense").returncode == 2
    assert labelloop("import", "--workspace", str(workspace)).returncode == 2


def test_status__outside_a_workspace_says_how_to_make_one(tmp_path: Path) -> None:
    asked = labelloop("status", cwd=tmp_path)
    assert asked.returncode == 1
    assert "labelloop init" in asked.stderr


def test_import__quarantines_and_ends_well(workspace: Path, photos: Path) -> None:
    first = labelloop("import", str(photos), "--json", cwd=workspace)
    found = json.loads(first.stdout)
    assert first.returncode == 0
    assert (found["added"], found["already"]) == (6, 0)
    assert found["quarantined"] == [{"image": "broken.jpg", "reason": "not an image: an HTML page"}]
    again = json.loads(labelloop("import", str(photos), "--json", cwd=workspace).stdout)
    assert (again["added"], again["already"]) == (0, 6)


def test_import__strict_stops(workspace: Path, photos: Path) -> None:
    stopped = labelloop("import", str(photos), "--strict", cwd=workspace)
    assert stopped.returncode == 1
    assert "broken.jpg: not an image" in stopped.stderr
    status = json.loads(labelloop("status", "--json", cwd=workspace).stdout)
    assert status["images"]["total"] == 0


@pytest.mark.parametrize("place", ["before", "after", "environment", "below"])
def test_workspace__can_be_named_in_every_way(workspace: Path, tmp_path: Path, place: str) -> None:
    named = ["--workspace", str(workspace)]
    below = workspace / "logs" / "deep"
    below.mkdir(parents=True)
    asked = {
        "before": lambda: labelloop(*named, "status", "--json", cwd=tmp_path),
        "after": lambda: labelloop("status", *named, "--json", cwd=tmp_path),
        "environment": lambda: labelloop(
            "status", "--json", cwd=tmp_path, LABELLOOP_WORKSPACE=str(workspace)
        ),
        "below": lambda: labelloop("status", "--json", cwd=below),
    }[place]()
    assert json.loads(asked.stdout)["workspace"] == str(workspace), asked.stderr


def test_status__json_is_the_contract(workspace: Path, photos: Path) -> None:
    labelloop("import", str(photos), cwd=workspace)
    status = json.loads(labelloop("status", "--json", cwd=workspace).stdout)
    assert status["images"] | {"missing": 0} == {
        "total": 7,
        "quarantined": 1,
        "excluded": 0,
        "missing": 0,
        "labeled": 0,
        "propagated": 0,
        "machine": 0,
        "pool": 6,
        "reserve": 0,
    }
    assert status["classes"] == {"ok": 0, "scratch": 0}
    assert status["rounds"] == []


def test_projects__switch_archive_delete_restore(workspace: Path) -> None:
    labelloop("init", "--name", "second", "--classes", "a,b", "--workspace", str(workspace))
    assert json.loads(labelloop("status", "--json", cwd=workspace).stdout)["project"] == "second"
    assert labelloop("projects", "switch", "default", cwd=workspace).returncode == 0
    assert labelloop("projects", "delete", "default", "--yes", cwd=workspace).returncode == 0
    refused = labelloop("status", cwd=workspace)
    assert refused.returncode == 1
    assert "labelloop projects restore default" in refused.stderr
    assert labelloop("projects", "restore", "default", cwd=workspace).returncode == 0
    assert labelloop("status", cwd=workspace).returncode == 0
    assert labelloop("projects", "archive", "second", cwd=workspace).returncode == 0
    listed = json.loads(labelloop("projects", "list", "--json", cwd=workspace).stdout)["projects"]
    assert {row["project"]: row["state"] for row in listed} == {
        "default": "active",
        "second": "archived",
    }


def test_round__without_label_studio_says_how_to_start_it(workspace: Path, photos: Path) -> None:
    labelloop("import", str(photos), cwd=workspace)
    asked = labelloop("round", "--budget", "2", "--reserve", "2", cwd=workspace)
    assert asked.returncode == 1
    assert "labelloop up --detach" in asked.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "words,says",
    [
        (["--budget", "0"], "--budget must be at least 1"),
        (["--budget", "-3"], "--budget must be at least 1"),
        (["--strategy", "psychic"], "Choose one of: random, least-confidence, entropy, margin,"),
        (["--reserve", "-1"], "--reserve -1 must be 0 or more"),
    ],
)
def test_round__bad_options_are_one_line(
    workspace: Path, photos: Path, words: list[str], says: str
) -> None:
    labelloop("import", str(photos), cwd=workspace)
    asked = labelloop("round", *words, cwd=workspace)
    assert asked.returncode == 1
    assert says in asked.stderr
