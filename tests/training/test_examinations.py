"""Longer questions about a run of a real project."""

from pathlib import Path

import pytest

from curation.catalog import runs as run_rows
from curation.workspace import Project
from tests import trained
from training import registry
from training.judging import examinations


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
