"""Copies planted among a project's own images, and how the pairs were judged."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curation.appearance import THUMB
from curation.catalog import images as image_rows
from curation.copies import groups, planting, search
from curation.copies.planting import Planted
from curation.errors import InputError, UnreadableImage
from curation.images import inspect
from curation.progress import Report
from curation.records import ImageRecord
from curation.scan import ScanStore, scan_many
from curation.workspace import Project

SURELY = 0.9
"""Probability from which on two of the project's own images are taken for copies."""

SIDE = 512
"""Pixels of the shorter side from which copies are made: twice what any comparison looks at."""


@dataclass(frozen=True)
class Trial:
    """How the pairs were judged.

    Attributes:
        changes: (C,) what was done to make each planted copy.
        right: (C,) probability of the pair of each copy and its original; infinite where their
            pixels are the same.
        false: (F,) probabilities of the false pairs of copies.
        found: (D,) probabilities of the pairs of the project's own images.
        images: how many of these.
    """

    changes: Sequence[str]
    right: NDArray[np.float64]
    false: NDArray[np.float64]
    found: NDArray[np.float64]
    images: int


@dataclass(frozen=True)
class Sample:
    """The project's images that are compared, none with the pixels of another.

    Attributes:
        records: (N,) of them.
        thumbs: (N, 64, 64).
        unreadable: how many were drawn besides.
    """

    records: list[ImageRecord]
    thumbs: NDArray[np.uint8]
    unreadable: int

    def paths(self) -> list[Path]:
        """(N,) where they lie."""
        return [Path(record.location) for record in self.records]

    def sizes(self) -> NDArray[np.int64]:
        """(N, 2) width and height."""
        return np.array([(one.width or 1, one.height or 1) for one in self.records], np.int64)


def draw(
    project: Project,
    usable: NDArray[np.int64],
    among: int,
    rng: np.random.Generator,
    report: Report,
) -> Sample:
    """Images drawn at random, with their thumbnails; what had to be scanned is kept.

    Raises:
        InputError: there are none, or none can be read.
    """
    if not len(usable):
        raise InputError(
            "The project has no image to copy. Import some with `labelloop import FOLDER`."
        )
    drawn = np.sort(rng.choice(usable, min(among, len(usable)), replace=False)).tolist()
    with project.catalog.read() as connection:
        records = image_rows.get_many(connection, drawn)
    store = ScanStore(project.workspace.folder("scans"))
    missing = store.missing(drawn)
    scanned = []
    locations = (Path(records[key].location) for key in missing)
    try:
        for done, (key, row) in enumerate(zip(missing, scan_many(locations), strict=True), start=1):
            if not isinstance(row, UnreadableImage):
                scanned.append((key, row))
            report(done, len(missing), "read")
    finally:
        if scanned:
            store.append([key for key, _ in scanned], np.stack([row for _, row in scanned]))
    lost = set(missing) - {key for key, _ in scanned}
    if len(lost) == len(drawn):
        raise _unreadable(len(drawn))
    first: dict[str, int] = {}
    for key in drawn:
        if key not in lost:
            first.setdefault(records[key].pixel_hash or f"image {key}", key)
    kept = list(first.values())
    return Sample([records[key] for key in kept], store.read(kept)["thumb"], len(lost))


def run(sample: Sample, each: int, rng: np.random.Generator, report: Report) -> Trial:
    """Looks for copies among the images as they are, and with copies planted among them.

    Raises:
        InputError: no image can be read any more.
    """
    paths, count = sample.paths(), len(sample.records)
    plain = search.compare(
        sample.thumbs,
        sample.sizes(),
        lambda rows: [paths[row] for row in rows],
        report=report,
    )
    kin = _kin(plain, count)
    row_of = {path: row for row, path in enumerate(paths)}
    changes: list[str] = []
    right: list[NDArray[np.float64]] = []
    false: list[NDArray[np.float64]] = []
    with tempfile.TemporaryDirectory(prefix="labelloop-") as folder:
        planted = planting.plant(paths, Path(folder), count=each, rng=rng, side=SIDE, report=report)
        if not planted:
            raise _unreadable(count)
        rounds = _rounds(planted)
        for number, part in enumerate(rounds):
            told = partial(_tell, report, number, len(rounds))
            copies = _read(part)
            roots = np.array([row_of[copy.planted.original] for copy in copies], np.int64)
            judged = _look(sample, copies, told)
            same = np.array(
                [
                    copy.pixel_hash == sample.records[root].pixel_hash
                    for copy, root in zip(copies, roots.tolist(), strict=True)
                ],
                bool,
            )
            right.append(np.where(same, np.inf, _of_originals(judged, roots, count)))
            false.append(_of_others(judged, roots, kin))
            changes += [copy.planted.change for copy in copies]
            if len(rounds) > 1:
                report(number + 1, len(rounds), "look for copies")
    return Trial(changes, np.concatenate(right), np.concatenate(false), plain.probability, count)


def _unreadable(count: int) -> InputError:
    return InputError(
        f"None of the {count:,} images that were drawn can be read. Look whether their folder has "
        "moved: `labelloop doctor`."
    )


@dataclass(frozen=True)
class _Copy:
    planted: Planted
    thumb: NDArray[np.uint8]
    size: tuple[int, int]
    pixel_hash: str


def _rounds(planted: Sequence[Planted]) -> list[list[Planted]]:
    """The copies in parts, none with two of one original.

    Copies of one original would take each other's places among the candidates, of which a picture
    has few, and no look-alike would be tried at all.
    """
    parts: list[list[Planted]] = []
    times: dict[Path, int] = {}
    for one in planted:
        number = times.get(one.original, 0)
        times[one.original] = number + 1
        if number == len(parts):
            parts.append([])
        parts[number].append(one)
    return parts


def _read(planted: Sequence[Planted]) -> list[_Copy]:
    found = []
    for one, row in zip(planted, scan_many(one.copy for one in planted), strict=True):
        if isinstance(row, UnreadableImage):
            continue  # beyond the limits of what is decoded, so an import would set it aside, too
        seen = inspect(one.copy)
        found.append(_Copy(one, row["thumb"], (seen.width, seen.height), seen.pixel_hash))
    return found


def _tell(report: Report, number: int, rounds: int, done: int, total: int, says: str) -> None:
    """Reports a step of one of several searches: each by itself, or how many searches are done."""
    if rounds == 1:
        report(done, total, f"{says} with copies")
    else:
        report(number, rounds, "look for copies")


def _look(sample: Sample, copies: Sequence[_Copy], report: Report) -> search.Pairs:
    """Compares the images and, in the rows after them, the copies."""
    paths = [*sample.paths(), *(copy.planted.copy for copy in copies)]
    thumbs = np.array([copy.thumb for copy in copies], np.uint8).reshape(-1, THUMB, THUMB)
    sizes = np.array([copy.size for copy in copies], np.int64).reshape(-1, 2)
    return search.compare(
        np.concatenate([sample.thumbs, thumbs]),
        np.concatenate([sample.sizes(), sizes]),
        lambda rows: [paths[row] for row in rows],
        report=report,
    )


def _kin(plain: search.Pairs, count: int) -> NDArray[np.int64]:
    """(N,) a number that is the same for images that are surely copies of each other."""
    sure = plain.probability >= SURELY
    pairs = np.stack([plain.moving, plain.fixed], axis=1)
    order = plain.copies(SURELY)
    kin = np.arange(count)
    for group in groups.join(
        [(a, b) for a, b in pairs[order].tolist()], [(a, b) for a, b in pairs[~sure].tolist()]
    ):
        kin[list(group)] = group[0]
    return kin


def _of_originals(
    judged: search.Pairs, roots: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """(C,) probability of each copy's pair with its original, 0 where none was proposed."""
    low, high = np.sort(np.stack([judged.moving, judged.fixed]), axis=0)
    right = np.zeros(len(roots))
    here = np.flatnonzero(high >= count)
    here = here[roots[high[here] - count] == low[here]]
    right[high[here] - count] = judged.probability[here]
    return right


def _of_others(
    judged: search.Pairs, roots: NDArray[np.int64], kin: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(F,) probabilities of the pairs of a copy with an image that shows another picture."""
    count = len(kin)
    low, high = np.sort(np.stack([judged.moving, judged.fixed]), axis=0)
    here = np.flatnonzero((high >= count) & (low < count))
    here = here[kin[roots[high[here] - count]] != kin[low[here]]]
    found: NDArray[np.float64] = judged.probability[here]
    return found
