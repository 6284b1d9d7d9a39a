"""`labelloop snapshot`: made, compared, checked and gone back to, as a curator types it."""

from pathlib import Path

import pytest
from PIL import Image

import labelloop
from curation.errors import InputError, NotFound
from tests.ui.commands import asked, run


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Four photos, three of them labeled."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(4):
        Image.new("RGB", (40, 30), (number * 60, 80, 120)).save(photos / f"{number}.png")
    table = tmp_path / "labels.csv"
    table.write_text("filename,label,line\n0.png,ok,a\n1.png,bad,a\n2.png,ok,b\n")
    workspace = tmp_path / "w"
    run(workspace, "init", "--classes", "ok,bad")
    run(workspace, "import", str(photos), "--labels", str(table))
    return workspace


def test_snapshot__there_and_back(parts: Path) -> None:
    first = asked(parts, "snapshot", "create")
    assert (first["images"], first["labels"], first["parent"]) == (4, 3, None)
    run(parts, "exclude", "3.png", "--reason", "blurred")
    second = asked(parts, "snapshot", "create")
    assert second["parent"] == first["snapshot"]
    listed = asked(parts, "snapshot", "list")["snapshots"]
    assert [one["snapshot"] for one in listed] == [first["snapshot"], second["snapshot"]]
    found = asked(parts, "snapshot", "diff")
    assert {kind: n for kind, n in found["counts"].items() if n} == {"excluded": 1}
    said = run(parts, "snapshot", "diff", first["snapshot"], second["snapshot"])
    assert "1 excluded" in said
    assert "excluded 3.png: ok -> blurred" in said
    back = asked(parts, "snapshot", "restore", first["snapshot"])
    assert (back["included"], back["before"]) == (1, second["snapshot"])
    assert asked(parts, "snapshot", "create")["snapshot"] == first["snapshot"]
    assert "1 excluded" in run(parts, "snapshot", "restore", second["snapshot"])


def test_snapshot_show__the_newest(parts: Path) -> None:
    made = asked(parts, "snapshot", "create", "--labeled", "--where", "line=a")
    assert made["images"] == 2
    header = asked(parts, "snapshot", "show")
    assert header["filters"] == {"labeled": True, "metadata": {"line": "a"}}
    said = run(parts, "snapshot", "show", made["snapshot"][:6])
    assert "Labels: 2 (ok 1, bad 1)" in said
    with pytest.raises(InputError, match="give a column and a value, as in studio=a"):
        run(parts, "snapshot", "create", "--where", "line")


def test_snapshot_verify__says_what_was_touched(parts: Path, tmp_path: Path) -> None:
    run(parts, "snapshot", "create")
    assert asked(parts, "snapshot", "verify")["ok"]
    (tmp_path / "photos" / "1.png").write_bytes(b"something else")
    found = asked(parts, "snapshot", "verify", exit_code=1)
    assert (found["changed"], found["missing"], found["checked"]) == (["1.png"], [], 4)
    assert "1 image of which the bytes changed" in run(parts, "snapshot", "verify", exit_code=1)
    assert asked(parts, "snapshot", "verify", "--no-images")["ok"]


def test_snapshot__without_any(parts: Path) -> None:
    with pytest.raises(NotFound, match="Make one with `labelloop snapshot create`"):
        run(parts, "snapshot", "show")
    assert "There is no snapshot yet" in run(parts, "snapshot", "list")
    run(parts, "snapshot", "create")
    with pytest.raises(InputError, match="is the first snapshot"):
        run(parts, "snapshot", "diff")


def test_python__the_same(parts: Path) -> None:
    project = labelloop.open(parts)
    made = project.snapshot()
    assert project.snapshots()["snapshot"].tolist() == [made]
    assert project.verify_snapshot()["ok"]
    project.exclude(["0.png"])
    project.snapshot()
    assert project.diff_snapshots()["counts"]["excluded"] == 1
    assert project.restore_snapshot(made)["included"] == 1
