"""Which run is meant, and what may become of one."""

from pathlib import Path
from typing import Any

import pytest

from curation import workspace
from curation.catalog import audit, rounds
from curation.catalog import runs as run_rows
from curation.errors import InputError, NotFound, TrainingError
from curation.workspace import Project
from training import registry, runs

FIGURE = {"value": 0.9, "n": 10, "ci": [0.6, 0.98]}


def measured(confusion: list[list[int]], **figures: Any) -> dict[str, Any]:
    support = [sum(row) for row in confusion]
    answered = [sum(column) for column in zip(*confusion, strict=True)]
    return {
        "accuracy": FIGURE,
        **figures,
        "task": "single-label",
        "confusion": confusion,
        "per_class": [
            {"class": name, "support": n, "precision": {"value": 1.0 if said else None}}
            for name, n, said in zip("ab", support, answered, strict=True)
        ],
    }


GOOD = measured([[5, 1], [0, 4]])


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = workspace.create_project(tmp_path / "w", name="shop", class_names=["a", "b"])
    for _ in range(3):
        add(made, GOOD)
    return made


def add(project: Project, metrics: dict[str, Any], state: str = "done") -> str:
    with project.catalog.write() as connection:
        run_id = run_rows.next_id(connection, project.id)
        home = runs.folder(project, run_id)
        home.mkdir()
        (home / runs.MODEL).write_bytes(b"weights")
        run_rows.add(
            connection,
            project.id,
            run_id,
            kind="head",
            snapshot_id=None,
            seed=0,
            settings={},
            metrics=metrics,
            about={"files": runs.hashes(project, run_id)},
            state=state,
        )
    return run_id


def acts(project: Project) -> list[tuple[str, str]]:
    with project.catalog.read() as connection:
        entries = audit.entries(connection, project.id)
    return [(one["act"], one["subject"]["run"]) for one in entries if "run-" in one["act"]][::-1]


def test_find__by_id_short_id_tag_and_word(project: Project) -> None:
    registry.tag(project, "p1-train-2", "baseline")
    add(project, {}, "running")
    for word in ("p1-train-2", "train-2", "baseline"):
        assert registry.find(project, word)["id"] == "p1-train-2"
    assert registry.find(project, "newest")["id"] == "p1-train-3"
    with pytest.raises(NotFound, match="has no champion yet"):
        registry.find(project, "champion")
    registry.promote(project, "p1-train-1")
    assert registry.find(project, "champion")["id"] == "p1-train-1"
    registry.tag(project, "p1-train-3", "baseline")
    with pytest.raises(InputError, match="2 runs are tagged 'baseline': p1-train-2, p1-train-3"):
        registry.find(project, "baseline")
    with pytest.raises(NotFound, match="No run 'train-9'"):
        registry.find(project, "train-9")


def test_choose__the_champion_else_the_newest_that_is_finished(project: Project) -> None:
    add(project, {}, "failed")
    assert "the newest run; there is no champion" in registry.choose(project).says
    assert registry.choose(project).run["id"] == "p1-train-3"
    registry.promote(project, "p1-train-2")
    assert registry.choose(project).says == "p1-train-2, the champion."
    empty = workspace.create_project(project.workspace.path, name="other", class_names=["a", "b"])
    with pytest.raises(NotFound, match="no trained model yet"):
        registry.choose(empty)


def test_tag__there_and_gone(project: Project) -> None:
    assert registry.tag(project, "p1-train-1", "a") == ["a"]
    assert registry.tag(project, "p1-train-1", "b") == ["a", "b"]
    assert registry.tag(project, "p1-train-1", "b") == ["a", "b"]
    assert registry.tag(project, "p1-train-1", "a", remove=True) == ["b"]
    assert acts(project) == [
        ("run-tagged", "p1-train-1"),
        ("run-tagged", "p1-train-1"),
        ("run-untagged", "p1-train-1"),
    ]
    for word in ("champion", "train-2", "p1-train-2", "Big", "", "two words"):
        with pytest.raises(InputError):
            registry.tag(project, "p1-train-1", word)
    with pytest.raises(InputError, match="has no tag 'x'"):
        registry.tag(project, "p1-train-1", "x", remove=True)


def test_promote__there_is_one_champion(project: Project) -> None:
    assert registry.promote(project, "p1-train-1") is None
    assert registry.promote(project, "p1-train-2") == "p1-train-1"
    assert registry.promote(project, "p1-train-2") == "p1-train-2"
    with project.catalog.read() as connection:
        rows = run_rows.every(connection, project.id)
    assert [row["id"] for row in rows if row["champion"]] == ["p1-train-2"]
    assert acts(project) == [("run-promoted", "p1-train-1"), ("run-promoted", "p1-train-2")]


@pytest.mark.parametrize(
    ("metrics", "state", "says"),
    [
        ({}, "done", "has not been measured"),
        (GOOD, "failed", "it is failed"),
        (
            measured([[5, 1], [0, 4]], log_loss={**FIGURE, "value": float("nan")}),
            "done",
            "log_loss is not",
        ),
        (measured([[5, 1], [0, 4]], accuracy={**FIGURE, "value": None}), "done", "accuracy is not"),
        (measured([[6, 0], [0, 0]]), "done", "images of one class, which tells nothing"),
        (measured([[0, 6], [0, 4]]), "done", "it answers 'b' whatever it sees"),
    ],
)
def test_promote__refuses_what_nobody_should_use(
    project: Project, metrics: dict[str, Any], state: str, says: str
) -> None:
    run_id = add(project, metrics, state)
    with pytest.raises(TrainingError, match=says):
        registry.promote(project, run_id)
    assert acts(project) == []


def test_promote__refuses_damaged_files(project: Project) -> None:
    (runs.folder(project, "p1-train-1") / runs.MODEL).write_bytes(b"weighty")
    with pytest.raises(TrainingError, match=r"changed since it was trained \(model.safetensors\)"):
        registry.promote(project, "p1-train-1")


def test_delete__keeps_the_row_and_frees_the_files(project: Project) -> None:
    assert registry.delete(project, "p1-train-1") == len(b"weights")
    assert not runs.folder(project, "p1-train-1").exists()
    assert registry.find(project, "p1-train-1")["state"] == "deleted"
    with pytest.raises(InputError, match="was deleted before"):
        registry.delete(project, "p1-train-1")
    assert acts(project) == [("run-deleted", "p1-train-1")]


def test_delete__spares_what_is_needed(project: Project) -> None:
    registry.promote(project, "p1-train-1")
    with pytest.raises(InputError, match="is the champion"):
        registry.delete(project, "p1-train-1", yes=True)
    with project.catalog.write() as connection:
        started = rounds.start(connection, project.id, {})
        rounds.set_run(connection, started.id, "p1-train-2")
    with pytest.raises(InputError, match="Say --yes"):
        registry.delete(project, "p1-train-2")
    busy = add(project, {}, "running")
    with (
        runs.alone(project, busy),
        pytest.raises(TrainingError, match="Another process is training"),
    ):
        registry.delete(project, busy)
    assert runs.folder(project, busy).exists()
    registry.delete(project, "p1-train-2", yes=True)
    registry.delete(project, busy)
    assert not runs.folder(project, "p1-train-2").exists()
