"""A recipe at work: pixels and boxes in, pixels and boxes out, by a seed and nothing else."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.augmentation.recipes import Recipe, Step
from curation.augmentation.transforms import BORDERS
from curation.errors import InputError
from curation.records import Box

Pixels = npt.NDArray[np.uint8]

VISIBLE = 0.3
"""A box of which less than this share is still in the picture is dropped."""
SMALLEST_BOX = 1.0
"""Pixels of a side below which nothing is left of a box."""


@dataclass(frozen=True, eq=False)
class Augmented:
    """One copy of an image.

    Attributes:
        pixels: (H, W, 3); of the input's size unless the recipe crops.
        boxes: those of the input that are still to be seen, in their order.
        dropped: how many are not.
    """

    pixels: Pixels
    boxes: tuple[Box, ...] = ()
    dropped: int = 0


class Pipeline:
    """A recipe, ready to be applied: by one thread at a time, and made by the main thread.

    Args:
        recipe: what is done.

    Raises:
        InputError: albumentations refuses a value.
    """

    def __init__(self, recipe: Recipe) -> None:
        # Asked for a version of itself, albumentations would call out while it is imported.
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
        import albumentations

        self.recipe = recipe
        steps = [_made(albumentations, step, recipe.origin) for step in recipe.steps]
        moves = any("bboxes" in step.available_keys for step in steps)
        boxes = albumentations.BboxParams(
            format="coco",
            label_fields=["places"],
            min_visibility=VISIBLE,
            min_width=SMALLEST_BOX,
            min_height=SMALLEST_BOX,
            clip=True,
        )
        self._run = albumentations.Compose(steps)
        # The same steps and numbers, which takes more than twice the time.
        self._run_with_boxes = albumentations.Compose(steps, bbox_params=boxes) if moves else None

    def apply(self, pixels: Pixels, *, seed: int, boxes: Sequence[Box] = ()) -> Augmented:
        """A copy of the image; the same again for the same seed.

        Args:
            pixels: (H, W, 3) 8-bit RGB, upright; left as it is.
            seed: of this copy; see `seed_of`.
            boxes: in pixels of this image.

        Raises:
            InputError: the image is smaller than a crop of the recipe.
        """
        height, width = pixels.shape[:2]
        if fault := self.recipe.too_small(width, height):
            raise InputError(f"The image of {width} x {height} pixels is {fault}.")
        with_boxes = self._run_with_boxes if boxes else None
        run = self._run if with_boxes is None else with_boxes
        run.set_random_seed(seed)
        if with_boxes is not None:
            done = run(
                image=pixels,
                bboxes=[(box.x, box.y, box.width, box.height) for box in boxes],
                places=list(range(len(boxes))),
            )
            kept = tuple(
                _moved(boxes[int(place)], box)
                for box, place in zip(done["bboxes"], done["places"], strict=True)
            )
        else:
            done = run(image=pixels)
            kept = tuple(boxes)
        changed: Pixels = np.ascontiguousarray(done["image"])
        if np.shares_memory(changed, pixels):  # no step was drawn
            changed = changed.copy()
        return Augmented(changed, kept, len(boxes) - len(kept))


def _moved(box: Box, to: Sequence[float]) -> Box:
    x, y, width, height = map(float, to)
    return replace(box, x=x, y=y, width=width, height=height)


def seed_of(seed: int, image_id: int, copy: int) -> int:
    """The seed of one copy of one image: whatever the order or the batch it is made in."""
    return int(np.random.SeedSequence([seed, image_id, copy]).generate_state(1)[0])


def alone(recipe: Recipe, step: Step) -> Recipe:
    """A recipe of this one step, which is applied to every image."""
    return replace(recipe, steps=(replace(step, p=1.0),))


def _made(albumentations: Any, step: Step, origin: str) -> Any:
    """The transform; what albumentations merely warns of is refused."""
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in step.parameters.items()
    }
    if "border_mode" in given:
        given["border_mode"] = BORDERS[given["border_mode"]]
    try:
        with warnings.catch_warnings():  # of the whole process: hence not in a worker's thread
            warnings.simplefilter("error")
            return getattr(albumentations, step.transform)(p=step.p, **given)
    except (ValueError, TypeError, Warning) as error:
        says = " ".join(str(error).split())
        raise InputError(f"{origin}, {step.transform}: {says}. Mend that step.") from error
