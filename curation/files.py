"""Files that are either the old one or the new one, whatever happens in between."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from curation.errors import LabelloopError


@contextmanager
def replacing(path: Path, *, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """A file to write to, which takes the place of `path` when the block ends well.

    Raises:
        LabelloopError: no space left, or the folder cannot be written; `path` is as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise unwritable(error, path) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(error, path) from error
    finally:
        Path(name).unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Waits until the disk has the folder's names as they are now."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unwritable(error: OSError, path: Path) -> LabelloopError:
    """What to raise where `path` cannot be written."""
    return LabelloopError(
        f"Cannot write {path}: {error.strerror or error}. Free some space or mend the folder's "
        "permissions, then run the command again."
    )


def write_bytes(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replaces `path` with this content, atomically."""
    with replacing(path, mode=mode) as file:
        file.write(content)


def write_json(path: Path, content: Any, *, mode: int = 0o644) -> None:
    """Replaces `path` with this value as JSON, atomically."""
    write_bytes(
        path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode(), mode=mode
    )
