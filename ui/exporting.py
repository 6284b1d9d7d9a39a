"""Datasets for other tools, as every face shows them; see `curation.exporters`."""

from pathlib import Path
from typing import Any, get_args

from curation.errors import InputError
from curation.progress import Report, silent
from curation.workspace import Project


def formats() -> list[dict[str, Any]]:
    """Each format with what it can hold."""
    from curation.exporters import EXPORTERS

    return [
        {
            "format": name,
            "description": exporter.description,
            "tasks": list(exporter.tasks),
            "images": list(exporter.images),
        }
        for name, exporter in EXPORTERS.items()
    ]


def export(
    project: Project,
    to: Path,
    *,
    format: str,
    snapshot: str = "",
    images: str = "",
    keep_metadata: bool = False,
    unlabeled: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Writes a snapshot, or the dataset as it is now, in a format; goes on if it was interrupted.

    Raises:
        InputError: the format cannot hold this, or the folder cannot be used.
        NotFound: there is no such snapshot.
    """
    from curation import exporters, snapshots
    from curation.exporters.record import Images

    chosen = _images(images, Images)
    if not snapshot:  # before the time that it takes to make one
        record = project.record
        exporters.check(
            record.task, record.classes, format=format, images=chosen, unlabeled=unlabeled
        )
    exported = exporters.write(
        project,
        snapshots.get(project, snapshot) if snapshot else snapshots.create(project, report=report),
        to=to,
        format=format,
        images=chosen,
        keep_metadata=keep_metadata,
        unlabeled=unlabeled,
        report=report,
    )
    return {
        "in": exported.images,
        "out": exported.out,
        "left_out": exported.left_out,
        "format": exported.format,
        "snapshot": exported.snapshot,
        "files": exported.files,
        "bytes": exported.bytes,
        "folder": str(exported.folder),
        "already": exported.already,
    }


def _images(said: str, choices: Any) -> Any:
    """What the user typed; none for the format's default."""
    if said and said not in get_args(choices):
        raise InputError(f"--images {said}: choose from {', '.join(get_args(choices))}.")
    return said or None
