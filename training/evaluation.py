"""How good a model is on labels it never saw, each figure with n and a 95 % interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import NotFound, TrainingError
from training import calibration, intervals, weights
from training.intervals import Figure

THRESHOLD = 0.5
"""A multi-label class is predicted from this probability on."""


@dataclass(frozen=True)
class ClassMetrics:
    """One class. A figure's value is None where no image allows it to be measured."""

    name: str
    support: int
    precision: Figure
    recall: Figure
    f1: Figure
    auroc: Figure

    def as_json(self) -> dict[str, Any]:
        """Snake-case names, figures as `Figure.as_json`."""
        figures = ("precision", "recall", "f1", "auroc")
        return {"class": self.name, "support": self.support} | {
            name: getattr(self, name).as_json() for name in figures
        }


@dataclass(frozen=True, eq=False)
class Metrics:
    """All figures of one evaluation.

    Attributes:
        n: images.
        task: `single-label` or `multi-label`.
        figures: by name. Single-label: accuracy, balanced_accuracy, macro_f1, log_loss, ece.
            Multi-label: accuracy (all classes of an image right: subset accuracy), micro_f1,
            macro_f1, balanced_accuracy (mean recall), log_loss, ece.
        per_class: in the order of the classes.
        confusion: single-label (C, C), rows truth, columns prediction; multi-label (C, 2, 2).
        notes: what could not be measured, in sentences.
    """

    n: int
    task: str
    figures: dict[str, Figure]
    per_class: tuple[ClassMetrics, ...]
    confusion: NDArray[np.int64]
    notes: tuple[str, ...]

    def figure(self, name: str) -> Figure:
        """A figure by its kebab-case or snake-case name.

        Raises:
            NotFound: no such figure for this task.
        """
        key = name.replace("-", "_")
        if key not in self.figures:
            known = ", ".join(known.replace("_", "-") for known in self.figures)
            raise NotFound(f"No metric {name!r} for a {self.task} task. Known: {known}.")
        return self.figures[key]

    def as_json(self) -> dict[str, Any]:
        """One object: each figure under its name, then n, task, per_class, confusion, notes."""
        return {name: figure.as_json() for name, figure in self.figures.items()} | {
            "n": self.n,
            "task": self.task,
            "per_class": [one.as_json() for one in self.per_class],
            "confusion": self.confusion.tolist(),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, eq=False)
class _Cells:
    """Truth and prediction as (N, C) tables of 0 and 1, and the rows' weights."""

    truth: NDArray[np.float32]
    predicted: NDArray[np.float32]
    row_weight: NDArray[np.float32]

    def counts(
        self, drawn: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """(b, C) weighted hits, rows of each true class, rows of each predicted class."""
        weighted = (drawn * self.row_weight).astype(np.float64)
        hits = weighted @ (self.truth * self.predicted)
        return hits, weighted @ self.truth, weighted @ self.predicted


def evaluate(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.integer[Any]],
    classes: Sequence[str],
    *,
    rng: np.random.Generator,
    weights: NDArray[np.floating[Any]] | None = None,
) -> Metrics:
    """Judge probabilities by the truth.

    Proportions carry Wilson's interval (with weights: on the effective number of rows), balanced
    accuracy one of `intervals.mean_of_proportions`, all others a bootstrap over images. Balanced
    accuracy is the mean over the classes that the truth holds, macro-F1 over those that truth or
    prediction holds, as in scikit-learn.

    Args:
        probabilities: (N, C).
        truth: (N,) class indices for single-label, (N, C) of 0 and 1 for multi-label.
        classes: C names.
        rng: the bootstrap's randomness.
        weights: (N,) at least 0, of the images; all 1 when None.

    Raises:
        TrainingError: no rows, shapes that do not fit, labels out of range, NaN.
    """
    row_weight = _check(probabilities, truth, classes, weights)
    single = truth.ndim == 1
    cells = _cells(probabilities, truth, row_weight)
    right = (cells.truth == cells.predicted).all(axis=1)
    n = len(truth)
    hits, actual, guessed = (row[0] for row in cells.counts(np.ones((1, n), np.float32)))
    spread = _spread(cells, probabilities, rng=rng)
    per_class = tuple(
        _class_metrics(name, column, cells, probabilities[:, column], spread)
        for column, name in enumerate(classes)
    )
    held = actual > 0
    seen = held | (guessed > 0)
    scores = _f1(hits, actual, guessed)
    figures = {
        "accuracy": intervals.proportion(right, row_weight),
        "balanced_accuracy": _balanced(cells, hits[held], actual[held], held, rng=rng),
        "macro_f1": Figure(
            float(scores[seen].mean()) if seen.any() else None, n, spread["macro_f1"][0]
        ),
    }
    if not single:
        pooled = _f1(hits.sum(), actual.sum(), guessed.sum())
        value = float(pooled) if np.isfinite(pooled) else None
        figures["micro_f1"] = Figure(value, n, spread["micro_f1"][0])
    figures |= _probabilistic(probabilities, truth, row_weight, rng=rng)
    return Metrics(
        n=n,
        task="single-label" if single else "multi-label",
        figures=figures,
        per_class=per_class,
        confusion=_confusion(cells, single=single),
        notes=_notes(classes, cells.truth, single=single),
    )


def _check(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.integer[Any]],
    classes: Sequence[str],
    given: NDArray[np.floating[Any]] | None,
) -> NDArray[np.float64]:
    n, width = len(truth), len(classes)
    if n == 0:
        raise TrainingError(
            "The holdout holds no labeled image, so nothing can be measured. Label some of the "
            "reserve first: it is offered in every round."
        )
    if probabilities.shape != (n, width) or truth.shape not in {(n,), (n, width)}:
        raise TrainingError(
            f"Probabilities {probabilities.shape} and truth {truth.shape} do not fit {width} "
            "classes: pass one row for each image."
        )
    if not np.isfinite(probabilities).all():
        raise TrainingError("The model's probabilities hold NaN or infinity. Train it again.")
    if truth.min() < 0 or truth.max() > (width - 1 if truth.ndim == 1 else 1):
        raise TrainingError(f"Truth runs from {truth.min()} to {truth.max()} for {width} classes.")
    return weights.of_rows(n, given)


def _cells(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.integer[Any]],
    row_weight: NDArray[np.float64],
) -> _Cells:
    if truth.ndim == 1:
        unit = np.eye(probabilities.shape[1], dtype=np.float32)
        table, guess = unit[truth], unit[probabilities.argmax(axis=1)]
    else:
        table = truth.astype(np.float32)
        guess = (probabilities >= THRESHOLD).astype(np.float32)
    return _Cells(table, guess, row_weight.astype(np.float32))


def _f1(hits: Any, actual: Any, guessed: Any) -> NDArray[np.float64]:
    """2 hits / (actual + guessed); NaN where there is neither."""
    total = np.asarray(actual + guessed, dtype=np.float64)
    scores = np.full(total.shape, np.nan)
    np.divide(2 * hits, total, out=scores, where=total > 0)
    return scores


def _spread(
    cells: _Cells, probabilities: NDArray[np.float64], *, rng: np.random.Generator
) -> dict[str, list[tuple[float, float]]]:
    """Bootstrap intervals: macro_f1 and micro_f1 (one each), f1 and auroc (one a class)."""
    n, width = cells.truth.shape
    orders = [_Order.of(probabilities[:, column]) for column in range(width)]
    f1, auroc, micro = [], [], []
    for drawn in intervals.resampled_counts(n, rng=rng):
        hits, actual, guessed = cells.counts(drawn)
        f1.append(_f1(hits, actual, guessed))
        micro.append(_f1(hits.sum(axis=1), actual.sum(axis=1), guessed.sum(axis=1)))
        weighted = drawn * cells.row_weight
        auroc.append(
            np.stack(
                [order.auroc(cells.truth[:, i], weighted) for i, order in enumerate(orders)], axis=1
            )
        )
    scores = np.concatenate(f1)
    counted = np.isfinite(scores)
    macro = np.where(counted, scores, 0).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
    curves = np.concatenate(auroc)
    return {
        "macro_f1": [intervals.percentile(macro)],
        "micro_f1": [intervals.percentile(np.concatenate(micro))],
        "f1": [intervals.percentile(scores[:, i]) for i in range(width)],
        "auroc": [intervals.percentile(curves[:, i]) for i in range(width)],
    }


@dataclass(frozen=True, eq=False)
class _Order:
    """Rows by ascending score, and where runs of equal scores begin."""

    rows: NDArray[np.intp]
    starts: NDArray[np.intp]

    @classmethod
    def of(cls, scores: NDArray[np.float64]) -> "_Order":
        rows = np.argsort(scores, kind="stable")
        sorted_scores = scores[rows]
        changes = np.flatnonzero(sorted_scores[1:] != sorted_scores[:-1]) + 1
        return cls(rows, np.concatenate([[0], changes]).astype(np.intp))

    def auroc(
        self, present: NDArray[np.float32], weighted: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """(b,) chance that a present row outscores an absent one, ties half; NaN without both."""
        sorted_weight = weighted[:, self.rows].astype(np.float64)
        up, down = sorted_weight * present[self.rows], sorted_weight * (1 - present[self.rows])
        if len(self.starts) < len(self.rows):
            up, down = (np.add.reduceat(side, self.starts, axis=1) for side in (up, down))
        below = np.cumsum(down, axis=1) - 0.5 * down
        pairs = up.sum(axis=1) * down.sum(axis=1)
        wins = np.einsum("ij,ij->i", up, below)
        areas = np.full(len(pairs), np.nan)
        np.divide(wins, pairs, out=areas, where=pairs > 0)
        return areas


def _class_metrics(
    name: str,
    column: int,
    cells: _Cells,
    scores: NDArray[np.float64],
    spread: dict[str, list[tuple[float, float]]],
) -> ClassMetrics:
    present, guessed = cells.truth[:, column] == 1, cells.predicted[:, column] == 1
    weight = cells.row_weight.astype(np.float64)
    n, support = len(present), int(present.sum())
    hits, actual, called = (float(weight @ side) for side in (present & guessed, present, guessed))
    f1 = float(_f1(hits, actual, called))
    area = float(_Order.of(scores).auroc(cells.truth[:, column], cells.row_weight[None])[0])
    return ClassMetrics(
        name=name,
        support=support,
        precision=intervals.proportion(present[guessed], weight[guessed]),
        recall=intervals.proportion(guessed[present], weight[present]),
        f1=Figure(f1, n, spread["f1"][column]) if support else intervals.unknown(),
        auroc=Figure(area, n, spread["auroc"][column])
        if np.isfinite(area)
        else intervals.unknown(),
    )


def _balanced(
    cells: _Cells,
    hits: NDArray[np.float64],
    actual: NDArray[np.float64],
    held: NDArray[np.bool_],
    *,
    rng: np.random.Generator,
) -> Figure:
    if not held.any():
        return intervals.unknown(len(cells.truth))
    squares = (cells.row_weight.astype(np.float64) ** 2) @ cells.truth[:, held]
    trials = actual**2 / squares
    rate = hits / actual
    interval = intervals.mean_of_proportions(rate * trials, trials, rng=rng)
    return Figure(float(rate.mean()), len(cells.truth), interval)


def _probabilistic(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.integer[Any]],
    row_weight: NDArray[np.float64],
    *,
    rng: np.random.Generator,
) -> dict[str, Figure]:
    """Log-loss (weighted) and calibration error (of the rows as they are)."""
    n = len(truth)
    each = calibration.log_losses(probabilities, truth)

    def mean(drawn: NDArray[np.float32]) -> NDArray[np.float64]:
        weighted = drawn * row_weight
        total = weighted.sum(axis=1)
        means = np.full(len(total), np.nan)
        np.divide(weighted @ each, total, out=means, where=total > 0)
        return means

    loss = float(row_weight @ each / row_weight.sum())
    return {
        "log_loss": Figure(loss, n, intervals.bootstrap(mean, n, rng=rng)),
        "ece": Figure(
            calibration.expected_calibration_error(probabilities, truth),
            n,
            intervals.bootstrap(calibration.errors(probabilities, truth), n, rng=rng),
        ),
    }


def _confusion(cells: _Cells, *, single: bool) -> NDArray[np.int64]:
    if single:
        return np.asarray(np.rint(cells.truth.T @ cells.predicted), dtype=np.int64)
    both = (cells.truth * cells.predicted).sum(axis=0)
    actual, called = cells.truth.sum(axis=0), cells.predicted.sum(axis=0)
    neither = len(cells.truth) - actual - called + both
    table = np.stack([neither, called - both, actual - both, both], axis=1)
    return np.asarray(np.rint(table), dtype=np.int64).reshape(-1, 2, 2)


def _notes(classes: Sequence[str], truth: NDArray[np.float32], *, single: bool) -> tuple[str, ...]:
    support = truth.sum(axis=0)
    notes = [
        f"No image here is labeled {name!r}: its recall, F1 and AUROC are unknown, and "
        "balanced accuracy leaves it out."
        for name, n in zip(classes, support, strict=True)
        if n == 0
    ]
    few = [f"{name} ({int(n)})" for name, n in zip(classes, support, strict=True) if 0 < n < 5]
    if few:
        notes.append(f"Fewer than 5 images of: {', '.join(few)}. Their figures say little.")
    if not single:
        notes += [
            f"Every image here is labeled {name!r}: its AUROC is unknown."
            for name, n in zip(classes, support, strict=True)
            if n == len(truth)
        ]
    return tuple(notes)
