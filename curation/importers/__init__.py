"""Reading datasets in the formats that people have: the importers, and which one fits a source.

A new format is one module with an `Importer`, and one line in `IMPORTERS`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice, product
from pathlib import Path

from curation import sources
from curation.errors import InputError
from curation.importers import coco, folder, label_studio, voc, yolo
from curation.importers.found import Asked, Found, Importer, Request, SetAside
from curation.records import Task
from curation.sources import LabelsFrom, Plan

IMPORTERS: dict[str, Importer] = {
    "folder": folder.FOLDER,
    "csv": folder.CSV,
    "coco": coco.IMPORTER,
    "yolo": yolo.IMPORTER,
    "voc": voc.IMPORTER,
    "label-studio": label_studio.IMPORTER,
}

FORMATS: tuple[str, ...] = ("auto", *IMPORTERS)


def understand(
    source: Path,
    *,
    known_classes: Sequence[str],
    task: Task = "single-label",
    format: str = "auto",
    table: Path | None = None,
    labels_from: LabelsFrom = "auto",
) -> Plan:
    """Looks at a source and says what an import would make of it; writes nothing.

    Args:
        source: a folder, or the file that says what belongs to the dataset.
        known_classes: the project's.
        task: the project's.
        format: one of `FORMATS`; `auto` judges by what is there.
        table: the file with the labels, where it does not lie in the folder.
        labels_from: `none` imports the images alone.

    Raises:
        InputError: there is nothing to import, it cannot be understood, or its labels are of a kind
            that the project cannot take.
    """
    if format not in FORMATS:
        raise InputError(f"{format!r} is no format. The formats are {', '.join(FORMATS)}.")
    if not source.exists():
        raise InputError(f"{source} does not exist. Name a folder of images or a file of labels.")
    chosen = format if format != "auto" else _recognised(source, table, labels_from)
    if chosen not in {"folder", "csv"} and labels_from in {"folder", "csv"}:
        raise InputError(
            f"--labels-from {labels_from} and the format {chosen} contradict each other. Add "
            f"--format {labels_from}, or leave --labels-from out."
        )
    if chosen == "csv" and table is None and not folder.CSV.recognises(source):
        if source.suffix.lower() == ".json":
            raise InputError(
                f"{source} is neither a COCO dataset (images, annotations, categories) nor Label "
                "Studio's export as JSON. Predictions alone, such as COCO results, are no labels."
            )
        raise InputError(f"{source} is no table. Name the CSV file, or add --labels FILE.csv.")
    request = Request(source, table, labels_from, tuple(known_classes), task)
    plan = IMPORTERS[chosen].understand(request)
    _check_task(plan, task)
    if chosen == "folder" and format == labels_from == "auto" and plan.labels_from == "none":
        return replace(plan, notes=(*plan.notes, *_left_alone(plan.root)))
    return plan


def read(plan: Plan, asked: Asked) -> Iterator[Found | SetAside]:
    """The images of an understood source one by one, with what is said of them."""
    return IMPORTERS[plan.format].read(plan, asked)


def _recognised(source: Path, table: Path | None, labels_from: LabelsFrom) -> str:
    if labels_from in {"folder", "csv"}:
        return labels_from
    looked_at = table if table is not None else source
    found = [
        name
        for name, importer in IMPORTERS.items()
        if name != "folder" and importer.recognises(looked_at)
    ]
    if len(found) > 1:
        raise InputError(
            f"{looked_at} looks like {' and like '.join(found)}. Choose with --format."
        )
    if found:
        return found[0]
    return "csv" if looked_at.is_file() else "folder"


def _left_alone(root: Path) -> Iterator[str]:
    """A sentence where files beside the first images look like labels that nothing here reads."""
    images = (one.path for one in islice(sources.walk(root), _GLANCE) if one is not None)
    for path, (ending, way) in product(images, _BESIDE.items()):
        if sources.is_file(beside := path.with_suffix(ending)):
            yield f"{beside.name} may hold the labels of {path.name}, and is not read: {way}"
            return


_GLANCE = 1000
"""Files that are looked at."""

_BESIDE = {
    ".xml": "--format voc --labels FOLDER reads Pascal VOC files that lie among images",
    ".txt": "YOLO's boxes need a data.yaml or classes.txt in the folder",
    ".json": "LabelMe's files need a conversion to COCO",
}


def _check_task(plan: Plan, task: Task) -> None:
    """Whether the project can take labels of this kind; raises InputError with the way out."""
    if plan.labels_from == "none":
        return
    if "boxes" in plan.kinds and task == "single-label":
        raise InputError(
            f"{plan.root} has boxes, and this project gives each image one class. Make a project "
            "with --task boxes, or with --task multi-label for the classes of each image's boxes; "
            "--labels-from none imports the images alone."
        )
    if "boxes" not in plan.kinds and "classes" in plan.kinds and task == "boxes":
        raise InputError(
            f"{plan.root} has labels of whole images, and this project is one of boxes. Make a "
            "project with --task multi-label; --labels-from none imports the images alone."
        )
