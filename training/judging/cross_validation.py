"""Every labeled image judged by a model that saw neither it nor a copy of it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from curation.errors import TrainingError
from curation.progress import Report, silent
from curation.splits import Fold
from training import calibration, evaluation
from training.evaluation import Metrics
from training.heads import out_of_fold
from training.intervals import Figure
from training.material.parts import DRAWN, LEAST_GROUPS

Rows = NDArray[np.int64]
Predictor = Callable[[Rows], NDArray[np.float64]]
"""From rows (M,) to probabilities (M, C)."""
Fit = Callable[[Rows, Rows], Predictor]
"""Trains on rows (M,), and stops by rows (S,) that it does not learn from; there may be none."""

LEFT_OUT = -1
"""Fold of rows that are neither learned from nor judged."""


@dataclass(frozen=True)
class Judged:
    """One fold.

    Attributes:
        name: of the fold, such as `fold-1`.
        trained: rows that its model learned from.
        steered: rows that its model was stopped by, none of them its own.
        temperature: fitted to the answers of the other folds' models, as a training fits it to
            validation.
        figures: by name, of the rows that it held.
    """

    name: str
    trained: int
    steered: int
    temperature: float
    figures: dict[str, Figure]

    def as_json(self) -> dict[str, Any]:
        """Fold, trained, steered and temperature, then each figure under its name."""
        about = {
            "fold": self.name,
            "trained": self.trained,
            "steered": self.steered,
            "temperature": self.temperature,
        }
        return about | {name: figure.as_json() for name, figure in self.figures.items()}


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """What `run` found.

    Attributes:
        metrics: of all judged rows together. The intervals say how far other images would move
            them; that other labels would train other models is in the spread of the folds.
        folds: in their order.
        probabilities: (N, C) of each row by the model that never saw it, calibrated; NaN for rows
            left out.
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
    groups: NDArray[np.integer[Any]] | None = None,
    steers: bool = False,
    seed: int = 0,
    report: Report = silent,
) -> CrossValidation:
    """Trains once for each fold, on all others, and judges that fold.

    Where models are stopped early, a part of the other folds' rows is held back to stop by (see
    `divide`), as a training holds back its validation: the fold itself plays the test part, and
    decides on nothing. The answers of a fold are calibrated by the temperature that suits those of
    all others, which models gave that had not seen them either.

    Args:
        fit: from the rows (ascending) to learn from and to stop by to what predicts any rows.
        y: (N,) class indices, or (N, C) of 0 and 1 for multi-label.
        fold_of: (N,) number of each row's fold, see `assign` and `of_split`; `LEFT_OUT` for none.
        classes: C names.
        rng: the intervals' randomness.
        names: of the folds; `fold-1` and so on when None.
        weights: (N,) how much each row counts in the figures.
        groups: (N,) rows with the same number belong together, and intervals rest on groups; each
            on its own when None.
        steers: hold rows back to stop by.
        seed: decides which these are.
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
    given_names = names or [f"fold-{number + 1}" for number in range(count)]
    belong = np.arange(len(y)) if groups is None else groups
    parts = {
        number: divide(others, y, belong, seed=seed) if steers else (others, others[:0])
        for number, rows in enumerate(held)
        for others in [_others(fold_of, number)]
        if len(rows)
    }
    raw = np.full((len(y), len(classes)), np.nan)
    for number, (learned, steering) in parts.items():
        name, rows = given_names[number], held[number]
        report(number, count, name)
        given = fit(learned, steering)(rows)
        if given.shape != (len(rows), len(classes)):
            raise TrainingError(
                f"The model of {name} gave predictions {given.shape} for {len(rows)} images and "
                f"{len(classes)} classes."
            )
        raw[rows] = given
    report(count, count, "metrics")
    temperatures, probabilities = _calibrated(raw, y, fold_of)

    def measure(rows: Rows) -> Metrics:
        return evaluation.evaluate(
            probabilities[rows],
            y[rows],
            classes,
            rng=rng,
            weights=None if weights is None else weights[rows],
            groups=None if groups is None else groups[rows],
        )

    folds = tuple(
        Judged(
            given_names[number],
            len(learned),
            len(steering),
            temperatures[number],
            measure(held[number]).figures,
        )
        for number, (learned, steering) in parts.items()
    )
    metrics = measure(np.flatnonzero(fold_of != LEFT_OUT))
    return CrossValidation(metrics, folds, probabilities, np.asarray(fold_of, np.int64))


def divide(
    rows: Rows, y: NDArray[np.integer[Any]], groups: NDArray[np.integer[Any]], *, seed: int = 0
) -> tuple[Rows, Rows]:
    """Rows to learn from, and rows to stop by: whole groups, about as many as a training draws.

    Fewer than `LEAST_GROUPS` groups are all learned from, as in a training, and no class is held
    back as a whole.

    Args:
        rows: (M,) that both come from.
        y: (N,) class indices, or (N, C) of 0 and 1.
        groups: (N,) of each row.
        seed: decides which groups are held back.
    """
    own = groups[rows]
    if len(np.unique(own)) < LEAST_GROUPS:
        return rows, rows[:0]
    truth = y[rows] == 1 if y.ndim == 2 else y[rows, None] == np.unique(y[rows])
    steering = out_of_fold.assign(y[rows], own, folds=round(1 / DRAWN), seed=seed) == 0
    lost = ~truth[~steering].any(axis=0)
    steering &= ~np.isin(own, own[truth[:, lost].any(axis=1)])
    return rows[~steering], rows[steering]


def _others(fold_of: NDArray[np.int64], number: int) -> Rows:
    """The rows of all other folds, ascending."""
    return np.flatnonzero((fold_of != number) & (fold_of != LEFT_OUT))


def _calibrated(
    raw: NDArray[np.float64], y: NDArray[np.integer[Any]], fold_of: NDArray[np.int64]
) -> tuple[dict[int, float], NDArray[np.float64]]:
    """The temperature of each fold that has rows, and all probabilities (N, C) with it."""
    task = "single-label" if y.ndim == 1 else "multi-label"
    with np.errstate(divide="ignore"):
        # The softmax of logarithms gives the probabilities back, so that they serve as logits.
        logits = np.log(raw) if task == "single-label" else logit(raw)
    temperatures: dict[int, float] = {}
    found = np.full_like(raw, np.nan)
    for number in np.unique(fold_of[fold_of != LEFT_OUT]).tolist():
        others, rows = _others(fold_of, number), fold_of == number
        fitted = calibration.fit_temperature(logits[others], y[others], task=task)
        temperatures[number] = fitted.temperature
        found[rows] = calibration.to_probabilities(
            logits[rows], task=task, temperature=fitted.temperature
        )
    return temperatures, found


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
