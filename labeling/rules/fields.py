"""What rules may look at: the fields of an image, read for many images at once.

Text fields are "" and numbers NaN where an image has none, so that no comparison holds there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation import features, scan
from curation.catalog import Connection, labels, runs
from curation.catalog import images as image_rows
from curation.embeddings import EmbeddingStore
from curation.errors import InputError
from curation.progress import Report, silent
from curation.scan import ScanStore
from curation.workspace import Project

TEXT, NUMBER = "text", "number"
METADATA = "metadata"
NEIGHBOURS = 5
"""Labeled images that an image's neighbourhood consists of."""

_REFERENCES = 20_000
"""Labels that neighbours are sought among; of more a random share, alike at every call."""

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Field:
    """What a field is.

    Attributes:
        kind: text or number.
        source: what has to be read for it: catalog, scan, prediction or neighbours.
    """

    kind: str
    source: str = "catalog"

    @property
    def is_cheap(self) -> bool:
        """Whether neither images are decoded nor models asked for it."""
        return self.source == "catalog"


FIELDS: dict[str, Field] = {
    "name": Field(TEXT),
    "folder": Field(TEXT),
    "stem": Field(TEXT),
    "extension": Field(TEXT),
    "format": Field(TEXT),
    "mode": Field(TEXT),
    "width": Field(NUMBER),
    "height": Field(NUMBER),
    "aspect": Field(NUMBER),
    "bytes": Field(NUMBER),
    "frames": Field(NUMBER),
    "brightness": Field(NUMBER, "scan"),
    "contrast": Field(NUMBER, "scan"),
    "sharpness": Field(NUMBER, "scan"),
    "noise": Field(NUMBER, "scan"),
    "entropy": Field(NUMBER, "scan"),
    "information": Field(NUMBER, "scan"),
    "colourfulness": Field(NUMBER, "scan"),
    "dark-share": Field(NUMBER, "scan"),
    "bright-share": Field(NUMBER, "scan"),
    "median-level": Field(NUMBER, "scan"),
    "prediction": Field(TEXT, "prediction"),
    "prediction.confidence": Field(NUMBER, "prediction"),
    "prediction.margin": Field(NUMBER, "prediction"),
    "neighbour": Field(TEXT, "neighbours"),
    "neighbour.similarity": Field(NUMBER, "neighbours"),
    "neighbour.agreement": Field(NUMBER, "neighbours"),
}

CLASS_FIELDS = ("neighbour", "prediction", "folder", "stem")
"""Fields whose value may be a class."""

_SCANNED = {
    "brightness": "mean",
    "sharpness": "sharpness",
    "noise": "noise",
    "entropy": "entropy",
    "information": "information",
    "colourfulness": "colourfulness",
    "dark-share": "clipped_dark",
    "bright-share": "clipped_bright",
    "median-level": "p50",
}


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The labeled images that others are compared with; none of the reserve.

    Attributes:
        store: of embeddings.
        vectors: (L, d) theirs.
        groups: (L,) theirs: an image is no neighbour of its own copies.
        classes: (L,) index of each one's class.
        names: of the classes.
    """

    store: EmbeddingStore
    vectors: NDArray[np.float32]
    groups: NDArray[np.int64]
    classes: NDArray[np.int64]
    names: tuple[str, ...]

    def look(self, ids: Sequence[int] | NDArray[np.int64], groups: NDArray[np.int64]) -> Columns:
        """The three fields of these images."""
        name = np.full(len(ids), "", dtype=object)
        similarity, agreement = np.full(len(ids), np.nan), np.full(len(ids), np.nan)
        there = np.flatnonzero(np.isin(np.asarray(ids), self.store.ids()))
        if len(there) and len(self.vectors):
            products = self.store.read(np.asarray(ids)[there]) @ self.vectors.T
            products[groups[there][:, None] == self.groups[None, :]] = -np.inf
            count = min(NEIGHBOURS, len(self.vectors))
            nearest = np.argpartition(-products, count - 1, axis=1)[:, :count]
            close = np.take_along_axis(products, nearest, axis=1)
            votes = np.zeros((len(there), len(self.names)))
            rows = np.repeat(np.arange(len(there)), count)
            real = np.isfinite(close)
            np.add.at(votes, (rows, self.classes[nearest].ravel()), real.ravel())
            # Equally frequent classes are told apart by the nearest image.
            first = self.classes[nearest[np.arange(len(there)), close.argmax(axis=1)]]
            votes[np.arange(len(there)), first] += 0.5
            best = votes.argmax(axis=1)
            votes[np.arange(len(there)), first] -= 0.5
            any_real = real.any(axis=1)
            held = there[any_real]
            name[held] = np.array(self.names, dtype=object)[best[any_real]]
            similarity[held] = close.max(axis=1)[any_real]
            agreement[held] = (votes[np.arange(len(there)), best] / count)[any_real]
        return {
            "neighbour": name,
            "neighbour.similarity": similarity,
            "neighbour.agreement": agreement,
        }


@dataclass(frozen=True, eq=False)
class Source:
    """Where the fields that some rules look at are read from."""

    project: Project
    wanted: frozenset[str]
    scans: ScanStore | None
    neighbours: Neighbours | None

    def read(self, connection: Connection, ids: Sequence[int]) -> Columns:
        """(n,) arrays by field, of these images."""
        facts = image_rows.facts_of(connection, ids)
        rows = [facts[key] for key in ids]
        columns = _of_files(rows)
        if self.scans is not None:
            columns |= _of_scans(self.scans, ids)
        if self._asks("prediction"):
            columns |= _of_predictions(connection, self.project, ids)
        if self.neighbours is not None:
            groups = np.array([row.group_id or -1 for row in rows], dtype=np.int64)
            columns |= self.neighbours.look(ids, groups)
        if any(field.split(".")[0] == METADATA for field in self.wanted):
            columns |= self._metadata(connection, ids)
        return columns

    def _asks(self, source: str) -> bool:
        return asks(self.wanted, source)

    def _metadata(self, connection: Connection, ids: Sequence[int]) -> Columns:
        """A column for each key, and `metadata` with all of them for functions."""
        found = image_rows.metadata_of_many(connection, ids)
        every = np.empty(len(ids), dtype=object)
        every[:] = [found.get(key, {}) for key in ids]
        columns: Columns = {METADATA: every}
        for field in self.wanted:
            if field.startswith(f"{METADATA}."):
                name = field.removeprefix(f"{METADATA}.")
                columns[field] = _texts(held.get(name, "") for held in every)
        return columns


def asks(wanted: Iterable[str], source: str) -> bool:
    """Whether one of these fields is read from there."""
    return any(field in FIELDS and FIELDS[field].source == source for field in wanted)


def open(project: Project, wanted: Iterable[str], *, report: Report = silent) -> Source:
    """What is needed to read these fields; images are scanned and embedded where that is missing.

    Raises:
        InputError: no image has a metadata column.
        Cancelled: asked to stop.
    """
    fields = frozenset(wanted)
    _check_metadata(project, fields)
    scans = scan.prepare(project, report=report)[0] if asks(fields, "scan") else None
    neighbours = _neighbours(project, report) if asks(fields, "neighbours") else None
    return Source(project, fields, scans, neighbours)


def _check_metadata(project: Project, fields: frozenset[str]) -> None:
    asked = {field.removeprefix(f"{METADATA}.") for field in fields if f"{METADATA}." in field}
    if not asked:
        return
    with project.catalog.read() as connection:
        known = image_rows.metadata_keys(connection, project.id)
    if missing := sorted(asked - known):
        raise InputError(
            f"No image has the metadata column {missing[0]!r}. There "
            + (f"are: {', '.join(sorted(known))}." if known else "is none in this project.")
        )


def _neighbours(project: Project, report: Report) -> Neighbours:
    prepared = features.prepare(project, report=report)
    store = EmbeddingStore(prepared.folder, prepared.fingerprint)
    with project.catalog.read() as connection:
        rows = [
            row
            for row in labels.for_training(connection, project.id)
            if len(row.classes) == 1 and not store.missing([row.image_id])
        ]
    if len(rows) > _REFERENCES:
        rng = np.random.default_rng([project.record.seed, *b"neighbours"])
        rows = [rows[at] for at in np.sort(rng.permutation(len(rows))[:_REFERENCES])]
    index = {key: number for number, key in enumerate(project.record.class_ids)}
    return Neighbours(
        store,
        store.read([row.image_id for row in rows]) if rows else np.zeros((0, 1), np.float32),
        np.array([row.group_id for row in rows], dtype=np.int64),
        np.array([index[row.classes[0]] for row in rows], dtype=np.int64),
        project.record.classes,
    )


def _of_files(rows: Sequence[image_rows.Facts]) -> Columns:
    paths = [PurePosixPath(row.name) for row in rows]
    width, height = (
        np.array([getattr(row, side) or np.nan for row in rows], dtype=np.float64)
        for side in ("width", "height")
    )
    return {
        "name": _texts(row.name for row in rows),
        "folder": _texts(path.parent.name for path in paths),
        "stem": _texts(path.stem for path in paths),
        "extension": _texts(path.suffix.removeprefix(".").lower() for path in paths),
        "format": _texts(row.format or "" for row in rows),
        "mode": _texts(row.mode or "" for row in rows),
        "width": width,
        "height": height,
        "aspect": width / height,
        "bytes": np.array([row.bytes or np.nan for row in rows], dtype=np.float64),
        "frames": np.array([row.frames or np.nan for row in rows], dtype=np.float64),
    }


def _of_scans(scans: ScanStore, ids: Sequence[int]) -> Columns:
    keys = np.asarray(ids)
    there = np.isin(keys, scans.ids())
    rows = scans.read(keys[there]) if there.any() else None
    columns: Columns = {}
    for field, column in {**_SCANNED, "contrast": ""}.items():
        columns[field] = np.full(len(ids), np.nan)
        if rows is not None:
            columns[field][there] = (
                rows[column] if column else rows["p99"].astype(np.float64) - rows["p01"]
            )
    return columns


def _of_predictions(connection: Connection, project: Project, ids: Sequence[int]) -> Columns:
    names = dict(zip(project.record.class_ids, project.record.classes, strict=True))
    found = runs.predictions_of(connection, list(ids))
    rows = [found.get(key, {}) for key in ids]
    return {
        "prediction": _texts(names.get(row.get("class_id", 0), "") for row in rows),
        **{
            f"prediction.{name}": np.array([row.get(name, np.nan) for row in rows], np.float64)
            for name in ("confidence", "margin")
        },
    }


def _texts(values: Iterable[str]) -> NDArray[Any]:
    held = list(values)
    found = np.empty(len(held), dtype=object)
    found[:] = held
    return found
