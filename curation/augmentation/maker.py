"""Makes the copies of one image: decodes it once, changes it, writes each copy whole."""

import io
import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from queue import SimpleQueue
from typing import Any

import numpy as np
from PIL import Image

from curation import files, images
from curation.augmentation import pipeline
from curation.augmentation.pipeline import Augmented, Pipeline
from curation.augmentation.recipes import Recipe
from curation.errors import UnreadableImage
from curation.records import Box, ImageRecord
from curation.workspace import Project

FORMATS = ("png", "jpeg")
JPEG_QUALITY = 95

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Task:
    """One image and what is needed to copy it."""

    record: ImageRecord
    label: str
    boxes: tuple[Box, ...]
    copies: int


@dataclass(frozen=True)
class Made:
    """What became of one image: rows of the table, boxes kept and dropped, or why none."""

    rows: list[dict[str, Any]]
    boxes: int = 0
    dropped: int = 0
    left_out: str = ""


class Maker:
    """Makes the copies of one image after another, with as many pipelines as there are threads."""

    def __init__(
        self, project: Project, recipe: Recipe, folder: Path, *, format: str, seed: int
    ) -> None:
        self._names = dict(zip(project.record.class_ids, project.record.classes, strict=True))
        self._recipe = recipe
        self.folder = folder
        self._format = format
        self._seed = seed
        self._pipelines: SimpleQueue[Pipeline] = SimpleQueue()
        for _ in range(images.usable_cores()):
            self._pipelines.put(Pipeline(recipe))

    def make(self, task: Task) -> Made:
        """Writes all copies of an image, or says why there are none."""
        try:
            pixels = np.asarray(images.decode(Path(task.record.location)))
        except UnreadableImage as error:
            return Made([], left_out=error.reason)
        if fault := self._recipe.too_small(pixels.shape[1], pixels.shape[0]):
            return Made([], left_out=fault)
        ready = self._pipelines.get()
        try:
            return self._copies(task, pixels, ready)
        finally:
            self._pipelines.put(ready)

    def _copies(self, task: Task, pixels: pipeline.Pixels, ready: Pipeline) -> Made:
        rows = []
        kept = dropped = 0
        for copy in range(1, task.copies + 1):
            seed = pipeline.seed_of(self._seed, task.record.id, copy)
            made = ready.apply(pixels, seed=seed, boxes=task.boxes)
            name = _file_name(task.record, copy, self._format)
            files.write_bytes(self.folder / name, _encoded(made.pixels, self._format))
            kept += len(made.boxes)
            dropped += made.dropped
            rows.append(self._row(task, copy, name, seed, made))
        return Made(rows, kept, dropped)

    def _row(self, task: Task, copy: int, name: str, seed: int, made: Augmented) -> dict[str, Any]:
        drawn = [
            {
                "class": self._names[box.class_id],
                **{side: round(getattr(box, side), 2) for side in ("x", "y", "width", "height")},
            }
            for box in made.boxes
        ]
        # What an image with boxes shows is what its boxes show, and some may be gone.
        seen = "|".join(dict.fromkeys(str(box["class"]) for box in drawn))
        return {
            "filename": name,
            "label": seen if task.boxes else task.label,
            "original": _plain(task.record.name),
            "copy": copy,
            "boxes": json.dumps(drawn, ensure_ascii=False) if task.boxes else "",
            "seed": seed,
            "recipe": self._recipe.name,
            "version": self._recipe.version,
        }


def _file_name(record: ImageRecord, copy: int, format: str) -> str:
    """As `images/0042-17-1.png`: the id makes it unique, whatever folder the original is in."""
    stem = _UNSAFE.sub("-", PurePosixPath(record.name).stem)[:60].lstrip(".") or "image"
    return f"images/{stem}-{record.id}-{copy}.{'jpg' if format == 'jpeg' else format}"


def _encoded(pixels: pipeline.Pixels, format: str) -> bytes:
    target = io.BytesIO()
    image = Image.fromarray(pixels)
    if format == "jpeg":
        image.save(target, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        # Level 1 is as lossless as 6, a tenth larger and three times as fast.
        image.save(target, "PNG", compress_level=1)
    return target.getvalue()


def _plain(name: str) -> str:
    """A name that a spreadsheet does not take for a formula."""
    return f"'{name}" if name.startswith(_FORMULA) else name
