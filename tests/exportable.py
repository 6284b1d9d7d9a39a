"""Small labeled projects of each task, in which much is odd, to be exported."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from curation import images, workspace
from curation.catalog import annotations, labels, splits
from curation.catalog import images as image_rows
from curation.records import Box, NewImage, Task
from curation.workspace import Project
from tests.catalog.rows import add_imported

GPS = b"somewhere secret"
PARTS = ("train", "validation", "test")
Label = Sequence[str] | Sequence[tuple[str, float, float, float, float]]


def picture(seed: int, *, width: int = 16, height: int = 12) -> Image.Image:
    """Noise: every seed another picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def save(path: Path, seed: int, *, orientation: int = 1) -> None:
    """A picture with a place and a comment in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = GPS.decode()
    kind = {".jpg": "JPEG", ".webp": "WEBP"}.get(path.suffix.lower(), "PNG")
    picture(seed).save(path, kind, exif=exif)


def project(
    folder: Path,
    labeled: Mapping[str, Label | None],
    *,
    classes: Sequence[str],
    task: Task = "single-label",
    metadata: Mapping[str, Mapping[str, str]] | None = None,
    name: str = "shop",
) -> Project:
    """A project of these images in `folder/photos`; every third of them is in another part.

    Args:
        folder: gets the images and the workspace.
        labeled: by name; none is unlabeled, boxes are class, x, y, width and height.
        classes: of the project.
        task: of the project.
        metadata: by name.
        name: of the project.
    """
    made = workspace.create_project(
        folder / "workspace", name=name, class_names=classes, task=task, seed=3
    )
    photos = folder / "photos"
    for seed, image in enumerate(labeled):
        if not (photos / image).exists():
            save(photos / image, seed, orientation=6 if seed == 1 else 1)
    add(made, photos, {image: dict((metadata or {}).get(image, {})) for image in labeled})
    label(made, {image: said for image, said in labeled.items() if said is not None})
    divide(made, list(labeled))
    return made


def add(made: Project, photos: Path, metadata: Mapping[str, dict[str, str]]) -> None:
    rows = [_row(photos, image, columns) for image, columns in metadata.items()]
    with made.catalog.write() as connection:
        source = image_rows.add_source(connection, made.id, str(photos))
        image_rows.add(connection, made.id, rows, source_id=source, seed=3)


def _row(photos: Path, name: str, metadata: dict[str, str]) -> NewImage:
    path = photos / name
    found = images.inspect(path)
    return NewImage(
        name=name,
        origin=str(path),
        location=str(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        pixel_hash=found.pixel_hash,
        bytes=found.bytes,
        modified_ns=found.mtime_ns,
        width=found.width,
        height=found.height,
        format=found.format,
        mode=found.mode,
        frames=found.frames,
        orientation=found.orientation,
        metadata=metadata,
    )


def label(made: Project, labeled: Mapping[str, Label]) -> None:
    number = dict(zip(made.record.classes, made.record.class_ids, strict=True))
    with made.catalog.write() as connection:
        ids = image_rows.ids_by_name(connection, made.id, list(labeled))
        boxes: dict[int, list[Box]] = {ids[name]: [] for name in labeled}
        given: dict[int, tuple[int, ...]] = {}
        for name, said in labeled.items():
            for one in said:
                if not isinstance(one, str):
                    boxes[ids[name]].append(Box(number[one[0]], *one[1:]))
            bare = [one if isinstance(one, str) else one[0] for one in said]
            given[ids[name]] = tuple(sorted({number[one] for one in bare}))
        of_boxes = boxes if made.record.task == "boxes" else None
        add_imported(connection, made.id, given, boxes=of_boxes)
        version = annotations.newest_version(connection, made.id)
        labels.put(
            connection,
            made.id,
            [
                {
                    "image_id": key,
                    "classes": classes,
                    "boxes": boxes[key],
                    "origin": "import",
                    "confidence": 1.0,
                    "answers": 1,
                    "version_id": version,
                }
                for key, classes in given.items()
            ],
        )


def divide(made: Project, names: Sequence[str]) -> None:
    with made.catalog.write() as connection:
        ids = image_rows.ids_by_name(connection, made.id, names)
        split = splits.add(connection, made.id, splits.DEFAULT, {})
        parts = [(ids[name], PARTS[at % 3]) for at, name in enumerate(names)]
        splits.put(connection, split, parts)


SINGLE: dict[str, Label | None] = {
    "a.jpg": ["cat"],
    "shelf/a.jpg": ["dog"],
    "shelf/A.png": ["cat"],
    "v1.2/b.c.webp": ["=1+1"],
    "v1.2/b.d.png": ["a|b\\c"],
    "a.png": ["dog"],
    "nobody.jpg": None,
    "nothing.jpg": [],
    "-minus.jpg": ["cat"],
}
SINGLE_CLASSES = ("cat", "dog", "=1+1", "a|b\\c")
SEVERAL: dict[str, Label | None] = {
    **dict.fromkeys(SINGLE),
    "a.jpg": ["cat", "dog"],
    "shelf/a.jpg": ["dog"],
    "shelf/A.png": ["cat", "=1+1", "a|b\\c"],
    "nothing.jpg": [],
}
BOXES: dict[str, Label | None] = {
    **dict.fromkeys(SINGLE),
    "a.jpg": [("cat", 0.0, 0.0, 16.0, 12.0), ("dog", 1.5, 2.25, 3.125, 4.0)],
    "shelf/a.jpg": [("dog", 1 / 3, 0.1, 10.7, 2 / 3)],
    "shelf/A.png": [("a|b\\c", 2.0, 3.0, 4.0, 5.0), ("cat", 2.0, 3.0, 4.0, 5.0)],
    "a.png": [("=1+1", 0.5, 0.5, 0.25, 0.25)],
    "nothing.jpg": [],
}
METADATA = {
    "a.jpg": {"studio": "=cmd()", "Split": "imported"},
    "a.png": {"studio": 'b, "c"\r\nd', "note": "'+1"},
}


def of_task(folder: Path, task: Task) -> Project:
    """The odd project of a task."""
    labeled = {"single-label": SINGLE, "multi-label": SEVERAL, "boxes": BOXES}[task]
    return project(folder, labeled, classes=SINGLE_CLASSES, task=task, metadata=METADATA)
