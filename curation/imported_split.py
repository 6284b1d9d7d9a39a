"""The split that images were imported with.

It is a metadata column (`split`, `subset`, `fold` or `partition`) or, where there is none, a folder
of the images' paths (`train/...`, `test/...`).
"""

import re
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from curation.catalog import images as image_rows
from curation.progress import Report, silent
from curation.workspace import Project

Codes = npt.NDArray[np.int16]

SPLIT_COLUMNS = {"split", "subset", "fold", "partition"}
_SPLIT = re.compile(
    # Exports of a project without a split call its parts after the reserve's halves.
    r"(?P<train>train(ing)?|trn)|(?P<val>val(id|idation)?|calibration)|(?P<test>test(ing)?|tst)"
    r"|(?P<dev>dev(elop(ment)?)?)|(?P<eval>eval(uation)?)|(?P<holdout>hold[-_ ]?out)"
)
_DECORATION = re.compile(r"[-_ ]?(set|split|data|images?|imgs?|\d{4})$")
_FOLD = re.compile(r"(fold)?[-_ ]?(\d{1,2})")

BATCH = 10_000


def split_name(value: str, *, folds: bool = False) -> str:
    """The part of a split that a value or folder means, such as `train`; empty for none.

    Args:
        value: in any case, as `Train`, `validation` or `val2017`.
        folds: whether a number means a fold.

    >>> split_name("VALIDATION"), split_name("train2017"), split_name("shirts")
    ('val', 'train', '')
    """
    text = value.strip().lower()
    if found := _SPLIT.fullmatch(_DECORATION.sub("", text)):
        return str(found.lastgroup)
    number = _FOLD.fullmatch(text) if folds else None
    return f"fold {int(number[2])}" if number else ""


class ImportedSplit:
    """What names and metadata of N images, noted one after the other, say of their split."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._in_columns: dict[str, _Parts] = {}
        self._in_folders: dict[int, _Parts] = {}

    def note_value(self, row: int, column: str, value: str) -> bool:
        """Notes one image's value, not empty; returns whether the column is one of splits."""
        kind = column.strip().lower()
        if kind not in SPLIT_COLUMNS:
            return False
        parts = self._in_columns.setdefault(column, _Parts(self._size))
        parts.note(row, split_name(value, folds=kind == "fold"))
        return True

    def note_path(self, row: int, path: str) -> None:
        """Notes the folders of one image."""
        for depth, folder in enumerate(path.split("/")[:-1]):
            if name := split_name(folder):
                self._in_folders.setdefault(depth, _Parts(self._size)).note(row, name)

    def found(self) -> tuple[Codes, list[str]]:
        """The part of each image (N,), -1 for none, and the parts' names: none without a split."""
        by_column = [parts for parts in self._in_columns.values() if len(parts.names) > 1]
        if by_column:
            best = max(by_column, key=lambda parts: int((parts.codes >= 0).sum()))
            return best.codes, best.names
        for _, parts in sorted(self._in_folders.items()):
            if len(parts.names) > 1 and (parts.codes >= 0).all():
                return parts.codes, parts.names
        return np.full(self._size, -1, np.int16), []


class _Parts:
    """A split as it is read: the number of each image's part."""

    def __init__(self, size: int) -> None:
        self.codes: Codes = np.full(size, -1, np.int16)
        self.names: list[str] = []

    def note(self, row: int, name: str) -> None:
        if not name:
            return
        if name not in self.names:
            self.names.append(name)
        self.codes[row] = self.names.index(name)


def walk(
    project: Project, ids: npt.NDArray[np.int64], *, report: Report = silent, says: str = "splits"
) -> Iterator[tuple[int, str, Mapping[str, str]]]:
    """Row, path and metadata of every image, read in batches.

    A path begins with the last folder of its import: parts may also have been imported one after
    the other, each from its own folder.

    Args:
        project: whose images they are.
        ids: (N,) image ids.
        report: told of the progress.
        says: the step's name.
    """
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH].tolist()
        with project.catalog.read() as connection:
            places = image_rows.places(connection, batch)
            metadata = image_rows.metadata_of_many(connection, batch)
        for row, image_id in enumerate(batch, start):
            place = places.get(image_id)
            folder = place.source.rstrip("/").rsplit("/", 1)[-1] if place else ""
            yield row, f"{folder}/{place.name}" if place else "", metadata.get(image_id, {})
        report(min(start + BATCH, len(ids)), len(ids), says)


def read(
    project: Project, ids: npt.NDArray[np.int64], *, report: Report = silent
) -> tuple[Codes, list[str]]:
    """The imported split of these images, as `ImportedSplit.found` gives it."""
    imported = ImportedSplit(len(ids))
    for row, path, values in walk(project, ids, report=report):
        imported.note_path(row, path)
        for column, value in values.items():
            if text := value.strip():
                imported.note_value(row, column, text)
    return imported.found()
