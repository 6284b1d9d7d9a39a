"""How far people who draw boxes agree, beyond what chance would give."""

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from curation.intervals import LEVEL, Figure
from labeling import agreement
from labeling.agreement import RESAMPLES, Answers
from labeling.matching import Drawing, distance, match

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Drawn = dict[int, list[tuple[str, Drawing]]]
"""By image the (annotator, drawing), at most one of each."""

MOST_PAIRS = 10_000
"""Pairs of drawings by which what chance gives is estimated where there are more."""


def gather(rows: Iterable[tuple[int, str, Drawing]]) -> Drawn:
    """From (image, annotator, drawing); of two drawings of one person the last."""
    kept = {(image, annotator): drawing for image, annotator, drawing in rows}
    found: Drawn = {}
    for (image, annotator), drawing in kept.items():
        found.setdefault(image, []).append((annotator, drawing))
    return found


def of_annotators(drawn: Drawn, names: Sequence[str]) -> Drawn:
    """What these people drew."""
    return {
        image: kept
        for image, rows in drawn.items()
        if (kept := [row for row in rows if row[0] in names])
    }


def of_class(drawn: Drawn, class_id: int) -> Drawn:
    """The boxes of one class alone; images without one stay, as drawings of nothing."""
    return {
        image: [
            (who, tuple(box for box in drawing if box.class_id == class_id))
            for who, drawing in rows
        ]
        for image, rows in drawn.items()
    }


def alpha(drawn: Drawn, *, seed: int = 0) -> Figure:
    """Krippendorff's alpha of whole drawings, by the overlap of their boxes.

    The distance of two drawings is `matching.distance`; what chance gives are pairs of drawings of
    any two images, all of them or 10,000 at random. The interval is a bootstrap over images.

    Returns:
        n is the images with at least two drawings; the value is None where there is none, or
        nothing to agree on.
    """
    several = [[drawing for _, drawing in rows] for rows in drawn.values() if len(rows) > 1]
    n = len(several)
    if not n:
        return Figure(None, 0, (-1.0, 1.0))
    rng = np.random.default_rng(seed)
    sizes = np.array([len(drawings) for drawings in several])
    apart = np.array(
        [
            2 * sum(distance(one, other) for one, other in combinations(drawings, 2)) / (size - 1)
            for drawings, size in zip(several, sizes.tolist(), strict=True)
        ]
    )
    every = [drawing for drawings in several for drawing in drawings]
    image = np.repeat(np.arange(n), sizes)
    first, second = _pairs(len(every), rng)
    far = np.array(
        [distance(every[i], every[j]) for i, j in zip(first.tolist(), second.tolist(), strict=True)]
    )
    one, other = image[first], image[second]

    def value(times: Numbers) -> float:
        weight = times[one] * times[other]
        total = weight.sum()
        expected = (weight @ far) / total if total else 0.0
        observed = (times @ apart) / (times @ sizes)
        return float(1 - observed / expected) if expected > 0 else np.nan

    middle = value(np.ones(n, dtype=np.int64))
    if not np.isfinite(middle):
        return Figure(None, n, (-1.0, 1.0))
    drawn_values = np.array(
        [value(np.bincount(rng.integers(0, n, n), minlength=n)) for _ in range(RESAMPLES)]
    )
    drawn_values = drawn_values[np.isfinite(drawn_values)]
    low, high = np.quantile(drawn_values, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return Figure(middle, n, (float(low), float(high)))


def _pairs(count: int, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
    """Two different ones of `count` each: all pairs, or as many at random as `MOST_PAIRS`."""
    if count * (count - 1) // 2 <= MOST_PAIRS:
        first, second = np.triu_indices(count, k=1)
        return first, second
    first = rng.integers(0, count, MOST_PAIRS)
    second = (first + rng.integers(1, count, MOST_PAIRS)) % count
    return first, second


def pairs(drawn: Drawn) -> list[tuple[str, str, int]]:
    """Two annotators each and how many images they share, from two on, most first."""
    rows = ((image, who, ()) for image, kept in drawn.items() for who, _ in kept)
    return agreement.pairs(Answers.of(rows))


def disputes(drawn: Drawn) -> list[tuple[int, int, list[int]]]:
    """Two different classes each that were given to one thing, and the images of it.

    The most frequent first.
    """
    found: dict[tuple[int, int], list[int]] = {}
    for image, rows in drawn.items():
        said = {
            (min(a, b), max(a, b))
            for (_, one), (_, other) in combinations(rows, 2)
            for i, j, _ in match(one, other)
            if (a := one[i].class_id) != (b := other[j].class_id)
        }
        for pair in sorted(said):
            found.setdefault(pair, []).append(image)
    return sorted(((*pair, images) for pair, images in found.items()), key=lambda row: -len(row[2]))


def shared_images(drawn: Drawn) -> dict[int, frozenset[tuple[int, ...]]]:
    """The classes, one by one, that were drawn on each image that two people or more answered."""
    return {
        image: frozenset((box.class_id,) for _, drawing in rows for box in drawing)
        for image, rows in drawn.items()
        if len(rows) > 1
    }
