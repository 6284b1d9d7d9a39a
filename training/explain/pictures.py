"""What explanations look like: heat over a picture, and strips of pictures side by side."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from curation import images, inference
from curation.backbones import Preprocessing
from curation.errors import UnreadableImage
from curation.inference import Pixels

SIDE = 384
"""Pixels of a picture with heat."""

THUMBNAIL = 144
ACROSS = 6
"""Pictures in a row of a strip."""

_GAP = 6
_STRENGTH = 0.65
_LINE = 17


def square(source: Path | bytes, how: Preprocessing) -> Pixels:
    """The part of a picture that the model sees, large enough for people: (SIDE, SIDE, 3).

    Raises:
        UnreadableImage: it cannot be decoded.
    """
    return inference.prepare(source, replace(how, size=SIDE, interpolation="bicubic"))


def heated(picture: Pixels, heat: NDArray[np.float32]) -> bytes:
    """A PNG: the picture (S, S, 3), and beside it the picture under the heat (s, s)."""
    from matplotlib import colormaps

    side = len(picture)
    layer = Image.fromarray((255 * np.clip(heat, 0, 1)).astype(np.uint8))
    spread = np.asarray(layer.resize((side, side), Image.Resampling.BICUBIC)) / 255.0
    colour = 255 * colormaps["inferno"](spread)[..., :3]
    # Where there is no heat, the picture stays as it is.
    share = _STRENGTH * spread[..., None] ** 0.5
    under = ((1 - share) * picture + share * colour).astype(np.uint8)
    sheet = Image.new("RGB", (2 * side + _GAP, side), "white")
    sheet.paste(Image.fromarray(picture), (0, 0))
    sheet.paste(Image.fromarray(under), (side + _GAP, 0))
    return _png(sheet)


def strip(pictures: Sequence[tuple[Path, Sequence[str]]]) -> bytes:
    """A PNG of pictures in rows, each with lines of text under it; grey where one has gone."""
    lines = max((len(said) for _, said in pictures), default=0)
    wide, high = THUMBNAIL + _GAP, THUMBNAIL + _GAP + lines * _LINE
    across = min(ACROSS, max(1, len(pictures)))
    down = -(-len(pictures) // across)
    sheet = Image.new("RGB", (across * wide, max(1, down * high)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, (path, said) in enumerate(pictures):
        left, top = number % across * wide, number // across * high
        shown = _thumbnail(path)
        offset = ((THUMBNAIL - shown.width) // 2, (THUMBNAIL - shown.height) // 2)
        sheet.paste(shown, (left + offset[0], top + offset[1]))
        for line, text in enumerate(said):
            place = (left + 2, top + THUMBNAIL + line * _LINE)
            pen.text(place, _shortened(text, pen, font), fill="#1f2430", font=font)
    return _png(sheet)


def _shortened(
    text: str, pen: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont
) -> str:
    while pen.textlength(text, font=font) > THUMBNAIL:
        text = f"{text.rstrip('…')[:-1]}…"
    return text


def _thumbnail(path: Path) -> Image.Image:
    try:
        shown = images.decode(path, at_least=THUMBNAIL)
    except UnreadableImage:
        return Image.new("RGB", (THUMBNAIL, THUMBNAIL), "#c9ced8")
    scale = THUMBNAIL / max(shown.size)
    size = (max(1, round(shown.width * scale)), max(1, round(shown.height * scale)))
    return shown.resize(size, Image.Resampling.BICUBIC)


def _png(picture: Image.Image) -> bytes:
    target = io.BytesIO()
    picture.save(target, "PNG", optimize=True)
    return target.getvalue()
