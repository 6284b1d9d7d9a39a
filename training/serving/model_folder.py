"""The folder that a model leaves a workspace in: files of one model only, wherever writing stops.

`model.json` says what the other files are. Where it is, all of them are there and belong together.
"""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curation import files

ABOUT = "model.json"


def write(
    folder: Path, contents: Mapping[str, bytes], about: Mapping[str, Any]
) -> tuple[Path, ...]:
    """Writes files and what they are; returns their paths.

    A new folder appears when all is in it. In one that exists, `ABOUT` goes before any file is
    replaced, and comes last.

    Raises:
        LabelloopError: no space left, or the folder cannot be written.
    """
    try:
        if folder.exists():
            (folder / ABOUT).unlink(missing_ok=True)
            files.sync_folder(folder)
            _fill(folder, contents, about)
        else:
            _appear(folder, contents, about)
    except OSError as error:
        raise files.unwritable(error, folder) from error
    return tuple(folder / name for name in (*contents, ABOUT))


def _appear(folder: Path, contents: Mapping[str, bytes], about: Mapping[str, Any]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        _fill(aside, contents, about)
        aside.chmod(0o755)
        aside.rename(folder)
        files.sync_folder(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _fill(folder: Path, contents: Mapping[str, bytes], about: Mapping[str, Any]) -> None:
    for name, content in contents.items():
        files.write_bytes(folder / name, content)
    files.write_json(folder / ABOUT, about)
