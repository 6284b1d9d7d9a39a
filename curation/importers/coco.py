"""COCO: one JSON file of images, categories and annotations, or one for each part of a split.

An annotation with a `bbox` is a box; one without, or one whose box is the whole image, is a label
of the image. An image without annotations is not labeled, unless it says `"reviewed": true`: the
format itself cannot tell "nothing there" from "nobody looked". Crowd regions are left out.

The file is streamed, and each annotation is kept as 45 bytes until its image is read: 1,000,000
annotations take about 60 MB.
"""

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curation import parts, sources
from curation.errors import InputError
from curation.importers import json_stream
from curation.importers.found import Asked, Drawn, Found, Importer, Request, Said, SetAside
from curation.importers.places import MISSING, Places
from curation.sources import Plan

KEYS = ("images", "annotations", "categories")
FOLDERS = ("images", "train", "val", "test", "train2017", "val2017", "test2017", "data")
"""Folders besides its own in which the images of a file are looked for."""

_WHOLE = 1.0
"""Pixels by which a box may differ from the whole image and still be it."""


@dataclass
class _File:
    """What one file says, each annotation in one row of the arrays."""

    path: Path
    part: str
    names: list[str] = field(default_factory=list)
    widths: "array[int]" = field(default_factory=lambda: array("l"))
    heights: "array[int]" = field(default_factory=lambda: array("l"))
    # Numbers of the ids in the order they were first met: annotations may come before images.
    number_of: dict[Any, int] = field(default_factory=dict)
    image_at: dict[int, int] = field(default_factory=dict)  # position among images, by that number
    parts: "array[int]" = field(default_factory=lambda: array("h"))  # numbers of `part_names`
    part_names: dict[str, int] = field(default_factory=dict)
    metadata: dict[int, dict[str, str]] = field(default_factory=dict)  # by position
    reviewed: set[int] = field(default_factory=set)
    categories: dict[Any, str] = field(default_factory=dict)
    category_of: dict[Any, int] = field(default_factory=dict)
    bad: list[SetAside] = field(default_factory=list)
    crowds: int = 0
    image: "array[int]" = field(default_factory=lambda: array("l"))
    category: "array[int]" = field(default_factory=lambda: array("i"))
    position: "array[int]" = field(default_factory=lambda: array("i"))
    box: "array[float]" = field(default_factory=lambda: array("d"))

    def category_names(self) -> list[str | None]:
        """The names of the categories by number; none for an id that is not in the file."""
        return [self.categories.get(key) for key in self.category_of]


def _recognises(path: Path) -> bool:
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    """The COCO files that a path means: itself, or those of a folder and its `annotations`.

    Where there is none, each part may have its own beside its images, as Roboflow writes it.
    """
    if path.is_file():
        looked_at = [path] if path.suffix.lower() == ".json" else []
    else:
        looked_at = sorted([*path.glob("*.json"), *(path / "annotations").glob("*.json")])
    found = [one for one in looked_at if json_stream.first_key(one, KEYS)]
    if not found and path.is_dir():
        looked_at = [one for folder in _part_folders(path) for one in sorted(folder.glob("*.json"))]
        found = [one for one in looked_at if json_stream.first_key(one, KEYS)]
    instances = [one for one in found if one.name.startswith("instances")]
    return instances or found


def _part_folders(path: Path) -> list[Path]:
    with os.scandir(path) as entries:
        found = [one.path for one in entries if one.is_dir(follow_symlinks=False)]
    return [folder for folder in map(Path, sorted(found)) if parts.part(folder.name)]


def _understand(request: Request) -> Plan:
    paths = _files(request.table or request.source)
    if not paths:
        raise InputError(
            f"{request.table or request.source} holds no COCO file: a JSON object with images, "
            "categories and annotations."
        )
    if request.source.is_dir():
        root = request.source
    else:
        folder = request.source.parent
        root = folder.parent if folder.name == "annotations" else folder
    files = [_parse(path) for path in paths]
    labels = request.labels_from != "none"
    names = {name for one in files for name in one.categories.values()}
    candidates = sum(len(one.names) for one in files)
    if not candidates:
        raise InputError(f"{', '.join(path.name for path in paths)}: no images are listed.")
    kinds = set().union(*(_kinds(one) for one in files))
    found = {name for one in files for name in one.part_names}
    crowds = sum(one.crowds for one in files)
    bare = sum(len(one.names) - len(set(one.image)) for one in files)
    notes = []
    if crowds:
        notes.append(f"{crowds:,} crowd regions are left out")
    if bare > 0:
        notes.append(f"{bare:,} images have no annotation: not labeled, unless marked as reviewed")
    return Plan(
        root=root.absolute(),
        table=None,
        listed=True,
        labels_from="annotations" if labels else "none",
        classes=tuple(name for name in request.classes if name in names),
        unknown_classes=tuple(sorted(names - set(request.classes)))[:20],
        metadata_columns=(),
        consent_columns=(),
        license=sources.license_of(root),
        candidates=candidates,
        ignored=0,
        format="coco",
        parts=tuple(sorted(found - {""})),
        kinds=frozenset(kinds),
        notes=tuple(notes),
        details=files,
    )


def _parse(path: Path) -> _File:
    found = _File(path, parts.part_in(path.stem) or parts.part(path.parent.name))
    takes = {"images": _image, "annotations": _annotation, "categories": _category}
    for key, position, item in json_stream.items(path, KEYS):
        reason = takes[key](found, position, item) if isinstance(item, dict) else "not an object"
        if reason:
            found.bad.append(SetAside(f"{path.name}:{key}[{position}]", reason))
    return found


def _image(found: _File, position: int, item: dict[str, Any]) -> str:
    name, key = item.get("file_name"), item.get("id")
    if not isinstance(name, str) or not name.strip():
        return "an image without file_name"
    if not isinstance(key, int | str):
        return f"the image {name!r} has no id"
    number = found.number_of.setdefault(key, len(found.number_of))
    if number in found.image_at:
        first = found.names[found.image_at[number]]
        return f"the image {name!r} has the id {key} of {first!r}"
    found.image_at[number] = len(found.names)
    found.names.append(name)
    found.widths.append(_pixels(item.get("width")))
    found.heights.append(_pixels(item.get("height")))
    if item.get("reviewed") is True:
        found.reviewed.add(number)
    said = item.get(parts.COLUMN)
    part = (parts.part(said) or said) if isinstance(said, str) else found.part
    found.parts.append(found.part_names.setdefault(part, len(found.part_names)))
    if isinstance(more := item.get("metadata"), dict) and more:
        found.metadata[len(found.names) - 1] = {
            str(column): str(value)
            for column, value in more.items()
            if isinstance(value, str | int | float)
        }
    return ""


def _pixels(value: object) -> int:
    return value if isinstance(value, int) and 0 < value < 1 << 31 else 0


def _category(found: _File, position: int, item: dict[str, Any]) -> str:
    name, key = item.get("name"), item.get("id")
    if not isinstance(name, str) or not name.strip() or not isinstance(key, int | str):
        return "a category without id or name"
    if found.categories.setdefault(key, name.strip()) != name.strip():
        return f"the category {name!r} has the id {key} of {found.categories[key]!r}"
    return ""


def _annotation(found: _File, position: int, item: dict[str, Any]) -> str:
    image, category, bbox = item.get("image_id"), item.get("category_id"), item.get("bbox")
    if not isinstance(image, int | str):
        return "an annotation without image_id"
    if not isinstance(category, int | str):
        return "an annotation without category_id"
    if item.get("iscrowd"):
        found.crowds += 1
        return ""
    numbers = [nan] * 4
    if bbox not in (None, []):
        if not isinstance(bbox, list) or len(bbox) != 4:
            return f"a bbox that is not four numbers: {str(bbox)[:80]}"
        try:
            numbers = [_number(value) for value in bbox]
        except (TypeError, ValueError, OverflowError):
            return f"a bbox that is not four numbers: {str(bbox)[:80]}"
    found.image.append(found.number_of.setdefault(image, len(found.number_of)))
    found.category.append(found.category_of.setdefault(category, len(found.category_of)))
    found.position.append(position)
    found.box.extend(numbers)
    return ""


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    number = float(value)
    if isnan(number):  # which here stands for "no box"
        raise ValueError
    return number


def _boxes_of(file: _File) -> npt.NDArray[np.float64]:
    """The boxes (N, 4) as x, y, width, height; NaN where there is none."""
    return np.frombuffer(file.box, np.float64).reshape(-1, 4) if file.box else np.empty((0, 4))


def _kinds(file: _File) -> set[str]:
    """What the annotations are; a box around the whole image can be either."""
    boxes = _boxes_of(file)
    if not len(boxes):
        return set()
    drawn = ~np.isnan(boxes[:, 0])
    return ({"boxes"} if (drawn & ~_whole(file)).any() else set()) | (
        {"classes"} if (~drawn).any() else set()
    )


def _whole(file: _File) -> npt.NDArray[np.bool_]:
    """Which boxes (N,) are the whole of their image."""
    sizes = np.zeros((len(file.number_of), 2))
    for number, position in file.image_at.items():
        sizes[number] = file.widths[position], file.heights[position]
    boxes = _boxes_of(file)
    size = sizes[np.frombuffer(file.image, np.int64)] if len(boxes) else np.empty((0, 2))
    edges = np.abs(boxes[:, :2]) + np.abs(boxes[:, 2:] - size)
    return np.asarray((edges <= _WHOLE).all(axis=1) & (size > 0).all(axis=1))


def _read(plan: Plan, asked: Asked) -> Iterator[Found | SetAside]:
    places = Places(plan.root, FOLDERS)
    seen: dict[str, str] = {}
    for file in plan.details:
        yield from _read_file(plan, file, asked, places, seen)


def _read_file(
    plan: Plan, file: _File, asked: Asked, places: Places, seen: dict[str, str]
) -> Iterator[Found | SetAside]:
    yield from file.bad
    images = np.frombuffer(file.image, np.int64) if file.image else np.empty(0, np.int64)
    order = np.argsort(images, kind="stable")
    sorted_images = images[order]
    for key, number in file.number_of.items():
        if number not in file.image_at:
            first, last = np.searchsorted(sorted_images, [number, number + 1])
            place = f"{file.path.name}:annotations[{file.position[order[first]]}]"
            reason = f"image_id {key!r} is none of the images" + _times(int(last - first))
            yield SetAside(place, reason)
    with_labels = plan.labels_from != "none"
    names = file.category_names()
    part_names = list(file.part_names)
    is_whole = _whole(file)
    beside = _beside(plan.root, file)
    for number, position in file.image_at.items():
        where = f"{file.path.name}, images[{position}]"
        said_name = file.names[position]
        candidate = places.find(*([f"{beside}/{said_name}"] if beside else []), said_name)
        if candidate.reason == MISSING:
            yield SetAside(file.names[position], f"{where}: no such image")
            continue
        if candidate.name in seen:
            yield SetAside(candidate.name, f"{where}: the image stands in {seen[candidate.name]}")
            continue
        seen[candidate.name] = where
        said: tuple[Said, ...] = ()
        if with_labels:
            first, last = np.searchsorted(sorted_images, [number, number + 1])
            rows = [int(row) for row in order[first:last]]
            bad = [row for row in rows if names[file.category[row]] is None]
            for row in bad:
                key = list(file.category_of)[file.category[row]]
                place = f"{file.path.name}, annotations[{file.position[row]}]"
                yield SetAside(candidate.name, f"{place}: category_id {key!r} is unknown")
            kept = [row for row in rows if names[file.category[row]] is not None]
            said = _said(file, kept, names, is_whole, asked)
            if not rows and number in file.reviewed:
                said = (Said(boxes=() if asked.task == "boxes" else None),)
        part = part_names[file.parts[position]]
        size = file.widths[position], file.heights[position]
        metadata = file.metadata.get(position, {}) | ({parts.COLUMN: part} if part else {})
        yield Found(candidate, said, metadata, where, size if all(size) else None)


def _beside(root: Path, file: _File) -> str:
    """The part's folder that a file lies in, with its images; empty where it lies in none."""
    folder = file.path.absolute().parent
    inside = folder != root and folder.parent == root and parts.part(folder.name)
    return folder.name if inside else ""


def _times(count: int) -> str:
    return f" ({count:,} annotations)" if count > 1 else ""


def _said(
    file: _File,
    rows: list[int],
    names: list[str | None],
    is_whole: npt.NDArray[np.bool_],
    asked: Asked,
) -> tuple[Said, ...]:
    """The answer that these annotations of one image are."""
    labels: list[str] = []
    boxes: list[Drawn] = []
    for row in rows:
        label = names[file.category[row]] or ""
        x, y, width, height = file.box[4 * row : 4 * row + 4]
        if isnan(x) or (is_whole[row] and asked.task != "boxes"):
            labels.append(label)
        else:
            where = f"annotations[{file.position[row]}]"
            boxes.append(Drawn(label, x, y, width, height, where))
    if boxes and labels and asked.task == "boxes":
        return (Said(boxes=tuple(boxes)), Said(tuple(dict.fromkeys(labels))))
    if boxes:
        # In a project of classes each box stands for its class; so do labels of the whole image.
        return (Said(tuple(dict.fromkeys(labels)), tuple(boxes)),)
    return (Said(tuple(dict.fromkeys(labels))),) if labels else ()


IMPORTER = Importer(
    "COCO instances: images, categories, annotations", _recognises, _understand, _read
)
