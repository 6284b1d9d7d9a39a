"""What an exporter is: a record of functions, and what they are given."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from curation import licenses
from curation.exporters.destination import Folder
from curation.manifest import Entry
from curation.records import Task
from curation.snapshots import Snapshot

Images = Literal["copy", "link", "none"]

UNSPLIT = "all"
"""The part of images that belong to none."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image that is exported.

    Attributes:
        position: its place in the snapshot, from 0.
        entry: what the snapshot says of it.
        path: of its image below the folder, with forward slashes.
        data: the image, where the format embeds it; empty otherwise.
    """

    position: int
    entry: Entry
    path: str
    data: bytes = b""

    @property
    def part(self) -> str:
        """Which part of the split it belongs to."""
        return part_of(self.entry)


@dataclass(frozen=True)
class Export:
    """One export as its format sees it.

    Attributes:
        folder: where everything is written.
        snapshot: what is exported.
        task: of the project.
        classes: of the project, in their order.
        images: whether image files are copied, linked or left where they are.
        parts: of the split, those that hold images of the export.
        columns: of the metadata, in alphabetical order.
        items: yields all that is exported, in the order of the snapshot; may be called again.
    """

    folder: Folder
    snapshot: Snapshot
    task: Task
    classes: tuple[str, ...]
    images: Images
    parts: tuple[str, ...]
    columns: tuple[str, ...]
    items: Callable[[], Iterator[Item]]

    @property
    def project(self) -> str:
        """The project's name."""
        return str(self.snapshot.header["project"])

    @property
    def licenses(self) -> dict[str, str]:
        """The licence of the images, as dataset cards name it."""
        return licenses.front_matter(self.snapshot.header.get("licenses", []))


def nothing(export: Export) -> None:
    """Of formats that consist of the images and what lies beside each."""


def accept(_classes: tuple[str, ...], _task: Task, _images: Images) -> None:
    """Of formats that hold any class name."""


@dataclass(frozen=True)
class Exporter:
    """One format.

    Attributes:
        description: one clause for people.
        tasks: which it can hold.
        images: what may become of image files, the default first; `none` alone where the format
            embeds them.
        path: where an image lies below the folder; names that clash are told apart later.
        finish: writes what is about all images, once they are there.
        check: raises an InputError for class names, or ways of images, that it cannot hold.
        beside: path and content of the file that goes with one image.
        shard: writes one file of many embedded images: its number within the part, and its items.
        unlabeled: of which tasks it can hold images that nobody has labeled.
        empty: of which it can hold images on which somebody looked and found none of the classes.
        stems: whether two images may not have names that differ in the ending alone.
        reserved: what else the format writes directly into the folder.
    """

    description: str
    tasks: tuple[Task, ...]
    images: tuple[Images, ...]
    path: Callable[[Entry, Task], str]
    finish: Callable[[Export], None] = nothing
    check: Callable[[tuple[str, ...], Task, Images], None] = accept
    beside: Callable[[Export, Item], tuple[str, bytes] | None] | None = None
    shard: Callable[[Export, str, int, list[Item]], None] | None = None
    unlabeled: tuple[Task, ...] = get_args(Task)
    empty: tuple[Task, ...] = get_args(Task)
    stems: bool = False
    reserved: tuple[str, ...] = ()


def part_of(entry: Entry) -> str:
    """The part of the split that an image is exported in."""
    return entry.split or UNSPLIT
