"""Augmented copies written out: a folder of pictures and a table that says what each one is.

OUT/images/...          one file a copy, lossless PNG or JPEG of quality 95
OUT/augmented.csv       filename, label, original, copy, boxes, seed, recipe, version
OUT/augmentation.json   the recipe in full and the counts; there once everything is
OUT/.parts/             what is done, while it is being made: the same command goes on from there
"""

import csv
import hashlib
import io
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curation import files, images
from curation.augmentation import places
from curation.augmentation.candidates import Counts
from curation.augmentation.maker import FORMATS, Maker, Task
from curation.augmentation.recipes import Recipe
from curation.catalog import images as image_rows
from curation.catalog import labels
from curation.errors import InputError
from curation.progress import Report, silent
from curation.records import LabelRow
from curation.workspace import Project

BATCH = 64
"""Images between two marks of what is done."""

TABLE = "augmented.csv"
ABOUT = "augmentation.json"
PARTS = ".parts"
COLUMNS = ("filename", "label", "original", "copy", "boxes", "seed", "recipe", "version")


@dataclass(frozen=True)
class Written:
    """What `write` did.

    Attributes:
        folder: of the copies and their table.
        images: how many were copied.
        copies: how many files there are.
        already: how many of those were there from an earlier, interrupted call.
        left_out: images without a copy, by reason.
        boxes: how many there are on all copies.
        boxes_dropped: how many more their originals have, because they left the picture.
        seconds: that it took.
    """

    folder: Path
    images: int
    copies: int
    already: int
    left_out: dict[str, int]
    boxes: int
    boxes_dropped: int
    seconds: float


def write(
    project: Project,
    recipe: Recipe,
    folder: Path,
    *,
    rows: Sequence[LabelRow],
    copies: Counts,
    format: str = "png",
    seed: int = 0,
    report: Report = silent,
) -> Written:
    """Writes augmented copies of labeled images; stopped at any moment, the same call goes on.

    Args:
        project: whose images they are.
        recipe: what is done to them.
        folder: new or empty, or what such a call has left there.
        rows: of `candidates.find`.
        copies: (N,) how many of each row; see `candidates`.
        format: `png`, lossless, or `jpeg`, quality 95.
        seed: a copy depends on it, the image's id and the copy's number, and on nothing else.
        report: told of the progress.

    Raises:
        InputError: the folder holds something else or lies where images are imported from, no copy
            is wanted, or all images are smaller than the recipe's crop.
        LabelloopError: the disk is full, or the folder cannot be written.
        Cancelled: asked to stop; what is done stays.
    """
    begun = time.monotonic()
    if format not in FORMATS:
        raise InputError(f"Format {format!r} is none of the choices: {', '.join(FORMATS)}.")
    chosen = np.flatnonzero(copies)
    if not len(chosen):
        raise InputError("No copies are wanted of any image, so there is nothing to write.")
    maker = Maker(project, recipe, folder, format=format, seed=seed)
    places.check(project, folder, [rows[at].image_id for at in chosen])
    intent = {
        "recipe": recipe.as_json() | {"digest": recipe.digest},
        "seed": seed,
        "format": format,
        "selection": _digest(rows, copies, chosen),
    }
    about = _begin(folder, intent)
    if about is not None:
        count = about["counts"]
        return Written(folder, **count, already=count["copies"], seconds=time.monotonic() - begun)
    already = _make_all(project, maker, rows, copies, chosen, report=report)
    counts = _finish(folder, batches=-(-len(chosen) // BATCH))
    if not counts["copies"]:
        (folder / TABLE).unlink()
        shutil.rmtree(folder / PARTS)
        reasons = "; ".join(f"{n:,} {reason}" for reason, n in counts["left_out"].items())
        raise InputError(f"No image could be copied: {reasons}. Choose other images or a recipe.")
    files.write_json(folder / ABOUT, {**intent, "counts": counts})
    shutil.rmtree(folder / PARTS)
    return Written(folder, **counts, already=already, seconds=time.monotonic() - begun)


def _digest(rows: Sequence[LabelRow], copies: Counts, chosen: npt.NDArray[np.intp]) -> str:
    """Of which images are copied how often, with which label."""
    digest = hashlib.sha256()
    for place in chosen:
        row = rows[place]
        digest.update(f"{row.image_id} {row.classes} {copies[place]}\n".encode())
    return digest.hexdigest()[:16]


def _begin(folder: Path, intent: dict[str, Any]) -> dict[str, Any] | None:
    """What was written before by the same call; none if there is still something to do.

    Raises:
        InputError: the folder holds something else.
    """
    for name in (ABOUT, f"{PARTS}/{ABOUT}"):
        found = _read_json(folder / name)
        if found is None:
            continue
        if any(found.get(key) != value for key, value in intent.items()):
            raise InputError(
                f"{folder} holds copies made with another recipe, seed, format or selection of "
                "images. Name a new folder, or remove that one."
            )
        if name == ABOUT:
            shutil.rmtree(folder / PARTS, ignore_errors=True)  # of a kill just before the end
            return found
        for unfinished in (folder / "images").glob(".*"):
            unfinished.unlink()
        return None
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not an empty folder. Name a new one.")
    files.write_json(folder / PARTS / ABOUT, intent)
    return None


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot read {path} ({error}). Name a new folder.") from error
    return found if isinstance(found, dict) else None


def _part(folder: Path, number: int) -> Path:
    return folder / PARTS / f"{number:06}.json"


def _make_all(
    project: Project,
    maker: Maker,
    rows: Sequence[LabelRow],
    copies: Counts,
    chosen: npt.NDArray[np.intp],
    *,
    report: Report,
) -> int:
    """Makes the batches that are not there yet; returns the copies that were."""
    already = 0
    with ThreadPoolExecutor(images.usable_cores(), thread_name_prefix="augment") as pool:
        for number, start in enumerate(range(0, len(chosen), BATCH)):
            report(start, len(chosen), "augment")
            here = chosen[start : start + BATCH]
            done = _read_json(_part(maker.folder, number))
            if done is not None:
                already += len(done["rows"])
                continue
            tasks = list(_tasks(project, [rows[place] for place in here], copies[here]))
            made = list(pool.map(maker.make, tasks))
            part = {
                "rows": [row for one in made for row in one.rows],
                "images": sum(bool(one.rows) for one in made),
                "boxes": sum(one.boxes for one in made),
                "dropped": sum(one.dropped for one in made),
                "left_out": Counter(one.left_out for one in made if one.left_out),
            }
            files.write_json(_part(maker.folder, number), part)
        report(len(chosen), len(chosen), "augment")
    return already


def _tasks(project: Project, rows: Sequence[LabelRow], copies: Counts) -> Iterator[Task]:
    ids = [row.image_id for row in rows]
    with project.catalog.read() as connection:
        records = image_rows.get_many(connection, ids)
        boxes = labels.boxes_of(connection, ids)
    for row, count in zip(rows, copies.tolist(), strict=True):
        names = project.record.class_names(row.classes)
        drawn = boxes.get(row.image_id, ())
        yield Task(records[row.image_id], "|".join(names), drawn, count)


def _finish(folder: Path, *, batches: int) -> dict[str, Any]:
    """Joins the parts into the table, which appears whole, and adds up what they say."""
    counts: Counter[str] = Counter(images=0, copies=0, boxes=0, boxes_dropped=0)
    left_out: Counter[str] = Counter()
    with files.replacing(folder / TABLE) as target:
        text = io.TextIOWrapper(target, encoding="utf-8", newline="", write_through=True)
        table = csv.DictWriter(text, COLUMNS)
        table.writeheader()
        for number in range(batches):
            part = _read_json(_part(folder, number)) or {}
            table.writerows(part["rows"])
            counts["copies"] += len(part["rows"])
            counts["images"] += part["images"]
            counts["boxes"] += part["boxes"]
            counts["boxes_dropped"] += part["dropped"]
            left_out.update(part["left_out"])
        text.detach()
    return {**counts, "left_out": dict(left_out)}
