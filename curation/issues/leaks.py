"""Images that tie two parts of an imported split together: copies, and things seen in both.

Across the split lie either members of one group of duplicates, or images with the same value of a
column that names an entity, such as a patient.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from curation.catalog import images as image_rows
from curation.imported_split import (
    BATCH,
    SPLIT_COLUMNS,
    Codes,
    ImportedSplit,
    split_name,
    walk,
)
from curation.issues.columns import Column, how_surely_an_entity
from curation.issues.evidence import Evidence
from curation.issues.table import Detector, Issue

__all__ = ["DETECTOR", "SPLIT_COLUMNS", "Crossing", "cross", "find", "split_name"]

Ids = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

MOST_RELATED = 50


@dataclass(frozen=True)
class Crossing:
    """The keys that occur in more than one part of a split.

    Attributes:
        key_of: (N,) row of `counts` that each image belongs to, -1 for an image that leaks nothing.
        counts: (K, S) how many images of each such key lie in each part.
    """

    key_of: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]


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
    splits, names = seen.imported.found()
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

    imported: ImportedSplit
    columns: dict[str, Column] = field(default_factory=dict)


def _read(evidence: Evidence) -> _Seen:
    """Names and metadata of all images, in batches."""
    size = len(evidence.ids)
    seen = _Seen(ImportedSplit(size))
    walked = walk(evidence.project, evidence.ids, report=evidence.report, says="leaks")
    for row, path, values in walked:
        seen.imported.note_path(row, path)
        for name, raw in values.items():
            value = raw.strip()
            if value and not seen.imported.note_value(row, name, value):
                column = seen.columns.setdefault(name, Column(np.zeros(size, np.uint64)))
                column.note(row, value, _digest(value))
    return seen


def _digest(value: str) -> int:
    data = value.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big") or 1
