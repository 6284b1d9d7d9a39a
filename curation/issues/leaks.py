"""Images that tie two parts of an imported split together: copies, and things seen in both.

The split is a metadata column (`split`, `subset`, `fold` or `partition`) or, where there is none, a
folder of the images' paths (`train/...`, `test/...`). Across it lie either members of one group of
duplicates, or images with the same value of a column that names an entity, such as a patient.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from curation.catalog import images as image_rows
from curation.issues.columns import Column, how_surely_an_entity
from curation.issues.evidence import Evidence
from curation.issues.table import Detector, Issue

Ids = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int16]
Keys = npt.NDArray[np.uint64]

SPLIT_COLUMNS = {"split", "subset", "fold", "partition"}
_SPLIT = re.compile(
    r"(?P<train>train(ing)?|trn)|(?P<val>val(id|idation)?)|(?P<test>test(ing)?|tst)"
    r"|(?P<dev>dev(elop(ment)?)?)|(?P<eval>eval(uation)?)|(?P<holdout>hold[-_ ]?out)"
)
_DECORATION = re.compile(r"[-_ ]?(set|split|data|images?|imgs?|\d{4})$")
_FOLD = re.compile(r"(fold)?[-_ ]?(\d{1,2})")

MOST_RELATED = 50
BATCH = 10_000


@dataclass(frozen=True)
class Crossing:
    """The keys that occur in more than one part of a split.

    Attributes:
        key_of: (N,) row of `counts` that each image belongs to, -1 for an image that leaks nothing.
        counts: (K, S) how many images of each such key lie in each part.
    """

    key_of: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]


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


def cross(keys: npt.NDArray[np.integer], splits: Codes) -> Crossing:
    """Finds the keys whose images lie in several parts.

    Args:
        keys: (N,) such as group ids; 0 and below belongs to no key.
        splits: (N,) number of the part, -1 for an image in none.
    """
    key_of = np.full(len(keys), -1, np.int32)
    known = np.flatnonzero((keys > 0) & (splits >= 0))
    parts = int(splits.max(initial=-1)) + 1
    if not len(known):
        return Crossing(key_of, np.zeros((0, parts), np.int32))
    _, key = np.unique(keys[known], return_inverse=True)
    counts = np.zeros((int(key.max()) + 1, parts), np.int32)
    np.add.at(counts, (key, splits[known]), 1)
    leaking = (counts > 0).sum(axis=1) > 1
    number = np.where(leaking, np.cumsum(leaking) - 1, -1)
    key_of[known] = number[key]
    return Crossing(key_of, counts[leaking])


def find(evidence: Evidence) -> Iterator[Issue]:
    """One row for every image that is tied to another part of the imported split."""
    seen = _read(evidence)
    splits, names = seen.split()
    if len(names) < 2:
        return
    groups = np.asarray(evidence.groups, np.int64)
    copies = cross(groups, splits)
    entities: dict[str, tuple[float, Crossing]] = {}
    for name, column in seen.columns.items():
        surely = how_surely_an_entity(name, column)
        if surely:
            entities[name] = surely, cross(column.keys, splits)
    hit = copies.key_of >= 0
    for _, crossing in entities.values():
        hit |= crossing.key_of >= 0
    rows = np.flatnonzero(hit)
    members = _Members(groups, splits)
    for start in range(0, len(rows), BATCH):
        here = rows[start : start + BATCH]
        with evidence.project.catalog.read() as connection:
            values = image_rows.metadata_of_many(connection, evidence.ids[here].tolist())
        for row in here:
            image_id = int(evidence.ids[row])
            found = list(_reasons(int(row), names, copies, entities, values.get(image_id, {})))
            yield Issue(
                image_id=image_id,
                kind="leak",
                score=max(score for score, _ in found),
                is_issue=True,
                reason="; ".join(reason for _, reason in found),
                related=tuple(evidence.ids[members.across(int(row))].tolist())
                if copies.key_of[row] >= 0
                else (),
            )


DETECTOR = Detector(kinds=("leak",), needs_embeddings=False, find=find, needs_copies=True)


def _reasons(
    row: int,
    names: Sequence[str],
    copies: Crossing,
    entities: Mapping[str, tuple[float, Crossing]],
    values: Mapping[str, str],
) -> Iterator[tuple[float, str]]:
    """Score and clause of everything that ties one image to another part."""
    if copies.key_of[row] >= 0:
        counts = copies.counts[copies.key_of[row]]
        where = [f"in {names[part]} ({_images(counts[part])})" for part in np.flatnonzero(counts)]
        yield 1.0, f"the same picture is {' and '.join(where)}"
    for name, (surely, crossing) in entities.items():
        if crossing.key_of[row] >= 0:
            counts = crossing.counts[crossing.key_of[row]]
            where = [f"in {names[part]}" for part in np.flatnonzero(counts)]
            value = values.get(name, "").strip()
            value = value if len(value) <= 60 else f"{value[:57]}..."
            together = f"is {' and '.join(where)}: {_images(counts.sum())}"
            yield surely, f"the same {name} {value} {together}"


def _images(count: int) -> str:
    return f"{count:,} image" + ("" if count == 1 else "s")


class _Members:
    """Who else is in an image's group, without a list per group."""

    def __init__(self, groups: Ids, splits: Codes) -> None:
        self._groups, self._splits = groups, splits
        self._order = np.argsort(groups, kind="stable")
        self._sorted = groups[self._order]

    def across(self, row: int) -> Ids:
        """Rows (n,) of the members in other parts, at most `MOST_RELATED`."""
        group = self._groups[row]
        low, high = np.searchsorted(self._sorted, [group, group + 1])
        rows = self._order[low:high]
        other = (self._splits[rows] >= 0) & (self._splits[rows] != self._splits[row])
        return np.sort(rows[other])[:MOST_RELATED]


@dataclass
class _Seen:
    """What one pass over names and metadata has found of N images.

    A value is kept as a 64-bit digest: 8 bytes an image and column, however long it is.
    """

    size: int
    columns: dict[str, Column] = field(default_factory=dict)
    in_columns: dict[str, "_Parts"] = field(default_factory=dict)
    in_folders: dict[int, "_Parts"] = field(default_factory=dict)

    def add_values(self, row: int, values: Mapping[str, str]) -> None:
        """Notes the metadata of one image."""
        for name, raw in values.items():
            value = raw.strip()
            if not value:
                continue
            if (kind := name.strip().lower()) in SPLIT_COLUMNS:
                parts = self.in_columns.setdefault(name, _Parts(self.size))
                parts.note(row, split_name(value, folds=kind == "fold"))
                continue
            column = self.columns.setdefault(name, Column(np.zeros(self.size, np.uint64)))
            column.note(row, value, _digest(value))

    def add_path(self, row: int, path: str) -> None:
        """Notes the folders of one image."""
        for depth, folder in enumerate(path.split("/")[:-1]):
            if name := split_name(folder):
                self.in_folders.setdefault(depth, _Parts(self.size)).note(row, name)

    def split(self) -> tuple[Codes, list[str]]:
        """The imported split: the part of each image (N,), -1 for none, and the parts' names."""
        by_column = [parts for parts in self.in_columns.values() if len(parts.names) > 1]
        if by_column:
            best = max(by_column, key=lambda parts: int((parts.codes >= 0).sum()))
            return best.codes, best.names
        for _, parts in sorted(self.in_folders.items()):
            if len(parts.names) > 1 and (parts.codes >= 0).all():
                return parts.codes, parts.names
        return np.full(self.size, -1, np.int16), []


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


def _read(evidence: Evidence) -> _Seen:
    """Names and metadata of all images, in batches."""
    seen = _Seen(len(evidence.ids))
    for start in range(0, seen.size, BATCH):
        ids = evidence.ids[start : start + BATCH].tolist()
        with evidence.project.catalog.read() as connection:
            places = image_rows.places(connection, ids)
            metadata = image_rows.metadata_of_many(connection, ids)
        for row, image_id in enumerate(ids, start):
            seen.add_values(row, metadata.get(image_id, {}))
            if place := places.get(image_id):
                # Parts may also have been imported one after the other, each from its own folder.
                folder = place.source.rstrip("/").rsplit("/", 1)[-1]
                seen.add_path(row, f"{folder}/{place.name}")
        evidence.report(min(start + BATCH, seen.size), seen.size, "leaks")
    return seen


def _digest(value: str) -> int:
    data = value.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big") or 1
