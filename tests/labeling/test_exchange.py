"""An export read by the real Label Studio, and what it exports read back: nothing is lost."""

from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from curation import exporters, importers, ingest, snapshots, workspace
from curation.catalog import images, labels
from curation.workspace import Project
from labeling import consensus
from tests import exportable
from tests.exportable import Label
from tests.fixtures_label_studio import LabelStudio

pytestmark = pytest.mark.label_studio

WHOLE: dict[str, Label | None] = {
    "a.png": ["cat"],
    "shelf/a.png": ["dog"],
    "nobody.png": None,
    "odd name & more.png": ["=1+1"],
}
BOXES: dict[str, Label | None] = {
    "a.png": [("cat", 1.0, 2.0, 8.5, 6.25), ("dog", 0.0, 0.0, 4.0, 4.0)],
    "shelf/a.png": [],
    "nobody.png": None,
}


def there_and_back(
    label_studio: LabelStudio, project: Project, folder: Path, *, classes: Sequence[str]
) -> Project:
    """Exports a project, has Label Studio import and export it, and imports that."""
    out = folder / "out"
    made_of = snapshots.create(project)
    exporters.write(project, made_of, to=out, format="label-studio", unlabeled=True)
    images_there = made_of.header["images"]
    opened = label_studio.connection
    made = opened.create_project(
        "exchange", (out / "label_config.xml").read_text(), sampling="sequential"
    )
    headers = {"Authorization": f"Token {label_studio.credentials.token}"}
    answer = httpx.post(
        f"{label_studio.url}/api/projects/{made.id}/import",
        files={"file": ("tasks.json", (out / "tasks.json").read_bytes(), "application/json")},
        headers=headers,
        timeout=60.0,
        trust_env=False,
    ).raise_for_status()
    told = answer.json()
    assert told["task_count"] == images_there
    assert told["annotation_count"] == made_of.header["labels"]
    # All tasks, those without an annotation included.
    exported = httpx.get(
        f"{label_studio.url}/api/projects/{made.id}/export",
        params={"exportType": "JSON", "download_all_tasks": "true"},
        headers=headers,
        timeout=60.0,
        trust_env=False,
    ).raise_for_status()
    opened.delete_project(made.id)
    (out / "tasks.json").unlink()
    (out / "exported.json").write_bytes(exported.content)
    again = workspace.create_project(
        folder / "again", name="again", class_names=classes, task=project.record.task
    )
    plan = importers.understand(
        out / "exported.json",
        known_classes=again.record.classes,
        task=again.record.task,
        format="label-studio",
    )
    outcome = ingest.run(again, plan, settle=consensus.settle)
    assert (outcome.added, outcome.quarantined) == (images_there, [])
    return again


def said(project: Project) -> dict[str, tuple[str, ...]]:
    with project.catalog.read() as connection:
        rows = labels.every(connection, project.id)
        names = images.names_by_id(connection, [row.image_id for row in rows])
    return {
        Path(names[row.image_id]).as_posix().removeprefix("images/"): project.record.class_names(
            row.classes
        )
        for row in rows
    }


def test_exchange__classes(label_studio: LabelStudio, tmp_path: Path) -> None:
    classes = ("cat", "dog", "=1+1")
    project = exportable.project(tmp_path / "one", WHOLE, classes=classes)
    again = there_and_back(label_studio, project, tmp_path, classes=classes)
    assert said(again) == said(project)


def test_exchange__boxes(label_studio: LabelStudio, tmp_path: Path) -> None:
    project = exportable.project(tmp_path / "one", BOXES, classes=("cat", "dog"), task="boxes")
    again = there_and_back(label_studio, project, tmp_path, classes=("cat", "dog"))
    assert said(again) == said(project)
    with again.catalog.read() as connection:
        rows = labels.every(connection, again.id)
        drawn = labels.boxes_of(connection, [row.image_id for row in rows])
    ((first, second),) = drawn.values()
    found = [again.record.class_names((box.class_id,))[0] for box in (first, second)]
    assert found == ["cat", "dog"]
    assert (first.x, first.y, first.width, first.height) == pytest.approx((1.0, 2.0, 8.5, 6.25))
