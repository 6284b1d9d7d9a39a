"""Rows on disk by image id: append-only shards, of which a kill leaves each whole or none.

A shard is two files: `NAME.npy` with the rows (N, ...) and `NAME.ids.npy`, int64 (N,). The id file
is renamed into place last and so marks the shard as complete. Where an id occurs twice, the later
shard counts. Rows are of one kind, which the folder's fingerprint names; kinds are never mixed.
"""

import json
import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curation import files
from curation.errors import FingerprintMismatch, NotFound

Ids = npt.NDArray[np.int64]

FLUSH_ROWS = 4096
FLUSH_SECONDS = 20.0
"""A shard is written after so many rows or seconds: what a kill can lose."""

MAPPED = 256
"""Shards that stay open at once: a million rows; each takes a file handle, of which some systems
give a process a thousand."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Index:
    """Where each id lies: sorted ids, and for each its shard and its row in it."""

    ids: Ids
    shards: npt.NDArray[np.int64]
    rows: Ids


class Shards:
    """The rows of one fingerprint in one folder.

    Args:
        folder: made where it does not exist.
        fingerprint: names the kind of rows; a folder with another one is refused.
        noun: what a row is, for messages, such as `embedding`.
        fits: whether stored rows have the right type; a shard that has not is passed over.
        again: what makes missing rows, for messages, such as `labelloop embed`.

    Raises:
        FingerprintMismatch: the folder holds rows of another fingerprint.
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: str,
        *,
        noun: str,
        fits: Callable[[npt.NDArray[Any]], bool],
        again: str,
    ) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self._noun = noun
        self._fits = fits
        self._again = again
        folder.mkdir(parents=True, exist_ok=True)
        _claim(folder, fingerprint, again)
        self._files: list[Path] = []
        self._mapped: dict[int, npt.NDArray[Any]] = {}  # opening a file costs more than a row of it
        self._index = _Index(*(np.empty(0, np.int64) for _ in range(3)))
        self.reload()

    def reload(self) -> None:
        """Read the id files again, as after another process appended."""
        self._files, self._mapped, parts = [], {}, []
        for marks in sorted(self.folder.glob("*.ids.npy")):
            rows = marks.with_name(marks.name.removesuffix(".ids.npy") + ".npy")
            ids = self._complete(marks, rows)
            if ids is None:
                _log.warning("%s is damaged: its images are read again", rows)
                continue
            parts.append(ids)
            self._files.append(rows)
        self._index = _build_index(parts)

    def ids(self) -> Ids:
        """Ids (N,) that have a row, ascending."""
        return self._index.ids.copy()

    def missing(self, ids: Iterable[int]) -> list[int]:
        """Those of `ids` without a row, in their order, each once."""
        wanted = np.fromiter(dict.fromkeys(ids), np.int64)
        return [int(value) for value in wanted[~np.isin(wanted, self._index.ids)]]

    def read(self, ids: Sequence[int] | Ids) -> npt.NDArray[Any]:
        """The rows (N, ...) in the order of `ids`; only these are read from disk.

        Raises:
            NotFound: an id has no row.
        """
        wanted = np.asarray(ids, np.int64)
        index = self._index
        places = np.searchsorted(index.ids, wanted)
        known = places < len(index.ids)
        known[known] = index.ids[places[known]] == wanted[known]
        if not known.all():
            raise NotFound(
                f"{int((~known).sum())} of {len(wanted)} images have no {self._noun} yet "
                f"(the first: image {int(wanted[~known][0])}). Run: {self._again}"
            )
        kind = self.like()
        found = np.empty((len(wanted), *kind.shape[1:]), kind.dtype)
        shards = index.shards[places]
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            found[here] = self._stored(int(shard))[index.rows[places[here]]]
        return found

    def _stored(self, shard: int) -> npt.NDArray[Any]:
        """The rows of a shard, mapped and not read."""
        if shard not in self._mapped:
            if len(self._mapped) >= MAPPED:
                self._mapped.clear()
            self._mapped[shard] = np.load(self._files[shard], mmap_mode="r")
        return self._mapped[shard]

    def append(self, ids: Sequence[int] | Ids, rows: npt.NDArray[Any]) -> None:
        """Write one shard; it exists completely once this returns.

        Args:
            ids: (N,), each at most once.
            rows: (N, ...), of the type and shape of those that are there.

        Raises:
            ValueError: lengths differ, or the rows do not fit.
        """
        marks = np.asarray(ids, np.int64)
        if len(marks) == 0:
            return
        if len(rows) != len(marks) or len(np.unique(marks)) != len(marks):
            raise ValueError(f"{len(marks)} ids do not fit rows of shape {rows.shape}")
        if not self._fits(rows):
            raise ValueError(f"rows of type {rows.dtype} and shape {rows.shape} do not fit")
        if self._files and self.like().shape[1:] != rows.shape[1:]:
            raise ValueError(f"shape {rows.shape[1:]} does not fit {self.like().shape[1:]}")
        # The number sorts the shards; the random part keeps two writers apart.
        number = 1 + max((int(path.name.split("-")[0]) for path in self._files), default=0)
        name = f"{number:08d}-{secrets.token_hex(4)}"
        path = self.folder / f"{name}.npy"
        _write(path, rows)
        _write(self.folder / f"{name}.ids.npy", marks)
        self._files.append(path)
        self._index = _extend_index(self._index, marks, len(self._files) - 1)

    def like(self) -> npt.NDArray[Any]:
        """The rows of the first shard, not read into memory: they tell type and shape."""
        if not self._files:
            return np.empty((0, 0), np.float32)
        return self._stored(0)

    def _complete(self, marks: Path, rows: Path) -> Ids | None:
        """The ids of a shard whose two files are whole and fit each other, else None."""
        try:
            ids = np.load(marks, allow_pickle=False)
            stored = np.load(rows, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        fits = ids.dtype == np.int64 and ids.ndim == 1 and len(stored) == len(ids)
        return ids if fits and self._fits(stored) else None


def _claim(folder: Path, fingerprint: str, again: str) -> None:
    """Write the folder's fingerprint, or compare with the one it has."""
    path = folder / "fingerprint.json"
    if path.exists():
        try:
            found = str(json.loads(path.read_text(encoding="utf-8"))["fingerprint"])
        except (ValueError, KeyError, TypeError):
            found = "unreadable"
    elif any(folder.glob("*.ids.npy")):
        found = "missing"
    else:
        files.write_json(path, {"fingerprint": fingerprint})
        return
    if found != fingerprint:
        raise FingerprintMismatch(
            f"What {folder} holds was made by another backbone or preprocessing (fingerprint "
            f"{found}, asked for {fingerprint}). They are never mixed: make it again with "
            f"`{again}`."
        )


def _build_index(parts: list[Ids]) -> _Index:
    index = _Index(*(np.empty(0, np.int64) for _ in range(3)))
    if not parts:
        return index
    ids = np.concatenate(parts)
    shards = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    rows = np.concatenate([np.arange(len(part)) for part in parts])
    return _latest(ids, shards, rows)


def _extend_index(index: _Index, ids: Ids, shard: int) -> _Index:
    return _latest(
        np.concatenate([index.ids, ids]),
        np.concatenate([index.shards, np.full(len(ids), shard)]),
        np.concatenate([index.rows, np.arange(len(ids))]),
    )


def _latest(ids: Ids, shards: npt.NDArray[np.int64], rows: Ids) -> _Index:
    """Sorted by id; of an id that occurs twice, the later one."""
    order = np.argsort(ids, kind="stable")
    last = np.append(np.diff(ids[order]) != 0, True) if len(ids) else np.empty(0, bool)
    keep = order[last]
    return _Index(ids[keep], shards[keep], rows[keep])


def _write(path: Path, values: npt.NDArray[Any]) -> None:
    with files.replacing(path) as file:
        np.save(file, values, allow_pickle=False)
