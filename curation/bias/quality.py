"""Slices that the model serves worse: by out-of-fold answers, class by class.

The test shuffles the column within classes and compares the mean probability that the model gives
to the label, which says more of each image than right or wrong does; the gap that is reported is
that of accuracy. Only slices that are worse are looked for.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.bias import gaps, power, shuffles
from curation.bias.evidence import Answers
from curation.bias.slices import Slices
from curation.bias.table import Tested
from curation.intervals import LEVEL, Figure, unknown

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]

FEWEST = 10
"""Labels that a slice must have before it is tested at all."""


@dataclass(frozen=True)
class SliceQuality:
    """How well the model serves one slice.

    Attributes:
        n: labels it was judged by.
        figures: `accuracy` and `balanced_accuracy`; for multi-label `accuracy` of decisions,
            `precision` and `recall` of all classes together.
        recall: by class.
        gap: in accuracy to the other slices; none where nothing can be compared.
        needed: labels it takes to be judged.
        smallest_gap: that would probably be found with the labels there are.
    """

    n: int
    figures: dict[str, Figure]
    recall: dict[str, Figure]
    gap: gaps.Gap | None
    needed: int
    smallest_gap: float


@dataclass(frozen=True)
class Widest:
    """The two slices between which the gap is widest; its interval holds for all pairs at once."""

    worst: int
    best: int
    gap: gaps.Gap


def rate_slices(
    given: Answers,
    codes: Codes,
    *,
    classes: tuple[str, ...],
    groups: Codes,
    strata: Codes,
    count: int,
) -> list[SliceQuality]:
    """The quality (S,) of every slice.

    Args:
        given: the model's m answers.
        codes: (m,) slices below `count`.
        classes: C names.
        groups: (m,) of copies.
        strata: (m,) number of the label.
        count: S.
    """
    figures = _metric_frame(given, codes)
    overall = float(given.right.mean())
    found = []
    for code in range(count):
        inside = codes == code
        n = int(inside.sum())
        others = len(codes) - n
        gap = gaps.measure(given.right, inside, strata=strata, groups=groups) if n else None
        found.append(
            SliceQuality(
                n,
                _with_intervals(figures.get(code, {}), given, inside, groups),
                _recalls(given, inside, classes, groups),
                gap,
                power.needed(others, rate=overall, tests=count),
                power.smallest_gap(n, others, rate=overall, tests=count),
            )
        )
    return found


def widest(
    given: Answers, codes: Codes, *, groups: Codes, strata: Codes, count: int
) -> Widest | None:
    """The widest gap between two slices of at least `FEWEST` labels, each class weighted alike."""
    sizes = np.bincount(codes, minlength=count)
    pairs = list(combinations(np.flatnonzero(sizes >= FEWEST).tolist(), 2))
    best: Widest | None = None
    for one, other in pairs:
        for worst, better in ((one, other), (other, one)):
            both = (codes == worst) | (codes == better)
            gap = gaps.measure(
                given.right[both],
                codes[both] == worst,
                strata=strata[both],
                groups=groups[both],
                level=1 - (1 - LEVEL) / len(pairs),
            )
            if gap and gap.n >= FEWEST and (best is None or gap.value > best.gap.value):
                best = Widest(worst, better, gap)
    return best


def test(
    given: Answers,
    slices: Slices,
    codes: Codes,
    *,
    groups: Codes,
    strata: Codes,
    rng: np.random.Generator,
    times: int,
    rated: list[SliceQuality],
) -> list[Tested]:
    """Whether each slice is worse than the others.

    Where two columns are crossed, a slice must be worse than the rest of either value that it has:
    otherwise every part of a bad slice would be a finding of its own.

    Args:
        given: the model's m answers.
        slices: of all images.
        codes: (m,) slices of those judged.
        groups: (m,) of copies.
        strata: (m,) number of the label.
        rng: the shuffles.
        times: how many.
        rated: of `rate_slices`.
    """
    count = len(slices.values)
    layers = [strata]
    if len(slices.columns) > 1:
        layers = [
            _joint(strata, np.array([value[at] for value in slices.values])[codes])
            for at in range(len(slices.columns))
        ]
    p = np.max(
        [
            shuffles.p_lower(
                given.sure, codes, groups=groups, strata=layer, count=count, rng=rng, times=times
            )
            for layer in layers
        ],
        axis=0,
    )
    tested = []
    for code, one in enumerate(rated):
        if one.gap is None or one.gap.n < FEWEST or len(codes) - one.n < FEWEST:
            continue
        tested.append(
            Tested(
                kind="quality",
                slice=slices.named(code),
                metric="accuracy",
                gap=one.gap.value,
                ci=one.gap.ci,
                p=float(p[code]),
                n=one.gap.n,
                says=say(slices.says(code), one.gap, single=given.single),
                worth=one.gap.value > 0,
            )
        )
    return tested


def say(name: str, gap: gaps.Gap, *, single: bool) -> str:
    """One sentence on a slice that is worse; of several classes an image, each is a decision."""
    what = "" if single else "the decisions on "
    low, high = (100 * end for end in gap.ci)
    doubt = ""
    if low <= 0:
        doubt = "; it is less sure of them beyond chance, how many points it costs is not known yet"
    return (
        f"The model is right on {gap.inside:.0%} of {what}{name} (n = {gap.n:,}) and on "
        f"{gap.outside:.0%} of {what}the other images of the same classes: "
        f"{100 * gap.value:.0f} points less (95 % interval {low:.0f} to {high:.0f}){doubt}."
    )


def _metric_frame(given: Answers, codes: Codes) -> dict[int, dict[str, float]]:
    """The figures of each slice that has answers, as fairlearn groups them."""
    from fairlearn.metrics import MetricFrame
    from sklearn.metrics import accuracy_score, precision_score, recall_score

    def balanced(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
        held = np.unique(truth)
        return float(np.mean([(predicted[truth == one] == one).mean() for one in held]))

    def precision(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
        return float(precision_score(truth, predicted, zero_division=np.nan))

    def recall(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
        return float(recall_score(truth, predicted, zero_division=np.nan))

    if given.single:
        frame = MetricFrame(
            metrics={"accuracy": accuracy_score, "balanced_accuracy": balanced},
            y_true=given.truth.argmax(axis=1),
            y_pred=given.predicted.argmax(axis=1),
            sensitive_features=codes,
        )
    else:
        frame = MetricFrame(
            metrics={"accuracy": accuracy_score, "precision": precision, "recall": recall},
            y_true=given.truth.ravel(),
            y_pred=given.predicted.ravel(),
            sensitive_features=np.repeat(codes, given.truth.shape[1]),
        )
    return {int(code): row.to_dict() for code, row in frame.by_group.iterrows()}


def _with_intervals(
    figures: dict[str, float], given: Answers, inside: NDArray[np.bool_], groups: Codes
) -> dict[str, Figure]:
    """Each figure with its 95 % interval, in which the images of a group count as one."""
    n = int(inside.sum())
    if not n:
        return {"accuracy": unknown()}
    truth, predicted = given.truth[inside], given.predicted[inside]
    mine = groups[inside]
    hits = truth * predicted
    found = {}
    for name, value in figures.items():
        if name == "balanced_accuracy":
            # Each class weighs the same, whatever its number.
            each = (truth / np.maximum(truth.sum(axis=0), 1)).sum(axis=1)
            ci = gaps.rate(given.right[inside], mine, each)[1]
        elif name == "accuracy":
            ci = gaps.rate(given.right[inside], mine)[1]
        else:
            asked = (predicted if name == "precision" else truth).sum(axis=1)
            some = asked > 0
            ci = (0.0, 1.0)
            if some.any():
                share = hits.sum(axis=1)[some] / asked[some]
                ci = gaps.rate(share, mine[some], asked[some].astype(np.float64))[1]
        found[name] = Figure(None if np.isnan(value) else float(value), n, ci)
    return found


def _recalls(
    given: Answers, inside: NDArray[np.bool_], classes: tuple[str, ...], groups: Codes
) -> dict[str, Figure]:
    found = {}
    for column, name in enumerate(classes):
        here = inside & (given.truth[:, column] == 1)
        if here.any():
            hits = given.predicted[here, column].astype(np.float64)
            value, ci = gaps.rate(hits, groups[here])
            found[name] = Figure(value, int(here.sum()), ci)
    return found


def _joint(strata: Codes, values: NDArray[np.str_]) -> NDArray[np.int64]:
    """The strata within each value."""
    number = np.unique(values, return_inverse=True)[1].reshape(-1)
    return np.asarray(strata * (int(number.max(initial=0)) + 1) + number, np.int64)
