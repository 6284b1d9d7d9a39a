"""Projects of each task, and an import as the command runs it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from curation import importers, ingest, workspace
from curation.catalog import images, labels
from curation.importers.found import Asked, Found, SetAside
from curation.ingest import Outcome
from curation.records import Task
from curation.sources import Plan
from curation.workspace import Project
from labeling import consensus

CLASSES = ("cat", "dog")


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[[Task], Project]:
    def make(task: Task = "boxes") -> Project:
        return workspace.create_project(
            tmp_path / f"workspace-{task}", name="pets", class_names=CLASSES, task=task, seed=5
        )

    return make


def understood(source: Path, *, task: Task = "boxes", **options: object) -> Plan:
    return importers.understand(source, known_classes=CLASSES, task=task, **options)  # type: ignore[arg-type]


def take(project: Project, source: Path, *, strict: bool = False, **options: object) -> Outcome:
    plan = understood(source, task=project.record.task, **options)
    return ingest.run(project, plan, strict=strict, settle=consensus.settle)


def read(source: Path, *, task: Task = "boxes", **options: object) -> list[Found | SetAside]:
    """What the importer says, before the catalog is asked."""
    asked = Asked({name: place for place, name in enumerate(CLASSES)}, task)
    return list(importers.read(understood(source, task=task, **options), asked))


def label_names(project: Project) -> dict[str, tuple[str, ...]]:
    with project.catalog.read() as connection:
        rows = labels.every(connection, project.id)
        names = images.names_by_id(connection, [row.image_id for row in rows])
    return {names[row.image_id]: project.record.class_names(row.classes) for row in rows}


def boxes(project: Project) -> dict[str, list[tuple[str, float, float, float, float]]]:
    """Class and place of each image's boxes, by its name."""
    with project.catalog.read() as connection:
        ids = [key for key, _ in images.usable(connection, project.id)]
        names = images.names_by_id(connection, ids)
        found = labels.boxes_of(connection, ids)
    named = project.record.class_names
    return {
        names[key]: [(named((b.class_id,))[0], b.x, b.y, b.width, b.height) for b in drawn]
        for key, drawn in found.items()
    }


def metadata(project: Project, name: str) -> dict[str, str]:
    with project.catalog.read() as connection:
        return images.metadata_of(connection, images.find(connection, project.id, name).id)
