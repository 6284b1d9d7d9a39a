"""Two models on the same images: which is better, by how much, and whether that can be told."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.stats import chi2, norm

from curation.errors import NotFound, TrainingError
from training import intervals
from training.evaluation import answers as answer_tables
from training.evaluation import classes as of_classes
from training.evaluation.answers import Answers, Flags, Floats
from training.intervals import LEVEL, Figure

METRICS = ("accuracy", "balanced-accuracy")
FEW = 25
"""With fewer groups on which the models differ, McNemar's test is exact."""
POWER = 0.8
"""The chance with which the images that would be needed would show the difference."""
MOST_TIMES = 100
"""More images than so many times those there are is no advice."""


@dataclass(frozen=True)
class McNemar:
    """Test of whether one model is right more often where they differ (McNemar 1947).

    Attributes:
        only_first, only_second: images that only one of them got right.
        p_value: two-sided.
        exact: by all ways in which signs can fall, not by chi-squared.
    """

    only_first: int
    only_second: int
    p_value: float
    exact: bool


@dataclass(frozen=True)
class Paired:
    """One metric of both.

    Attributes:
        first, second: of each model.
        difference: second less first, with a paired interval.
        needed: images with which a difference as large would probably show; None where it shows
            now, or where they would be more than `MOST_TIMES` as many.
    """

    first: Figure
    second: Figure
    difference: Figure
    needed: int | None

    @property
    def told(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        low, high = self.difference.ci
        return low > 0 or high < 0


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        names: of the models.
        n: images.
        groups: of images that belong together; what is drawn anew.
        metrics: by name, of `METRICS`.
        mcnemar: on whether an image was got exactly right.
        says: one sentence on the metric that was asked for.
    """

    names: tuple[str, str]
    n: int
    groups: int
    metrics: dict[str, Paired]
    mcnemar: McNemar
    says: str

    def as_json(self) -> dict[str, Any]:
        """Snake-case names; figures as `Figure.as_json`."""
        return {
            "models": list(self.names),
            "n": self.n,
            "groups": self.groups,
            **{
                name.replace("-", "_"): {
                    "first": one.first.as_json(),
                    "second": one.second.as_json(),
                    "difference": one.difference.as_json(),
                    "needed": one.needed,
                }
                for name, one in self.metrics.items()
            },
            "mcnemar": {
                "only_first": self.mcnemar.only_first,
                "only_second": self.mcnemar.only_second,
                "p_value": self.mcnemar.p_value,
                "exact": self.mcnemar.exact,
            },
            "says": self.says,
        }


def compare(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    truth: NDArray[np.integer[Any]],
    classes: Sequence[str],
    *,
    rng: np.random.Generator,
    groups: NDArray[np.integer[Any]] | None = None,
    metric: str = "accuracy",
    names: tuple[str, str] = ("A", "B"),
) -> Comparison:
    """Compares the answers of two models.

    Differences have a bootstrap interval in which whole groups are drawn and both models answer the
    same images. It adds one image that only the first model got right and one that only the second
    did (Bonett & Price 2012): where the models hardly differ, a plain bootstrap would find that
    they never could. For balanced accuracy each of C classes gets such a pair, of weight 1/sqrt(C).

    Args:
        first, second: (N, C) probabilities, of the same images in the same order.
        truth: (N,) class indices, or (N, C) of 0 and 1 for multi-label.
        classes: C names.
        rng: which groups are drawn.
        groups: (N,) images with the same number belong together; each on its own when None.
        metric: of `METRICS`, for the sentence.
        names: of the models, for the sentence.

    Raises:
        TrainingError: as `evaluation.evaluate`, or groups of another length.
        NotFound: no such metric.
    """
    if metric not in METRICS:
        raise NotFound(f"No metric {metric!r} to compare by. Known: {', '.join(METRICS)}.")
    if groups is not None and len(groups) != len(truth):
        raise TrainingError(f"{len(groups)} groups for {len(truth)} images: pass one for each.")
    both = answer_tables.of(first, truth, classes), answer_tables.of(second, truth, classes)
    members = _members(len(truth), groups)
    right = both[0].right(), both[1].right()
    gain = right[1].astype(np.int64) - right[0]
    found = {
        "accuracy": _paired(
            intervals.proportion(right[0]),
            intervals.proportion(right[1]),
            _Cells(np.arange(len(truth)), np.zeros(len(truth), np.int64), gain),
            members,
            rng=rng,
        ),
        "balanced-accuracy": _paired(
            _balanced(both[0], first, classes),
            _balanced(both[1], second, classes),
            _cells(*both),
            members,
            rng=rng,
        ),
    }
    return Comparison(
        names=names,
        n=len(truth),
        groups=int(members.max()) + 1,
        metrics=found,
        mcnemar=mcnemar(*right, groups=members),
        says=_sentence(found[metric], names, metric),
    )


def mcnemar(
    first: Flags, second: Flags, *, groups: NDArray[np.integer[Any]] | None = None
) -> McNemar:
    """McNemar's test of two models on the same images.

    With groups, each group's sum of differences takes the place of an image's (Obuchowski 1998); on
    single images that is McNemar's test with Edwards' correction, and the exact one is the binomial
    test of the images on which the models differ.

    Args:
        first, second: (N,) which images each got right.
        groups: (N,) of the images; each on its own when None.
    """
    gain = second.astype(np.int64) - first
    only_first, only_second = int((gain < 0).sum()), int((gain > 0).sum())
    members = _members(len(gain), groups)
    sums = np.rint(np.bincount(members, weights=gain)).astype(np.int64)
    sums = sums[sums != 0]
    exact = len(sums) < FEW
    if exact:
        p_value = _sign_flips(np.abs(sums), abs(int(sums.sum())))
    else:
        statistic = max(0, abs(int(sums.sum())) - 1) ** 2 / float(sums @ sums)
        p_value = float(chi2.sf(statistic, 1))
    return McNemar(only_first, only_second, p_value, exact)


def _members(n: int, groups: NDArray[np.integer[Any]] | None) -> NDArray[np.int64]:
    """(n,) number of each image's group."""
    if groups is None:
        return np.arange(n)
    return np.asarray(np.unique(groups, return_inverse=True)[1].reshape(-1), dtype=np.int64)


def _sign_flips(sizes: NDArray[np.int64], seen: int) -> float:
    """How often the sum of sizes with random signs is at least as far from 0 as what was seen."""
    chances = np.ones(1)
    for size in sizes.tolist():
        wider = np.zeros(len(chances) + 2 * size)
        wider[: len(chances)] += chances / 2
        wider[2 * size :] += chances / 2
        chances = wider
    sums = np.arange(len(chances)) - len(chances) // 2
    return min(1.0, float(chances[np.abs(sums) >= seen].sum()))


@dataclass(frozen=True, eq=False)
class _Cells:
    """M answers that count for a class: image, class, and second less first (-1, 0 or 1)."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    gains: NDArray[np.int64]


def _cells(first: Answers, second: Answers) -> _Cells:
    """Of each image and class that it has, whether the class was given: what recall counts."""
    if first.single:
        own = first.truth.astype(np.int64)
        gains = (second.predicted == own).astype(np.int64) - (first.predicted == own)
        return _Cells(np.arange(len(own)), own, gains)
    rows, columns = np.nonzero(first.truth)
    gains = second.predicted[rows, columns].astype(np.int64) - first.predicted[rows, columns]
    return _Cells(rows, columns, gains)


def _balanced(answers: Answers, probabilities: Floats, classes: Sequence[str]) -> Figure:
    means = of_classes.measure(answers, probabilities, classes, ranked=False).means
    return means["balanced_accuracy"]


def _paired(
    first: Figure,
    second: Figure,
    cells: _Cells,
    members: NDArray[np.int64],
    *,
    rng: np.random.Generator,
) -> Paired:
    """The difference of the mean over classes, by a bootstrap over groups."""
    if first.value is None or second.value is None:
        return Paired(first, second, Figure(None, first.n, (-1.0, 1.0)), None)
    held, columns = np.unique(cells.columns, return_inverse=True)
    shape = int(members.max()) + 1, len(held)
    where = members[cells.rows], columns
    gains, sizes = (
        coo_array((values, where), shape=shape).tocsr()
        for values in (cells.gains.astype(np.float64), np.ones(len(columns)))
    )
    weight = 1 / math.sqrt(len(held))
    draws = []
    for drawn in intervals.resampled_counts(shape[0], rng=rng):
        lost, won = weight * rng.poisson(1.0, size=(2, len(drawn), len(held)))
        total = drawn @ sizes + lost + won
        rates = np.full(total.shape, np.nan)
        np.divide(drawn @ gains + won - lost, total, out=rates, where=total > 0)
        draws.append(np.nanmean(rates, axis=1))
    value = second.value - first.value
    low, high = intervals.percentile(np.concatenate(draws))
    difference = Figure(value, first.n, (min(low, value), max(high, value)))
    return Paired(first, second, difference, _needed(difference))


def _needed(difference: Figure) -> int | None:
    """Images with which a difference as large would probably show."""
    low, high = difference.ci
    if low > 0 or high < 0 or not difference.value:
        return None
    tail = float(norm.ppf(0.5 + LEVEL / 2))
    error = (high - low) / (2 * tail)
    times = ((tail + float(norm.ppf(POWER))) * error / difference.value) ** 2
    return math.ceil(times * difference.n) if times <= MOST_TIMES else None


def _sentence(paired: Paired, names: tuple[str, str], metric: str) -> str:
    if paired.difference.value is None:
        return f"cannot tell: no image here allows {metric.replace('-', ' ')} to be measured"
    value, (low, high) = 100 * paired.difference.value, paired.difference.ci
    if paired.told:
        better = names[1] if value > 0 else names[0]
        ends = (low, high) if value > 0 else (-high, -low)
        return (
            f"{better} is better by {abs(value):.1f} points "
            f"({100 * ends[0]:.1f} to {100 * ends[1]:.1f})"
        )
    more = (
        f"about {paired.needed:,} images would be needed"
        if paired.needed
        else f"so small a difference would take more than {MOST_TIMES} times the "
        f"{paired.difference.n:,} images"
    )
    return (
        f"cannot tell yet: {names[1]} - {names[0]} is {value:.1f} points "
        f"({100 * low:.1f} to {100 * high:.1f}); {more}"
    )
