"""The figures that early stopping and the search for settings look at."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.calibration import log_loss
from training.targets import THRESHOLD


def figures(
    probabilities: NDArray[np.float64], truth: NDArray[np.integer[Any]]
) -> dict[str, float]:
    """accuracy, balanced_accuracy, macro_f1 and loss, as `scoring.score` has them.

    Args:
        probabilities: (N, C).
        truth: (N,) class indices, or (N, C) of 0 and 1; N at least 1.
    """
    if truth.ndim == 1:
        names = np.arange(probabilities.shape[1])
        actual = truth[:, None] == names
        called = probabilities.argmax(axis=1)[:, None] == names
    else:
        actual, called = truth == 1, probabilities >= THRESHOLD
    both, held, named = (table.sum(axis=0) for table in (actual & called, actual, called))
    known = held + named > 0
    recalls = both[held > 0] / held[held > 0]
    f1 = 2 * both[known] / (held + named)[known]
    return {
        "accuracy": float((actual == called).all(axis=1).mean()),
        "balanced_accuracy": float(recalls.mean()) if len(recalls) else 0.0,
        "macro_f1": float(f1.mean()) if len(f1) else 0.0,
        "loss": log_loss(probabilities, truth),
    }


def is_better(found: dict[str, float], than: dict[str, float], *, metric: str) -> bool:
    """Whether the metric, of `settings.STEERING`, is better, or the same with a smaller loss."""
    if metric == "log-loss" or found[name := metric.replace("-", "_")] == than[name]:
        return found["loss"] < than["loss"]
    return found[name] > than[name]
