"""Guidelines in a real Label Studio."""

from pathlib import Path

import pytest
from PIL import Image

from curation import workspace as workspaces
from curation.catalog import remote
from curation.workspace import Project
from labeling import guidelines, instructions, interfaces, queues
from tests.fixtures_label_studio import LabelStudio


def made(folder: Path) -> Project:
    return workspaces.create_project(folder, name="p", class_names=["ok", "dent"])


@pytest.mark.label_studio
def test_bring_up_to_date__label_studio_shows_words_and_pictures(
    label_studio: LabelStudio, label_studio_project: int, tmp_path: Path
) -> None:
    connection = label_studio.connection
    project = made(tmp_path / "w")
    connection.update_project(label_studio_project, instructions="<p>by hand</p>")
    there = connection.project(label_studio_project)
    # Without guidelines of ours, what somebody wrote there stays.
    assert not instructions.bring_up_to_date(project, connection, there)
    file = tmp_path / "rules.md"
    file.write_text("# What counts\n\n![A dent](dent.png)", encoding="utf-8")
    Image.new("RGB", (40, 30), (200, 60, 60)).save(tmp_path / "dent.png")
    guidelines.keep(project, guidelines.take(file))
    # A server that cannot see the workspace shows the words; ours shows the pictures as well.
    assert instructions.bring_up_to_date(project, connection, there)
    there = connection.project(label_studio_project)
    assert "<em>[A dent]</em>" in there.instructions
    (project.workspace.path / "label-studio").symlink_to(label_studio.folder)
    assert instructions.bring_up_to_date(project, connection, there)
    there = connection.project(label_studio_project)
    assert "<h3>What counts</h3>" in there.instructions
    assert there.instructions.count('<img src="/data/local-files/?d=guidelines/') == 1
    assert not instructions.bring_up_to_date(project, connection, there)
    # A folder that is served no more is served again; guidelines taken away are taken away there.
    (label_studio.folder / "served" / "guidelines").unlink()
    assert not instructions.bring_up_to_date(project, connection, there)
    assert (label_studio.folder / "served" / "guidelines").is_dir()
    guidelines.keep(project, guidelines.Taken("", {}))
    assert instructions.bring_up_to_date(project, connection, there)
    assert connection.project(label_studio_project).instructions == ""
    (label_studio.folder / "served" / "guidelines").unlink()


@pytest.mark.label_studio
def test_find__shows_new_guidelines(
    label_studio: LabelStudio, label_studio_project: int, tmp_path: Path
) -> None:
    project = made(tmp_path / "w")
    xml = interfaces.labeling_xml("single-label", project.record.classes)
    label_studio.connection.update_project(label_studio_project, label_config=xml)
    with project.catalog.write() as connection:
        remote.put(
            connection,
            project.id,
            "batch",
            url=label_studio.url,
            remote_id=label_studio_project,
            interface=xml,
        )
    guidelines.keep(project, guidelines.Taken("Dents are *round*.", {}))
    queues.find(project, label_studio.connection)
    assert "<em>round</em>" in label_studio.connection.project(label_studio_project).instructions
