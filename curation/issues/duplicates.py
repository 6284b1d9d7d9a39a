"""Copies: the same bytes, the same pixels, or the same picture changed in a way that shows.

`look` finds them and forms groups; `store` writes pairs and groups to the catalog, where a group is
one unit for splits and for the choice of a batch; `find` says which members are dispensable, and
where the labels within a group disagree.
"""

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curation import images
from curation.appearance import THUMB
from curation.catalog import groups as group_rows
from curation.catalog import images as image_rows
from curation.catalog.groups import Pair
from curation.catalog.labels import NOBODYS
from curation.copies import calibration, changes, groups
from curation.copies import search as copies
from curation.copies.candidates import Thumbs
from curation.errors import UnreadableImage
from curation.images import usable_cores
from curation.issues.evidence import Evidence
from curation.issues.table import Detector, Issue
from curation.progress import Report, silent
from curation.records import ImageRecord
from curation.scan import READ_AT, ScanStore, thumbnail_of
from curation.workspace import Project

IN_MEMORY = 50_000
"""Thumbnails up to this number are held in memory (4 KiB each); more are read as needed."""

UNLIKELY = 0.05
"""Probability below which a compared pair speaks against one group."""


@dataclass(frozen=True)
class Looked:
    """What looking for copies in a project told.

    Attributes:
        pairs: verified copies of different pixels, surest first.
        twins: ids of images with the same pixels, two and more each.
        components: ids of each group, those of `twins` included.
    """

    pairs: tuple[Pair, ...]
    twins: tuple[tuple[int, ...], ...]
    components: tuple[tuple[int, ...], ...]


def look(evidence: Evidence) -> Looked:
    """Compares the project's usable images with one another; writes nothing.

    What a person said of a pair outranks what the comparison says, and what was found before of
    images that are excluded now still holds, so that one that comes back is in its group.
    """
    project, ids = evidence.project, evidence.ids
    leads, sizes = _leads(project, ids)
    leading = np.flatnonzero(leads == ids)
    leaders, sizes = ids[leading], sizes[leading]
    compared = copies.compare(
        _thumbs(evidence.scans, leaders),
        sizes,
        lambda rows: _files(project, leaders[list(rows)].tolist()),
        report=evidence.report,
    )
    said = _said(project)
    threshold = calibration.threshold_of(project)
    found = [*_pairs(compared, threshold, leaders, sizes, said), *_of_absent(project, ids)]
    alike = _twins(ids, leads)
    joined = _join(found, said, _unlike(compared, leaders, found), alike)
    components = [
        tuple(sorted(key for leader in group for key in alike.get(leader, (leader,))))
        for group in joined
    ]
    within = {key for component in components for key in component}
    components += [twins for twins in alike.values() if twins[0] not in within]
    return Looked(tuple(found), tuple(alike.values()), tuple(sorted(components)))


def store(project: Project, looked: Looked) -> int:
    """Writes pairs and groups to the catalog, in place of what was there.

    Returns:
        How many images are in another group than before.
    """
    with project.catalog.write() as connection:
        group_rows.replace_pairs(connection, project.id, looked.pairs)
        return group_rows.regroup(connection, project.id, looked.components)


def find(evidence: Evidence) -> Iterator[Issue]:
    """Every member of a group but the one to keep, and labels that disagree within a group."""
    looked = evidence.copies or look(evidence)
    present = set(evidence.ids.tolist())
    components = [
        here
        for component in looked.components
        if len(here := tuple(key for key in component if key in present)) > 1
    ]
    members = sorted(key for component in components for key in component)
    with evidence.project.catalog.read() as connection:
        records = image_rows.get_many(connection, members)
    sharpness = dict(
        zip(members, evidence.scans.read(members)["sharpness"].tolist(), strict=True)
        if members
        else ()
    )
    related: dict[int, dict[int, Pair]] = defaultdict(dict)
    for pair in looked.pairs:
        if not {pair.first_id, pair.second_id} <= present:
            continue
        related[pair.first_id][pair.second_id] = pair
        related[pair.second_id][pair.first_id] = pair
    twin_of = {key: twin for twin in looked.twins for key in twin}
    rows: list[Issue] = []
    for component in components:
        kept, why = groups.keep(
            component,
            reserved={key for key in component if records[key].reserve},
            area={key: (records[key].width or 0) * (records[key].height or 0) for key in component},
            sharpness=sharpness,
            labeled={key for key in component if key in evidence.labels},
        )
        rows += _dispensable(component, kept, why, records, related, twin_of)
        rows += _conflicts(component, evidence)
    yield from sorted(rows, key=lambda issue: issue.image_id)


def _dispensable(
    component: tuple[int, ...],
    kept: int,
    why: str,
    records: Mapping[int, ImageRecord],
    related: Mapping[int, Mapping[int, Pair]],
    twin_of: Mapping[int, tuple[int, ...]],
) -> Iterator[Issue]:
    """A row for each member but the kept one; of each set of twins, one is judged as near."""
    for key in component:
        twin = twin_of.get(key, (key,))
        leads = kept if kept in twin else twin[0]
        if key == kept:
            continue
        if key != leads:
            others = tuple(other for other in twin if other != key)
            yield Issue(
                key,
                "exact-duplicate",
                1.0,
                True,
                f"the same pixels as {records[leads].name}"
                + (f", which {why}" if leads == kept else ""),
                others,
            )
            continue
        pairs = related.get(twin[0], {})
        best = max(pairs.values(), key=lambda pair: pair.score, default=None)
        direct = pairs.get(twin_of.get(kept, (kept,))[0], best)
        change = direct.change if direct else "judged to be a copy"
        others = tuple(sorted(pairs, key=lambda other: -pairs[other].score))
        yield Issue(
            key,
            "near-duplicate",
            direct.score if direct else 1.0,
            True,
            f"a copy of {records[kept].name} ({change}); that one {why}",
            others,
        )


def _conflicts(component: tuple[int, ...], evidence: Evidence) -> Iterator[Issue]:
    """A row for each labeled member where labels disagree; people's answers only."""
    labeled = {
        key: evidence.labels[key].classes
        for key in component
        if key in evidence.labels and evidence.labels[key].origin not in NOBODYS
    }
    counts = Counter(labeled.values())
    if len(counts) < 2:
        return
    record = evidence.project.record
    (most, votes), (_, next_votes) = counts.most_common(2)
    says = ", ".join(
        f"{'|'.join(record.class_names(classes)) or 'none'} x {n}"
        for classes, n in counts.most_common()
    )
    for key, classes in labeled.items():
        minority = classes != most or votes == next_votes
        suggested = most[0] if votes > next_votes and classes != most and len(most) == 1 else None
        yield Issue(
            key,
            "group-conflict",
            1 - counts[classes] / len(labeled),
            minority,
            f"copies of one picture are labeled differently: {says}",
            tuple(other for other in labeled if other != key),
            suggested,
        )


DETECTOR = Detector(
    kinds=("exact-duplicate", "near-duplicate", "group-conflict"),
    needs_embeddings=False,
    needs_copies=True,
    find=find,
)


class _Thumbs:
    """Thumbnails that are read from the store when they are asked for."""

    def __init__(self, scans: ScanStore, ids: NDArray[np.int64]) -> None:
        self._scans, self._ids = scans, ids

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = self._scans.read(self._ids[rows])["thumb"]
        return found


def _thumbs(scans: ScanStore, ids: NDArray[np.int64]) -> NDArray[np.uint8] | Thumbs:
    if not len(ids):  # an empty store does not know the type of its rows
        return np.empty((0, THUMB, THUMB), np.uint8)
    thumbs = _Thumbs(scans, ids)
    return thumbs if len(ids) > IN_MEMORY else np.ascontiguousarray(thumbs[:])


def _leads(project: Project, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of images (N,) ascending the first with the same pixels (N,), and the sizes (N, 2)."""
    hashes, sizes = np.empty(len(ids), "S64"), np.ones((len(ids), 2), np.int64)
    with project.catalog.read() as connection:
        for row in image_rows.stored(connection, ids.tolist()):
            at = np.searchsorted(ids, row.id)
            hashes[at] = row.pixel_hash or f"image {row.id}"
            sizes[at] = row.width, row.height
    _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    return ids[first[which]], sizes


def _twins(ids: NDArray[np.int64], leads: NDArray[np.int64]) -> dict[int, tuple[int, ...]]:
    """Images of the same pixels, two and more each, by the first of them."""
    here = np.isin(leads, leads[leads != ids])
    found: dict[int, list[int]] = defaultdict(list)
    for key, leader in zip(ids[here].tolist(), leads[here].tolist(), strict=True):
        found[leader].append(key)
    return {leader: tuple(members) for leader, members in found.items()}


def _pairs(
    compared: copies.Pairs,
    threshold: float,
    leaders: NDArray[np.int64],
    sizes: NDArray[np.int64],
    said: Mapping[tuple[int, int], str],
) -> Iterator[Pair]:
    """The pairs that count as copies, surest first, but those that a person told apart."""
    for at in compared.copies(threshold):
        moving, fixed = int(compared.moving[at]), int(compared.fixed[at])
        first, second = sorted((int(leaders[moving]), int(leaders[fixed])))
        if said.get((first, second), "copy") == "copy":
            change = changes.describe(compared.warp[at], _size(sizes, moving), _size(sizes, fixed))
            yield Pair(first, second, float(compared.probability[at]), change)


def _unlike(
    compared: copies.Pairs, leaders: NDArray[np.int64], found: Sequence[Pair]
) -> list[tuple[int, int]]:
    """Pairs of images that were compared and are no copies, of those that occur in `found`."""
    here = np.isin(leaders, [key for pair in found for key in (pair.first_id, pair.second_id)])
    apart = (compared.probability < UNLIKELY) & here[compared.moving] & here[compared.fixed]
    rows = np.stack([compared.moving[apart], compared.fixed[apart]], axis=1)
    return [(first, second) for first, second in leaders[rows].tolist()]


def _join(
    found: Sequence[Pair],
    said: Mapping[tuple[int, int], str],
    unlike: Sequence[tuple[int, int]],
    alike: Mapping[int, Sequence[int]],
) -> list[tuple[int, ...]]:
    """Groups of images, of which one stands for all with the same pixels."""
    leader_of = {key: leader for leader, members in alike.items() for key in members}

    def judged(verdict: str) -> list[tuple[int, int]]:
        return [
            (leader_of.get(first, first), leader_of.get(second, second))
            for (first, second), what in said.items()
            if what == verdict
        ]

    certain = [(pair.first_id, pair.second_id) for pair in found]
    return groups.join([*judged("copy"), *certain], unlike, never=judged("not-copy"))


def _files(project: Project, ids: list[int]) -> list[Path]:
    with project.catalog.read() as connection:
        places = image_rows.places(connection, ids)
    return [Path(places[key].location) for key in ids]


def _of_absent(project: Project, ids: NDArray[np.int64]) -> list[Pair]:
    """Pairs found before with an image that cannot be compared now."""
    present = set(ids.tolist())
    with project.catalog.read() as connection:
        return [
            pair
            for pair in group_rows.pairs(connection, project.id, origin="detector")
            if not {pair.first_id, pair.second_id} <= present
        ]


def _said(project: Project) -> dict[tuple[int, int], str]:
    """What people said of pairs."""
    with project.catalog.read() as connection:
        return {
            (pair.first_id, pair.second_id): pair.verdict
            for pair in group_rows.pairs(connection, project.id, verdict=None, origin="person")
        }


def _size(sizes: NDArray[np.int64], row: int) -> tuple[int, int]:
    return int(sizes[row, 0]), int(sizes[row, 1])


@dataclass(frozen=True)
class Found:
    """What a search among files told.

    Attributes:
        pairs: positions of two files that are copies, and how probable that is.
        candidates: (P, 2) positions of all pairs that were compared.
        unreadable: positions of files that do not decode, with the reason.
        seconds: by step.
    """

    pairs: list[tuple[int, int, float]]
    candidates: NDArray[np.int64]
    unreadable: list[tuple[int, str]]
    seconds: dict[str, float]


def search(
    paths: Sequence[Path], *, threshold: float = copies.THRESHOLD, report: Report = silent
) -> Found:
    """Looks for copies among files, without a project.

    Args:
        paths: image files.
        threshold: smallest probability of a pair.
        report: told of the progress.
    """
    begun = time.monotonic()
    with ThreadPoolExecutor(usable_cores()) as pool:
        read = list(pool.map(_read, paths))
    seconds = {"read": time.monotonic() - begun}
    unreadable: list[tuple[int, str]] = []
    exact: list[tuple[int, int, float]] = []
    first: dict[str, int] = {}
    kept: list[_Picture] = []
    for at, found in enumerate(read):
        if isinstance(found, str):
            unreadable.append((at, found))
        elif found.sha256 in first:
            exact.append((first[found.sha256], at, 1.0))
        else:
            first[found.sha256] = at
            kept.append(found)
    place = np.array(list(first.values()), np.int64)
    thumbs = np.array([found.thumb for found in kept], np.uint8).reshape(-1, 64, 64)
    sizes = np.array([found.size for found in kept], np.int64).reshape(-1, 2)
    compared = copies.compare(
        thumbs, sizes, lambda rows: [paths[place[row]] for row in rows], report=report
    )
    moving, fixed = place[compared.moving], place[compared.fixed]
    near = [
        (int(moving[at]), int(fixed[at]), float(compared.probability[at]))
        for at in compared.copies(threshold)
    ]
    together = np.array([(a, b) for a, b, _ in exact], np.int64).reshape(-1, 2)
    candidates = np.concatenate([together, np.stack([moving, fixed], axis=1)])
    return Found(exact + near, candidates, unreadable, seconds | compared.seconds)


@dataclass(frozen=True)
class _Picture:
    sha256: str
    thumb: NDArray[np.uint8]
    size: tuple[int, int]


def _read(path: Path) -> _Picture | str:
    """One file, or why it cannot be read."""
    try:
        data = path.read_bytes()
        image = images.decode(data, at_least=READ_AT, keep_grey=True)
    except UnreadableImage as error:
        return error.reason
    except OSError as error:
        return error.strerror or str(error)
    return _Picture(hashlib.sha256(data).hexdigest(), thumbnail_of(np.asarray(image)), image.size)
