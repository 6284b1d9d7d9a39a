"""Datasets for other tools: the formats, and the export that writes one of them.

A new format is one module with an `EXPORTER`, and one line in `EXPORTERS`. An export goes through a
snapshot's images in blocks; each block is durable and noted before the next one begins, so the same
command goes on after a kill and ends with the same bytes.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from curation import snapshots
from curation.catalog import audit
from curation.errors import InputError
from curation.exporters import (
    coco,
    croissant,
    folder,
    huggingface,
    label_studio,
    survey,
    table,
    voc,
    webdataset,
    yolo,
)
from curation.exporters.blocks import carry
from curation.exporters.carrying import Carrier
from curation.exporters.destination import Folder, refuse_inside
from curation.exporters.names import Names
from curation.exporters.record import Export, Exporter, Images, Item
from curation.exporters.refusals import Refusals
from curation.progress import Report, silent
from curation.records import Task
from curation.snapshots import Snapshot
from curation.workspace import Project

EXPORTERS: dict[str, Exporter] = {
    "folder": folder.EXPORTER,
    "csv": table.EXPORTER,
    "coco": coco.EXPORTER,
    "yolo": yolo.EXPORTER,
    "voc": voc.EXPORTER,
    "label-studio": label_studio.EXPORTER,
    "webdataset": webdataset.EXPORTER,
    "huggingface": huggingface.EXPORTER,
    "croissant": croissant.EXPORTER,
}

BLOCK = 500
"""Images that are brought, and made durable, at once."""

_OURS = (
    *("images", "thumbnails", "embeddings", "runs", "snapshots"),
    *("label-studio", "logs", "scans", "issues", "indexes"),
)
"""Folders of a workspace that are no place for anything else."""


@dataclass(frozen=True)
class Exported:
    """What an export did: `images` of the snapshot = `out` + all of `left_out`.

    Attributes:
        images: how many the snapshot holds, whatever their state.
        out: how many were exported.
        left_out: how many were not, by reason.
        files: how many were written beside `export.json`.
        bytes: of these files.
        already: all of it had been done before.
    """

    format: str
    snapshot: str
    folder: Path
    images: int
    out: int
    left_out: dict[str, int]
    files: int
    bytes: int
    already: bool = False


def write(
    project: Project,
    snapshot: Snapshot,
    *,
    to: Path,
    format: str,
    images: Images | None = None,
    keep_metadata: bool = False,
    unlabeled: bool = False,
    report: Report = silent,
) -> Exported:
    """Writes a snapshot's images and labels in one format; goes on where it was interrupted.

    Args:
        project: whose snapshot it is.
        snapshot: what is exported.
        to: a new or empty folder, or that of the same export, unfinished.
        format: one of `EXPORTERS`.
        images: copy them (without metadata), link them as they are, or none: labels alone.
        keep_metadata: copies keep EXIF, GPS and comments.
        unlabeled: also images that nobody has labeled, where the format can hold them.
        report: told of the progress.

    Raises:
        InputError: the format cannot hold this, or the folder cannot be used.
        LabelloopError: the disk is full; what is done stays, and the same command goes on.
        Cancelled: asked to stop; as above.
    """
    task, classes = _task(project, snapshot), tuple(snapshot.header["classes"])
    exporter = check(task, classes, format=format, images=images, unlabeled=unlabeled)
    images = images or exporter.images[0]
    keep_metadata = keep_metadata or images == "link"  # a link is the very file
    settings = {
        "format": format,
        "snapshot": snapshot.id,
        "images": images,
        "keep_metadata": keep_metadata,
        "unlabeled": unlabeled,
    }
    target = Folder(to, settings)
    refuse_inside(target.path, _forbidden(project))
    refusals = Refusals(empty=task in exporter.empty, unlabeled=unlabeled)
    seen = survey.look(project, snapshot, exporter, refusals, task, report=report)
    refuse_inside(target.path, ((path, "where images are imported from") for path in seen.sources))
    try:
        done = target.open()
        if done is not None:
            return _exported(target, done, already=True)
        export = Export(
            folder=target,
            snapshot=snapshot,
            task=task,
            classes=classes,
            images=images,
            parts=tuple(sorted(seen.parts)),
            columns=tuple(sorted(seen.columns)),
            items=partial(_items, project, snapshot, exporter, refusals, seen.names, task),
        )
        tally = carry(
            project,
            export,
            exporter,
            Carrier(target, images, keep_metadata, embeds=exporter.shard is not None),
            refusals=refusals,
            size=BLOCK,
            total=seen.wanted,
            report=report,
        )
        report(0, 0, "finish")
        exporter.finish(export)
        tally.update(target.settle())
        result = {
            "settings": target.settings,
            "project": export.project,
            "task": task,
            "classes": list(classes),
            "format": format,
            "snapshot": snapshot.id,
            "in": seen.images,
            "out": seen.images - refusals.counts.total(),
            "left_out": dict(sorted(refusals.counts.items())),
            "files": tally["files"],
            "bytes": tally["bytes"],
        }
        named = refusals.named(snapshots.entries(project, snapshot))
        target.finish(_result(result, named))
    finally:
        target.close()
    with project.catalog.write() as connection:
        audit.append(
            connection,
            project.id,
            act="export",
            subject={
                **settings,
                **{key: result[key] for key in ("in", "out", "left_out", "files")},
                "to": str(target.path),
            },
        )
    return _exported(target, result, already=False)


def _task(project: Project, snapshot: Snapshot) -> Task:
    said: Task = snapshot.header.get("task", project.record.task)
    return said


def check(
    task: Task,
    classes: Sequence[str],
    *,
    format: str,
    images: Images | None = None,
    unlabeled: bool = False,
) -> Exporter:
    """The exporter of this name, if it can hold what is asked for.

    Raises:
        InputError: there is none, or it cannot; the message names those that can.
    """
    if format not in EXPORTERS:
        raise InputError(f"No format {format!r}. The formats are {', '.join(EXPORTERS)}.")
    exporter = EXPORTERS[format]
    if task not in exporter.tasks:
        able = ", ".join(name for name, other in EXPORTERS.items() if task in other.tasks)
        raise InputError(f"The format {format} cannot hold {_SAID[task]}. These can: {able}.")
    if images is not None and images not in exporter.images:
        raise InputError(
            f"The format {format} cannot do --images {images}; it can do "
            f"{' or '.join(exporter.images)}."
        )
    if unlabeled and task not in exporter.unlabeled:
        able = ", ".join(name for name, other in EXPORTERS.items() if task in other.unlabeled)
        raise InputError(
            f"The format {format} cannot hold unlabeled images. Leave --unlabeled out, or choose "
            f"from: {able}."
        )
    exporter.check(tuple(classes), task, images or exporter.images[0])
    return exporter


_SAID: dict[Task, str] = {
    "single-label": "single labels",
    "multi-label": "several labels of one image",
    "boxes": "boxes",
}


def _forbidden(project: Project) -> Iterator[tuple[Path, str]]:
    home = project.workspace.path
    for name in _OURS:
        yield home / name, "a folder of the workspace"


def _items(
    project: Project,
    snapshot: Snapshot,
    exporter: Exporter,
    refusals: Refusals,
    names: Names,
    task: Task,
) -> Iterator[Item]:
    """What is exported, as far as is known by now."""
    for position, entry in enumerate(snapshots.entries(project, snapshot)):
        if position not in refusals:
            path = names.final(exporter.path(entry, task), entry.name)
            yield Item(position, entry, path)


def _result(result: dict[str, Any], named: Iterator[tuple[str, str]]) -> Iterator[str]:
    """`export.json`, one left-out image a line."""
    yield json.dumps(result, indent=2, ensure_ascii=False)[:-2] + ',\n  "images_left_out": ['
    between = "\n"
    for name, reason in named:
        row = json.dumps({"image": name, "reason": reason}, ensure_ascii=False)
        yield f"{between}    {row}"
        between = ",\n"
    yield "]\n}\n" if between == "\n" else "\n  ]\n}\n"


def _exported(target: Folder, said: dict[str, Any], *, already: bool) -> Exported:
    return Exported(
        format=said["format"],
        snapshot=said["snapshot"],
        folder=target.path,
        images=said["in"],
        out=said["out"],
        left_out=said["left_out"],
        files=said["files"],
        bytes=said["bytes"],
        already=already,
    )
