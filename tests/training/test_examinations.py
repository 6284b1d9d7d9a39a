"""Longer questions about a run of a real project."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curation.catalog import plans
from curation.catalog import runs as run_rows
from curation.errors import Cancelled
from curation.workspace import Project
from tests import trained
from training import registry
from training.finetuning import trainer
from training.judging import examinations
from training.settings import FineTuneSettings


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Project:
    return trained.copied(tmp_path_factory.getbasetemp(), tmp_path / "w")


def test_robust__is_kept_with_the_run(project: Project) -> None:
    found = examinations.robust(project, trained.HEAD, most=3)
    assert found.n == 3
    with project.catalog.read() as connection:
        row = run_rows.get(connection, trained.HEAD)
    assert row["state"] == "done"
    assert row["about"]["robustness"] == found.as_json()


def test_robust__a_run_that_is_deleted_meanwhile_stays_deleted(project: Project) -> None:
    asked = []

    def report(done: int, total: int, says: str) -> None:
        if not asked:
            registry.delete(project, trained.HEAD, yes=True)
        asked.append(says)

    examinations.robust(project, trained.HEAD, most=2, report=report)
    with project.catalog.read() as connection:
        row = run_rows.get(connection, trained.HEAD)
    assert row["state"] == "deleted"
    assert "robustness" not in row["about"]


def test_cross_validate__says_how_its_models_were_made(project: Project) -> None:
    found = examinations.cross_validate(project, kind="head", folds=3)
    assert found.found.metrics.n == found.images
    assert found.notes == (
        "Each fold is calibrated by the temperature that suits the other folds' answers.",
    )
    assert all(fold.temperature > 0 for fold in found.found.folds)


def test_cross_validate__a_network_stopped_in_between_goes_on_by_the_plan(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with project.catalog.write() as connection:
        wanted = {"remedy": "augmentation", "augmentation": {"dress": 9}, "recipe": "strong"}
        plans.put(connection, project.id, "balance", wanted)
    begun = []

    def counted(learned: trainer.Rows, *rest: Any, **given: Any) -> Iterator[trainer.Epoch]:
        begun.append(len(learned))
        return trained_by(learned, *rest, **given)

    def report(done: int, total: int, says: str) -> None:
        if says == "fold-2":
            raise Cancelled("enough")

    trained_by = trainer.run
    monkeypatch.setattr(trainer, "run", counted)
    asked = {"input-size": 32, "epochs": 1, "batch-size": 16}
    given: dict[str, Any] = {"kind": "fine-tune", "asked": asked, "folds": 2}
    with pytest.raises(Cancelled):
        examinations.cross_validate(project, **given, report=report)
    assert len(begun) == 1
    found = examinations.cross_validate(project, **given)
    assert begun == [fold.trained for fold in found.found.folds]
    assert list(project.workspace.folder("runs").glob(".cross-validation-*")) == []
    assert isinstance(found.settings, FineTuneSettings)
    assert (found.settings.augmentation, found.settings.sampling) == ("strong", "weighted")
    least = min(fold.steered for fold in found.found.folds)
    assert least > 0 and f"by labels of other folds, {least} at least" in found.notes[1]
    for fold in found.found.folds:
        assert fold.trained + fold.steered + fold.figures["accuracy"].n == found.images
