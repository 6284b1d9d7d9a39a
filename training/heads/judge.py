"""A judge of changed images that never learned from their originals, nor from copies of these."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import TrainingError
from training.calibration import to_probabilities
from training.heads import out_of_fold
from training.heads.head import Head, fit_head
from training.settings import HeadSettings

Judge = Callable[[NDArray[np.int64], NDArray[np.float32]], NDArray[np.float64]]


def learn(
    X: NDArray[np.floating[Any]],
    y: NDArray[np.integer[Any]],
    groups: NDArray[np.integer[Any]],
    *,
    classes: int,
    settings: HeadSettings | None = None,
    seed: int = 0,
) -> Judge:
    """Heads fitted to all folds but one, each of which judges copies of the images of that fold.

    Why not a head that was trained on all of them: it knows the originals by heart, so that the
    mildest change would seem to break labels.

    Args:
        X: (N, d) embeddings of labeled images.
        y: (N,) class indices below `classes`, or (N, C) of 0 and 1 for a multi-label task.
        groups: (N,) rows with the same number stay in one fold.
        classes: C.
        settings: of the heads; those of `out_of_fold` when None.
        seed: decides the folds.

    Returns:
        From rows (M,) and the embeddings (M, d) of their copies to probabilities (M, C).

    Raises:
        TrainingError: fewer than two groups, or a fold whose rest holds no two answers to tell
            apart.
    """
    distinct = len(np.unique(groups))
    if distinct < 2:
        raise TrainingError(f"Judging takes at least two groups of images; there are {distinct}.")
    task = "single-label" if y.ndim == 1 else "multi-label"
    fold_of = out_of_fold.assign(y, groups, folds=min(out_of_fold.FOLDS, distinct), seed=seed)
    names = [str(number) for number in range(classes)]
    heads: dict[int, Head] = {
        int(fold): fit_head(
            X[fold_of != fold],
            y[fold_of != fold],
            classes=names,
            task=task,
            settings=settings or out_of_fold.SETTINGS,
        )
        for fold in np.unique(fold_of)
    }

    def judge(rows: NDArray[np.int64], copies: NDArray[np.float32]) -> NDArray[np.float64]:
        logits = np.empty((len(rows), classes))
        for fold, head in heads.items():
            own = fold_of[rows] == fold
            logits[own] = head.logits(copies[own])
        return to_probabilities(logits, task=task)

    return judge
