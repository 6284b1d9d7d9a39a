"""What may be wrong with a project's images: the detectors, and the run over all of them.

A new detector is one module with a `DETECTOR`, and one line in `DETECTORS`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from curation import features, scan
from curation.catalog import images as image_rows
from curation.catalog import issues as issue_rows
from curation.catalog import labels
from curation.embeddings import EmbeddingStore
from curation.errors import InputError
from curation.issues import duplicates, label_errors, leaks, outliers, quality
from curation.issues.evidence import Evidence, OutOfFold
from curation.issues.table import Detector, Issue
from curation.progress import Report, silent
from curation.workspace import Project

DETECTORS: dict[str, Detector] = {
    "duplicates": duplicates.DETECTOR,
    "quality": quality.DETECTOR,
    "outliers": outliers.DETECTOR,
    "wrong-labels": label_errors.DETECTOR,
    "leaks": leaks.DETECTOR,
}

KINDS: tuple[str, ...] = tuple(kind for detector in DETECTORS.values() for kind in detector.kinds)

WORTH_KEEPING = 0.5
"""Score from which on a row that is no issue is kept, too: it may be worth a look."""


@dataclass(frozen=True)
class Looked:
    """What a run of detectors did.

    Attributes:
        images: how many were looked at.
        unreadable: how many of them turned out to be unreadable now.
        kinds: what was looked for.
    """

    images: int
    unreadable: int
    kinds: tuple[str, ...]


def check_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """The kinds asked for, all of them where none is named.

    Raises:
        InputError: one is none of `KINDS`.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(f"{kind!r} is no kind of issue. The kinds are {', '.join(KINDS)}.")
    return tuple(kinds) or KINDS


def detect(
    project: Project,
    kinds: Sequence[str] = (),
    *,
    out_of_fold: OutOfFold | None = None,
    everything: bool = False,
    report: Report = silent,
) -> Looked:
    """Runs the detectors of these kinds and writes what they found to the catalog.

    What they found before of the same kinds is replaced; where copies are looked for, pairs and
    groups are, too. Images without a scan or an embedding get one first.

    Args:
        kinds: of `KINDS`; all if empty.
        out_of_fold: gives probabilities that wrong labels are judged by.
        everything: keep every row, also of innocent images.
        report: told of the progress.

    Raises:
        InputError: an unknown kind.
        Cancelled: asked to stop; what was found before stays.
    """
    wanted = check_kinds(kinds)
    detectors = [found for found in DETECTORS.values() if set(found.kinds) & set(wanted)]
    evidence, unreadable = _gather(project, detectors, out_of_fold, report)
    evidence = replace(evidence, least_score=0.0 if everything else WORTH_KEEPING)
    if any(detector.needs_copies for detector in detectors):
        evidence = replace(evidence, copies=duplicates.look(evidence))
        if evidence.copies is not None:
            duplicates.store(project, evidence.copies)
            evidence = replace(evidence, groups=_groups(project, evidence.ids))
    for detector in detectors:
        here = tuple(kind for kind in detector.kinds if kind in wanted)
        rows = list(_kept(detector.find(evidence), here, least_score=evidence.least_score))
        with project.catalog.write() as connection:
            issue_rows.replace(connection, project.id, here, rows)
    with project.catalog.write() as connection:
        issue_rows.note_look(connection, project.id, wanted, len(evidence.ids))
    return Looked(len(evidence.ids), unreadable, wanted)


def _gather(
    project: Project,
    detectors: Sequence[Detector],
    out_of_fold: OutOfFold | None,
    report: Report,
) -> tuple[Evidence, int]:
    scans, _ = scan.prepare(project, report=report)
    store: EmbeddingStore | None = None
    embedded = any(detector.needs_embeddings for detector in detectors)
    with project.catalog.read() as connection:
        anything = next(image_rows.usable(connection, project.id), None)
    if embedded and anything:
        prepared = features.prepare(project, report=report)
        store = EmbeddingStore(prepared.folder, prepared.fingerprint)
    with project.catalog.read() as connection:
        ids = np.array([key for key, _ in image_rows.usable(connection, project.id)], np.int64)
        labeled = {row.image_id: row for row in labels.every(connection, project.id)}
    scanned = np.isin(ids, scans.ids())
    readable = scanned if store is None else scanned & np.isin(ids, store.ids())
    ids = ids[readable]
    evidence = Evidence(
        project=project,
        ids=ids,
        groups=_groups(project, ids),
        scans=scans,
        embeddings=store,
        labels=labeled,
        out_of_fold=out_of_fold,
        report=report,
    )
    return evidence, int((~readable).sum())


def _groups(project: Project, ids: "np.typing.NDArray[np.int64]") -> "np.typing.NDArray[np.int64]":
    with project.catalog.read() as connection:
        found = image_rows.groups_of(connection, ids.tolist())
    return np.array([found[key] for key in ids.tolist()], np.int64)


def _kept(rows: Iterator[Issue], kinds: tuple[str, ...], *, least_score: float) -> Iterator[Issue]:
    for row in rows:
        if row.kind in kinds and (row.is_issue or row.score >= least_score):
            yield row
