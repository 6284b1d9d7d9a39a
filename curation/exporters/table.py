"""CSV: one row for each image, safe to open in a spreadsheet, and read back by `labelloop import`.

Several labels are separated by `|`; a bar or backslash within a name is preceded by a backslash. A
cell that a spreadsheet would take for a formula gets a leading apostrophe, and so does one that
would be mistaken for such a cell, so that reading takes off exactly one. `reviewed` says `yes`
where somebody looked, which tells an image with none of the classes from an unlabeled one, and
`machine` where the label is a machine's, accepted in bulk.
"""

import csv
import io
import re
from collections.abc import Sequence

from curation.catalog.labels import MACHINE
from curation.exporters.names import safe
from curation.exporters.record import Export, Exporter, Item
from curation.manifest import Entry
from curation.records import Task

TABLE = "labels.csv"
COLUMNS = ("filename", "label", "reviewed", "split", "group")

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def _path(entry: Entry, _: Task) -> str:
    return safe(entry.name)


def _finish(export: Export) -> None:
    titles = [*COLUMNS, *(metadata_title(column) for column in export.columns)]
    with export.folder.writing(TABLE) as file:
        file.write(_line(titles))
        for item in export.items():
            file.write(_line([*_cells(export, item)]))


def _cells(export: Export, item: Item) -> list[str]:
    entry = item.entry
    return [
        entry.name if export.images == "none" else item.path,
        joined(entry.classes or ()),
        "" if entry.classes is None else "machine" if entry.origin == MACHINE else "yes",
        entry.split,
        entry.group,
        *(entry.metadata.get(column, "") for column in export.columns),
    ]


def metadata_title(column: str) -> str:
    """The title of a metadata column; another one where it would be taken for one of ours."""
    return f"metadata.{column}" if column.lower() in COLUMNS else column


def joined(labels: Sequence[str]) -> str:
    r"""Labels in one cell.

    >>> joined(["a|b", "c"])
    'a\\|b|c'
    """
    return "|".join(label.replace("\\", "\\\\").replace("|", "\\|") for label in labels)


def _line(cells: Sequence[str]) -> bytes:
    # With both characters in the line's end, cells that hold either are quoted.
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow([harmless(cell) for cell in cells])
    return line.getvalue().encode()


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula.

    >>> harmless("=1+1"), harmless("a=1")
    ("'=1+1", 'a=1')
    """
    return f"'{cell}" if _FORMULA.match(cell) else cell


EXPORTER = Exporter(
    description="a table of file names, labels, splits, groups and metadata",
    tasks=("single-label", "multi-label"),
    images=("copy", "link", "none"),
    path=_path,
    finish=_finish,
    reserved=(TABLE,),
)
