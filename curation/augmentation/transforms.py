"""The transforms that a recipe may name, and what each of their parameters may be.

A list of what is allowed rather than of what is not: a recipe is a file that people hand around, so
no transform in it may call code, read files or mix other images in. Left out as well is what leaves
no label to trust (local folding) and all borders that repeat the picture mirrored, with its boxes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class Rule(Protocol):
    """What a parameter may be."""

    def fault(self, value: Any) -> str:
        """What a value must be instead, such as "two numbers from 0 to 1"; empty if it is fine."""


def _is_number(value: Any, *, whole: bool) -> bool:
    return isinstance(value, int if whole else int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class Range:
    """`[lowest, highest]`, from which a value is drawn anew for every image.

    Attributes:
        low, high: no value may lie outside.
        whole: whether only whole numbers are meant.
    """

    low: float
    high: float
    whole: bool = False

    def fault(self, value: Any) -> str:
        """See `Rule`."""
        pair = isinstance(value, list | tuple) and len(value) == 2
        if (
            pair
            and all(_is_number(end, whole=self.whole) for end in value)
            and self.low <= value[0] <= value[1] <= self.high
        ):
            return ""
        noun = "whole numbers" if self.whole else "numbers"
        return f"[lowest, highest], two {noun} from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Number:
    """One number within bounds."""

    low: float
    high: float
    whole: bool = False

    def fault(self, value: Any) -> str:
        """See `Rule`."""
        if _is_number(value, whole=self.whole) and self.low <= value <= self.high:
            return ""
        return f"a {'whole ' if self.whole else ''}number from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Size:
    """`[height, width]`, whole numbers of at least 1."""

    high: int

    def fault(self, value: Any) -> str:
        """See `Rule`."""
        pair = isinstance(value, list | tuple) and len(value) == 2
        if pair and all(_is_number(side, whole=True) and 1 <= side <= self.high for side in value):
            return ""
        return f"[height, width], two whole numbers from 1 to {self.high:,}"


@dataclass(frozen=True)
class Choice:
    """One of these words."""

    words: tuple[str, ...]

    def fault(self, value: Any) -> str:
        """See `Rule`."""
        return "" if value in self.words else f"one of: {', '.join(self.words)}"


@dataclass(frozen=True)
class Flag:
    """true or false."""

    def fault(self, value: Any) -> str:
        """See `Rule`."""
        return "" if isinstance(value, bool) else "true or false"


@dataclass(frozen=True)
class Transform:
    """What is known of one transform.

    Attributes:
        parameters: the ones that may be set, besides p.
        required: those of them that have no default.
        mirrors: whether its output can be a mirror image of its input.
    """

    parameters: Mapping[str, Rule] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    mirrors: bool = False


BORDERS = {"constant": 0, "replicate": 1}
"""Names of OpenCV's codes for what lies beyond the border of a picture that was moved."""

_LEVEL = Number(0, 255)
_FACTOR = Range(0, 3)
_LARGEST_SIDE = 10_000
_BORDER: dict[str, Rule] = {"border_mode": Choice(tuple(BORDERS)), "fill": _LEVEL}

TRANSFORMS: dict[str, Transform] = {
    # where things are
    "Affine": Transform(
        {
            "scale": Range(0.3, 3),
            "translate_percent": Range(-0.5, 0.5),
            "rotate": Range(-180, 180),
            "shear": Range(-30, 30),
            "keep_ratio": Flag(),
            **_BORDER,
        }
    ),
    "Rotate": Transform({"limit": Range(-180, 180), **_BORDER}),
    "RandomRotate90": Transform(),
    "Perspective": Transform({"scale": Range(0, 0.3), **_BORDER}),
    "RandomCrop": Transform(
        {"height": Number(1, _LARGEST_SIDE, whole=True), "width": Number(1, _LARGEST_SIDE, True)},
        required=("height", "width"),
    ),
    "RandomResizedCrop": Transform(
        {"size": Size(_LARGEST_SIDE), "scale": Range(0.01, 1), "ratio": Range(0.2, 5)},
        required=("size",),
    ),
    "HorizontalFlip": Transform(mirrors=True),
    "VerticalFlip": Transform(mirrors=True),
    "Transpose": Transform(mirrors=True),
    "D4": Transform(mirrors=True),
    # light and colour
    "RandomBrightnessContrast": Transform(
        {"brightness_limit": Range(-1, 1), "contrast_limit": Range(-1, 1)}
    ),
    "RandomGamma": Transform({"gamma_limit": Range(1, 500)}),
    "RandomToneCurve": Transform({"scale": Number(0, 1), "per_channel": Flag()}),
    "CLAHE": Transform({"clip_limit": Range(1, 40), "tile_grid_size": Size(64)}),
    "ColorJitter": Transform(
        {
            "brightness": _FACTOR,
            "contrast": _FACTOR,
            "saturation": _FACTOR,
            "hue": Range(-0.5, 0.5),
        }
    ),
    "HueSaturationValue": Transform(
        {
            "hue_shift_limit": Range(-180, 180),
            "sat_shift_limit": Range(-255, 255),
            "val_shift_limit": Range(-255, 255),
        }
    ),
    "PlanckianJitter": Transform({"temperature_limit": Range(3_000, 15_000, whole=True)}),
    "ToGray": Transform(),
    "Illumination": Transform(
        {
            "mode": Choice(("linear", "corner", "gaussian")),
            "intensity_range": Range(0.01, 0.2),
            "effect_type": Choice(("brighten", "darken", "both")),
        }
    ),
    "RandomShadow": Transform(
        {
            "num_shadows_limit": Range(1, 10, whole=True),
            "shadow_dimension": Number(3, 20, whole=True),
            "shadow_intensity_range": Range(0, 1),
        }
    ),
    # sharpness
    "GaussianBlur": Transform(
        {"sigma_limit": Range(0, 20), "blur_limit": Range(0, 101, whole=True)}
    ),
    "MotionBlur": Transform(
        {"blur_limit": Range(3, 101, whole=True), "angle_range": Range(0, 360)}
    ),
    "Defocus": Transform({"radius": Range(1, 50, whole=True), "alias_blur": Range(0, 5)}),
    "Downscale": Transform({"scale_range": Range(0.05, 0.99)}),
    "Sharpen": Transform({"alpha": Range(0, 1), "lightness": Range(0, 3)}),
    # noise
    "GaussNoise": Transform({"std_range": Range(0, 1), "per_channel": Flag()}),
    "ISONoise": Transform({"color_shift": Range(0, 1), "intensity": Range(0, 2)}),
    "ShotNoise": Transform({"scale_range": Range(0.001, 1)}),
    "MultiplicativeNoise": Transform(
        {"multiplier": _FACTOR, "per_channel": Flag(), "elementwise": Flag()}
    ),
    "SaltAndPepper": Transform({"amount": Range(0, 0.5)}),
    "ImageCompression": Transform(
        {
            "quality_range": Range(1, 100, whole=True),
            "compression_type": Choice(("jpeg", "webp")),
        }
    ),
    "Posterize": Transform({"num_bits": Range(1, 7, whole=True)}),
    # what is hidden
    "CoarseDropout": Transform(
        {
            "num_holes_range": Range(1, 64, whole=True),
            "hole_height_range": Range(0.01, 0.9),
            "hole_width_range": Range(0.01, 0.9),
            "fill": _LEVEL,
        }
    ),
}
"""By albumentations' name."""
