"""Recipes applied on the fly: every image of every epoch changed anew, by the run's seed."""

from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from curation.augmentation import recipes
from curation.augmentation.pipeline import Pipeline, seed_of
from curation.augmentation.recipes import Recipe
from curation.errors import TrainingError
from curation.images import usable_cores

Pixels = NDArray[np.uint8]
Augment = Callable[[Pixels, NDArray[np.integer], NDArray[np.integer]], Pixels]

NONE = "none"


def recipe(name: str, *, folder: Path | None = None) -> Recipe | None:
    """The recipe that a training setting names; none for `none`.

    Args:
        name: `none`, a shipped recipe, one of the folder, or the path of a `.toml` file.
        folder: with people's own recipes.

    Raises:
        NotFound: there is no recipe of that name.
        InputError: its file cannot be used.
    """
    return None if name == NONE else recipes.find(name, folder=folder)


def prepare(recipe: Recipe, *, size: int, seed: int) -> Augment:
    """From pixels (B, S, S, 3), their rows (B,) and looks (B,) to changed pixels (B, S, S, 3).

    What comes out depends on seed, row and look, and not on the batch or the thread; a look is the
    epoch, or any other number that tells one sight of an image from the next. At 112 pixels the
    recipe `light` takes 0.4 ms of one core an image, no more than the same as one interpolation of
    the batch by torch took, and a training step takes 20 ms: so there is one `light`, not two.

    Args:
        recipe: what is done.
        size: S, pixels of a side; crops of the recipe are resized to it.
        seed: of the run.

    Raises:
        TrainingError: the training's images are smaller than a crop of the recipe.
        InputError: albumentations refuses a value of the recipe.
    """
    if fault := recipe.too_small(size, size):
        raise TrainingError(
            f"With input-size {size} images are {fault}, as the recipe {recipe.name!r} wants. "
            "Raise input-size, or take another recipe."
        )
    # A pipeline serves one thread at a time, and only this one may make it.
    pipelines: SimpleQueue[Pipeline] = SimpleQueue()
    for _ in range(usable_cores()):
        pipelines.put(Pipeline(recipe))

    def augment(pixels: Pixels, rows: NDArray[np.integer], looks: NDArray[np.integer]) -> Pixels:
        changed = np.empty_like(pixels)
        pipeline = pipelines.get()
        try:
            for place, (row, look) in enumerate(zip(rows.tolist(), looks.tolist(), strict=True)):
                made = pipeline.apply(pixels[place], seed=seed_of(seed, row, look)).pixels
                changed[place] = made if made.shape == pixels[place].shape else _resized(made, size)
        finally:
            pipelines.put(pipeline)
        return changed

    return augment


def _resized(pixels: Pixels, size: int) -> Pixels:
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    found = functional.interpolate(
        batch, size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )
    resized: Pixels = found[0].permute(1, 2, 0).numpy()
    return resized
