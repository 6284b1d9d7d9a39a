"""A small embedded project of real photos, made once a session and copied for each test."""

import csv
import shutil
from functools import cache
from pathlib import Path

from curation import features, ingest, sources, workspace
from curation.workspace import Project
from tests import engines

SAMPLE = Path(__file__).parents[1] / "sample_data"
PHOTOS = 24


def copied(base: Path, target: Path) -> Project:
    """The project in a workspace of its own.

    Args:
        base: a folder that all tests of the session share.
        target: the workspace that is made.
    """
    shutil.copytree(_template(base / "searchable"), target)
    return workspace.project(workspace.open(target))


def photo(base: Path, number: int) -> Path:
    """One of the photos that were imported."""
    _template(base / "searchable")
    return base / "searchable-photos" / f"{number:02}.jpg"


def spare() -> Path:
    """A real photo that was not imported."""
    return _plain_photos()[PHOTOS]


@cache
def _template(folder: Path) -> Path:
    photos = folder.with_name("searchable-photos")
    photos.mkdir()
    for number, path in enumerate(_plain_photos()[:PHOTOS]):
        shutil.copy(path, photos / f"{number:02}.jpg")
    project = workspace.create_project(folder, name="shop", class_names=["a", "b"], seed=5)
    ingest.run(project, sources.understand(photos, known_classes=project.record.classes))
    engines.warm(folder.parent, folder)
    features.prepare(project)
    project.catalog.close()
    return folder


def _plain_photos() -> list[Path]:
    """Photos of the sample data in which no defect was planted."""
    with (SAMPLE / "truth.csv").open(encoding="utf-8", newline="") as file:
        names = [row["filename"] for row in csv.DictReader(file) if not row["defect"]]
    return [SAMPLE / "images" / name for name in names]
