"""The pictures of a card: a few images of each class, and the map of the dataset."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from curation import files, images
from curation.card.facts import SAMPLES, Facts
from curation.catalog import images as image_rows
from curation.catalog import labels
from curation.errors import UnreadableImage
from curation.progress import Report

MOST_CLASSES = 30
SIDE = 96
_GAP = 6
_NAME_WIDTH = 190


@dataclass
class Pictures:
    """What was drawn; empty where there was nothing to draw."""

    samples: str = ""
    map: str = ""

    def shown(self) -> Iterator[tuple[str, str]]:
        """File and caption of each picture."""
        if self.samples:
            yield self.samples, f"Images of each class, drawn at random ({SAMPLES} at most)."
        if self.map:
            yield self.map, "The map of the dataset: images that look alike lie near each other."


def draw(found: Facts, folder: Path, *, with_map: bool, report: Report) -> Pictures:
    """Draws the pictures into a folder, which is made."""
    drawn = Pictures()
    if any(found.samples.values()):
        files.write_bytes(folder / "classes.png", _samples(found))
        drawn.samples = f"{folder.name}/classes.png"
    if with_map and found.usable:
        files.write_bytes(folder / "map.png", _map(found, report))
        drawn.map = f"{folder.name}/map.png"
    return drawn


def _samples(found: Facts) -> bytes:
    """A row of thumbnails for each of the largest classes."""
    order = [name for name, n in found.labels.most_common(MOST_CLASSES) if n]
    names = [image for name in order for image in found.samples[name]]
    with found.project.catalog.read() as connection:
        ids = image_rows.ids_by_name(connection, found.project.id, names)
        places = image_rows.places(connection, list(ids.values()))
    step = SIDE + _GAP
    sheet = Image.new("RGB", (_NAME_WIDTH + SAMPLES * step, len(order) * step), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for row, name in enumerate(order):
        top = row * step
        pen.text((4, top + SIDE // 2 - 9), _shortened(name, pen, font), fill="#1f2430", font=font)
        for column, image in enumerate(found.samples[name]):
            if image in ids and (shown := _thumbnail(Path(places[ids[image]].location))):
                offset = ((SIDE - shown.width) // 2, (SIDE - shown.height) // 2)
                left = _NAME_WIDTH + column * step
                sheet.paste(shown, (left + offset[0], top + offset[1]))
    return _png(sheet)


def _shortened(
    name: str, pen: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont
) -> str:
    while pen.textlength(name, font=font) > _NAME_WIDTH - 10:
        name = f"{name.rstrip('…')[:-1]}…"
    return name


def _thumbnail(path: Path) -> Image.Image | None:
    """A picture of at most SIDE x SIDE; small images are enlarged to it."""
    try:
        shown = images.decode(path, at_least=SIDE)
    except UnreadableImage:
        return None
    scale = SIDE / max(shown.size)
    size = (max(1, round(shown.width * scale)), max(1, round(shown.height * scale)))
    return shown.resize(size, Image.Resampling.BICUBIC)


def _png(picture: Image.Image) -> bytes:
    target = io.BytesIO()
    picture.save(target, "PNG", optimize=True)
    return target.getvalue()


def _map(found: Facts, report: Report) -> bytes:
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from curation import atlas

    ids, places = atlas.positions(found.project, report=report)
    with found.project.catalog.read() as connection:
        rows = labels.every(connection, found.project.id)
    class_of = {row.image_id: row.classes[0] for row in rows if row.classes}
    bears = np.array([class_of.get(key, 0) for key in ids.tolist()])
    figure = Figure(figsize=(8, 6), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    size = min(12.0, max(0.5, 20_000 / max(len(ids), 1)))
    order = [name for name, n in found.labels.most_common() if n]
    unlabeled = bears == 0
    x, y = places.T
    axes.scatter(x[unlabeled], y[unlabeled], s=size, c="#c9ced8", linewidths=0, label="no label")
    for number, name in enumerate(order):
        here = bears == found.project.record.ids_of((name,))[0]
        color = f"C{number}" if number < 9 else "#5b6270"
        shown = name if number < 9 else ("other classes" if number == 9 else None)
        axes.scatter(x[here], y[here], s=size, c=color, linewidths=0, label=shown)
    axes.set_axis_off()
    if order:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=3)
    target = io.BytesIO()
    figure.savefig(target, format="png")
    return target.getvalue()
