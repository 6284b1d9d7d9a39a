"""Which metadata columns name an entity, such as a patient, and which a slice, such as a studio.

An entity has many values, each on few images, and its images must not be divided by a split. A
slice has few values, each on many images, and every split should have all of them. The name of the
column decides where it is plain; otherwise the numbers do, and those ask for more.
"""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ENTITIES = {
    "patient", "person", "subject", "individual", "participant", "donor", "animal", "specimen",
    "serial", "sku", "vin", "gtin", "ean", "upc", "barcode", "imei",
}  # fmt: skip
THINGS = {
    "product", "item", "article", "object", "part", "case", "customer", "user", "client", "vehicle",
    "car", "unit", "house", "property", "plant", "tree", "lesion", "eye", "sample", "listing",
    "asset", "model", "scene", "video", "clip", "sequence", "session", "order", "component",
}  # fmt: skip
"""Words that name an entity only together with a word of `NUMBERING`, or by the numbers."""

NUMBERING = {"id", "uid", "uuid", "guid", "no", "nr", "num", "number", "code", "key", "name", "ref"}
IDENTIFYING = {"id", "uid", "uuid", "guid"}

SLICES = {
    "class", "category", "label", "type", "kind", "annotator", "labeler", "rater", "studio",
    "season", "camera", "device", "scanner", "machine", "site", "hospital", "shop", "store",
    "source", "dataset", "batch", "lot", "round", "line", "station", "split", "license",
    "author", "photographer", "date", "time", "timestamp", "created", "year", "month", "day",
    "colour", "color", "brand", "size", "price", "location", "city", "country", "region",
    "address", "tag", "tags", "keywords", "caption", "description", "comment", "note", "notes",
    "text", "url", "format", "material", "supplier", "filename", "file", "path", "task", "job",
    "project", "group", "team", "status", "version",
}  # fmt: skip

FEWEST_NAMED = 3
FEWEST_OF_THINGS = 5
FEWEST_UNNAMED = 50
"""Distinct values that a column must have at least."""

MOST_OF_THINGS = 20
MOST_UNNAMED = 4
"""Images that a value may have on average."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_NUMERIC = re.compile(r"[\d\s.,:;/+\-%TZe]*")


@dataclass
class Column:
    """The values of one metadata column, as far as they have been read.

    Attributes:
        keys: (N,) a digest of each image's value, 0 for none.
        filled: images that have a value.
        numeric: those whose value is a number, a date or a time.
    """

    keys: npt.NDArray[np.uint64]
    filled: int = 0
    numeric: int = 0

    def note(self, row: int, value: str, digest: int) -> None:
        """Adds the value, not empty, of one image."""
        self.keys[row] = digest
        self.filled += 1
        self.numeric += _NUMERIC.fullmatch(value) is not None


def how_surely_an_entity(name: str, column: Column) -> float:
    """How sure it is that the column names an entity: 0 (no, a slice or a measurement) to 1."""
    words = _words(name)
    distinct = len(np.unique(column.keys[column.keys > 0]))
    if distinct < FEWEST_NAMED:
        return 0.0
    last, before = words[-1] if words else "", set(words[:-1])
    numbered = last in NUMBERING
    if (last in ENTITIES) or (numbered and before & ENTITIES):
        return 0.9
    if numbered and before & THINGS and not before & SLICES:
        return 0.9 if distinct > column.filled / MOST_OF_THINGS else 0.0
    if set(words) & SLICES:
        return 0.0
    few_each = column.filled / distinct
    if last in THINGS or last in IDENTIFYING:
        return 0.7 if distinct >= FEWEST_OF_THINGS and few_each <= MOST_OF_THINGS else 0.0
    worded = column.numeric < column.filled / 2
    return 0.5 if distinct >= FEWEST_UNNAMED and few_each <= MOST_UNNAMED and worded else 0.0


def _words(name: str) -> list[str]:
    """The words of a column's name, in lower case: `patientID` is patient and id."""
    found = [word.lower() for word in _WORD.findall(name)]
    if len(found) == 1 and found[0].endswith("id") and found[0][:-2] in ENTITIES | THINGS:
        return [found[0][:-2], "id"]
    return found
