"""Where images come from: walk a folder or a table, and say what an import would make of it."""

import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from curation import parts as split_parts
from curation import tables
from curation.errors import InputError
from curation.tables import Row, Table, normal_name

LabelsFrom = Literal["auto", "folder", "csv", "none"]

# By name only to leave notes, archives and the like alone; what a file is, its content decides.
IMAGE_SUFFIXES = frozenset(
    [
        *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "dib", "tif", "tiff", "gif"),
        *("avif", "heic", "heif", "svg", "jp2", "jxl", "ico", "psd"),
    ]
)
LICENSE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "license.txt")


@dataclass(frozen=True)
class Plan:
    """What an import understood of its source, told to the user before anything is written.

    Attributes:
        root: the folder that image names are relative to.
        table: the CSV with labels and metadata, if there is one.
        listed: only images of the table are imported; otherwise all of the folder.
        labels_from: folder, csv, annotations (a format's own files) or none, decided.
        ignored: other files in the folder, which are left alone.
        format: the importer that reads it.
        parts: of the split that came with it.
        kinds: what labels there are: `boxes`, or `classes` of whole images.
        notes: what else is to be known, in sentences.
        folder_depth: how many folders stand before the one that names an image's class.
        details: what the importer has to remember until it reads.
    """

    root: Path
    table: Table | None
    listed: bool
    labels_from: Literal["folder", "csv", "annotations", "none"]
    classes: tuple[str, ...]
    unknown_classes: tuple[str, ...]
    metadata_columns: tuple[str, ...]
    consent_columns: tuple[str, ...]
    license: str
    candidates: int
    ignored: int
    format: str = "folder"
    parts: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    folder_depth: int = 0
    details: Any = None

    def sentences(self) -> list[str]:
        """The plan in words."""
        told = [f"{self.candidates:,} files to read in {self.root}"]
        if self.labels_from == "annotations":
            told.append(f"format: {self.format}")
        if self.ignored:
            told.append(f"{self.ignored:,} other files are left alone")
        labels_told = {
            "csv": f"labels from {self.table.path.name if self.table else ''}",
            "folder": "labels from the folders' names",
            "annotations": "boxes" if "boxes" in self.kinds else "labels",
            "none": "no labels",
        }[self.labels_from]
        seen = f": {', '.join(self.classes)}" if self.classes else ""
        told.append(labels_told + seen)
        if self.unknown_classes:
            told.append(f"not classes of this project: {', '.join(self.unknown_classes)}")
            every = ",".join((*self.classes, *self.unknown_classes))
            told.append(f"a project of them all: labelloop init --name NAME --classes {every}")
        if self.parts:
            told.append(f"split, kept as metadata: {', '.join(self.parts)}")
        if self.metadata_columns:
            told.append(f"metadata: {', '.join(self.metadata_columns)}")
        if self.consent_columns:
            told.append(f"consent: {', '.join(self.consent_columns)}")
        told.append(f"licence: {self.license or 'not stated'}")
        return [*told, *self.notes]


@dataclass(frozen=True)
class Candidate:
    """One file that may be an image; `reason` says why it is refused before it is opened."""

    path: Path
    name: str
    reason: str = ""


def understand(
    source: Path,
    *,
    known_classes: Sequence[str],
    table: Path | None = None,
    labels_from: LabelsFrom = "auto",
) -> Plan:
    """Looks at a source and says what an import would make of it; writes nothing.

    Args:
        source: a folder of images, or a CSV that names images relative to its own folder.
        known_classes: the project's.
        table: a CSV with labels and metadata for the images of the folder.

    Raises:
        InputError: there is nothing to import, or the table cannot be understood.
    """
    if not source.exists():
        raise InputError(f"{source} does not exist. Name a folder of images or a CSV file.")
    if source.is_file():
        if table is not None:
            raise InputError(f"{source} is a table already; give either SRC or --labels, not both.")
        table, root, listed = source, source.parent, True
    else:
        root, listed = source, False
    if labels_from == "csv" and table is None:
        raise InputError("--labels-from csv needs a table: add --labels FILE.csv.")
    opened = tables.open_table(table, need_labels=labels_from == "csv") if table else None
    tabled, rows = _classes_in(opened) if opened else (set(), 0)
    layout = _Layout(files=rows) if listed else _layout(root)
    files, ignored = layout.files, layout.ignored
    folders, parts, depth = _understood(layout, known_classes)
    if not files:
        raise InputError(
            f"No images in {source}: no file has an image's name ending, and {ignored:,} other "
            "files are left alone."
        )
    decided: Literal["folder", "csv", "none"] = "none"
    if labels_from != "auto":
        decided = labels_from
    elif opened is not None and opened.label_column:
        decided = "csv"
    elif folders and folders <= set(known_classes):
        decided = "folder"
    found = {"csv": tabled, "folder": folders - {""}, "none": set()}[decided]
    kinds = frozenset({"classes"} if found else ())
    columns = opened.metadata_columns if opened else ()
    return Plan(
        root=root.absolute(),
        table=opened,
        listed=listed,
        labels_from=decided,
        classes=tuple(name for name in known_classes if name in found),
        unknown_classes=tuple(sorted(found - set(known_classes)))[:20],
        metadata_columns=columns,
        consent_columns=tuple(c for c in columns if c.lower() in tables.CONSENT_COLUMNS),
        license=license_of(root),
        candidates=files,
        ignored=ignored,
        format="folder" if opened is None else "csv",
        parts=parts,
        kinds=kinds,
        folder_depth=depth,
    )


@dataclass
class _Layout:
    """The first two folders of the images' names (empty: none), and how many files there are."""

    folders: set[tuple[str, str]] = field(default_factory=set)
    files: int = 0
    ignored: int = 0


MOST_FOLDERS = 100_000
"""Folders that are looked at to tell classes from other folders."""


def _layout(root: Path) -> _Layout:
    found = _Layout()
    for one in walk(root):
        if one is None:
            found.ignored += 1
            continue
        found.files += 1
        first, second, *_ = [*one.name.split("/")[:-1][:2], "", ""]
        if len(found.folders) < MOST_FOLDERS:
            found.folders.add((first, second))
    return found


def _understood(
    layout: _Layout, known_classes: Sequence[str]
) -> tuple[set[str], tuple[str, ...], int]:
    """The folders that may name classes, the parts above them, and how deep they lie.

    `train/CLASS/...` beside `test/CLASS/...` is a split; a folder of a class's name never is.
    """
    firsts = {first for first, _ in layout.folders}
    parts = {first: split_parts.part(first) for first in firsts}
    named = all(part or first == split_parts.UNSPLIT for first, part in parts.items())
    is_split = bool(firsts) and named and not firsts & set(known_classes)
    seconds = {second for _, second in layout.folders}
    if not is_split or (len(firsts) == 1 and seconds == {""}):
        return firsts, (), 0
    return seconds, tuple(sorted(set(parts.values()) - {""})), 1


def license_of(root: Path) -> str:
    """The first line of a folder's licence file; empty where there is none."""
    for name in LICENSE_FILES:
        path = root / name
        if path.is_file():
            first = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            return first[0][:200] if first else ""
    return ""


def _classes_in(table: Table) -> tuple[set[str], int]:
    names: set[str] = set()
    rows = 0
    for row in table.rows():
        if isinstance(row, Row):
            rows += 1
            if len(names) < 1000:
                names.update(row.labels or ())
    return names, rows


def walk(root: Path) -> Iterator[Candidate | None]:
    """Files of a folder in the order of their names; none for a file that is left alone."""
    real_root = root.resolve()
    stack = [root]
    while stack:
        folder = stack.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            yield Candidate(folder, name_of(folder, root), f"cannot be read: {error.strerror}")
            continue
        below = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                below.append(path)
                continue
            if path.suffix.lower().lstrip(".") not in IMAGE_SUFFIXES:
                yield None
                continue
            yield candidate(path, root, real_root, may_leave=entry.is_symlink())
        stack.extend(reversed(below))


def candidate(path: Path, root: Path, real_root: Path, *, may_leave: bool = True) -> Candidate:
    """A file below `root`; refused where `may_leave` and a link on the way leaves the folder."""
    name = name_of(path, root)
    if any("\ud800" <= character <= "\udfff" for character in str(path)):
        printable = os.fsencode(name).decode("utf-8", errors="backslashreplace")
        return Candidate(path, printable, "the file's name is not UTF-8; rename it")
    if may_leave:
        try:
            inside = path.resolve().is_relative_to(real_root)
        except (OSError, RuntimeError):  # Python below 3.13 raises RuntimeError for a loop
            return Candidate(path, name, "a link that leads nowhere")
        if not inside:
            return Candidate(path, name, "a link that leaves the folder")
    return Candidate(path, name)


def name_of(path: Path, root: Path) -> str:
    """How the catalog names a file below `root`."""
    return normal_name(path.relative_to(root).as_posix())


def candidates(plan: Plan, listed: Iterable[str]) -> Iterator[Candidate]:
    """The files to import: all of the folder, or those `listed` where a table names them."""
    if not plan.listed:
        yield from (candidate for candidate in walk(plan.root) if candidate is not None)
        return
    real_root = plan.root.resolve()
    for name in listed:
        path = plan.root / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            yield Candidate(path, name, "the path leaves the table's folder")
        else:
            # A table is often typed where names are composed, for files stored decomposed.
            spellings = (path, plan.root / unicodedata.normalize("NFD", name))
            path = next((p for p in spellings if is_file(p)), path)
            if is_file(path):
                # Any folder on the way may be a link, not the file alone.
                yield candidate(path, plan.root, real_root)


def is_file(path: Path) -> bool:
    """Whether this is a file; never where no file can have such a name."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or with NUL
        return False


def origin(path: Path) -> str:
    """The absolute path as stored: printable even where the file system's name is not UTF-8."""
    text = str(path.absolute())
    return os.fsencode(text).decode("utf-8", errors="backslashreplace")
