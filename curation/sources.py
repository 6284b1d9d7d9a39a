"""Where images come from: walk a folder or a table, and say what an import would make of it."""

import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
        labels_from: folder, csv or none, decided.
        ignored: other files in the folder, which are left alone.
    """

    root: Path
    table: Table | None
    listed: bool
    labels_from: Literal["folder", "csv", "none"]
    classes: tuple[str, ...]
    unknown_classes: tuple[str, ...]
    metadata_columns: tuple[str, ...]
    consent_columns: tuple[str, ...]
    license: str
    candidates: int
    ignored: int

    def sentences(self) -> list[str]:
        """The plan in words."""
        told = [f"{self.candidates:,} files to read in {self.root}"]
        if self.ignored:
            told.append(f"{self.ignored:,} other files are left alone")
        labels_told = {
            "csv": f"labels from {self.table.path.name if self.table else ''}",
            "folder": "labels from the folders' names",
            "none": "no labels",
        }[self.labels_from]
        seen = f": {', '.join(self.classes)}" if self.classes else ""
        told.append(labels_told + seen)
        if self.unknown_classes:
            told.append(f"not classes of this project: {', '.join(self.unknown_classes)}")
        if self.metadata_columns:
            told.append(f"metadata: {', '.join(self.metadata_columns)}")
        if self.consent_columns:
            told.append(f"consent: {', '.join(self.consent_columns)}")
        told.append(f"licence: {self.license or 'not stated'}")
        return told


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
    folders, files, ignored = (set(), rows, 0) if listed else _classes_of_folders(root)
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
        license=_license(root),
        candidates=files,
        ignored=ignored,
    )


def _classes_of_folders(root: Path) -> tuple[set[str], int, int]:
    """First folders (empty: the root itself), files that may be images, and other files."""
    folders: set[str] = set()
    files = ignored = 0
    for candidate in _walk(root):
        if candidate is None:
            ignored += 1
            continue
        files += 1
        folders.add(candidate.name.split("/")[0] if "/" in candidate.name else "")
    return folders, files, ignored


def _license(root: Path) -> str:
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


def _walk(root: Path) -> Iterator[Candidate | None]:
    """Files of a folder in the order of their names; none for a file that is left alone."""
    real_root = root.resolve()
    stack = [root]
    while stack:
        folder = stack.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            yield Candidate(folder, _name(folder, root), f"cannot be read: {error.strerror}")
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
            yield _candidate(path, root, real_root, may_leave=entry.is_symlink())
        stack.extend(reversed(below))


def _candidate(path: Path, root: Path, real_root: Path, *, may_leave: bool) -> Candidate:
    name = _name(path, root)
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


def _name(path: Path, root: Path) -> str:
    return normal_name(path.relative_to(root).as_posix())


def candidates(plan: Plan, listed: Iterable[str]) -> Iterator[Candidate]:
    """The files to import: all of the folder, or those `listed` where a table names them."""
    if not plan.listed:
        yield from (candidate for candidate in _walk(plan.root) if candidate is not None)
        return
    real_root = plan.root.resolve()
    for name in listed:
        path = plan.root / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            yield Candidate(path, name, "the path leaves the table's folder")
        else:
            # A table is often typed where names are composed, for files stored decomposed.
            spellings = (path, plan.root / unicodedata.normalize("NFD", name))
            path = next((p for p in spellings if p.is_file()), path)
            if path.is_file():
                # Any folder on the way may be a link, not the file alone.
                yield _candidate(path, plan.root, real_root, may_leave=True)


def origin(path: Path) -> str:
    """The absolute path as stored: printable even where the file system's name is not UTF-8."""
    text = str(path.absolute())
    return os.fsencode(text).decode("utf-8", errors="backslashreplace")
