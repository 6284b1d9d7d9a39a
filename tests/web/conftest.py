"""Workspaces for the app's tests, from empty to two rounds in."""

from pathlib import Path

import pytest

from curation.workspace import Project
from tests.web import scenario


@pytest.fixture
def empty(tmp_path: Path) -> Project:
    """A project without images."""
    return scenario.make_project(tmp_path / "workspace")


@pytest.fixture
def imported(tmp_path: Path, empty: Project) -> Project:
    """60 images and a broken file, with one metadata column; no round yet."""
    scenario.write_digits(tmp_path / "photos", 60)
    scenario.import_folder(empty, tmp_path / "photos", table=tmp_path / "truth.csv")
    return empty


@pytest.fixture
def played(tmp_path: Path, imported: Project) -> Project:
    """Two rounds: the first answered whole, the second by half and with a model."""
    truth = scenario.truth_of(tmp_path / "truth.csv")
    scenario.play_round(imported, truth, budget=9, random=10)
    scenario.play_round(imported, truth, budget=8, random=4, answered=0.5, quality=0.8)
    return imported
