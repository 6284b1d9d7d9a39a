"""The figures of a whole evaluation, of all images or of some of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training import calibration, intervals
from training.evaluation import classes as of_classes
from training.evaluation.answers import Answers, Floats
from training.evaluation.records import ClassMetrics
from training.intervals import Figure

TOP = (3, 5)
_LOSSES = ("log_loss", "brier")


def measure(
    answers: Answers,
    probabilities: NDArray[np.float64],
    truth: NDArray[np.integer[Any]],
    classes: Sequence[str],
    *,
    rng: np.random.Generator,
    ranked: bool = True,
) -> tuple[dict[str, Figure], tuple[ClassMetrics, ...]]:
    """Figures by name, see `evaluation.evaluate`, and those of each class.

    Args:
        answers: of N images.
        probabilities: (N, C).
        truth: (N,) or (N, C), as it was given.
        classes: C names.
        rng: the intervals' randomness.
        ranked: also AUROC, average precision and top-k.
    """
    each = of_classes.measure(answers, probabilities, classes, ranked=ranked)
    found = {"accuracy": answers.proportion(answers.right()), **each.means}
    if not answers.single:
        found |= of_classes.micro(answers)
    if ranked:
        found |= (
            _top(answers, probabilities)
            if answers.single
            else of_classes.micro_ranked(answers, probabilities, rng=rng)
        )
    return found | _probabilistic(answers, probabilities, truth, rng=rng), each.rows


def _top(answers: Answers, probabilities: NDArray[np.float64]) -> dict[str, Figure]:
    """Whether the class is among the k likeliest; of equal ones the first comes first."""
    own = np.take_along_axis(probabilities, answers.truth[:, None], axis=1)
    before = np.arange(answers.width) < answers.truth[:, None]
    rank = ((probabilities > own) | ((probabilities == own) & before)).sum(axis=1)
    return {f"top_{k}_accuracy": answers.proportion(rank < k) for k in TOP if k < answers.width}


def _probabilistic(
    answers: Answers,
    probabilities: NDArray[np.float64],
    truth: NDArray[np.integer[Any]],
    *,
    rng: np.random.Generator,
) -> dict[str, Figure]:
    """Log-loss and Brier score (weighted), and calibration error (of the rows as they are).

    Those are means, with percentile intervals. Chance alone leaves gaps between confidence and
    accuracy, so that the error is too high where bins hold few rows, and higher still in each
    draw: its interval is the reflected one. Over 100 simulated sets each, of 100 to 300 images, it
    held a true error of 0.14 in 84 to 94 % and one of 0 in half, where the percentile interval held
    them in 66 to 93 % and never.
    """
    n, weight = len(truth), answers.weight
    losses = np.stack(
        [
            calibration.log_losses(probabilities, truth),
            calibration.brier_scores(probabilities, truth),
        ],
        axis=1,
    )
    error_of = calibration.errors(probabilities, truth)
    means, errors = [], []
    for drawn in intervals.resampled_counts(n, rng=rng, members=answers.members):
        means.append(_means(drawn * weight, losses))
        errors.append(error_of(drawn))
    values = weight @ losses / weight.sum()
    spread = np.concatenate(means)
    found = {
        name: Figure(float(values[column]), n, intervals.percentile(spread[:, column]))
        for column, name in enumerate(_LOSSES)
    }
    error = float(error_of(np.ones((1, n), np.float32))[0])
    found["ece"] = Figure(error, n, intervals.reflected(np.concatenate(errors), error))
    return found


def _means(weights: Floats, values: Floats) -> Floats:
    """(b, K) means of values (n, K) by weights (b, n); NaN where a draw has no weight at all."""
    total = weights.sum(axis=1, keepdims=True)
    means = np.full((len(weights), values.shape[1]), np.nan)
    np.divide(weights @ values, total, out=means, where=total > 0)
    return means
