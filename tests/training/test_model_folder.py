"""A folder of a model is whole, or does not pass for whole."""

import json
import stat
from pathlib import Path

import pytest

from curation.errors import LabelloopError
from training.serving import model_folder
from training.serving.model_folder import ABOUT

OLD = {"model": b"old weights", "script": b"old"}
NEW = {"model": b"new weights", "script": b"new"}


def test_write__a_new_folder_appears_whole(tmp_path: Path) -> None:
    folder = tmp_path / "there" / "model"
    with pytest.raises(LabelloopError, match="Cannot write"):
        model_folder.write(folder, {**NEW, "model/inside-a-file": b""}, {"run": "new"})
    assert list(folder.parent.iterdir()) == []
    written = model_folder.write(folder, NEW, {"run": "new"})
    assert sorted(written) == sorted(folder.iterdir())
    assert list(folder.parent.iterdir()) == [folder]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_write__old_and_new_never_pass_for_one_model(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    model_folder.write(folder, OLD, {"run": "old"})
    (folder / "script").unlink()
    (folder / "script").mkdir()  # where it stops half-way
    with pytest.raises(LabelloopError, match="Cannot write"):
        model_folder.write(folder, NEW, {"run": "new"})
    assert (folder / "model").read_bytes() == b"new weights"
    assert not (folder / ABOUT).exists()
    (folder / "script").rmdir()
    model_folder.write(folder, NEW, {"run": "new"})
    assert json.loads((folder / ABOUT).read_text()) == {"run": "new"}
    assert {path.name for path in folder.iterdir()} == {"notes.txt", ABOUT, *NEW}
