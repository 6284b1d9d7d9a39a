"""Make probabilities mean what they say, and measure how far they are from it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from curation.errors import TrainingError

MINIMUM = 30
_RANGE = (0.05, 20.0)
_FLOOR = 1e-12
_ROWS = 1_000


@dataclass(frozen=True)
class Calibration:
    """What fitting a temperature gave.

    Attributes:
        temperature: logits are to be divided by it; 1 where nothing could be fitted.
        n: labels that it rests on.
        before: mean log-loss at temperature 1, None without labels.
        after: mean log-loss at `temperature`, None without labels.
        note: one sentence for people.
    """

    temperature: float
    n: int
    before: float | None
    after: float | None
    note: str


def to_probabilities(
    logits: NDArray[np.floating[Any]], *, task: str, temperature: float = 1.0
) -> NDArray[np.float64]:
    """(N, C) softmax (single-label) or logistic function (multi-label) of logits / temperature."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    return np.asarray(expit(scaled) if task == "multi-label" else softmax(scaled, axis=1))


def fit_temperature(
    logits: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    *,
    task: str = "single-label",
    minimum: int = MINIMUM,
) -> Calibration:
    """Find the one temperature with the least log-loss on labels the model was not trained on.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks".

    Args:
        logits: (N, C) before any temperature; -inf for classes that the model does not know.
        labels: (N,) class indices, or (N, C) of 0 and 1 for multi-label.
        task: `single-label` or `multi-label`.
        minimum: with fewer labels the temperature stays 1.

    Raises:
        TrainingError: logits and labels of different lengths, or NaN logits.
    """
    if len(logits) != len(labels):
        raise TrainingError(f"{len(logits)} rows of logits for {len(labels)} labels.")
    if np.isnan(logits).any():
        raise TrainingError("The model's logits hold NaN. Train it again.")
    n = len(labels)
    if n == 0:
        return Calibration(1.0, 0, None, None, "no calibration labels yet: temperature 1")

    def loss(log_temperature: float) -> float:
        temperature = float(np.exp(log_temperature))
        p = to_probabilities(logits, task=task, temperature=temperature)
        return log_loss(p, labels)

    before = loss(0.0)
    if n < minimum:
        note = f"{n} calibration labels are too few to fit a temperature (at least {minimum}): 1"
        return Calibration(1.0, n, before, before, note)
    from scipy.optimize import minimize_scalar  # half a second, which no training needs

    found = minimize_scalar(
        loss, bounds=(float(np.log(_RANGE[0])), float(np.log(_RANGE[1]))), method="bounded"
    )
    if not found.fun < before:
        return Calibration(1.0, n, before, before, f"temperature 1 fits {n} labels best")
    temperature = float(np.exp(found.x))
    says = "was too sure" if temperature > 1 else "was not sure enough"
    note = f"the model {says}: temperature {temperature:.2f}, from {n} labels"
    return Calibration(temperature, n, before, float(found.fun), note)


def log_loss(probabilities: NDArray[np.float64], labels: NDArray[np.integer[Any]]) -> float:
    """The mean of `log_losses`."""
    return float(log_losses(probabilities, labels).mean())


def log_losses(
    probabilities: NDArray[np.float64], labels: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """(N,) negative log-probability of the truth, finite: probabilities are clipped at 1e-12.

    Multi-label: the mean over the row's classes.
    """
    if labels.ndim == 1:
        right = probabilities[np.arange(len(labels)), labels][:, None]
    else:
        right = np.where(labels == 1, probabilities, 1 - probabilities)
    return np.asarray(-np.log(np.clip(right, _FLOOR, 1.0)).mean(axis=1))


def brier_scores(
    probabilities: NDArray[np.float64], labels: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """(N,) squared distance of the probabilities from the truth, summed over classes (Brier 1950).

    From 0 to 2. Multi-label: the mean over the row's classes, 0 to 1.
    """
    if labels.ndim == 2:
        return np.asarray(((probabilities - labels) ** 2).mean(axis=1))
    own = probabilities[np.arange(len(labels)), labels]
    squares = np.einsum("ij,ij->i", probabilities, probabilities)
    return np.asarray(np.maximum(squares - 2 * own + 1, 0.0))


def expected_calibration_error(
    probabilities: NDArray[np.float64], labels: NDArray[np.integer[Any]], *, bins: int = 15
) -> float:
    """Mean distance between confidence and accuracy over bins of equal width, 0 to 1.

    Source: Naeini, Cooper, Hauskrecht 2015. It is biased upwards where bins hold few rows.

    Args:
        probabilities: (N, C).
        labels: (N,) class indices: the largest probability is judged; or (N, C) of 0 and 1: each
            cell's is.
        bins: at least 1.

    Raises:
        TrainingError: no rows.
    """
    if len(labels) == 0:
        raise TrainingError("No labels to measure calibration on. Label some of the reserve.")
    everything = np.ones((1, len(labels)), dtype=np.float32)
    return float(errors(probabilities, labels, bins=bins)(everything)[0])


def errors(
    probabilities: NDArray[np.float64], labels: NDArray[np.integer[Any]], *, bins: int = 15
) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    """The calibration error as a function of (b, N) counts of rows, for a bootstrap."""
    n, width = len(labels), 1 if labels.ndim == 1 else labels.shape[1]
    gaps = np.zeros((n, bins))
    for start in range(0, n, _ROWS):
        p, truth = probabilities[start : start + _ROWS], labels[start : start + _ROWS]
        if labels.ndim == 1:
            confidence, right = p.max(axis=1)[:, None], (p.argmax(axis=1) == truth)[:, None]
        else:
            confidence, right = p, truth == 1
        which = np.minimum((confidence * bins).astype(int), bins - 1)
        cells = np.arange(len(p))[:, None] * bins + which
        sums = np.bincount(
            cells.ravel(), weights=(right - confidence).ravel(), minlength=len(p) * bins
        )
        gaps[start : start + _ROWS] = sums.reshape(len(p), bins)

    def of(drawn: NDArray[np.float32]) -> NDArray[np.float64]:
        total = drawn.sum(axis=1, dtype=np.float64) * width
        return np.asarray(np.abs(drawn.astype(np.float64) @ gaps).sum(axis=1) / total)

    return of
