"""Figures of each class, and their means over the classes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training import intervals
from training.evaluation import ranking
from training.evaluation.answers import Answers, Flags, Floats
from training.evaluation.records import ClassMetrics
from training.intervals import Figure

COUNTED = ("precision", "recall", "f1")
RANKED = ("auroc", "average_precision")
MOST_CELLS = 2_000_000
_UNMEASURED = Figure(0.0, 0, (0.0, 1.0))
"""Counts 0 in a mean, as in scikit-learn, but may be anything."""


@dataclass
class _Together:
    """Whether the classes' figures move together when images are drawn anew.

    With the influences I of images i on classes c, the variance of a sum of figures is
    sum_i (sum_c I)^2 and would be sum_i sum_c I^2 if the classes knew nothing of each other. Where
    images belong together, i are groups.
    """

    total: Floats
    apart: float = 0.0

    def add(self, influence: Floats) -> None:
        self.total += influence
        self.apart += float(influence @ influence)

    @property
    def factor(self) -> float:
        """Variance of the sum, divided by the sum of variances; 1 where there is none."""
        return float(self.total @ self.total) / self.apart if self.apart > 0 else 1.0


@dataclass
class _Kind:
    """One kind of figure of the classes that count, and how they move together."""

    together: _Together
    figures: list[Figure] = field(default_factory=list)

    def mean(self, n: int) -> Figure:
        """Their mean, with an interval made of theirs."""
        if not self.figures:
            return intervals.unknown(n)
        value = sum(one.value or 0.0 for one in self.figures) / len(self.figures)
        factor = self.together.factor
        return Figure(value, n, intervals.mean_of_figures(self.figures, together=factor))


@dataclass(frozen=True, eq=False)
class PerClass:
    """Of each class, and the means over the classes that truth or prediction holds.

    Attributes:
        rows: in the order of the classes.
        means: macro_precision, macro_recall and macro_f1, where what is undefined counts 0 as in
            scikit-learn; macro_auroc and macro_average_precision over the classes where they are
            defined; balanced_accuracy, the mean recall of the classes that the truth holds.
    """

    rows: tuple[ClassMetrics, ...]
    means: dict[str, Figure]


def measure(
    answers: Answers,
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
    *,
    ranked: bool = True,
) -> PerClass:
    """Measures them.

    Args:
        answers: of N images.
        probabilities: (N, C).
        classes: C names.
        ranked: also by AUROC and average precision, which takes a sort for each class.
    """
    n = len(answers.truth)
    kinds = {name: _Kind(_Together(np.zeros(answers.groups))) for name in COUNTED + RANKED}
    rows = []
    for column, name in enumerate(classes):
        present, called = answers.present(column), answers.called(column)
        found = _counted(present, called, answers, kinds)
        if ranked:
            found |= _ranked(probabilities[:, column], present, answers, kinds)
        else:
            found |= dict.fromkeys(RANKED, intervals.unknown())
        support = int(present.sum())
        if not support:
            found["f1"] = intervals.unknown()
        rows.append(ClassMetrics(name=name, support=support, **found))
    shown = COUNTED + RANKED if ranked else COUNTED
    means = {f"macro_{name}": kinds[name].mean(n) for name in shown}
    recalls = [row.recall for row in rows if row.recall.value is not None]
    balanced = _Kind(kinds["recall"].together, recalls).mean(n)
    return PerClass(tuple(rows), {"balanced_accuracy": balanced, **means})


def _counted(
    present: Flags, called: Flags, answers: Answers, kinds: dict[str, _Kind]
) -> dict[str, Figure]:
    """Precision, recall and F1 of a class, added to their kinds where there is any image of it."""
    hit = present & called
    weight = answers.weight
    found = {
        "precision": answers.proportion(hit, called),
        "recall": answers.proportion(hit, present),
        "f1": _f1(answers.proportion(hit, present | called), len(present)),
    }
    parts = {
        "precision": (hit * 1.0, called * 1.0),
        "recall": (hit * 1.0, present * 1.0),
        "f1": (2.0 * hit, called * 1.0 + present),
    }
    if found["f1"].value is None:
        return found
    for name, (top, bottom) in parts.items():
        value = found[name].value
        kinds[name].figures.append(_UNMEASURED if value is None else found[name])
        if value is not None:
            influence = weight * (top - value * bottom) / float(weight @ bottom)
            kinds[name].together.add(answers.by_group(influence))
    return found


def _f1(overlap: Figure, n: int) -> Figure:
    """F1 = 2 J / (1 + J) of the share J of hits among images that have or were given the class.

    J is a proportion with Wilson's interval, and F1 rises with it.
    """
    if overlap.value is None:
        return intervals.unknown()
    value, low, high = (2 * share / (1 + share) for share in (overlap.value, *overlap.ci))
    return Figure(value, n, (low, high))


def _ranked(
    scores: Floats, present: Flags, answers: Answers, kinds: dict[str, _Kind]
) -> dict[str, Figure]:
    order = ranking.Order.of(scores)
    area = ranking.auroc(order, present, answers.weight)
    precision = ranking.average_precision(order, present, answers.weight)
    found = {
        "auroc": ranking.auroc_figure(area, present, answers),
        "average_precision": ranking.average_precision_figure(precision, present, answers),
    }
    for name, one in (("auroc", area), ("average_precision", precision)):
        if one.value is not None:
            kinds[name].figures.append(found[name])
            kinds[name].together.add(answers.by_group(one.influence))
    return found


def micro(answers: Answers) -> dict[str, Figure]:
    """Precision, recall and F1 over all cells of a multi-label task.

    The cells of an image are not independent: the interval is Wilson's for as many trials as give
    the jackknife's variance over images.
    """
    hits = (answers.truth & answers.predicted).sum(axis=1).astype(np.float64)
    actual = answers.truth.sum(axis=1).astype(np.float64)
    called = answers.predicted.sum(axis=1).astype(np.float64)
    parts = {
        "micro_precision": (hits, called),
        "micro_recall": (hits, actual),
        "micro_f1": (2 * hits, actual + called),
    }
    return {name: _pooled(*part, answers) for name, part in parts.items()}


def _pooled(top: Floats, bottom: Floats, answers: Answers) -> Figure:
    weight = answers.weight
    total = float(weight @ bottom)
    if not total:
        return intervals.unknown(len(weight))
    value = float(weight @ top) / total
    influence = answers.by_group(weight * (top - value * bottom) / total)
    cells = total**2 / float(weight**2 @ bottom)
    interval = intervals.by_variance(
        value, float(influence @ influence), most=cells * answers.independent
    )
    return Figure(value, len(weight), interval)


def micro_ranked(
    answers: Answers, probabilities: NDArray[np.float64], *, rng: np.random.Generator
) -> dict[str, Figure]:
    """AUROC and average precision over all cells of a multi-label task, intervals as in `micro`.

    Of more than `MOST_CELLS` cells those of a random part of the images, as n says: all are sorted
    at once.
    """
    n, width = answers.truth.shape
    if n * width > MOST_CELLS:
        n = max(1, MOST_CELLS // width)
        drawn = np.sort(rng.choice(len(answers.truth), n, replace=False))
        answers, probabilities = answers.only(drawn), probabilities[drawn]
    order = ranking.Order.of(probabilities.ravel())
    present, weight = answers.truth.ravel(), np.repeat(answers.weight, width)
    found = {}
    for name, measured in (
        ("micro_auroc", ranking.auroc),
        ("micro_average_precision", ranking.average_precision),
    ):
        one = measured(order, present, weight)
        if one.value is None:
            found[name] = intervals.unknown(n)
            continue
        influence = answers.by_group(one.influence.reshape(n, width).sum(axis=1))
        cells = intervals.effective(weight[present])
        interval = intervals.by_variance(
            one.value, float(influence @ influence), most=cells * answers.independent
        )
        found[name] = Figure(one.value, n, interval)
    return found
