"""How good a model is on labels it never saw, each figure with n and a 95 % interval."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation import answers as answer_tables
from training.evaluation import figures
from training.evaluation.records import ClassMetrics, ConfusedPair, Metrics, confused_pairs
from training.evaluation.slices import Slice, by_slice

__all__ = [
    "ClassMetrics",
    "ConfusedPair",
    "Metrics",
    "Slice",
    "by_slice",
    "confused_pairs",
    "evaluate",
]


def evaluate(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.integer[Any]],
    classes: Sequence[str],
    *,
    rng: np.random.Generator,
    weights: NDArray[np.floating[Any]] | None = None,
    groups: NDArray[np.integer[Any]] | None = None,
) -> Metrics:
    """Judge probabilities by the truth.

    Images that belong together, such as copies of one, count one by one in the values; intervals
    rest on groups: a proportion's is Wilson's for as many trials as give the variance over groups,
    and bootstraps draw whole ones.

    The figures, by name; all as scikit-learn defines them:

    - accuracy: of the likeliest class (top-1); multi-label: all classes of an image right. Wilson's
      interval, as of every proportion (with weights: on the effective number of images).
    - balanced_accuracy: mean recall of the classes that the truth holds.
    - macro_precision, macro_recall, macro_f1: means over the classes that truth or prediction
      holds, where undefined counts 0; macro_auroc (one against the rest), macro_average_precision:
      over the classes where they are defined. These intervals, and that of balanced accuracy, are
      made of those of the classes: Wilson's for precision and recall, Wilson's of the overlap for
      F1, Newcombe's for AUROC, the jackknife's for average precision.
    - micro_precision, micro_recall, micro_f1, micro_auroc, micro_average_precision: over all cells
      of a multi-label task, with a jackknife over images.
    - top_3_accuracy, top_5_accuracy: single-label, with more classes than that.
    - log_loss, brier, ece: bootstrap over images, reflected for ece, whose draws are further off
      than it is. Brier's score is that of 1950 for single-label:
      the squared distance of the probabilities from the truth, summed over classes, 0 to 2;
      multi-label: the mean over classes, 0 to 1. The log-loss of a multi-label task also is.

    Args:
        probabilities: (N, C).
        truth: (N,) class indices for single-label, (N, C) of 0 and 1 for multi-label.
        classes: C names.
        rng: the bootstrap's randomness.
        weights: (N,) at least 0, of the images; all 1 when None.
        groups: (N,) images with the same number belong together; each on its own when None.

    Raises:
        TrainingError: no rows, shapes that do not fit, labels out of range, NaN.
    """
    answers = answer_tables.of(probabilities, truth, classes, weights, groups)
    found, per_class = figures.measure(answers, probabilities, truth, classes, rng=rng)
    return Metrics(
        n=len(truth),
        groups=answers.groups,
        task="single-label" if answers.single else "multi-label",
        figures=found,
        per_class=per_class,
        confusion=answers.confusion(),
        mistaken=answers.mistaken(),
        independent=answers.independent_of_classes(),
        notes=_notes(per_class, len(truth), single=answers.single),
    )


def _notes(per_class: Sequence[ClassMetrics], n: int, *, single: bool) -> tuple[str, ...]:
    notes = [
        f"No image here is labeled {one.name!r}: its recall, F1 and AUROC are unknown, and "
        "balanced accuracy leaves it out."
        for one in per_class
        if one.support == 0
    ]
    few = [f"{one.name} ({one.support})" for one in per_class if 0 < one.support < 5]
    if few:
        notes.append(f"Fewer than 5 images of: {', '.join(few)}. Their figures say little.")
    if not single:
        notes += [
            f"Every image here is labeled {one.name!r}: its AUROC is unknown."
            for one in per_class
            if one.support == n
        ]
    return tuple(notes)
