"""`labelloop export` from the command to the folder."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import labelloop
from curation.errors import InputError, NotFound
from curation.exporters import EXPORTERS
from tests import exportable
from tests.ui.commands import asked, run
from ui import exporting
from ui.cli import app


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A workspace of five images, one of them unlabeled and one excluded."""
    given: dict[str, exportable.Label | None] = {f"{n}.jpg": ["cat"] for n in range(4)}
    project = exportable.project(tmp_path, {**given, "4.jpg": None}, classes=["cat", "dog"])
    project.catalog.close()
    run(project.workspace.path, "exclude", "3.jpg")
    return project.workspace.path


def test_export__reconciles_and_names_a_snapshot_of_now(shop: Path, tmp_path: Path) -> None:
    found = asked(shop, "export", "--format", "coco", str(tmp_path / "out"))
    assert (found["in"], found["out"]) == (5, 3)
    assert found["left_out"] == {"excluded: by hand": 1, "unlabeled": 1}
    assert found["format"] == "coco"
    assert found["snapshot"] == asked(shop, "snapshot", "show")["snapshot"]
    again = asked(shop, "export", "--format", "coco", str(tmp_path / "out"))
    assert again == {**found, "already": True}


def test_export__an_older_snapshot_stays_what_it_was(shop: Path, tmp_path: Path) -> None:
    before = asked(shop, "snapshot", "create")["snapshot"]
    run(shop, "restore")
    now = asked(shop, "export", "--format", "csv", str(tmp_path / "now"))
    then = asked(shop, "export", "--format", "csv", "--snapshot", before, str(tmp_path / "then"))
    assert (now["out"], then["out"]) == (4, 3)


def test_export__says_to_people_what_is_left_out(shop: Path, tmp_path: Path) -> None:
    said = run(shop, "export", "--format", "folder", "--images", "link", str(tmp_path / "out"))
    assert "Exported: 3 of 5 images of s-" in said
    assert "Left out 2" in said
    assert "  1 excluded: by hand\n  1 unlabeled\n" in said


def test_export__a_wrong_word_is_one_line_and_makes_nothing(shop: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    with pytest.raises(InputError, match=r"No format 'zip'\. The formats are folder, csv, coco"):
        run(shop, "export", "--format", "zip", out)
    with pytest.raises(InputError, match="--images move: choose from copy, link, none"):
        run(shop, "export", "--format", "csv", "--images", "move", out)
    with pytest.raises(NotFound, match="There is no snapshot yet"):
        run(shop, "export", "--format", "csv", "--snapshot", "s-0", out)
    assert not Path(out).exists()
    assert not list(shop.glob("snapshots/*"))


def test_export__from_python_takes_unlabeled_images_too(shop: Path, tmp_path: Path) -> None:
    found = labelloop.open(shop).export(tmp_path / "out", format="huggingface", unlabeled=True)
    assert found["out"] == 4
    assert found["left_out"] == {"excluded: by hand": 1}


def test_export__the_help_names_every_format() -> None:
    said = CliRunner().invoke(app, ["export", "--help"]).stdout
    for found in exporting.formats():
        assert found["format"] in said
    assert [found["format"] for found in exporting.formats()] == list(EXPORTERS)
