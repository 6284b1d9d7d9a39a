"""Where a training stands, on disk: from the last checkpoint it goes on as if nothing had happened.

The newest is in checkpoint.safetensors, the one before it in checkpoint-previous.safetensors. Each
is one safetensors file whose metadata hold, as JSON, what is no tensor, and a checksum of what is.
"""

import json
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from curation import files
from curation.errors import TrainingError

NEWEST, BEFORE = "checkpoint.safetensors", "checkpoint-previous.safetensors"
_FORMAT = "labelloop-checkpoint-1"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What was read.

    Attributes:
        tensors: by name.
        facts: all else, as JSON knows it.
        says: what is wrong with a newer one that cannot be used; empty if nothing is.
    """

    tensors: dict[str, torch.Tensor]
    facts: dict[str, Any]
    says: str = ""


class _Damaged(Exception):
    """This file is not what was written."""


def write(folder: Path, tensors: Mapping[str, torch.Tensor], *, job: str, facts: Any) -> None:
    """Put a new checkpoint beside the last one, which stays in case this one gets damaged.

    Args:
        folder: of the run; it exists.
        tensors: in ordinary memory, contiguous, none sharing it.
        job: that the checkpoint belongs to; see `read`.
        facts: as JSON knows them.

    Raises:
        LabelloopError: no space left, or the folder cannot be written; the last one still loads.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    about = {"format": _FORMAT, "job": job, "facts": facts, "checksum": _checksum(tensors)}
    partial = folder / f".{NEWEST}.partial"
    try:
        save_file(dict(tensors), partial, metadata={"labelloop": json.dumps(about)})
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        if (folder / NEWEST).exists():
            (folder / NEWEST).replace(folder / BEFORE)
        partial.replace(folder / NEWEST)
        files.sync_folder(folder)
    except OSError as error:
        raise files.unwritable(error, folder / NEWEST) from error
    except SafetensorError as error:
        raise files.unwritable(OSError(str(error)), folder / NEWEST) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def read(folder: Path, *, job: str) -> Checkpoint | None:
    """The newest checkpoint that is as it was written; None where there is none.

    Args:
        folder: of the run.
        job: all that decides the outcome, as one word.

    Raises:
        TrainingError: it belongs to another job.
    """
    says = ""
    for name in (NEWEST, BEFORE):
        path = folder / name
        if not path.exists():
            continue
        try:
            about, tensors = _read(path)
        except _Damaged as error:
            says = f"{path.name} is damaged ({error})"
            continue
        if about["job"] != job:
            raise TrainingError(
                f"{path} belongs to a training with other images, labels, settings or seed, or its "
                "recipe or weights file has changed since. Train into another folder, or delete "
                "that file to begin anew."
            )
        return Checkpoint(tensors, about["facts"], says)
    return Checkpoint({}, {}, says) if says else None


def drop_newest(folder: Path) -> None:
    """Remove the newest, which `read` found damaged: `write` would put it over the sound one.

    Raises:
        LabelloopError: the folder cannot be written.
    """
    try:
        (folder / NEWEST).unlink(missing_ok=True)
    except OSError as error:
        raise files.unwritable(error, folder / NEWEST) from error


def finish(folder: Path, *, job: str, facts: Any) -> None:
    """Keep only what tells that the training is over: the model has a file of its own."""
    write(folder, {"none": torch.zeros(1)}, job=job, facts=facts)
    (folder / BEFORE).unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("labelloop", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise _Damaged(" ".join(str(error).split())[:200]) from error
    if not isinstance(about, dict) or about.get("format") != _FORMAT:
        raise _Damaged("it is no checkpoint")
    if about["checksum"] != _checksum(tensors):
        raise _Damaged("its checksum differs")
    return about, tensors


def _checksum(tensors: Mapping[str, torch.Tensor]) -> int:
    """CRC-32 over names and values: tells damage, not malice."""
    found = 0
    for name in sorted(tensors):
        values = tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy()
        found = zlib.crc32(values.data, zlib.crc32(name.encode(), found))
    return found
