from pathlib import Path

import pytest

from curation.errors import InputError, LabelloopError
from curation.exporters.destination import Folder

CSV = {"format": "csv", "snapshot": "s-1"}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "out", CSV)
    assert made.open() is None
    return made


def test_open__two_processes_do_not_share_a_folder(folder: Folder) -> None:
    other = Folder(folder.path, CSV)
    with pytest.raises(InputError, match="Another process is exporting"):
        other.open()
    folder.close()
    assert other.open() is None
    other.close()


def test_open__an_unfinished_export_of_something_else_is_named(folder: Folder) -> None:
    folder.close()
    with pytest.raises(InputError, match="holds an export of s-1 as csv, unfinished"):
        Folder(folder.path, {**CSV, "snapshot": "s-2"}).open()


def test_open__a_result_that_is_no_json_is_said(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text("{")
    with pytest.raises(InputError, match=r"export\.json cannot be read"):
        Folder(tmp_path, CSV).open()


def test_place__a_folder_that_cannot_be_written_is_said_with_the_path(folder: Folder) -> None:
    (folder.path / "images").write_text("in the way")
    with pytest.raises(LabelloopError, match=r"Cannot write .*images/a\.jpg"):
        folder.place("images/a.jpg", b"content")
    folder.close()


def test_settle__counts_files_and_bytes_once(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"12345")
    folder.place("a", b"123")
    folder.link(tmp_path / "source", "b")
    folder.link(tmp_path / "source", "b")
    with folder.writing("c") as file:
        file.write(b"1234567")
        file.seek(0)
        assert file.read() == b"1234567"
    assert folder.settle() == {"files": 4, "bytes": 20}
    assert folder.settle() == {"files": 0, "bytes": 0}
    assert not list((folder.path / ".export-state" / "new").iterdir())
    folder.close()
