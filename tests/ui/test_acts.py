"""The commands that exclude, propagate and undo, as scripts meet them."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from curation import ingest, sources
from curation import workspace as workspaces
from curation.catalog import groups, issues
from curation.errors import InputError
from curation.issues.table import Issue
from curation.workspace import Project
from labeling import consensus
from tests.catalog.rows import add_imported
from ui.cli import acts, duplicates


@pytest.fixture
def project(tmp_path: Path) -> Project:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(30):
        Image.new("RGB", (8, 8), (8 * number, 90, 120)).save(folder / f"{number:02}.png")
    made = workspaces.create_project(tmp_path / "w", name="p", class_names=["ok", "bad"], seed=1)
    ingest.run(made, sources.understand(folder, known_classes=("ok", "bad")))
    return made


def run(project: Project, *words: str) -> str:
    """What a command prints on stdout; its error is raised."""
    app = typer.Typer()
    acts.register(app)
    duplicates.register(app)
    done = CliRunner().invoke(
        app, [*words, "--workspace", str(project.workspace.path)], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return done.stdout


def asked(project: Project, *words: str) -> dict[str, Any]:
    found = json.loads(run(project, *words, "--json"))
    assert isinstance(found, dict)
    return found


def detect(project: Project, count: int) -> None:
    with project.catalog.write() as connection:
        rows = [Issue(key, "dark", 0.9, True, "mean brightness 3") for key in range(1, count + 1)]
        issues.replace(connection, project.id, ["dark"], rows)
        issues.note_look(connection, project.id, ["dark"], 1)


def test_exclude__json_is_the_contract(project: Project) -> None:
    detect(project, 2)
    names = ["00.png", "01.png"]
    assert asked(project, "exclude", "--kind", "dark, bright", "--dry-run") == {
        "excluded": 2,
        "act": None,
        "images": names,
        "kept": 0,
    }
    done = asked(project, "exclude", "--kind", "dark", "--reason", "night shift")
    assert done == {"excluded": 2, "act": 1, "images": names, "kept": 0}
    assert asked(project, "restore") == {
        "restored": 2,
        "act": 1,
        "kind": "exclude",
        "images": names,
        "passed_over": 0,
    }


def test_exclude__for_people(project: Project) -> None:
    detect(project, 25)
    said = run(project, "exclude", "--kind", "dark", "--dry-run").splitlines()
    assert said[0] == "Would exclude 25 images."
    assert said[-1] == "  ... and 5 more (--json lists all)"
    assert run(project, "exclude", "03.png", "07.png").splitlines() == [
        "Excluded 2 images.",
        "  03.png",
        "  07.png",
        "Undo: labelloop restore --act 1",
    ]


def test_restore__named_images(project: Project) -> None:
    run(project, "exclude", "03.png", "07.png")
    assert run(project, "restore", "07.png", "08.png").splitlines() == [
        "Brought back 1 images.",
        "  07.png",
        "1 were left alone: they have changed meanwhile.",
    ]
    assert asked(project, "restore", "--act", "1")["images"] == ["03.png"]


def test_exclude__an_unknown_kind_lists_the_choices(project: Project) -> None:
    with pytest.raises(InputError, match="Choose from: exact-duplicate, near-duplicate"):
        run(project, "exclude", "--kind", "ugly")
    with pytest.raises(InputError, match="Run `labelloop issues` first"):
        run(project, "exclude", "--kind", "dark")


def test_propagate__and_back(project: Project) -> None:
    ok, bad = project.record.class_ids
    with project.catalog.write() as connection:
        groups.regroup(connection, project.id, [[1, 2], [3, 4, 5]])
        add_imported(connection, project.id, {1: (bad,), 3: (ok,), 4: (bad,)})
        consensus.settle(connection, project, [1, 3, 4])
    assert asked(project, "duplicates", "propagate", "--dry-run") == {
        "propagated": 1,
        "act": None,
        "images": ["01.png"],
        "conflicts": 1,
    }
    assert run(project, "duplicates", "propagate").splitlines() == [
        "Labeled 1 copies of labeled images.",
        "  01.png",
        "Passed over 1 whose copies are labeled differently; `labelloop issues --kind "
        "group-conflict` shows them.",
        "Undo: labelloop restore --act 1",
    ]
    assert run(project, "restore", "--act", "1").splitlines() == [
        "Took the propagated label back from 1 images (act 1).",
        "  01.png",
    ]
