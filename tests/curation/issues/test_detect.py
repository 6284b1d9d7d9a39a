"""A look of all detectors, or some, at a project."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from curation import acts, ingest, issues, sources
from curation import workspace as workspaces
from curation.catalog import audit
from curation.catalog import images as image_rows
from curation.catalog import issues as issue_rows
from curation.catalog.issues import IssueRow
from curation.errors import Cancelled
from curation.progress import Report
from curation.workspace import Project
from labeling import consensus
from tests.catalog.rows import add_imported

LIGHT = ("dark", "bright", "blurry")
COPIES = ("exact-duplicate", "near-duplicate", "group-conflict")


def picture(seed: int, side: int = 96) -> Image.Image:
    """A texture of its own."""
    pixels = np.random.default_rng(seed).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)


def made(tmp_path: Path, **extra: Image.Image) -> Project:
    """Twelve textures, 00.png to 11.png, and others by name."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        picture(number).save(folder / f"{number:02}.png")
    for name, image in extra.items():
        image.save(folder / f"{name}.png")
    project = workspaces.create_project(tmp_path / "w", name="p", class_names=["ok", "bad"])
    ingest.run(project, sources.understand(folder, known_classes=("ok", "bad")))
    return project


def found(project: Project, kinds: Sequence[str] = (), *, every: bool = False) -> list[IssueRow]:
    with project.catalog.read() as connection:
        return list(
            issue_rows.find(connection, project.id, kinds=kinds or None, only_issues=not every)
        )


def label(project: Project, **classes: str) -> None:
    with project.catalog.write() as connection:
        names = {name: key for key, name in _names(project).items()}
        given = {
            names[f"{name.strip('_')}.png"]: project.record.ids_of((label,))
            for name, label in classes.items()
        }
        add_imported(connection, project.id, given)
        consensus.settle(connection, project, list(given))


def _names(project: Project) -> dict[int, str]:
    with project.catalog.read() as connection:
        ids = [key for key, _ in image_rows.usable(connection, project.id)]
        return image_rows.names_by_id(connection, ids)


def _groups(project: Project) -> list[set[str]]:
    names = _names(project)
    with project.catalog.read() as connection:
        groups = image_rows.groups_of(connection, list(names))
    together: dict[int, set[str]] = {}
    for key, group in groups.items():
        together.setdefault(group, set()).add(names[key])
    return [group for group in together.values() if len(group) > 1]


def test_detect__only_the_kinds_asked_for(tmp_path: Path) -> None:
    black = Image.new("RGB", (96, 96), (6, 6, 6))
    project = made(tmp_path, black=Image.blend(picture(20), black, 0.95))
    assert issues.detect(project, ["dark"]).kinds == ("dark",)
    assert {row.kind for row in found(project, every=True)} == {"dark"}
    assert [row.name for row in found(project)] == ["black.png"]


def test_detect__what_was_found_of_other_kinds_stays(tmp_path: Path) -> None:
    project = made(tmp_path, again=picture(3))
    issues.detect(project, COPIES)
    issues.detect(project, LIGHT)
    assert [row.kind for row in found(project, COPIES)] == ["exact-duplicate"]


def test_detect__everything_keeps_the_innocent(tmp_path: Path) -> None:
    project = made(tmp_path)
    issues.detect(project, LIGHT)
    assert len(found(project, every=True)) < 36
    issues.detect(project, LIGHT, everything=True)
    assert len(found(project, every=True)) == 36
    assert found(project) == []


def test_detect__copies_become_one_group(tmp_path: Path) -> None:
    mirrored = picture(5).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    project = made(tmp_path, mirrored=mirrored, again=picture(5), small=picture(7).resize((48, 48)))
    issues.detect(project, COPIES)
    assert sorted(map(sorted, _groups(project))) == [
        ["05.png", "again.png", "mirrored.png"],
        ["07.png", "small.png"],
    ]
    rows = {row.name: row for row in found(project)}
    assert rows["again.png"].kind == "exact-duplicate"
    assert rows["mirrored.png"].kind == "near-duplicate"
    assert "mirrored" in rows["mirrored.png"].reason
    assert "is the largest" in rows["small.png"].reason
    assert set(rows) == {"again.png", "mirrored.png", "small.png"}


def test_detect__an_excluded_copy_stays_in_its_group(tmp_path: Path) -> None:
    project = made(tmp_path, soft=picture(4).filter(ImageFilter.GaussianBlur(1)))
    issues.detect(project, COPIES)
    act = acts.exclude(project, kinds=["near-duplicate"])
    assert act.images == ("soft.png",)
    issues.detect(project, COPIES)
    assert found(project) == []
    acts.restore(project)
    assert _groups(project) == [{"04.png", "soft.png"}]


def test_detect__labels_that_disagree_within_a_group(tmp_path: Path) -> None:
    project = made(tmp_path, again=picture(2), small=picture(2).resize((64, 64)))
    label(project, _02="ok", again="ok", small="bad")
    issues.detect(project, COPIES)
    conflicts = {row.name: row for row in found(project, ["group-conflict"])}
    assert set(conflicts) == {"small.png"}
    assert conflicts["small.png"].suggested_class_id == project.record.class_ids[0]
    assert "ok x 2" in conflicts["small.png"].reason


def test_detect__says_in_the_audit_log_that_it_looked(tmp_path: Path) -> None:
    project = made(tmp_path)
    issues.detect(project, LIGHT)
    with project.catalog.read() as connection:
        row = audit.entries(connection, project.id)[0]
    assert row["act"] == issue_rows.LOOK
    assert row["subject"] == {"kinds": list(LIGHT), "images": 12}


@pytest.mark.parametrize("step", ["read", "compare", "register"])
def test_detect__cancelled_leaves_what_was_found(tmp_path: Path, step: str) -> None:
    project = made(tmp_path, again=picture(3), soft=picture(4).filter(ImageFilter.BoxBlur(1)))
    issues.detect(project, COPIES)
    before = found(project)
    groups = _groups(project)
    with pytest.raises(Cancelled):
        issues.detect(
            _forgotten(project) if step == "read" else project, COPIES, report=_stop_at(step)
        )
    assert found(project) == before
    assert _groups(project) == groups


def _forgotten(project: Project) -> Project:
    """The project without its scans, which are made again."""
    for path in sorted(project.workspace.folder("scans").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    return project


def _stop_at(step: str) -> Report:
    def report(done: int, total: int, says: str) -> None:
        if says == step:
            raise Cancelled("asked to stop")

    return report
