"""Images that do not belong: far from all others, or far from every class.

A few dozen images of another kind are near each other, so the distance to the nearest handful says
nothing about them; at worst they are the least suspicious of all. An image belongs where it is near
a share of the dataset. Distances are measured in two spaces, and the larger of the two verdicts
counts: as embedded, which shows the single odd image, and on the few directions in which the
dataset varies most, which shows a cluster that is odd in one way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curation.embeddings import EmbeddingStore
from curation.issues.evidence import Evidence
from curation.issues.table import Detector, Issue

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

REFERENCE = 4_000
"""Images that all others are compared with, one of a group; a smaller dataset is compared whole."""
SHARE = 0.05
"""An image is judged by its distance to the nearest so many of the reference."""
LEAST_NEAREST = 5
CLASS_SHARE = 0.5
"""Of the images of a class: more than the wrong labels that a class may hold."""
DIRECTIONS = 24
FEWEST = 20
"""With fewer groups nothing can be said of the dataset."""
FEWEST_OF_CLASS = 8
OUTLIER_FENCE = 1.5
"""Interquartile ranges above the upper quartile of log distance: Tukey 1977, an outer value."""
ATYPICAL_FENCE = 5.0
"""Times the distance from the median to the upper quartile, above the median."""
LEAST_SPREAD = 0.05
"""In log distance: a dataset of near equals is not split by differences of some per cent."""
BLOCK = 4_096

_TINY = 1e-4


@dataclass(frozen=True, eq=False)
class Space:
    """Where distances are measured.

    Attributes:
        centre: (d,) mean of the reference.
        turn: (d, r) principal directions, each divided by the fourth root of its variance.
    """

    centre: Floats
    turn: Floats

    def place(self, X: Floats) -> Floats:
        """(N, r) of embeddings (N, d)."""
        return np.ascontiguousarray((X - self.centre) @ self.turn)


@dataclass(frozen=True, eq=False)
class Verdict:
    """What was found of N images.

    Attributes:
        score: (N,) 0 to 1, 0.5 at the threshold; NaN where nothing can be said.
        is_issue: (N,) whether it is beyond.
        ratio: (N,) its distance divided by that of the middle image.
    """

    score: NDArray[np.float64]
    is_issue: NDArray[np.bool_]
    ratio: NDArray[np.float64]


def find_space(X: Floats, *, directions: int = DIRECTIONS) -> Space:
    """The principal directions of X (N, d), half whitened.

    Whitening makes a direction count by how unusual a value is in it, not by how large; half of it
    keeps the noise of the weak directions small.
    """
    from threadpoolctl import threadpool_limits

    centre = X.mean(axis=0)
    rows = (X - centre).astype(np.float64)
    # One thread: waiting threads cost more than they bring where other work shares the cores.
    with threadpool_limits(limits=1, user_api="blas"):
        if len(rows) < rows.shape[1]:
            values, left = np.linalg.eigh(rows @ rows.T)
            vectors = rows.T @ left / np.sqrt(np.maximum(values, 1e-12))
        else:
            values, vectors = np.linalg.eigh(rows.T @ rows)
    kept = np.arange(len(values))[::-1][:directions]
    kept = kept[values[kept] > max(float(values[-1]), 1e-9) * 1e-6]
    weights = (values[kept] / len(rows)) ** -0.25
    return Space(centre, (vectors[:, kept] * weights).astype(np.float32))


def choose_reference(groups: Ids, *, most: int = REFERENCE, seed: int = 0) -> Ids:
    """Rows, ascending, at most one of each group and at most `most`, drawn at random."""
    firsts = np.sort(np.unique(groups, return_index=True)[1])
    if len(firsts) > most:
        firsts = np.sort(np.random.default_rng(seed).choice(firsts, most, replace=False))
    return firsts.astype(np.int64)


def distances(
    X: Floats, groups: Ids, reference: Floats, reference_groups: Ids, *, nearest: int
) -> NDArray[np.float64]:
    """Distance (N,) from each row to its `nearest`-th neighbour in the reference.

    Neighbours of the same group do not count: no copy vouches for its original.

    Args:
        X: (N, d).
        groups: (N,) of each row.
        reference: (M, d), at most one row of a group.
        reference_groups: (M,) of each.
        nearest: at least 1, below M.
    """
    import faiss

    index = faiss.IndexFlatL2(reference.shape[1])
    index.add(np.ascontiguousarray(reference))
    found = np.empty(len(X))
    for start in range(0, len(X), BLOCK):
        part = slice(start, start + BLOCK)
        squares, rows = index.search(np.ascontiguousarray(X[part]), nearest + 1)
        own = (reference_groups[rows] == groups[part, None]).any(axis=1)
        at = np.where(own, nearest, nearest - 1)
        found[part] = np.sqrt(np.maximum(squares[np.arange(len(at)), at], 0.0))
    return found


def judge(found: NDArray[np.floating[Any]], usual: NDArray[np.floating[Any]]) -> Verdict:
    """Outliers by distance, against the distances of one image of each group.

    Of log distances that are normally distributed 0.35 % lie beyond the threshold.

    Args:
        found: (N, s) distances in s spaces.
        usual: (M, s) those that the dataset's own distribution is taken from.
    """
    low, middle, high = np.quantile(_log(usual), [0.25, 0.5, 0.75], axis=0)
    reach = high + OUTLIER_FENCE * np.maximum(high - low, LEAST_SPREAD) - middle
    excess = _log(found) - middle
    return _verdict(excess / reach, excess)


def class_excess(
    X: Floats, groups: Ids, members: Sequence["Members"], own: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """How much farther (N,) each row is from its class than the class's middle image, in log.

    Args:
        X: (N, r).
        groups: (N,) of each row.
        members: of the C classes.
        own: (N, C) an image's classes, of which the nearest counts; a row of False is held
            against all of them.
    """
    excess = np.stack([_log(m.distances(X, groups)) - m.middle for m in members], axis=1)
    counted = own | ~own.any(axis=1, keepdims=True)
    return np.asarray(np.where(counted, excess, np.inf).min(axis=1))


def judge_classes(excess: NDArray[np.float64], members: Sequence["Members"]) -> Verdict:
    """Atypical images: far from their own class or, without a label, from every class.

    How far the members of a class spread is learned from all classes together, since some are
    small. Of log distances that are normally distributed 0.04 % lie beyond the threshold.

    Args:
        excess: (N,) of `class_excess`; NaN where nothing can be said.
        members: of the C classes, at least one.
    """
    spread = np.concatenate([_log(m.distances(m.rows, m.groups)) - m.middle for m in members])
    reach = ATYPICAL_FENCE * max(float(np.quantile(spread, 0.75)), LEAST_SPREAD)
    return _verdict(excess[:, None] / reach, excess[:, None])


def _log(found: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    return np.asarray(np.log(np.maximum(found.astype(np.float64), _TINY)))


def _verdict(units: NDArray[np.float64], excess: NDArray[np.float64]) -> Verdict:
    """Of thresholds (N, s) and log distances beyond the middle (N, s), the worse of each row."""
    at = units.argmax(axis=1)
    rows = np.arange(len(units))
    worst = units[rows, at]
    score = 1.0 / (1.0 + np.exp(-4.0 * (np.clip(worst, -10.0, 10.0) - 1.0)))
    return Verdict(score, worst > 1.0, np.exp(excess[rows, at]))


@dataclass(frozen=True, eq=False)
class Members:
    """The labeled images of one class that others are compared with, at most one of a group.

    Attributes:
        rows: (M, r) where they are in the space.
        groups: (M,) of each.
        middle: log distance of the middle one to the others.
    """

    rows: Floats
    groups: Ids
    middle: float

    @classmethod
    def of(cls, rows: Floats, groups: Ids) -> "Members":
        """Members (M, r) and what is usual among them; M at least 2."""
        found = cls(rows, groups, 0.0).distances(rows, groups)
        return cls(rows, groups, float(np.median(_log(found))))

    def distances(self, X: Floats, groups: Ids) -> NDArray[np.float64]:
        """Distance (N,) from each row to the nearest half of the members."""
        nearest = max(1, min(round(CLASS_SHARE * len(self.rows)), len(self.rows) - 1))
        return distances(X, groups, self.rows, self.groups, nearest=nearest)


@dataclass(frozen=True, eq=False)
class Dataset:
    """The images that all are compared with, at most one of a group.

    Attributes:
        rows: (M, d) their embeddings.
        placed: (M, r) the same in the space.
        groups: (M,) of each.
        space: of the dataset's main directions.
    """

    rows: Floats
    placed: Floats
    groups: Ids
    space: Space

    @classmethod
    def of(cls, rows: Floats, groups: Ids) -> "Dataset":
        """From embeddings (M, d), M at least `FEWEST`, and their groups (M,)."""
        space = find_space(rows)
        return cls(rows, space.place(rows), groups, space)

    def distances(self, X: Floats, groups: Ids) -> NDArray[np.float64]:
        """Distances (N, 2) of embeddings (N, d) to the nearest share, in both spaces."""
        nearest = max(LEAST_NEAREST, round(SHARE * len(self.rows)))
        return np.stack(
            [
                distances(X, groups, self.rows, self.groups, nearest=nearest),
                distances(self.space.place(X), groups, self.placed, self.groups, nearest=nearest),
            ],
            axis=1,
        )


def find_outliers(X: Floats, groups: Ids) -> Verdict:
    """Outliers among embeddings (N, d) in memory with their groups (N,), as `find` judges them."""
    reference = choose_reference(groups)
    if len(reference) < FEWEST:
        nothing = np.full(len(X), np.nan)
        return Verdict(nothing, np.zeros(len(X), dtype=bool), nothing)
    found = Dataset.of(X[reference], groups[reference]).distances(X, groups)
    return judge(found, found[reference])


def find(evidence: Evidence) -> Iterator[Issue]:
    """Every image as `outlier`, and as `atypical` where labels allow it."""
    ids, groups, store = evidence.ids, evidence.groups, evidence.embeddings
    reference = choose_reference(groups)
    if store is None or len(reference) < FEWEST:
        return
    dataset = Dataset.of(store.read(ids[reference]), groups[reference])
    members = _members(evidence, store, dataset.space)
    columns = {key: column for column, key in enumerate(members)}
    outward = np.empty((len(ids), 2), np.float32)
    inward = np.full(len(ids), np.nan, np.float32)
    for start in range(0, len(ids), BLOCK):
        evidence.report(start, len(ids), "outliers")
        part = slice(start, start + BLOCK)
        X = store.read(ids[part])
        outward[part] = dataset.distances(X, groups[part])
        if columns:
            own, judged = _own(evidence, ids[part], columns)
            excess = class_excess(dataset.space.place(X), groups[part], list(members.values()), own)
            inward[part] = np.where(judged, excess, np.nan)
    evidence.report(len(ids), len(ids), "outliers")
    outlying = judge(outward, outward[reference])
    atypical = judge_classes(inward.astype(np.float64), list(members.values())) if columns else None
    record = evidence.project.record
    for row, image_id in enumerate(ids.tolist()):
        yield _issue(image_id, "outlier", outlying, row, _outlier_reason(outlying, row))
        if atypical is not None and np.isfinite(atypical.score[row]):
            label = evidence.labels.get(image_id)
            names = record.class_names(label.classes) if label else ()
            reason = _atypical_reason(atypical, row, names)
            yield _issue(image_id, "atypical", atypical, row, reason)


def _members(evidence: Evidence, store: EmbeddingStore, space: Space) -> dict[int, Members]:
    """By class id, the classes that have labels of enough groups."""
    rows_of: dict[int, list[int]] = {}
    for row, image_id in enumerate(evidence.ids.tolist()):
        if image_id in evidence.labels:
            for key in evidence.labels[image_id].classes:
                rows_of.setdefault(key, []).append(row)
    most = max(FEWEST_OF_CLASS, REFERENCE // max(len(rows_of), 1))
    found = {}
    for key, of_class in rows_of.items():
        rows = np.array(of_class)
        chosen = rows[choose_reference(evidence.groups[rows], most=most)]
        if len(chosen) >= FEWEST_OF_CLASS:
            placed = space.place(store.read(evidence.ids[chosen]))
            found[key] = Members.of(placed, evidence.groups[chosen])
    return found


def _own(
    evidence: Evidence, ids: Ids, columns: dict[int, int]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which columns are an image's classes (n, C), and whether it can be judged (n,).

    It cannot where all its classes have too few members, nor, without a label, where only one has
    enough.
    """
    own = np.zeros((len(ids), len(columns)), dtype=bool)
    judged = np.full(len(ids), len(columns) > 1)
    for row, image_id in enumerate(ids.tolist()):
        if image_id in evidence.labels:
            classes = evidence.labels[image_id].classes
            own[row, [columns[key] for key in classes if key in columns]] = True
            judged[row] = own[row].any()
    return own, judged


def _issue(
    image_id: int, kind: Literal["outlier", "atypical"], verdict: Verdict, row: int, reason: str
) -> Issue:
    return Issue(image_id, kind, float(verdict.score[row]), bool(verdict.is_issue[row]), reason)


def _outlier_reason(verdict: Verdict, row: int) -> str:
    times = f"{verdict.ratio[row]:.2f} times as far from the nearest {SHARE:.0%} of the images as"
    if verdict.is_issue[row]:
        return f"like no other part of the dataset: {times} the middle image"
    return f"{times} the middle image"


def _atypical_reason(verdict: Verdict, row: int, names: tuple[str, ...]) -> str:
    ratio = f"{verdict.ratio[row]:.2f} times as far as the middle one of its class"
    if names:
        return f"labeled {', '.join(names)}, {ratio} from the others"
    if verdict.is_issue[row]:
        return f"image of none of the labeled classes: {ratio} from the nearest class"
    return f"{ratio} from the nearest class"


DETECTOR = Detector(kinds=("outlier", "atypical"), needs_embeddings=True, find=find)
