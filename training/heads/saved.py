"""Classifiers on embeddings as files: one safetensors file each, which says what it holds."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from curation import files
from curation.errors import TrainingError

Made = TypeVar("Made")


def save(
    path: Path,
    tensors: Mapping[str, NDArray[np.float32]],
    *,
    format: str,
    classes: Sequence[str],
    task: str,
    temperature: float,
) -> None:
    """Write one file, all or nothing."""
    from safetensors.numpy import save as to_bytes

    about = {"format": format, "classes": list(classes), "task": task, "temperature": temperature}
    whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    files.write_bytes(path, to_bytes(whole, metadata={"labelloop": json.dumps(about)}))


def load(
    path: Path,
    names: Sequence[str],
    make: Callable[[dict[str, Any]], Made],
    *,
    format: str,
    what: str,
) -> Made:
    """Read what `save` wrote.

    Args:
        path: of the file.
        names: of its tensors.
        make: given classes, task, temperature and the tensors by name; its ValueError says what
            does not fit together.
        format: the only one that is read.
        what: the thing, for messages.

    Raises:
        TrainingError: the file is missing, broken, or something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get("labelloop", "{}"))
            if about["format"] != format:
                raise ValueError(f"it holds {about['format']}, not {format}")
            tensors = {name: file.get_tensor(name) for name in names}
        return make(
            {
                "classes": tuple(about["classes"]),
                "task": about["task"],
                "temperature": float(about["temperature"]),
                **tensors,
            }
        )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(
            f"{path} is not a {what} that can be loaded ({error}). Train it again."
        ) from error
