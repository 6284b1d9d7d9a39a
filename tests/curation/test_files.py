import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from curation import files
from curation.errors import LabelloopError


def test_write_bytes__replaces(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    files.write_bytes(path, b"one")
    files.write_bytes(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_replacing__an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_bytes(path, b"old")
    with pytest.raises(RuntimeError), files.replacing(path) as file:
        file.write(b"half of the n")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_replacing__killed_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_bytes(path, b"old")
    script = """
import os, signal, sys
from pathlib import Path
from curation import files
with files.replacing(Path(sys.argv[1])) as file:
    file.write(b"new" * 100_000)
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, path], cwd=Path(__file__).parents[2], check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"


def test_write_bytes__a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("in the way")
    with pytest.raises(LabelloopError, match=r"Cannot write .*folder/file: .*run the command"):
        files.write_bytes(tmp_path / "folder" / "file", b"x")


def test_write_bytes__disk_full() -> None:
    # /dev/full lies in a folder that takes no other file system's rename; the write fails first.
    script = """
import resource, sys
from pathlib import Path
from curation import files
from curation.errors import LabelloopError
path = Path(sys.argv[1])
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    files.write_bytes(path, b"x" * 100_000)
except LabelloopError as error:
    print(error)
"""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(b"old")
        said = subprocess.run(
            [sys.executable, "-c", script, path],
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert said.startswith(f"Cannot write {path}: File too large")
        assert path.read_bytes() == b"old"
        assert os.listdir(folder) == ["file"]  # noqa: PTH208 - hidden names included


def test_write_json__readable(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    files.write_json(path, {"name": "Schäden", "n": [1, 2]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "Schäden", "n": [1, 2]}
    assert "Schäden" in path.read_text(encoding="utf-8")
