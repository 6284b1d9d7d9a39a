"""What an importer says of a source: the images in it, and what somebody said of each.

Importers know formats and nothing of the catalog; `curation/ingest.py` knows the catalog and
nothing of formats. These records pass between them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from curation.records import Task
from curation.sources import Candidate, LabelsFrom, Plan


@dataclass(frozen=True, slots=True)
class Drawn:
    """A box as a file has it.

    Attributes:
        x, y, width, height: from the top left corner of the upright image; pixels, or shares of the
            image's sides where `relative`.
        where: the place in the file, such as `line 3`.
    """

    label: str
    x: float
    y: float
    width: float
    height: float
    where: str
    relative: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """One answer to one image.

    Attributes:
        labels: of the whole image; without any, and without boxes: there is nothing to be seen.
        boxes: none in a source of whole images' labels.
        annotator: who said so; empty where the source does not tell.
        skipped: somebody passed the image on.
    """

    labels: tuple[str, ...] = ()
    boxes: tuple[Drawn, ...] | None = None
    annotator: str = ""
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """One image of a source.

    Attributes:
        where: the file, and the place in it, that names the image; empty where nothing does.
        size: (width, height) in pixels that the source claims and that its boxes are meant for.
    """

    candidate: Candidate
    said: tuple[Said, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    where: str = ""
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class SetAside:
    """Something in a source that cannot be used; `image` as the user knows it."""

    image: str
    reason: str


@dataclass(frozen=True)
class Asked:
    """What the project can take: its classes' ids by name, in their order, and its task."""

    classes: Mapping[str, int]
    task: Task

    def refusal(self, labels: Sequence[str]) -> str:
        """Why these labels of a whole image cannot be taken; empty where they can."""
        unknown = next((name for name in labels if name not in self.classes), None)
        if unknown is not None:
            known = ", ".join(list(self.classes)[:20])
            return f"unknown class {unknown!r}; the classes are {known}"
        if len(labels) > 1 and self.task == "single-label":
            return f"{len(labels)} labels in a single-label project"
        return ""


@dataclass(frozen=True)
class Request:
    """What somebody wants to import.

    Attributes:
        source: a folder or a file.
        table: the file with the labels, where it does not lie in the folder.
    """

    source: Path
    table: Path | None
    labels_from: LabelsFrom
    classes: tuple[str, ...]
    task: Task


@dataclass(frozen=True)
class Importer:
    """One format.

    Attributes:
        description: what it reads, for people.
        recognises: whether a folder or file looks like it, judged by a glance.
        understand: says what an import would make of it; raises InputError.
        read: the images one by one, without holding them; raises InputError.
    """

    description: str
    recognises: Callable[[Path], bool]
    understand: Callable[[Request], Plan]
    read: Callable[[Plan, Asked], Iterator[Found | SetAside]]
