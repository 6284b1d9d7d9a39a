"""How good a list of pairs is, where the copies are known.

A pair of a copy with its original is right, and each of them should be found. A pair of a copy with
another image is wrong. Left out, as neither, are pairs of two originals, since real sets hide
copies that nobody planted; pairs of two copies of one original, which nobody has to find; and pairs
of a copy with an original that has the very pixels of the one that was copied.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.copies.sets import Copies
from training import intervals
from training.intervals import Figure

RIGHT, WRONG, ORIGINALS, NEITHER = range(4)


@dataclass(frozen=True)
class Quality:
    """Figures of one list of pairs.

    Attributes:
        precision: of the right and wrong pairs; Wilson interval.
        recall: of the planted copies; Wilson interval.
        f1: of both; bootstrap over the planted copies, a wrong pair drawn with its copy.
        per_change: recall of each change.
        originals: pairs of two originals: findings, left out.
    """

    precision: Figure
    recall: Figure
    f1: Figure
    per_change: dict[str, Figure]
    originals: int

    def as_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "precision": self.precision.as_json(),
            "recall": self.recall.as_json(),
            "f1": self.f1.as_json(),
            "per_change": {name: one.as_json() for name, one in self.per_change.items()},
            "pairs_of_originals": self.originals,
        }


def judge(copies: Copies, pairs: NDArray[np.int64]) -> NDArray[np.int8]:
    """RIGHT, WRONG, ORIGINALS or NEITHER for each of the pairs (P, 2)."""
    count = len(copies.paths)
    root = np.arange(count)
    for copy, original in copies.planted.items():
        root[copy] = original
    is_copy = root != np.arange(count)
    same = root.copy()
    for twin, first in copies.twins.items():
        same[root == twin] = first
    one, other = pairs[:, 0], pairs[:, 1]
    verdict = np.full(len(pairs), WRONG, np.int8)
    verdict[same[one] == same[other]] = NEITHER
    verdict[(root[one] == other) | (root[other] == one)] = RIGHT
    verdict[~is_copy[one] & ~is_copy[other]] = ORIGINALS
    return verdict


def best_threshold(
    copies: Copies, pairs: NDArray[np.int64], closeness: NDArray[np.float64]
) -> float:
    """The closeness (higher: more alike) from which up the pairs give the greatest F1."""
    verdict = judge(copies, pairs)
    order = np.argsort(-closeness, kind="stable")
    right = np.cumsum(verdict[order] == RIGHT)
    wrong = np.cumsum(verdict[order] == WRONG)
    # Equal values stand or fall together: only the last of each may be a threshold.
    ends = np.flatnonzero(np.diff(closeness[order], append=-np.inf))
    f1 = 2 * right[ends] / (right[ends] + wrong[ends] + len(copies.planted))
    return float(closeness[order][ends[np.argmax(f1)]])


def measure(copies: Copies, pairs: NDArray[np.int64]) -> Quality:
    """The figures of pairs (P, 2), each given once."""
    verdict = judge(copies, pairs)
    position = {copy: row for row, copy in enumerate(sorted(copies.planted))}
    found = np.zeros(len(position), bool)
    wrong = np.zeros(len(position))
    for one, other in pairs[verdict == RIGHT].tolist():
        found[position[one if one in position else other]] = True
    for one, other in pairs[verdict == WRONG].tolist():
        wrong[position[one if one in position else other]] += 1
    changes = np.array([copies.changes[copy] for copy in position])
    return Quality(
        precision=intervals.proportion((verdict == RIGHT)[verdict <= WRONG]),
        recall=intervals.proportion(found),
        f1=_f1(found, wrong),
        per_change={
            name: intervals.proportion(found[changes == name])
            for name in dict.fromkeys(copies.changes.values())
        },
        originals=int(np.sum(verdict == ORIGINALS)),
    )


def kept_by_verifier(
    copies: Copies, candidates: NDArray[np.int64], pairs: NDArray[np.int64]
) -> Figure:
    """Share of the planted pairs among the candidates that are among the verified pairs too."""
    right = candidates[judge(copies, candidates) == RIGHT]
    verified = {(one, other) for one, other in pairs.tolist()}
    return intervals.proportion(np.array([(a, b) in verified for a, b in right.tolist()], bool))


def _f1(found: NDArray[np.bool_], wrong: NDArray[np.float64]) -> Figure:
    def statistic(counts: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
        right = counts @ found
        f1: NDArray[np.floating[Any]] = 2 * right / (right + counts @ wrong + counts.sum(axis=1))
        return f1

    value = float(statistic(np.ones((1, len(found)), np.float32))[0])
    low, high = intervals.bootstrap(statistic, len(found), rng=np.random.default_rng(0))
    return Figure(value, len(found), (min(low, value), max(high, value)))
