"""Classifiers on embeddings as files: one safetensors file each, which says what it holds."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from curation import files
from curation.errors import TrainingError

Made = TypeVar("Made")


def save(path: Path, model: Any, *, format: str) -> None:
    """Write a dataclass to one file, all or nothing: its arrays as tensors, the rest as JSON."""
    from safetensors.numpy import save as to_bytes

    held = {field.name: getattr(model, field.name) for field in fields(model)}
    tensors = {name: value for name, value in held.items() if isinstance(value, np.ndarray)}
    about = {name: value for name, value in held.items() if name not in tensors}
    whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    described = json.dumps({"format": format, **about})
    files.write_bytes(path, to_bytes(whole, metadata={"labelloop": described}))


def load(path: Path, kind: type[Made], *, format: str, what: str) -> Made:
    """Read what `save` wrote.

    Args:
        path: of the file.
        kind: has classes and temperature; its ValueError says what does not fit together.
        format: the only one that is read.
        what: the thing, for messages.

    Raises:
        TrainingError: the file is missing, broken, or something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            about = dict(json.loads((file.metadata() or {}).get("labelloop", "{}")))
            if (found := about.pop("format")) != format:
                raise ValueError(f"it holds {found}, not {format}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about["classes"] = tuple(about["classes"])
        about["temperature"] = float(about["temperature"])
        return kind(**about, **tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(
            f"{path} is not a {what} that can be loaded ({error}). Train it again."
        ) from error
