"""What may happen to a picture on its way to a model, each in three strengths.

Source: Hendrycks & Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions
and Perturbations" (ImageNet-C), whose idea and kinds these are; the strengths are ours.

Strengths are those of a picture of `SIDE` pixels, and what happens is as if it had happened there
before the picture was scaled to the model's input: blur is a share of the side, noise averages out
by area, JPEG's blocks are a share of the side. So they mean the same to a model of 64 pixels as to
one of 224.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.augmentation.pipeline import seed_of
from curation.errors import NotFound

Pixels = NDArray[np.uint8]
Change = Callable[[Pixels, int], Pixels]
"""From pixels (S, S, 3) and a seed to changed pixels of the same shape."""

SIDE = 224
SEVERITIES = (1, 2, 3)
_REFLECT = 4
"""OpenCV's BORDER_REFLECT_101."""


@dataclass(frozen=True)
class Corruption:
    """One kind.

    Attributes:
        strengths: of the severities 1 to 3, at `SIDE` pixels.
        unit: what they are.
        prepare: from a strength and the model's input size over `SIDE` to what is done.
    """

    strengths: tuple[float, float, float]
    unit: str
    prepare: Callable[[float, float], Change]


def change(kind: str, severity: int, *, size: int) -> Change:
    """What a corruption does to images of `size` pixels: the same again for the same seed.

    Raises:
        NotFound: no corruption of that name.
    """
    if kind not in CORRUPTIONS:
        raise NotFound(f"No corruption {kind!r}. Choose from: {', '.join(CORRUPTIONS)}.")
    one = CORRUPTIONS[kind]
    return one.prepare(one.strengths[severity - 1], size / SIDE)


def apply(change: Change, pixels: Pixels, keys: NDArray[np.int64], *, seed: int) -> Pixels:
    """Changed pixels (B, S, S, 3); each image by its key (B,), whatever batch it is in."""
    changed = np.empty_like(pixels)
    for place, key in enumerate(keys.tolist()):
        changed[place] = change(pixels[place], seed_of(seed, key, 0))
    return changed


def _library() -> Any:
    # Asked for a version of itself, albumentations would call out while it is imported.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


def _by(step: Any) -> Change:
    run = _library().Compose([step])

    def done(pixels: Pixels, seed: int) -> Pixels:
        run.set_random_seed(seed)
        changed: Pixels = run(image=pixels)["image"]
        return changed

    return done


def _resized(change: Change, side: int) -> Change:
    """Makes the change at another side and carries over only what it changed."""
    import cv2

    def done(pixels: Pixels, seed: int) -> Pixels:
        size = pixels.shape[0]
        ways = (cv2.INTER_CUBIC, cv2.INTER_AREA)
        seen: Any = cv2.resize(pixels, (side, side), interpolation=ways[side < size])
        moved = change(seen, seed).astype(np.float32) - seen
        back: Any = cv2.resize(moved, (size, size), interpolation=ways[side > size])
        return _whole(pixels + back)

    return done


def _whole(pixels: NDArray[np.floating[Any]]) -> Pixels:
    return np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)


def _gaussian_blur(deviation: float, scale: float) -> Change:
    sigma = deviation * scale
    return _by(_library().GaussianBlur(blur_limit=0, sigma_limit=(sigma, sigma), p=1))


def _motion_blur(length: float, scale: float) -> Change:
    # A kernel has an odd number of pixels: too coarse a scale where pictures are small.
    pixels = 2 * round((length * max(scale, 1.0) - 1) / 2) + 1
    blur = _by(
        _library().MotionBlur(
            blur_limit=(pixels, pixels), allow_shifted=False, direction_range=(0, 0), p=1
        )
    )
    return blur if scale >= 1 else _resized(blur, SIDE)


def _gaussian_noise(deviation: float, scale: float) -> Change:
    at = min(1.0, deviation * scale)
    return _by(_library().GaussNoise(std_range=(at, at), p=1))


def _shot_noise(photons: float, scale: float) -> Change:
    # As many photons fall on the picture, so fewer on each of more pixels. The normal law stands
    # in for Poisson's: albumentations' own takes 30 ms an image.
    each = photons / scale**2

    def done(pixels: Pixels, seed: int) -> Pixels:
        noise = np.random.default_rng(seed).standard_normal(pixels.shape, dtype=np.float32)
        return _whole(pixels + noise * np.sqrt(pixels * np.float32(255 / each)))

    return done


def _brightness(shift: float, scale: float) -> Change:
    return _by(
        _library().RandomBrightnessContrast(
            brightness_limit=(shift, shift), contrast_limit=(0, 0), p=1
        )
    )


def _contrast(factor: float, scale: float) -> Change:
    still = {"brightness": (1, 1), "saturation": (1, 1), "hue": (0, 0)}
    return _by(_library().ColorJitter(contrast=(factor, factor), p=1, **still))


def _jpeg(quality: float, scale: float) -> Change:
    at = int(quality)
    return _resized(_by(_library().ImageCompression(quality_range=(at, at), p=1)), SIDE)


def _rotation(degrees: float, scale: float) -> Change:
    library = _library()
    ways = [
        library.Rotate(limit=(turn, turn), border_mode=_REFLECT, p=1)
        for turn in (-degrees, degrees)
    ]
    return _by(library.OneOf(ways, p=1))


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian-blur": Corruption((2, 3.5, 6), "pixels of standard deviation", _gaussian_blur),
    "motion-blur": Corruption((13, 21, 33), "pixels of length", _motion_blur),
    "gaussian-noise": Corruption((0.06, 0.12, 0.24), "of the range of values", _gaussian_noise),
    "shot-noise": Corruption((60, 20, 6), "photons on a white pixel", _shot_noise),
    "brightness-up": Corruption((0.1, 0.2, 0.3), "of the range of values", _brightness),
    "brightness-down": Corruption((-0.1, -0.2, -0.3), "of the range of values", _brightness),
    "contrast": Corruption((0.6, 0.4, 0.2), "of the contrast is left", _contrast),
    "jpeg": Corruption((30, 15, 7), "quality", _jpeg),
    "rotation": Corruption((5, 10, 15), "degrees to either side", _rotation),
}
