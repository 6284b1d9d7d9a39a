"""Every labeled image judged by a model that saw neither it nor a copy of it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import TrainingError
from curation.progress import Report, silent
from curation.splits import Fold
from training import evaluation
from training.evaluation import Metrics
from training.heads import out_of_fold
from training.intervals import Figure

Rows = NDArray[np.int64]
Predictor = Callable[[Rows], NDArray[np.float64]]
"""From rows (M,) to probabilities (M, C)."""
Fit = Callable[[Rows], Predictor]
"""Trains on rows (M,)."""

LEFT_OUT = -1
"""Fold of rows that are neither learned from nor judged."""


@dataclass(frozen=True)
class Judged:
    """One fold.

    Attributes:
        name: of the fold, such as `fold-1`.
        trained: rows that its model learned from.
        figures: by name, of the rows that it held.
    """

    name: str
    trained: int
    figures: dict[str, Figure]

    def as_json(self) -> dict[str, Any]:
        """Fold and trained, then each figure under its name."""
        return {"fold": self.name, "trained": self.trained} | {
            name: figure.as_json() for name, figure in self.figures.items()
        }


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """What `run` found.

    Attributes:
        metrics: of all judged rows together. The intervals say how far other images would move
            them; that other labels would train other models is in the spread of the folds.
        folds: in their order.
        probabilities: (N, C) of each row by the model that never saw it; NaN for rows left out.
        fold_of: (N,) number of the fold that held each row, or `LEFT_OUT`.
    """

    metrics: Metrics
    folds: tuple[Judged, ...]
    probabilities: NDArray[np.float64]
    fold_of: NDArray[np.int64]

    def as_json(self) -> dict[str, Any]:
        """The metrics as `Metrics.as_json`, and the folds."""
        return {"metrics": self.metrics.as_json(), "folds": [one.as_json() for one in self.folds]}


def run(
    fit: Fit,
    y: NDArray[np.integer[Any]],
    fold_of: NDArray[np.int64],
    *,
    classes: Sequence[str],
    rng: np.random.Generator,
    names: Sequence[str] | None = None,
    weights: NDArray[np.floating[Any]] | None = None,
    report: Report = silent,
) -> CrossValidation:
    """Trains once for each fold, on all others, and judges that fold.

    Args:
        fit: from the rows (ascending) to learn from to what predicts any rows.
        y: (N,) class indices, or (N, C) of 0 and 1 for multi-label.
        fold_of: (N,) number of each row's fold, see `assign` and `of_split`; `LEFT_OUT` for none.
        classes: C names.
        rng: the intervals' randomness.
        names: of the folds; `fold-1` and so on when None.
        weights: (N,) how much each row counts in the figures.
        report: told of the folds.

    Raises:
        TrainingError: fewer than two folds, lengths differ, or predictions of a wrong shape.
        Cancelled: asked to stop.
    """
    count = int(fold_of.max(initial=LEFT_OUT)) + 1
    held = [np.flatnonzero(fold_of == number) for number in range(count)]
    if len(y) != len(fold_of):
        raise TrainingError(f"{len(fold_of)} folds for {len(y)} labels: pass one for each.")
    if sum(len(rows) > 0 for rows in held) < 2:
        raise TrainingError(
            "Cross-validation takes at least two folds with labeled images. Label more images, or "
            "make a split with `labelloop split --folds 5`."
        )
    probabilities = np.full((len(y), len(classes)), np.nan)
    folds = []
    for number, rows in enumerate(held):
        name = names[number] if names else f"fold-{number + 1}"
        if not len(rows):
            continue
        report(number, count, name)
        others = np.flatnonzero((fold_of != number) & (fold_of != LEFT_OUT))
        given = fit(others)(rows)
        if given.shape != (len(rows), len(classes)):
            raise TrainingError(
                f"The model of {name} gave predictions {given.shape} for {len(rows)} images and "
                f"{len(classes)} classes."
            )
        probabilities[rows] = given
        found = _evaluate(given, y, rows, classes, rng, weights)
        folds.append(Judged(name, len(others), found.figures))
    report(count, count, "metrics")
    judged = np.flatnonzero(fold_of != LEFT_OUT)
    metrics = _evaluate(probabilities[judged], y, judged, classes, rng, weights)
    return CrossValidation(metrics, tuple(folds), probabilities, np.asarray(fold_of, np.int64))


def assign(
    y: NDArray[np.integer[Any]],
    groups: NDArray[np.integer[Any]],
    *,
    folds: int = out_of_fold.FOLDS,
    seed: int = 0,
) -> NDArray[np.int64]:
    """The fold (N,) of each row: groups stay whole, classes are spread evenly.

    With fewer groups than folds there are as many folds as groups.

    Raises:
        TrainingError: fewer than two groups or folds.
    """
    distinct = len(np.unique(groups))
    if distinct < 2 or folds < 2:
        raise TrainingError(
            f"Cross-validation takes at least two groups of labeled images and two folds; there "
            f"are {distinct} groups for {folds} folds. Label more images."
        )
    return out_of_fold.assign(y, groups, folds=min(folds, distinct), seed=seed)


def of_split(folds: Iterable[Fold], ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[str]]:
    """The fold (N,) of each image in a split made of folds, and the folds' names.

    Args:
        folds: of `curation.splits.folds`.
        ids: (N,) of the labeled images; one in no fold is left out.
    """
    fold_of = np.full(len(ids), LEFT_OUT, np.int64)
    names = []
    for number, fold in enumerate(folds):
        fold_of[np.isin(ids, fold.test)] = number
        names.append(fold.name)
    return fold_of, names


def _evaluate(
    probabilities: NDArray[np.float64],
    y: NDArray[np.integer[Any]],
    rows: Rows,
    classes: Sequence[str],
    rng: np.random.Generator,
    weights: NDArray[np.floating[Any]] | None,
) -> Metrics:
    own = None if weights is None else weights[rows]
    return evaluation.evaluate(probabilities, y[rows], classes, rng=rng, weights=own)
