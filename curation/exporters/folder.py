"""Class folders: PART/CLASS/NAME, as torchvision's ImageFolder reads one part.

A folder says one class and nothing else: no group, no metadata, and no image that nobody has
labeled, or that shows none of the classes.
"""

from curation.errors import InputError
from curation.exporters.names import safe
from curation.exporters.record import Exporter, Images, part_of
from curation.manifest import Entry
from curation.records import Task


def _path(entry: Entry, _: Task) -> str:
    return f"{safe(part_of(entry))}/{(entry.classes or ('',))[0]}/{safe(entry.name)}"


def check_folders(classes: tuple[str, ...], _task: Task, _images: Images) -> None:
    """Raises an InputError for a class whose name cannot be a folder's."""
    seen: dict[str, str] = {}
    for name in classes:
        if name != safe(name) or "/" in name or name.startswith(".") or name != name.strip():
            raise InputError(
                f"The class {name!r} cannot be the name of a folder. Choose a format that writes "
                "classes into a file: csv, coco, label-studio, webdataset or huggingface."
            )
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise InputError(
                f"The classes {other!r} and {name!r} would share a folder on many disks. Choose a "
                "format that writes classes into a file: csv, coco or huggingface."
            )


EXPORTER = Exporter(
    description="a folder for each part and class (ImageFolder)",
    tasks=("single-label",),
    images=("copy", "link"),
    path=_path,
    check=check_folders,
    unlabeled=(),
    empty=(),
)
