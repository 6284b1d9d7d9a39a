"""Image properties that tell the label without any content: what a model may learn instead of it.

Brightness, sharpness or size may rightly differ between classes: trousers are narrow, so their
photos are bright. They are a fault in two cases. Either a property alone goes most of the way
that the model goes, so that the model may look at nothing else; or it tells the label because
slices differ both in the property and in their classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from curation.bias import shuffles
from curation.bias.slices import Slices
from curation.bias.table import Tested

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]
Counts = NDArray[np.int64]

BINS = 10
FOLDS = 5
RESAMPLES = 400

MOST_OF_THE_WAY = 0.5
"""Share of the model's gain over guessing that a property may have by itself."""


@dataclass(frozen=True)
class Alone:
    """How well one property tells the label by itself.

    Attributes:
        value: balanced accuracy out of fold.
        ci: 95 % interval, bootstrap over groups.
        chance: mean with shuffled labels.
        chance_ci: the middle 95 % of those.
        p: that chance does as well.
        n: images.
    """

    value: float
    ci: tuple[float, float]
    chance: float
    chance_ci: tuple[float, float]
    p: float
    n: int


def rate_alone(
    values: Floats,
    y: Codes,
    *,
    groups: Codes,
    rng: np.random.Generator,
    times: int,
) -> Alone:
    """Predicts the label from one number an image, by the classes of its tenth of the images.

    Args:
        values: (n,)
        y: (n,) class indices.
        groups: (n,) of copies, which stay in one fold.
        rng: folds, shuffles and bootstrap.
        times: how many shuffles.
    """
    fold_of = _folds(groups, rng)
    bins = _bins(values)
    seen = _balanced(_cells(fold_of, bins, y))
    given = shuffles.units(groups, bins)
    chances: list[Floats] = []

    def further() -> Iterator[NDArray[np.bool_]]:
        for block in shuffles.shuffle(given, rng=rng, times=times):
            cells = (_cells(fold_of, codes[given.of], y) for codes in block)
            chances.append(np.array([_balanced(one) for one in cells]))
            yield (chances[-1] >= seen - 1e-12)[:, None]

    p = float(shuffles.p_values(further())[0])
    chance = np.concatenate(chances)
    low, high = np.quantile(chance, [0.025, 0.975])
    return Alone(
        seen,
        _interval(lambda often: _balanced(_cells(fold_of, bins, y, often)), seen, groups, rng),
        float(chance.mean()),
        (float(low), float(high)),
        p,
        len(y),
    )


def test_shortcut(name: str, alone: Alone, *, model: float, classes: int) -> Tested:
    """Whether a property alone goes most of the way that the model goes from guessing.

    Args:
        name: the property.
        alone: how far it gets.
        model: balanced accuracy of the model, out of fold.
        classes: how many classes there are to guess from.
    """
    gained, whole = alone.value - 1 / classes, model - 1 / classes
    return Tested(
        kind="spurious",
        slice={},
        metric=f"{name}-alone",
        gap=alone.value - alone.chance,
        ci=(alone.ci[0] - alone.chance, alone.ci[1] - alone.chance),
        p=alone.p,
        n=alone.n,
        says=f"By {name} alone {alone.value:.0%} of the labels can be told (balanced accuracy; "
        f"with shuffled labels {alone.chance:.0%}), while the model tells {model:.0%}: it may look "
        f"at {name} and not at what is in the picture.",
        worth=whole > 0 and gained >= MOST_OF_THE_WAY * whole,
    )


def test_slices(
    name: str,
    values: Floats,
    y: Codes,
    codes: Codes,
    slices: Slices,
    *,
    groups: Codes,
    p_association: float,
    rng: np.random.Generator,
    times: int,
) -> Tested:
    """Whether a property tells the label because slices differ in both.

    Both links must be no chance (joint significance: MacKinnon et al. 2002): the property differs
    between slices within classes, and the classes differ between slices. What it amounts to is
    how much worse the label can be told once the slices' own levels are taken off.

    Args:
        name: the property.
        values: (n,)
        y: (n,) class indices.
        codes: (n,) slices.
        slices: their names.
        groups: (n,) of copies.
        p_association: of slice and label.
        rng: folds, shuffles and bootstrap.
        times: how many shuffles.
    """
    count = len(slices.values)
    ranks = rankdata(values)
    p = shuffles.p_differs(ranks, codes, groups=groups, strata=y, count=count, rng=rng, times=times)
    fold_of = _folds(groups, rng)
    before, after = _bins(values), _bins(_levelled(values, y, codes, count))

    def drop(often: Floats | None) -> float:
        return _balanced(_cells(fold_of, before, y, often)) - _balanced(
            _cells(fold_of, after, y, often)
        )

    gap = drop(None)
    ci = _interval(drop, gap, groups, rng)
    alone = _balanced(_cells(fold_of, before, y))
    column = slices.columns[0]
    return Tested(
        kind="spurious",
        slice={},
        metric=f"{name}-by-{column}",
        gap=gap,
        ci=ci,
        p=max(p, p_association),
        n=len(y),
        says=f"{name.capitalize()} differs between the values of {column}, and so do the classes: "
        f"{name} alone tells {alone:.0%} of the labels (balanced accuracy), and "
        f"{alone - gap:.0%} once the difference between {column}s is taken off.",
        worth=ci[0] > 0,
    )


def _levelled(values: Floats, y: Codes, codes: Codes, count: int) -> Floats:
    """The values less the level of their slice, where classes and slices both have levels."""
    classes = int(y.max()) + 1
    table = np.zeros((classes, count))
    np.add.at(table, (y, codes), 1)
    # Least squares of values = level of the class + level of the slice.
    normal = np.block([[np.diag(table.sum(axis=1)), table], [table.T, np.diag(table.sum(axis=0))]])
    totals = np.concatenate([np.bincount(y, values, classes), np.bincount(codes, values, count)])
    levels = np.linalg.lstsq(normal, totals, rcond=None)[0][classes:]
    return np.asarray(values - levels[codes])


def _folds(groups: Codes, rng: np.random.Generator) -> NDArray[np.int64]:
    whole, members = np.unique(groups, return_inverse=True)
    fold_of: NDArray[np.int64] = rng.permutation(np.arange(len(whole)) % FOLDS)
    return np.asarray(fold_of[members.reshape(-1)])


def _bins(values: Floats) -> NDArray[np.int64]:
    """The tenth of the images that each value lies in; equal values stay together."""
    share = (rankdata(values) - 0.5) / len(values)
    return np.asarray(np.minimum((share * BINS).astype(np.int64), BINS - 1), np.int64)


def _cells(
    fold_of: NDArray[np.int64], bins: Codes, y: Codes, weights: Floats | None = None
) -> Floats:
    """(F, B, C) images of each fold, bin and class."""
    classes = int(y.max()) + 1
    flat = (fold_of * BINS + bins) * classes + y
    found = np.bincount(flat, weights, FOLDS * BINS * classes)
    return found.reshape(FOLDS, BINS, classes).astype(np.float64)


def _balanced(cells: Floats) -> float:
    """Mean recall of the likeliest class of each bin, every class held for equally frequent."""
    train = cells.sum(axis=0) - cells
    likely = (train + 1 / BINS) / (train.sum(axis=1, keepdims=True) + 1)
    guess = likely.argmax(axis=2)
    hits = np.take_along_axis(cells, guess[..., None], axis=2)[..., 0]
    by_class = np.bincount(guess.ravel(), hits.ravel(), cells.shape[2])
    totals = cells.sum(axis=(0, 1))
    return float((by_class[totals > 0] / totals[totals > 0]).mean())


def _interval(
    statistic: Any, value: float, groups: Codes, rng: np.random.Generator
) -> tuple[float, float]:
    """Percentile bootstrap over groups of what comes of weights (n,) of the images."""
    whole, members = np.unique(groups, return_inverse=True)
    draws = [
        statistic(
            np.bincount(rng.integers(0, len(whole), len(whole)), minlength=len(whole))[
                members.reshape(-1)
            ].astype(np.float64)
        )
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    return min(float(low), value), max(float(high), value)
