"""A project in a new workspace, and folders of small pictures to import."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation import workspace
from curation.workspace import Project


def picture(seed: int, *, side: int = 12) -> Image.Image:
    """Noise: every seed another picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return workspace.create_project(
        tmp_path / "workspace", name="parts", class_names=["ok", "scratch", "dent"], seed=5
    )


@pytest.fixture
def make_images(tmp_path: Path) -> Callable[..., Path]:
    """Writes pictures of these names to a folder; equal seeds are exact copies."""

    def make(*names: str, folder: str = "photos", first_seed: int = 0) -> Path:
        root = tmp_path / folder
        for offset, name in enumerate(names):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(first_seed + offset).save(path, "PNG")
        return root

    return make
