"""Whether a label is still given after a change: a judge's verdicts, compared pair by pair."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, binomtest

from curation.augmentation.looks import Labeled, Rows, Vectors
from curation.errors import LabelloopError
from curation.intervals import LEVEL, Figure, proportion, unknown

SIGNIFICANT = 0.05
"""Of a p-value after Holm's correction over everything that was tested."""
SHOWS_FROM = 0.02
"""A share of labels changed that is worth naming, however many images show it."""
HALVED = 0.5
"""A judge that sees the layout must spare this share of the other's errors to take its place. It
knows how things usually lie, and would else take a shoe that points the other way for a boot."""
PRESENT = 0.5
"""A class is predicted in a multi-label task from this probability on."""


class Judge(Protocol):
    """Says what it sees in images of which it never saw the group."""

    def __call__(self, rows: Rows, X: Vectors, /) -> npt.NDArray[np.float64]:
        """Probabilities (M, C) of embeddings X (M, d).

        Args:
            rows: (M,) the labeled row that each is a copy of; its group was not learned from.
            X: what to judge.
        """


class Learn(Protocol):
    """Makes a judge from labels; see `Judge`."""

    def __call__(self, X: Vectors, y: Rows, groups: Rows, /, *, classes: int) -> Judge:
        """From embeddings (N, d), labels (N,) or (N, C) of 0 and 1, and groups (N,).

        Raises:
            LabelloopError: these labels allow no judge.
        """


@dataclass(frozen=True)
class Broken:
    """A class whose label a step breaks.

    Attributes:
        name: of the class.
        share: of its images whose predicted class turned from the label to something else.
        changed, restored: how many turned from right to wrong, and from wrong to right.
        into: what most of them turned into; empty in a multi-label task.
        p_adjusted: one-sided sign test of the two, by Holm over all that was tested.
    """

    name: str
    share: Figure
    changed: int
    restored: int
    into: str
    p_adjusted: float


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the judge said of M images.

    Attributes:
        right: (M,) whether it gave the label.
        holds: (M, C) whether it said of each class what the label says.
        top: (M,) the likeliest class.
    """

    right: npt.NDArray[np.bool_]
    holds: npt.NDArray[np.bool_]
    top: Rows

    @classmethod
    def of(cls, labeled: Labeled, seen: Rows, p: npt.NDArray[np.float64]) -> "Verdict":
        """From probabilities (M, C) of the labeled rows (M,) that were seen."""
        top = p.argmax(axis=1)
        said = np.eye(p.shape[1], dtype=np.int64)[top] if labeled.single else p >= PRESENT
        holds = said == labeled.truth[seen]
        return cls(holds.all(axis=1), holds, top.astype(np.int64))


def judged(
    labeled: Labeled, seen: Rows, X: Vectors, learn: Learn | None
) -> "tuple[list[Verdict | None], bool, str]":
    """What is said of each view, the original first; whether by the layout; or why nothing is.

    One judge learns from the embeddings of all labeled images, another from embeddings and layout
    of those that are looked at; that one is heard only where the first is blind to something.
    """
    count, width = X.shape[1], labeled.X.shape[1]
    nothing: list[Verdict | None] = [None] * count
    if learn is None:
        return nothing, False, ""
    y = labeled.truth.argmax(axis=1) if labeled.single else labeled.truth
    classes = len(labeled.classes)
    try:
        judge = learn(labeled.X, y, labeled.groups, classes=classes)
    except LabelloopError as error:
        return nothing, False, f"Whether labels survive cannot be told yet: {error}"
    by_content = [Verdict.of(labeled, seen, judge(seen, X[:, at, :width])) for at in range(count)]
    try:
        judge = learn(X[:, 0], y[seen], labeled.groups[seen], classes=classes)
    except LabelloopError:  # too few are looked at
        return list(by_content), False, ""
    rows = np.arange(len(seen))
    by_layout = [Verdict.of(labeled, seen, judge(rows, X[:, at])) for at in range(count)]
    lost, won = _turned(by_content[0].right, by_layout[0].right)
    errors = int((~by_content[0].right).sum())
    if won - lost >= HALVED * errors and _sign(lost, won) < SIGNIFICANT:
        return list(by_layout), True, ""
    return list(by_content), False, ""


def blindness(labeled: Labeled, seen: Rows, unchanged: Figure) -> str:
    """That the judge is no better than naming the commonest label, if so."""
    if unchanged.value is None:
        return ""
    commonest = float(np.unique(labeled.kinds[seen], return_counts=True)[1].max() / len(seen))
    if unchanged.ci[0] > commonest:
        return ""
    return (
        f"The judge gives the label of {100 * unchanged.value:.0f} % of {unchanged.n} unchanged "
        f"images, and naming the commonest would give {100 * commonest:.0f} %: it cannot tell "
        "whether labels survive. Label more images, and look at a preview."
    )


@dataclass(frozen=True, eq=False)
class Tests:
    """The sign tests of one view: of all images first, then of each class that occurs.

    Attributes:
        ps: p-values; two-sided for all images, one-sided (more broken than mended) for a class.
        counts: of each class: its column, images, changed and restored.
        into: (M,) what the judge says now.
        changed: (M, C) turned from right to wrong.
    """

    ps: list[float]
    counts: list[tuple[int, int, int, int]]
    into: Rows
    changed: npt.NDArray[np.bool_]

    @classmethod
    def of(
        cls, labeled: Labeled, seen: Rows, before: Verdict | None, after: Verdict | None
    ) -> "Tests":
        """Compares two verdicts on the same images; knows nothing where one is missing."""
        if before is None or after is None:
            empty = np.zeros((0, 0), dtype=bool)
            return cls([1.0], [], np.zeros(0, dtype=np.int64), empty)
        ps = [_sign(*_turned(before.right, after.right))]
        counts = []
        for column in np.flatnonzero(labeled.truth[seen].any(axis=0)):
            own = labeled.truth[seen, column] == 1
            lost, won = _turned(before.holds[own, column], after.holds[own, column])
            counts.append((int(column), int(own.sum()), lost, won))
            ps.append(_sign(lost, won, one_sided=True))
        changed = before.holds & ~after.holds & (labeled.truth[seen] == 1)
        return cls(ps, counts, after.top, changed)

    def broken(self, labeled: Labeled, adjusted: Sequence[float]) -> tuple[Broken, ...]:
        """The classes that do not survive, the worst first."""
        found = []
        for (column, n, lost, won), p in zip(self.counts, adjusted, strict=True):
            if p >= SIGNIFICANT or lost - won < SHOWS_FROM * n:
                continue
            hits = np.arange(n) < lost
            turned = Counter(self.into[self.changed[:, column]].tolist())
            into = labeled.classes[turned.most_common(1)[0][0]] if labeled.single else ""
            found.append(Broken(labeled.classes[column], proportion(hits), lost, won, into, p))
        return tuple(sorted(found, key=lambda one: -(one.share.value or 0.0)))


def _turned(before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """How many turned from right to wrong, and from wrong to right."""
    return int((before & ~after).sum()), int((~before & after).sum())


def _sign(lost: int, won: int, *, one_sided: bool = False) -> float:
    """Exact sign test of pairs that changed one way or the other."""
    if not lost + won:
        return 1.0
    way = "greater" if one_sided else "two-sided"
    return float(binomtest(lost, lost + won, 0.5, alternative=way).pvalue)


def holm(ps: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979), in their order."""
    order = np.argsort(ps, kind="stable")
    scaled = np.asarray(ps)[order] * np.arange(len(ps), 0, -1)
    found = np.empty(len(ps))
    found[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(p) for p in found]


def rate(verdict: Verdict | None) -> Figure:
    """How often the label was given."""
    return unknown() if verdict is None else proportion(verdict.right)


def difference(before: Verdict | None, after: Verdict | None) -> Figure:
    """Of two rates on the same images, with the interval of Bonett and Price (2012)."""
    if before is None or after is None:
        return Figure(None, 0, (-1.0, 1.0))
    n = len(before.right)
    lost, won = _turned(before.right, after.right)
    down, up = (lost + 1) / (n + 2), (won + 1) / (n + 2)
    half = 1.959964 * float(np.sqrt((down + up - (up - down) ** 2) / (n + 2)))
    value = (won - lost) / n
    return Figure(value, n, (max(-1.0, up - down - half), min(1.0, up - down + half)))


def median(values: npt.NDArray[np.floating[Any]]) -> Figure:
    """The median with its interval by order statistics (sign test); unbounded above for few."""
    known = np.sort(values[np.isfinite(values)].astype(np.float64))
    n = len(known)
    if not n:
        return Figure(None, 0, (0.0, float("inf")))
    low = int(binom.ppf((1 - LEVEL) / 2, n, 0.5)) - 1
    high = n - 1 - low
    return Figure(
        float(np.median(known)),
        n,
        (
            float(known[low]) if low >= 0 else 0.0,
            float(known[high]) if high < n else float("inf"),
        ),
    )
