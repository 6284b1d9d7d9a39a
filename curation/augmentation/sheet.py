"""A contact sheet: the same images as they are and under a recipe, to be looked at."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from curation import files, images
from curation.augmentation import pipeline, places
from curation.augmentation.pipeline import Pipeline
from curation.augmentation.recipes import Recipe
from curation.catalog import images as image_rows
from curation.catalog import labels
from curation.errors import InputError, UnreadableImage
from curation.progress import Report, silent
from curation.records import Box, ImageRecord
from curation.workspace import Project

VARIANTS = 4
MOST_IMAGES = 50
SIDE = 224
"""Pixels of one cell; a picture is laid into it whole."""

_GAP, _HEAD, _LINE = 12, 30, 22
_PAPER, _INK, _FRAME = (255, 255, 255), (40, 40, 40), (220, 60, 30)
_MARK = "labelloop augmentation preview"


def draw(
    project: Project,
    recipe: Recipe,
    target: Path,
    *,
    count: int = 6,
    seed: int = 0,
    report: Report = silent,
) -> list[str]:
    """Writes the sheet as a PNG; returns the names of the images on it.

    Labeled images come first, of each class by turns; nothing of the reserve is shown.

    Args:
        project: whose images they are.
        recipe: what is done to them.
        target: a new `.png`, or an earlier sheet.
        count: images, one a row.
        seed: of the choice and of the changes.
        report: told of the progress.

    Raises:
        InputError: no image can be shown, or the target is something else than a sheet.
        LabelloopError: the file cannot be written.
    """
    if not 1 <= count <= MOST_IMAGES:
        raise InputError(f"--images is {count}; give a number from 1 to {MOST_IMAGES}.")
    _check_target(target)
    apply = Pipeline(recipe).apply
    strips: list[Image.Image] = []
    names: list[str] = []
    reasons: list[str] = []
    chosen, boxes = _chosen(project, seed=seed)
    places.check(project, target, [record.id for record in chosen])
    for record in chosen:
        if len(strips) == count:
            break
        report(len(strips), count, "preview")
        try:
            pixels = np.asarray(images.decode(Path(record.location)))
        except UnreadableImage as error:
            reasons.append(error.reason)
            continue
        if fault := recipe.too_small(pixels.shape[1], pixels.shape[0]):
            reasons.append(fault)
            continue
        own = boxes.get(record.id, ())
        shown = [_cell(pixels, own)]
        for copy in range(1, VARIANTS + 1):
            made = apply(pixels, seed=pipeline.seed_of(seed, record.id, copy), boxes=own)
            shown.append(_cell(made.pixels, made.boxes))
        strips.append(_strip(record.name, shown))
        names.append(record.name)
    if not strips:
        why = f" ({reasons[0]})" if reasons else ""
        raise InputError(
            f"No image can be shown{why}. Import images with `labelloop import FOLDER`, or choose "
            "another recipe."
        )
    report(len(strips), len(strips), "preview")
    files.write_bytes(target, _png(_page(recipe, strips)))
    return names


def _check_target(target: Path) -> None:
    if target.suffix.lower() != ".png":
        raise InputError(f"The sheet is a PNG; name {target.stem}.png instead of {target.name}.")
    if not target.exists():
        return
    try:
        with Image.open(target) as image:
            ours = image.info.get("Software") == _MARK
    except (OSError, SyntaxError, ValueError):
        ours = False
    if not ours:
        raise InputError(f"{target} exists and is no sheet of ours. Name a new file.")


def _chosen(project: Project, *, seed: int) -> tuple[list[ImageRecord], dict[int, tuple[Box, ...]]]:
    """Images to show, more than are needed, in case some are unreadable; and their boxes."""
    rng = np.random.default_rng(seed)
    with project.catalog.read() as connection:
        rows = labels.for_training(connection, project.id)
        by_class: dict[tuple[int, ...], list[int]] = {}
        for place in rng.permutation(len(rows)):
            by_class.setdefault(rows[place].classes, []).append(rows[place].image_id)
        ids = [
            found[turn]
            for turn in range(max(map(len, by_class.values()), default=0))
            for _, found in sorted(by_class.items())
            if turn < len(found)
        ]
        if len(ids) < MOST_IMAGES:
            usable = [image_id for image_id, _ in image_rows.usable(connection, project.id)]
            more = set(usable).difference(ids)
            ids += rng.permutation(sorted(more)).tolist()
        records = image_rows.get_many(connection, ids[: 4 * MOST_IMAGES])
        shown = [record for record in map(records.get, ids) if record and not record.reserve]
        return shown, labels.boxes_of(connection, list(records))


def _cell(pixels: pipeline.Pixels, boxes: tuple[Box, ...]) -> Image.Image:
    image = Image.fromarray(pixels)
    scale = SIDE / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    image = image.resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for box in boxes:
        corners = (box.x, box.y, box.x + box.width, box.y + box.height)
        pen.rectangle([scale * corner for corner in corners], outline=_FRAME, width=2)
    return image


def _strip(name: str, cells: list[Image.Image]) -> Image.Image:
    strip = Image.new("RGB", (len(cells) * (SIDE + _GAP) + _GAP, SIDE + _LINE + _GAP), _PAPER)
    for place, cell in enumerate(cells):
        left = _GAP + place * (SIDE + _GAP) + (SIDE - cell.width) // 2
        strip.paste(cell, (left, _LINE + (SIDE - cell.height) // 2))
    shown = name if len(name) <= 80 else f"...{name[-77:]}"
    ImageDraw.Draw(strip).text((_GAP, 4), shown, fill=_INK, font=ImageFont.load_default(13))
    return strip


def _page(recipe: Recipe, strips: list[Image.Image]) -> Image.Image:
    page = Image.new("RGB", (strips[0].width, _HEAD + sum(s.height for s in strips)), _PAPER)
    title = f"{recipe.name}, version {recipe.version}: as it is, then {VARIANTS} copies"
    ImageDraw.Draw(page).text((_GAP, 8), title, fill=_INK, font=ImageFont.load_default(15))
    top = _HEAD
    for strip in strips:
        page.paste(strip, (0, top))
        top += strip.height
    return page


def _png(page: Image.Image) -> bytes:
    about = PngImagePlugin.PngInfo()
    about.add_text("Software", _MARK)
    target = io.BytesIO()
    page.save(target, "PNG", pnginfo=about)
    return target.getvalue()
