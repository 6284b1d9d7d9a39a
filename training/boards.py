"""Curves of a training for TensorBoard: `tensorboard --logdir` of a workspace's runs shows them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Board:
    """Where the epochs of one run are written."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def add(self, epoch: dict[str, Any]) -> None:
        """Writes the numbers of one epoch, those of the validation with their own prefix."""
        if self._writer is None:
            return
        number = epoch["number"]
        validation = epoch.get("validation") or {}
        curves = {name: value for name, value in epoch.items() if name != "number"}
        curves |= {f"validation/{name}": value for name, value in validation.items()}
        for name, value in curves.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                self._writer.add_scalar(name.replace("_", "-"), value, number)
        self._writer.flush()


@contextmanager
def open(folder: Path, *, write: bool = True) -> Iterator[Board]:
    """A board that starts anew: a training that goes on tells its earlier epochs again.

    Args:
        folder: of the event files.
        write: False for a process that is not the first of several.
    """
    if not write:
        yield Board(None)
        return
    from torch.utils.tensorboard import SummaryWriter

    shutil.rmtree(folder, ignore_errors=True)
    writer = SummaryWriter(str(folder))
    try:
        yield Board(writer)
    finally:
        writer.close()
