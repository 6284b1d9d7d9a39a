"""How each annotator errs, learned from images that several answered, and what that makes likely.

Source: Dawid & Skene 1979, "Maximum likelihood estimation of observer error-rates using the EM
algorithm". `crowd-kit` fits the model; what is kept of it are the answers that it expects by true
value, so that a few new answers can be judged without another fit. Frequencies of few answers are
drawn towards those of all annotators: one who was right five times is not held for infallible.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]

ITERATIONS = 100
TOLERANCE = 1e-6
STRENGTH = 5.0
"""An annotator's frequencies count as if so many answers more, by all annotators, stood there."""
MOST_CELLS = 5_000_000
"""Answers times values that a fit holds in memory; of more a random share of the images is used."""
_LEAST = 1e-3
"""Expected answers below this are not kept."""
_REMEMBERED = 10_000


@dataclass(frozen=True, eq=False)
class Fitted:
    """What was learned.

    Attributes:
        values: K answers that can be given.
        prior: (K,) how frequent each is, adding up to 1.
        counts: by annotator, [true, said, n]: where `true` was right, `said` was answered n times,
            as far as can be told; indices of `values`.
    """

    values: tuple[int, ...]
    prior: Floats
    counts: Mapping[int, Sequence[tuple[int, int, float]]]

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `of_json`."""
        return {
            "values": list(self.values),
            "prior": [round(share, 9) for share in self.prior.tolist()],
            "counts": {
                str(annotator): [[true, said, round(n, 4)] for true, said, n in rows]
                for annotator, rows in self.counts.items()
            },
        }

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> "Fitted":
        """From what `as_json` gave."""
        return cls(
            tuple(stored["values"]),
            np.array(stored["prior"], dtype=np.float64),
            {
                int(annotator): [(true, said, n) for true, said, n in rows]
                for annotator, rows in stored["counts"].items()
            },
        )

    def posterior(self, answers: Sequence[tuple[int, int]]) -> Floats:
        """(K,) how likely each value is the true one.

        Args:
            answers: (annotator, value); annotators that nothing is known of count as the average
                of the others, and values that are not among K are passed over.
        """
        at = self._index
        likely = np.log(self.prior)
        for annotator, value in answers:
            if value in at:
                likely = likely + self._column(annotator, at[value])
        chances = np.exp(likely - likely.max())
        return np.asarray(chances / chances.sum())

    def right(self, annotator: int) -> tuple[float, float]:
        """How many of an annotator's answers were right, as far as can be told, and of how many."""
        rows = self.counts.get(annotator, ())
        return sum(n for true, said, n in rows if true == said), sum(n for *_, n in rows)

    @cached_property
    def _index(self) -> dict[int, int]:
        return {value: number for number, value in enumerate(self.values)}

    @cached_property
    def _everybody(self) -> Floats:
        """(K, K) probability of each answer (column) by true value (row), over all annotators.

        Rows of which little is known are drawn towards annotators who err in all ways alike.
        """
        size = len(self.values)
        counts = np.zeros((size, size))
        for rows in self.counts.values():
            for true, said, n in rows:
                counts[true, said] += n
        right = (np.trace(counts) + 1) / (counts.sum() + 2)
        alike = np.full((size, size), (1 - right) / max(size - 1, 1))
        np.fill_diagonal(alike, right)
        total = counts.sum(axis=1, keepdims=True)
        return np.asarray((counts + STRENGTH * alike) / (total + STRENGTH))

    @cached_property
    def _own(self) -> dict[int, tuple[Floats, dict[int, list[tuple[int, float]]]]]:
        """By annotator: (K,) answers by true value, and by what was said the (true, n)."""
        found: dict[int, tuple[Floats, dict[int, list[tuple[int, float]]]]] = {}
        for annotator, rows in self.counts.items():
            totals = np.zeros(len(self.values))
            by_said: dict[int, list[tuple[int, float]]] = {}
            for true, said, n in rows:
                totals[true] += n
                by_said.setdefault(said, []).append((true, n))
            found[annotator] = (totals, by_said)
        return found

    @cached_property
    def _columns(self) -> dict[tuple[int, int], Floats]:
        return {}

    def _column(self, annotator: int, said: int) -> Floats:
        """(K,) log probability that this annotator says this, by true value."""
        key = (annotator if annotator in self.counts else -1, said)
        found = self._columns.get(key)
        if found is None:
            weighted = STRENGTH * self._everybody[:, said]
            totals, by_said = self._own.get(annotator, (np.zeros(len(self.values)), {}))
            for true, n in by_said.get(said, ()):
                weighted[true] += n
            found = np.log(weighted / (totals + STRENGTH))
            if len(self._columns) * len(self.values) > _REMEMBERED * 100:
                self._columns.clear()
            self._columns[key] = found
        return found


def shared(images: Numbers, annotators: Numbers) -> NDArray[np.bool_]:
    """(A,) which of A answers are to an image that two annotators or more answered."""
    pairs = np.unique(np.stack([images, annotators]), axis=1)
    ids, counts = np.unique(pairs[0], return_counts=True)
    return np.isin(images, ids[counts > 1])


def fit(
    images: Numbers, annotators: Numbers, values: Numbers, *, known: Sequence[int], seed: int = 0
) -> Fitted:
    """Learns how annotators err from the images that two or more of them answered.

    Args:
        images: (A,) ids of the images of A answers.
        annotators: (A,) ids.
        values: (A,) what was answered.
        known: all values that can be given.
        seed: decides which images are used where there are too many; all else is deterministic.

    Returns:
        Nothing is known of annotators without an image that another one answered.
    """
    several = shared(images, annotators)
    images, annotators, values = images[several], annotators[several], values[several]
    kinds, said = np.unique(values, return_inverse=True)
    keys = tuple(dict.fromkeys([*known, *kinds.tolist()]))
    if not len(images):
        return Fitted(keys, np.full(len(keys), 1 / len(keys)), {})
    kept = _share(images, most=MOST_CELLS // len(kinds), seed=seed)
    images, annotators, said = images[kept], annotators[kept], said[kept]
    ids, row = np.unique(images, return_inverse=True)
    chances = _expected(row, annotators, said, len(ids), len(kinds))
    place = np.array([keys.index(kind) for kind in kinds.tolist()])
    prior = np.full(len(keys), 1 / len(keys))  # as if one image more were spread evenly
    prior[place] += chances.sum(axis=0)
    counts = {}
    for annotator in np.unique(annotators).tolist():
        theirs = annotators == annotator
        table = np.zeros((len(kinds), len(kinds)))
        np.add.at(table, said[theirs], chances[row[theirs]])
        counts[annotator] = [
            (int(place[true]), int(place[answer]), float(table[answer, true]))
            for answer, true in np.argwhere(table > _LEAST).tolist()
        ]
    return Fitted(keys, prior / prior.sum(), counts)


def _share(images: Numbers, *, most: int, seed: int) -> NDArray[np.bool_]:
    """(A,) a random share of whole images with about this many answers; all if there are fewer."""
    if len(images) <= most:
        return np.ones(len(images), dtype=bool)
    ids = np.unique(images)
    rng = np.random.default_rng(seed)
    wanted = max(1, int(len(ids) * most / len(images)))
    return np.isin(images, rng.choice(ids, wanted, replace=False))


def _expected(row: Numbers, annotators: Numbers, said: Numbers, count: int, kinds: int) -> Floats:
    """(count, kinds) how likely each value is each image's, by crowd-kit's fit."""
    import pandas as pd

    if kinds == 1:
        return np.ones((count, 1))
    with warnings.catch_warnings():
        # It uses keywords of pandas that newer ones will do without, and tell at each use.
        warnings.simplefilter("ignore", DeprecationWarning)
        from crowdkit.aggregation.classification.dawid_skene import DawidSkene

        # From 2 on: crowd-kit renames True and False, which equal 1 and 0.
        table = pd.DataFrame({"task": row, "worker": annotators, "label": said + 2})
        found = DawidSkene(n_iter=ITERATIONS, tol=TOLERANCE).fit(table).probas_
    assert found is not None  # the table has rows
    ordered = found.reindex(index=range(count), columns=range(2, kinds + 2), fill_value=0.0)
    return np.asarray(ordered.to_numpy(dtype=np.float64))
