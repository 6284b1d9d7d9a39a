"""How far people agree, beyond what chance alone would give.

All coefficients come from the same answers: which annotator said what of which image. An interval
is a bootstrap over images, since it is images that are drawn, and not answers.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.intervals import LEVEL, Figure

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Distance = Callable[[Any, Any], float]

RESAMPLES = 1_000
_BLOCK = 100
"""Resamples at a time."""

LEAST_SHARED = 2
"""Images that two annotators must have in common to be compared."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Who said what of which image; at most one answer each.

    Attributes:
        images: (A,) ids.
        annotators: A names.
        values: A hashable answers, such as class ids in ascending order.
    """

    images: Numbers
    annotators: tuple[str, ...]
    values: tuple[Hashable, ...]

    @classmethod
    def of(cls, rows: Iterable[tuple[int, str, Hashable]]) -> "Answers":
        """From (image, annotator, value); of two answers of one person to one image the last."""
        kept = {(image, annotator): value for image, annotator, value in rows}
        return cls(
            np.array([image for image, _ in kept], dtype=np.int64),
            tuple(annotator for _, annotator in kept),
            tuple(kept.values()),
        )

    @cached_property
    def by_annotator(self) -> dict[str, dict[int, Hashable]]:
        """What each said, by image."""
        found: dict[str, dict[int, Hashable]] = {}
        for image, who, value in zip(
            self.images.tolist(), self.annotators, self.values, strict=True
        ):
            found.setdefault(who, {})[image] = value
        return found


@dataclass(frozen=True, eq=False)
class _Table:
    """Answers counted.

    Attributes:
        counts: (I, K) how often each value was given to each image with at least two answers.
        kinds: K values.
    """

    counts: Floats
    kinds: tuple[Hashable, ...]


def krippendorff_alpha(
    answers: Answers, *, distance: Distance | None = None, seed: int = 0
) -> Figure:
    """Krippendorff's alpha: 1 is agreement, 0 what chance gives; any number of answers an image.

    Source: Krippendorff 2011, "Computing Krippendorff's alpha-reliability".

    Args:
        answers: of all annotators; images with one answer do not count.
        distance: 0 to 1 between two values, symmetric and 0 for equal ones; nominal if None.
        seed: of the bootstrap.

    Returns:
        n is the images with at least two answers; the value is None where all answers are one and
        the same, so that there is nothing to agree on, or no image has two.
    """
    table = _counted(answers)
    spread = _distances(table.kinds, distance)

    def alpha(times: Floats) -> Floats:
        return _alpha(table.counts, spread, times)

    return _figure(alpha, len(table.counts), seed=seed)


def fleiss_kappa(answers: Answers, *, seed: int = 0) -> Figure:
    """Fleiss' kappa, of images with at least two answers, which need not be equally many.

    Source: Fleiss 1971; with unequal numbers of answers, Fleiss, Levin & Paik 2003, chapter 18.3.
    """
    table = _counted(answers)
    counts = table.counts
    m = counts.sum(axis=1)
    agreeing = (counts * (counts - 1)).sum(axis=1) / np.maximum(m * (m - 1), 1)

    def kappa(times: Floats) -> Floats:
        images = times.sum(axis=1)
        given = times @ counts
        shares = given / np.maximum(given.sum(axis=1, keepdims=True), 1)
        by_chance = (shares**2).sum(axis=1)
        observed = times @ agreeing / np.maximum(images, 1)
        return _beyond_chance(observed, by_chance)

    return _figure(kappa, len(counts), seed=seed)


def cohen_kappa(answers: Answers, first: str, second: str, *, seed: int = 0) -> Figure:
    """Cohen's kappa of two annotators, on the images that both answered.

    Source: Cohen 1960, "A coefficient of agreement for nominal scales".
    """
    one, other = (answers.by_annotator[name] for name in (first, second))
    shared = sorted(one.keys() & other.keys())
    given = [(one[image], other[image]) for image in shared]
    kinds = {value: n for n, value in enumerate(dict.fromkeys(v for pair in given for v in pair))}
    table = np.array([[kinds[value] for value in pair] for pair in given], dtype=np.int64)
    a, b = table.reshape(-1, 2).T
    hot = np.eye(len(kinds))
    same = (a == b).astype(np.float64)

    def kappa(times: Floats) -> Floats:
        images = times.sum(axis=1)
        by_first, by_second = (times @ hot[said] / images[:, None] for said in (a, b))
        return _beyond_chance(times @ same / images, (by_first * by_second).sum(axis=1))

    return _figure(kappa, len(shared), seed=seed)


def pairs(answers: Answers) -> list[tuple[str, str, int]]:
    """Two annotators each and how many images they share, from two on, most first."""
    who: dict[int, list[str]] = {}
    for image, annotator in zip(answers.images.tolist(), answers.annotators, strict=True):
        who.setdefault(image, []).append(annotator)
    counts = Counter(pair for names in who.values() for pair in combinations(sorted(names), 2))
    found = [(*pair, n) for pair, n in sorted(counts.items()) if n >= LEAST_SHARED]
    return sorted(found, key=lambda row: -row[2])


def disputes(answers: Answers) -> list[tuple[Hashable, Hashable, list[int]]]:
    """Two different answers each and the images that got both, the most frequent first."""
    given: dict[int, set[Hashable]] = {}
    for image, value in zip(answers.images.tolist(), answers.values, strict=True):
        given.setdefault(image, set()).add(value)
    found: dict[tuple[Hashable, Hashable], list[int]] = {}
    for image, values in given.items():
        for one, other in combinations(sorted(values, key=repr), 2):
            found.setdefault((one, other), []).append(image)
    return sorted(((*key, images) for key, images in found.items()), key=lambda row: -len(row[2]))


def shared_images(answers: Answers) -> dict[int, frozenset[Hashable]]:
    """What was said of each image that two people or more answered."""
    said: dict[int, list[Hashable]] = {}
    for image, value in zip(answers.images.tolist(), answers.values, strict=True):
        said.setdefault(image, []).append(value)
    return {image: frozenset(values) for image, values in said.items() if len(values) > 1}


def of_class(answers: Answers, class_id: int) -> Answers:
    """The same answers to another question: is it this class?"""
    said = tuple(class_id in value for value in answers.values)  # type: ignore[operator]
    return Answers(answers.images, answers.annotators, said)


def masi(one: Sequence[int], other: Sequence[int]) -> float:
    """Distance of two sets, 0 to 1: Jaccard's, and more where neither holds the other.

    Source: Passonneau 2006, "Measuring agreement on set-valued items (MASI)".

    >>> masi((1, 2), (1, 2)), masi((), (1,)), round(masi((1,), (1, 2)), 3)
    (0.0, 1.0, 0.667)
    """
    a, b = set(one), set(other)
    if a == b:
        return 0.0
    both = len(a & b)
    if not both:
        return 1.0
    contained = 2 / 3 if a < b or b < a else 1 / 3
    return 1 - contained * both / len(a | b)


def _counted(answers: Answers) -> _Table:
    kinds = {value: number for number, value in enumerate(dict.fromkeys(answers.values))}
    images, row = np.unique(answers.images, return_inverse=True)
    counts = np.zeros((len(images), len(kinds)))
    np.add.at(
        counts, (row, np.array([kinds[value] for value in answers.values], dtype=np.int64)), 1
    )
    return _Table(counts[counts.sum(axis=1) >= 2], tuple(kinds))


def _distances(kinds: Sequence[Hashable], distance: Distance | None) -> Floats:
    """(K, K) between all values."""
    if distance is None:
        return 1 - np.eye(len(kinds))
    found = np.zeros((len(kinds), len(kinds)))
    for i, one in enumerate(kinds):
        for j in range(i):
            found[i, j] = found[j, i] = distance(one, kinds[j])
    return found


def _alpha(counts: Floats, distances: Floats, times: Floats) -> Floats:
    """(B,) alpha where image i counts `times[b, i]` times."""
    m = counts.sum(axis=1)
    # A pair of equal answers has no distance, so that an answer paired with itself does no harm.
    apart = np.einsum("ik,kl,il->i", counts, distances, counts) / np.maximum(m - 1, 1)
    given = times @ counts
    total = given.sum(axis=1)
    expected = np.einsum("bk,kl,bl->b", given, distances, given) / np.maximum(total - 1, 1)
    observed = times @ apart
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected > 0, 1 - observed / expected, np.nan)


def _beyond_chance(observed: Floats, by_chance: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(by_chance < 1, (observed - by_chance) / (1 - by_chance), np.nan)


def _figure(statistic: Callable[[Floats], Floats], n: int, *, seed: int) -> Figure:
    """The statistic of all n images, with a percentile interval over resampled ones."""
    if not n:
        return Figure(None, 0, (-1.0, 1.0))
    value = float(statistic(np.ones((1, n)))[0])
    if not np.isfinite(value):
        return Figure(None, n, (-1.0, 1.0))
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(0, RESAMPLES, _BLOCK):
        rows = rng.integers(0, n, (_BLOCK, n)) + np.arange(_BLOCK)[:, None] * n
        times = np.bincount(rows.ravel(), minlength=_BLOCK * n).reshape(_BLOCK, n)
        drawn.append(statistic(times.astype(np.float64)))
    found = np.concatenate(drawn)
    found = found[np.isfinite(found)]
    low, high = np.quantile(found, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return Figure(value, n, (float(low), float(high)))
