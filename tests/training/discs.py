"""Files to fine-tune on in a blink: noisy discs, and a tiny backbone with weights of its own."""

from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from training.finetuning.objective import Rows
from training.settings import FineTuneSettings

CLASSES = ("left", "right", "never")
QUICK = FineTuneSettings(
    backbone="test_efficientnet", input_size=32, batch_size=8, epochs=2, augmentation="none"
)


def make(folder: Path, *, count: int = 24, mode: str = "L", noise: float = 20.0) -> Rows:
    """Pictures with a bright disc on a dark ground (right), or a dark one on a bright ground."""
    rng = np.random.default_rng(0)
    y = np.arange(count) % 2
    rows, columns = np.mgrid[:40, :40]
    disc = (rows - 20) ** 2 + (columns - 20) ** 2 < 120
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, side in enumerate(y):
        picture = np.where(disc == (side == 1), 180, 60) + rng.normal(scale=noise, size=(40, 40))
        grey = np.clip(picture, 0, 255)
        path = folder / f"{number}.png"
        if mode == "I;16":
            Image.fromarray((grey * 257).astype(np.uint16)).save(path)
        else:
            Image.fromarray(grey.astype(np.uint8)).convert(mode).save(path)
        paths.append(path)
    return Rows(paths, y)


def weights(folder: Path, *, backbone: str = QUICK.backbone) -> Path:
    """A safetensors file for the backbone: random numbers, the same each time."""
    path = folder / f"{backbone}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            save_file(timm.create_model(backbone).state_dict(), path)
    return path


def part(rows: Rows, start: int, stop: int) -> Rows:
    """Some of the rows."""
    return Rows(rows.paths[start:stop], rows.targets[start:stop])
