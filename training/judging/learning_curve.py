"""Accuracy by training-set size: the same images judged after more and more labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import TrainingError
from curation.progress import Report, silent
from training import intervals
from training.evaluation import answers

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]
Fit = Callable[[Rows], Callable[[Rows], Floats]]
"""Trains on rows (M,) and gives what predicts rows (K,): probabilities (K, C)."""

METRICS = ("accuracy", "balanced-accuracy")
LEAST_SIZES = 3
_SIZES = 5
_DRAWS = 4
_SMALLEST_SHARE = 1 / 16


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Scores of models by how many labels they learned from, all on the same n images.

    Attributes:
        sizes: (K,) labels, ascending; the last is all there are.
        scores: (R, K) of each draw of labels.
        hits: (K, n) how often each image was got right, over the draws.
        strata: (n,) class of each image where classes count alike; None where images do.
        metric: of `METRICS`.
        notes: what was left out, in sentences.
        members: (n,) number of each image's group; None where each image is one of its own.
    """

    sizes: Floats
    scores: Floats
    hits: NDArray[np.float32]
    strata: NDArray[np.int64] | None
    metric: str
    notes: tuple[str, ...] = ()
    members: NDArray[np.int64] | None = None

    @property
    def labels(self) -> int:
        """How many there are."""
        return round(float(self.sizes[-1]))


def measure(
    fit: Fit,
    y: NDArray[np.integer[Any]],
    groups: NDArray[np.integer[Any]],
    learned: Rows,
    judged: Rows,
    *,
    rng: np.random.Generator,
    sizes: Sequence[int] | None = None,
    draws: int = _DRAWS,
    metric: str = "accuracy",
    report: Report = silent,
) -> LearningCurve:
    """Trains on growing parts of the labels, several times, and judges the same images each time.

    In each draw the groups come in a random order, and each size takes the first of them: a larger
    part holds the smaller ones.

    Args:
        fit: trains on rows.
        y: (N,) class indices, or (N, C) of 0 and 1 for multi-label.
        groups: (N,) rows with the same number are taken together.
        learned: rows to learn from.
        judged: rows to judge, of other groups. A forecast steers, so not those of the test part.
        rng: the draws.
        sizes: how many labels; all are added. `_SIZES` from a sixteenth on when None.
        draws: of each size but the last, at least 2.
        metric: of `METRICS`; a multi-label task knows accuracy (all classes right) alone.
        report: told of the trainings.

    Raises:
        TrainingError: too few labels or sizes, or settings that cannot be used.
        Cancelled: asked to stop.
    """
    _check(y, learned, judged, draws, metric)
    wanted = _sizes(len(learned), sizes)
    order = [_shuffled(learned, groups, rng) for _ in range(draws)]
    right = np.zeros((draws, len(wanted), len(judged)), dtype=np.bool_)
    actual = np.zeros((draws, len(wanted)))
    failed: dict[int, str] = {}
    total = draws * (len(wanted) - 1) + 1
    for at, size in enumerate(wanted):
        whole = at == len(wanted) - 1
        for draw in range(1 if whole else draws):
            report(at * draws + draw, total, f"{size:,} labels")
            rows = np.sort(_first(order[draw], groups, size))
            actual[draw, at] = len(rows)
            try:
                right[draw, at] = _right(fit(rows)(judged), y[judged])
            except TrainingError as error:
                if whole:
                    raise
                failed[at] = str(error)
    right[:, -1], actual[:, -1] = right[0, -1], actual[0, -1]
    kept = [at for at in range(len(wanted)) if at not in failed]
    strata = np.asarray(y[judged], np.int64) if metric != "accuracy" else None
    notes = tuple(f"{wanted[at]:,} labels were too few: {why}" for at, why in failed.items())
    return of_answers(
        actual[:, kept].mean(axis=0),
        right[:, kept],
        strata=strata,
        groups=groups[judged],
        notes=notes,
    )


def of_answers(
    sizes: Floats,
    right: NDArray[np.bool_],
    *,
    strata: NDArray[np.int64] | None = None,
    groups: NDArray[np.integer[Any]] | None = None,
    notes: tuple[str, ...] = (),
) -> LearningCurve:
    """A curve from what each model got right.

    Args:
        sizes: (K,) labels, ascending.
        right: (R, K, n) of each draw, size and image.
        strata: (n,) classes, for balanced accuracy.
        groups: (n,) images with the same number belong together; each on its own when None.
        notes: to be kept with it.
    """
    everything = np.ones((1, right.shape[2]), np.float32)
    each = np.array([scores(everything, one.astype(np.float32), strata)[0] for one in right])
    metric = METRICS[0] if strata is None else METRICS[1]
    hits = right.mean(axis=0, dtype=np.float32)
    members = intervals.members_of(groups)
    return LearningCurve(np.asarray(sizes, np.float64), each, hits, strata, metric, notes, members)


def scores(
    counts: NDArray[np.float32], hits: NDArray[np.float32], strata: NDArray[np.int64] | None
) -> Floats:
    """(b, K) from counts (b, n) of images and their hits (K, n)."""
    weight = counts.astype(np.float64)
    if strata is None:
        return np.asarray(weight @ hits.T / weight.sum(axis=1, keepdims=True))
    recalls = []
    for one in np.unique(strata):
        own = weight[:, strata == one]
        total = own.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            recalls.append(own @ hits[:, strata == one].T / total)
    return np.asarray(np.nanmean(recalls, axis=0))


def _check(
    y: NDArray[np.integer[Any]], learned: Rows, judged: Rows, draws: int, metric: str
) -> None:
    if metric not in METRICS or (metric != "accuracy" and y.ndim == 2):
        raise TrainingError(
            f"No learning curve of {metric!r} for this task. Known: accuracy; balanced-accuracy "
            "where each image has one class."
        )
    if draws < 2 or not len(judged) or not len(learned):
        raise TrainingError(
            f"A learning curve takes at least 2 draws, labels to learn from and labels to judge "
            f"by; got {draws}, {len(learned):,} and {len(judged):,}."
        )


def _sizes(count: int, given: Sequence[int] | None) -> list[int]:
    chosen = (
        np.geomspace(max(2, count * _SMALLEST_SHARE), count, _SIZES) if given is None else given
    )
    found = sorted({min(round(float(size)), count) for size in chosen} | {count})
    if len(found) < LEAST_SIZES or found[0] < 2:
        raise TrainingError(
            f"A learning curve takes at least {LEAST_SIZES} sizes from 2 to the {count:,} labels; "
            f"got {', '.join(map(str, found))}. Label more images."
        )
    return found


def _shuffled(rows: Rows, groups: NDArray[np.integer[Any]], rng: np.random.Generator) -> Rows:
    """The rows, group by group in a random order."""
    _, number = np.unique(groups[rows], return_inverse=True)
    place = rng.permutation(int(number.max()) + 1)
    return np.asarray(rows[np.argsort(place[number.reshape(-1)], kind="stable")])


def _first(rows: Rows, groups: NDArray[np.integer[Any]], size: int) -> Rows:
    """The first rows, at least `size` and as many as keep the last group whole."""
    more = np.flatnonzero(groups[rows[size:]] != groups[rows[size - 1]])
    return rows[: size + int(more[0])] if len(more) else rows


def _right(probabilities: Floats, truth: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    names = [str(number) for number in range(probabilities.shape[1])]
    return answers.of(probabilities, truth, names).right()
