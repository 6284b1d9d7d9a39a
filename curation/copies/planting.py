"""Known copies of a dataset's own images, to learn how well copies are found in that very dataset.

The changes are those that copies meet in real folders: saved again, scaled, cropped, corrected,
turned, framed. A copy is stored as such a folder would hold it: of a JPEG a JPEG, else a PNG.
"""

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

from curation.errors import InputError, LabelloopError, UnreadableImage
from curation.images import decode
from curation.progress import Report, silent

# What files stored without losses begin with: PNG, GIF, BMP and TIFF.
_LOSSLESS = (b"\x89PNG", b"GIF8", b"BM", b"II", b"MM")
_USUAL_QUALITY = 92
_POOR_QUALITY = 30
_GREYS = (0, 128, 255)
_CORNERS = ("edge", "background")

# A dataset of a million grey images must not be decoded to the last in search of a coloured one.
_TRIES = 10


@dataclass(frozen=True)
class Change:
    """What is done to an image to make a copy of it.

    Attributes:
        make: from upright RGB to RGB, of any size; what it draws from the generator is all the
            chance there is.
        store: `usual` is JPEG of quality 92 where the original is stored with losses and PNG where
            it is not; `poor` is JPEG of quality 30; `png`; `bytes` takes the file as it is.
        colour_only: whether it would leave a grey image as it is.
    """

    make: Callable[[Image.Image, np.random.Generator], Image.Image]
    store: Literal["usual", "poor", "png", "bytes"] = "usual"
    colour_only: bool = False


@dataclass(frozen=True)
class Planted:
    """One known copy.

    Attributes:
        original: the image that was copied.
        copy: the file that was written.
        change: name of what was done, a key of CHANGES.
    """

    original: Path
    copy: Path
    change: str


def plant(
    paths: Sequence[Path],
    to: Path,
    *,
    count: int,
    rng: np.random.Generator,
    changes: Sequence[str] | None = None,
    side: int | None = None,
    report: Report = silent,
) -> list[Planted]:
    """Write copies of some images to a folder, under names that tell nothing.

    Each change takes other images as long as there are any, so that a small dataset has an image
    copied in several ways but never twice in the same way. Images that cannot be decoded are
    passed over, and grey ones where a change is to colour; of 10 times `count` images at most.

    Args:
        paths: images to copy from.
        to: folder for the copies; made where missing. Files in it are never overwritten.
        count: copies to make by each change; fewer where there are fewer images.
        rng: which images, what happens to them, and the names of the copies.
        changes: keys of CHANGES; CALIBRATION by default.
        side: pixels; a larger picture is first scaled so that its shorter side has so many, except
            where every pixel must stay. Copies of camera pictures are then made within seconds.
        report: told of the progress.

    Raises:
        InputError: an unknown change, or a count below 1.
        LabelloopError: a copy cannot be written.
        Cancelled: asked to stop.
    """
    wanted = CALIBRATION if changes is None else tuple(changes)
    unknown = sorted(set(wanted) - set(CHANGES))
    if unknown:
        raise InputError(f"No change is called {unknown[0]!r}. Choose among {', '.join(CHANGES)}.")
    if count < 1:
        raise InputError(f"Asked for {count} copies by each change. Ask for at least 1.")
    to.mkdir(parents=True, exist_ok=True)
    planted: list[Planted] = []
    waiting: list[int] = []
    for name in wanted:
        if len(waiting) < count:
            held = set(waiting)
            waiting += [int(i) for i in rng.permutation(len(paths)) if i not in held]
        made = 0
        passed: list[int] = []
        for at in waiting[: _TRIES * count]:
            report(len(planted), count * len(wanted), "plant copies")
            if made == count:
                break
            copy = _write(paths[at], to, CHANGES[name], side, rng)
            if copy is None:
                passed.append(at)
            else:
                planted.append(Planted(paths[at], copy, name))
                made += 1
        waiting = waiting[made + len(passed) :] + passed
    report(len(planted), len(planted), "plant copies")
    return planted


def _write(
    original: Path, to: Path, change: Change, side: int | None, rng: np.random.Generator
) -> Path | None:
    """The copy's path; None where this image does not take this change."""
    try:
        image = decode(original) if change.store == "png" else _scaled(original, side)
        data = original.read_bytes()
    except (OSError, UnreadableImage):
        return None
    grey = _is_grey(image)
    if change.colour_only and grey:
        return None
    if change.store == "bytes":
        suffix = original.suffix.lower()
    else:
        copy = change.make(image, rng)
        if grey:
            copy = copy.convert("L")
        target = io.BytesIO()
        lossless = change.store == "usual" and data.startswith(_LOSSLESS)
        if change.store == "png" or lossless:
            copy.save(target, "PNG", compress_level=1)
            suffix = ".png"
        else:
            quality = _POOR_QUALITY if change.store == "poor" else _USUAL_QUALITY
            copy.save(target, "JPEG", quality=quality)
            suffix = ".jpg"
        data = target.getvalue()
    path = next(path for path in _names(to, suffix, rng) if not path.exists())
    try:
        path.write_bytes(data)
    except OSError as error:
        raise LabelloopError(
            f"Cannot write a copy of {original.name} to {to}: {error.strerror or error}. Free some "
            "space there, or name another folder for temporary files in TMPDIR."
        ) from error
    return path


def _scaled(path: Path, side: int | None) -> Image.Image:
    """Decoded, with a shorter side of at most so many pixels."""
    image = decode(path, at_least=side)
    if side is None or min(image.size) <= side:
        return image
    by = side / min(image.size)
    size = (max(1, round(image.width * by)), max(1, round(image.height * by)))
    return image.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def _names(to: Path, suffix: str, rng: np.random.Generator) -> Iterator[Path]:
    while True:
        yield to / f"{rng.bytes(5).hex()}{suffix}"


def _is_grey(image: Image.Image) -> bool:
    pixels = np.asarray(image)
    return bool((pixels == pixels[..., :1]).all())


def _unchanged(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image


def _resized(image: Image.Image, rng: np.random.Generator, *, by: float) -> Image.Image:
    size = (max(1, round(image.width * by)), max(1, round(image.height * by)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _cropped(image: Image.Image, rng: np.random.Generator, *, to: float) -> Image.Image:
    width, height = max(1, round(image.width * to)), max(1, round(image.height * to))
    left = int(rng.integers(0, image.width - width + 1))
    top = int(rng.integers(0, image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def _brightened(image: Image.Image, rng: np.random.Generator, *, by: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(by)


def _contrasted(image: Image.Image, rng: np.random.Generator, *, by: float) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(by)


def _gamma(image: Image.Image, rng: np.random.Generator, *, power: float) -> Image.Image:
    curve = [round(255 * (value / 255) ** power) for value in range(256)]
    return image.point(curve * 3)


def _turned(image: Image.Image, rng: np.random.Generator, *, how: Image.Transpose) -> Image.Image:
    return image.transpose(how)


def _rotated(image: Image.Image, rng: np.random.Generator, *, degrees: float) -> Image.Image:
    """Rotate either way in the same frame; the corners go on with the edge or the background."""
    angle = degrees * float(rng.choice((-1, 1)))
    pixels = np.asarray(image)
    margin = math.ceil(max(image.size) * math.sin(math.radians(degrees))) + 2
    around = ((margin, margin), (margin, margin), (0, 0))
    if rng.choice(_CORNERS) == "edge":
        padded = np.pad(pixels, around, mode="edge")
    else:
        padded = np.empty((image.height + 2 * margin, image.width + 2 * margin, 3), dtype=np.uint8)
        padded[:] = _background(pixels)
        padded[margin:-margin, margin:-margin] = pixels
    turned = Image.fromarray(padded).rotate(angle, Image.Resampling.BICUBIC)
    return turned.crop((margin, margin, margin + image.width, margin + image.height))


def _background(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The median colour (3,) of the outermost pixels."""
    frame = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    colour: NDArray[np.uint8] = np.median(frame, axis=0).astype(np.uint8)
    return colour


def _blurred(image: Image.Image, rng: np.random.Generator, *, pixels: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(pixels))


def _noised(image: Image.Image, rng: np.random.Generator, *, sigma: float) -> Image.Image:
    pixels = np.asarray(image)
    channels = 1 if _is_grey(image) else 3
    noise = rng.normal(0, sigma, (image.height, image.width, channels))
    return Image.fromarray(np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8))


def _bordered(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    width = max(1, round(min(image.size) * rng.uniform(0.05, 0.10)))
    grey = int(rng.choice(_GREYS))
    size = (image.width + 2 * width, image.height + 2 * width)
    framed = Image.new("RGB", size, (grey, grey, grey))
    framed.paste(image, (width, width))
    return framed


def _watermarked(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A bar across the image with words on it, both half transparent."""
    height = max(1, round(image.height * rng.uniform(0.10, 0.16)))
    top = int(rng.integers(0, image.height - height + 1))
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    bar, ink = ((0, 0, 0), (255, 255, 255)) if rng.random() < 0.5 else ((255,) * 3, (0, 0, 0))
    draw.rectangle((0, top, image.width, top + height), fill=(*bar, 128))
    left = int(rng.integers(0, max(1, image.width // 3)))
    font = ImageFont.load_default(max(6, round(0.8 * height)))
    draw.text((left, top), "© PREVIEW ONLY", fill=(*ink, 128), font=font)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def _grey(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.convert("L")


CHANGES: dict[str, Change] = {
    "exact": Change(_unchanged, store="bytes"),
    "same-pixels": Change(_unchanged, store="png"),
    "re-encoded": Change(_unchanged, store="poor"),
    "resized": Change(partial(_resized, by=0.5)),
    "cropped": Change(partial(_cropped, to=0.9)),
    "cropped-80": Change(partial(_cropped, to=0.8)),
    "brightened": Change(partial(_brightened, by=1.25)),
    "darkened": Change(partial(_brightened, by=0.8)),
    "contrast": Change(partial(_contrasted, by=1.3)),
    "gamma": Change(partial(_gamma, power=0.8)),
    "mirrored": Change(partial(_turned, how=Image.Transpose.FLIP_LEFT_RIGHT)),
    "flipped": Change(partial(_turned, how=Image.Transpose.FLIP_TOP_BOTTOM)),
    "rotated-3": Change(partial(_rotated, degrees=3)),
    "rotated-90": Change(partial(_turned, how=Image.Transpose.ROTATE_90)),
    "rotated-180": Change(partial(_turned, how=Image.Transpose.ROTATE_180)),
    "blurred": Change(partial(_blurred, pixels=1.5)),
    "noised": Change(partial(_noised, sigma=8)),
    "bordered": Change(_bordered),
    "watermarked": Change(_watermarked),
    "grey": Change(_grey, colour_only=True),
}
"""What can be done to an image: fractions are of each side, sigma and pixels of its own size."""

CALIBRATION = tuple(CHANGES)
BENCHMARK = (
    "re-encoded",
    "resized",
    "cropped",
    "brightened",
    "rotated-3",
    "mirrored",
    "blurred",
    "noised",
    "exact",
    "gamma",
)
