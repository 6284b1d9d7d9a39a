"""Reading the CSV files that people have: any usual delimiter, byte-order mark, line ending."""

import codecs
import csv
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from curation.errors import InputError

IMAGE_COLUMNS = ("filename", "image", "file", "path", "image_path", "name")
LABEL_COLUMNS = ("label", "labels", "class", "category")
LICENSE_COLUMNS = ("license", "licence")
CONSENT_COLUMNS = ("consent", "model_release", "release", "permission")
DELIMITERS = ",;\t|"

REVIEWED = "reviewed"
EXPORTED = ("filename", "label", REVIEWED, "split", "group")
"""How the header of a table begins that labelloop wrote."""

PREFIX = "metadata."
"""Before a metadata column of such a table whose name would be one of those."""

_GUARD = re.compile(r"'(?='*[=+\-@\t\r])")
"""The apostrophe that keeps a spreadsheet from running a cell."""

_STATED = re.compile(rb"sep=([,;\t|])")
"""The first line by which some spreadsheets name the delimiter."""

_ESCAPED = re.compile(r"\\([|\\])|\|")
"""A backslash with what it stands before, or a bar that divides two labels."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table of images: `labels` is none where nothing is said of them."""

    line: int
    image: str
    labels: tuple[str, ...] | None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table of images whose header has been understood.

    Attributes:
        is_export: labelloop wrote it: cells are exact, and `reviewed` says which images somebody
            looked at, so that no label means none of the classes there.
        names_delimiter: the header is the second line, below a spreadsheet's `sep=;`.
    """

    path: Path
    delimiter: str
    columns: tuple[str, ...]
    image_column: str
    label_column: str | None
    metadata_columns: tuple[str, ...]
    is_export: bool = False
    names_delimiter: bool = False

    def rows(self) -> Iterator[Row | tuple[int, str]]:
        """The rows one by one; (line, reason) for a line that cannot be used."""
        with self.path.open(encoding="utf-8-sig", newline="", errors="surrogateescape") as file:
            before = len([next(file)]) if self.names_delimiter else 0
            reader = csv.DictReader(file, self.columns, delimiter=self.delimiter, strict=True)
            try:
                next(reader)  # the header, as it is spelled in the file
                for values in reader:
                    # Spreadsheets write rows of nothing below their last one.
                    if any(cell is None or cell.strip() for cell in values.values()):
                        yield self._row(before + reader.line_num, values)
            except csv.Error as error:
                raise InputError(
                    f"{self.path}, line {before + reader.reader.line_num}: {error}. "
                    "Mend the quoting."
                ) from error

    def _row(self, line: int, values: dict[str, str]) -> Row | tuple[int, str]:
        cells = values.get(None, [])  # type: ignore[call-overload]
        if cells or None in values.values():
            return line, f"{self.path.name}, line {line}: the number of cells is not the header's"
        if any("\x00" in cell or not _is_text(cell) for cell in values.values()):
            return line, f"{self.path.name}, line {line}: not UTF-8 text"
        # What labelloop wrote is exact; people leave blanks.
        cell = {k: unguarded(v if self.is_export else v.strip()) for k, v in values.items()}
        image = normal_name(cell[self.image_column])
        if not image:
            return line, f"{self.path.name}, line {line}: no {self.image_column}"
        text = cell[self.label_column] if self.label_column else ""
        parts = (unicodedata.normalize("NFC", part.strip()) for part in split_labels(text))
        labels = tuple(dict.fromkeys(part for part in parts if part))
        reviewed = self.is_export and cell[REVIEWED] != ""
        return Row(
            line=line,
            image=image,
            labels=labels if labels or reviewed else None,
            metadata={self._title(column): cell[column] for column in self.metadata_columns},
        )

    def _title(self, column: str) -> str:
        return column.removeprefix(PREFIX) if self.is_export else column


def _is_text(cell: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in cell)


def unguarded(cell: str) -> str:
    """A cell without the apostrophe that makes it safe in a spreadsheet.

    >>> unguarded("'=1+1.png"), unguarded("'tis"), unguarded("''=x")
    ('=1+1.png', "'tis", "'=x")
    """
    return _GUARD.sub("", cell, count=1) if _GUARD.match(cell) else cell


def split_labels(text: str) -> list[str]:
    """The labels of a cell, divided by `|`; in a name a backslash stands before `|` and itself.

    >>> split_labels("ok|dent"), split_labels(r"a\\|b|c\\\\d")
    (['ok', 'dent'], ['a|b', 'c\\\\d'])
    """
    parts = [""]
    end = 0
    for found in _ESCAPED.finditer(text):
        parts[-1] += text[end : found.start()] + (found[1] or "")
        if found[1] is None:
            parts.append("")
        end = found.end()
    parts[-1] += text[end:]
    return parts


def normal_name(name: str) -> str:
    """A path as the catalog names images: NFC, forward slashes, no leading `./`."""
    return unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix("./")


def open_table(
    path: Path, *, need_labels: bool = False, image_columns: Sequence[str] = IMAGE_COLUMNS
) -> Table:
    """Understands a table's delimiter and columns.

    Args:
        path: the file.
        need_labels: refuse a table without a column of labels.
        image_columns: names of the column that names images, the likeliest first.

    Raises:
        InputError: it is missing, empty, not text, or has no column that names images.
    """
    try:
        with path.open("rb") as file:
            first = file.read(65_536).removeprefix(codecs.BOM_UTF8).splitlines()
        stated = _STATED.fullmatch(first[0]) if first else None
        header = b"".join(first[1:2] if stated else first[:1]).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text. Save it as CSV in UTF-8.") from error
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    if "\x00" in header:
        raise InputError(f"{path} is not text: it holds NUL. Save it as CSV in UTF-8.")
    if not header.strip():
        raise InputError(f"{path} is empty: its first line must name the columns.")
    delimiter = stated[1].decode() if stated else max(DELIMITERS, key=header.count)
    columns = next(csv.reader([header], delimiter=delimiter))
    columns = [column.strip() for column in columns]
    named = [column for column in columns if column]  # nor do spreadsheets name empty columns
    if len(set(named)) < len(named):
        raise InputError(f"{path}, line 1: a column stands twice in {', '.join(columns)}.")
    image = first_column(columns, image_columns)
    if image is None:
        raise InputError(
            f"{path}, line 1: no column names the images. Found: {', '.join(columns)}. "
            f"Name it one of {', '.join(image_columns)}."
        )
    label = first_column(columns, LABEL_COLUMNS)
    if need_labels and label is None:
        raise InputError(
            f"{path}, line 1: no column holds labels. Found: {', '.join(columns)}. "
            f"Name it one of {', '.join(LABEL_COLUMNS)}."
        )
    is_export = tuple(columns[: len(EXPORTED)]) == EXPORTED
    others = (image, label, *((REVIEWED, "group") if is_export else ()))
    return Table(
        path=path,
        delimiter=delimiter,
        columns=tuple(columns),
        image_column=image,
        label_column=label,
        metadata_columns=tuple(c for c in columns if c and c not in others),
        is_export=is_export,
        names_delimiter=stated is not None,
    )


def first_column(columns: Sequence[str], wanted: Sequence[str]) -> str | None:
    """The first of the wanted names that a table has, as it is spelled there; upper case or not."""
    by_lower = {column.lower(): column for column in columns}
    return next((by_lower[name] for name in wanted if name in by_lower), None)
