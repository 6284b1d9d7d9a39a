"""Class probabilities of labeled images by models that never saw them, nor a copy of them."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from curation.errors import TrainingError
from training.calibration import fit_temperature, to_probabilities
from training.heads.head import fit_head
from training.settings import HeadSettings

FOLDS = 5
SETTINGS = HeadSettings(strength=3.0)


def probabilities(
    X: NDArray[np.floating[Any]],
    y: NDArray[np.integer[Any]],
    groups: NDArray[np.integer[Any]],
    *,
    classes: int,
    folds: int = FOLDS,
    seed: int = 0,
    settings: HeadSettings | None = None,
) -> NDArray[np.float64]:
    """Probabilities (N, C) of each row by a head that saw no row of its group.

    The folds hold whole groups and, as far as that allows, equal shares of each class. With fewer
    groups than folds there are as many folds as groups. A class whose rows all lie in one fold is
    unknown to the model that judges them: its probability is 0 there. One temperature is fitted to
    the out-of-fold logits of all rows.

    Args:
        X: (N, d) embeddings.
        y: (N,) class indices below `classes`, or (N, C) of 0 and 1 for a multi-label task.
        groups: (N,) rows with the same number stay in one fold.
        classes: C.
        folds: at most so many models are trained, each on the other folds.
        seed: decides the folds; all else is deterministic.
        settings: of the heads.

    Raises:
        TrainingError: lengths differ, fewer than two groups or classes, or labels out of range.
    """
    if not len(X) == len(y) == len(groups):
        raise TrainingError(f"{len(X)} embeddings, {len(y)} labels and {len(groups)} groups.")
    distinct = len(np.unique(groups))
    if distinct < 2 or classes < 2:
        raise TrainingError(
            f"Judging labels takes at least two groups and two classes; there are {distinct} and "
            f"{classes}. Label more images."
        )
    task = "single-label" if y.ndim == 1 else "multi-label"
    fold_of = assign(y, groups, folds=min(folds, distinct), seed=seed)
    logits = np.empty((len(X), classes))
    for fold in np.unique(fold_of):
        held = fold_of == fold
        logits[held] = _judge(
            X[~held], y[~held], X[held], classes=classes, settings=settings or SETTINGS
        )
    temperature = fit_temperature(logits, y, task=task).temperature
    return to_probabilities(logits, task=task, temperature=temperature)


def assign(
    y: NDArray[np.integer[Any]], groups: NDArray[np.integer[Any]], *, folds: int, seed: int
) -> NDArray[np.int64]:
    """The fold (N,) of each row: groups stay whole, classes (or sets of them) are spread evenly.

    Args:
        y: (N,) class indices, or (N, C) of 0 and 1.
        groups: (N,) of each row.
        folds: at least 2 and at most the number of groups.
        seed: decides which groups go together.
    """
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    kinds = y if y.ndim == 1 else np.unique(y, axis=0, return_inverse=True)[1].reshape(-1)
    found = np.zeros(len(y), dtype=np.int64)
    # Where every class has fewer rows than folds, sklearn refuses to stratify.
    if np.bincount(np.unique(kinds, return_inverse=True)[1]).max() < folds:
        parts = GroupKFold(folds).split(kinds, kinds, groups)
    else:
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        parts = splitter.split(kinds, kinds, groups)
    with warnings.catch_warnings():
        # A class with fewer rows than folds is expected here, and lies in fewer folds.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for fold, (_, held) in enumerate(parts):
            found[held] = fold
    return found


def _judge(
    X: NDArray[np.floating[Any]],
    y: NDArray[np.integer[Any]],
    rows: NDArray[np.floating[Any]],
    *,
    classes: int,
    settings: HeadSettings,
) -> NDArray[np.float64]:
    """Logits (M, C) of `rows` by a head trained on X, y; constant where y offers no choice."""
    truth = np.eye(classes, dtype=np.int64)[y] if y.ndim == 1 else y
    counts = truth.sum(axis=0)
    task = "single-label" if y.ndim == 1 else "multi-label"
    learnable = counts > 0 if task == "single-label" else (counts > 0) & (counts < len(y))
    if learnable.sum() >= (2 if task == "single-label" else 1):
        names = [str(number) for number in range(classes)]
        return fit_head(X, y, classes=names, task=task, settings=settings).logits(rows)
    shares = (counts + 1.0) / (len(y) + 2.0)
    constant = np.log(shares) if task == "single-label" else logit(shares)
    return np.asarray(np.repeat(constant[None], len(rows), axis=0))
