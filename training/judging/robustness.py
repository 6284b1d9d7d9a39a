"""How much of its accuracy a model keeps when pictures are blurred, noisy, dark or askew."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import TrainingError
from curation.progress import Report, silent
from training import intervals
from training.intervals import Figure
from training.judging import corruptions
from training.judging.corruptions import CORRUPTIONS, SEVERITIES, Pixels

Logits = Callable[[Pixels], NDArray[np.float64]]
"""From pixels (B, S, S, 3) to scores (B, C)."""

_SHOWN = 3


@dataclass(frozen=True)
class Corrupted:
    """Under one corruption.

    Attributes:
        kind: its name in `corruptions.CORRUPTIONS`.
        severity: 1 to 3.
        accuracy: of the likeliest class; multi-label: all classes of an image right.
        drop: accuracy on clean images less that, with a paired interval.
    """

    kind: str
    severity: int
    accuracy: Figure
    drop: Figure

    def as_json(self) -> dict[str, Any]:
        """The attributes under their names."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "accuracy": self.accuracy.as_json(),
            "drop": self.drop.as_json(),
        }


@dataclass(frozen=True)
class Robustness:
    """What `judge` found.

    Attributes:
        n: images.
        clean: accuracy on them as they are.
        mean: accuracy averaged over all corruptions.
        corrupted: by kind, then severity.
        says: sentences, the worst first.
    """

    n: int
    clean: Figure
    mean: Figure
    corrupted: tuple[Corrupted, ...]
    says: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The attributes under their names."""
        return {
            "n": self.n,
            "clean": self.clean.as_json(),
            "mean": self.mean.as_json(),
            "corrupted": [one.as_json() for one in self.corrupted],
            "says": list(self.says),
        }


def judge(
    logits_of: Logits,
    batches: Iterable[tuple[NDArray[np.int64], Pixels]],
    truth: NDArray[np.integer[Any]],
    *,
    seed: int,
    kinds: Sequence[str] | None = None,
    ids: NDArray[np.int64] | None = None,
    groups: NDArray[np.integer[Any]] | None = None,
    report: Report = silent,
) -> Robustness:
    """Judges a model on images as they are and under each corruption and severity.

    Each batch is read once, changed in every way, and forgotten; what stays is a byte for each
    image and way.

    Args:
        logits_of: of the model, on pixels as `batches` gives them (temperature does not matter).
        batches: rows of `truth` (B,) with their pixels (B, S, S, 3), such as `data.Images.batches`;
            every row once.
        truth: (N,) class indices, or (N, C) of 0 and 1 for multi-label.
        seed: of the changes.
        kinds: of `CORRUPTIONS`; all when None.
        ids: (N,) of the images, so that each is changed alike in any selection; rows when None.
        groups: (N,) images with the same number belong together, and intervals rest on groups;
            each on its own when None.
        report: told of the images done.

    Raises:
        NotFound: no corruption of that name.
        TrainingError: no images, or a stream that lacks some or holds one twice.
        Cancelled: asked to stop.
    """
    n = len(truth)
    ways = [(kind, severity) for kind in (kinds or CORRUPTIONS) for severity in SEVERITIES]
    keys = np.arange(n) if ids is None else ids
    right = np.zeros((1 + len(ways), n), dtype=np.bool_)
    seen = np.zeros(n, dtype=np.int64)
    changes: list[corruptions.Change] = []
    for rows, pixels in batches:
        if not changes:
            size = pixels.shape[1]
            changes = [corruptions.change(*way, size=size) for way in ways]
        np.add.at(seen, rows, 1)
        right[0, rows] = _right(logits_of(pixels), truth[rows])
        for at, change in enumerate(changes):
            # A seed for each way: the same noise in all three severities would tie them together.
            changed = corruptions.apply(change, pixels, keys[rows], seed=seed + at)
            right[1 + at, rows] = _right(logits_of(changed), truth[rows])
        report(int((seen > 0).sum()), n, "corruptions")
    if n == 0 or (seen != 1).any():
        raise TrainingError(
            f"Robustness takes each of the {n:,} judged images once; {int((seen == 0).sum()):,} "
            f"did not come and {int((seen > 1).sum()):,} came more than once."
        )
    members = intervals.members_of(groups)
    clean = intervals.proportion_of_groups(right[0], members)
    found = tuple(
        Corrupted(*way, intervals.proportion_of_groups(own, members), _drop(right[0], own, members))
        for way, own in zip(ways, right[1:], strict=True)
    )
    return Robustness(n, clean, _mean(right[1:], members), found, _sentences(clean, found))


def _right(logits: NDArray[np.float64], truth: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    if truth.ndim == 1:
        return np.asarray(logits.argmax(axis=1) == truth)
    return np.asarray(((logits >= 0) == (truth == 1)).all(axis=1))


def _drop(
    clean: NDArray[np.bool_], changed: NDArray[np.bool_], members: NDArray[np.int64] | None
) -> Figure:
    n, lost, won = len(clean), int((clean & ~changed).sum()), int((changed & ~clean).sum())
    value = (lost - won) / n
    trials = float(n)
    if members is not None:
        loss = clean.astype(np.float64) - changed - value
        apart, together = float(loss @ loss), _squares(loss, members)
        most = intervals.effective(np.ones(n), members)
        trials = min(most, n * apart / together) if together > 0 else most
    scale = trials / n
    return Figure(value, n, intervals.paired_difference(lost * scale, won * scale, trials))


def _mean(right: NDArray[np.bool_], members: NDArray[np.int64] | None) -> Figure:
    """Over all ways; the interval is that of images, each of which was judged in every way."""
    shares = right.mean(axis=0)
    n, value = len(shares), float(shares.mean())
    variance, most = float(shares.var()) / n, float(right.size)
    if members is not None:
        variance = _squares(shares - value, members) / n**2
        most = len(right) * intervals.effective(np.ones(n), members)
    return Figure(value, n, intervals.by_variance(value, variance, most=most))


def _squares(values: NDArray[np.float64], members: NDArray[np.int64]) -> float:
    """The squares of the groups' sums, added up."""
    sums = np.bincount(members, weights=values)
    return float(sums @ sums)


def _sentences(clean: Figure, found: Sequence[Corrupted]) -> tuple[str, ...]:
    worst = sorted(found, key=lambda one: -(one.drop.value or 0.0))
    says = [
        f"{one.kind} of severity {one.severity} costs {100 * (one.drop.value or 0.0):.1f} points "
        f"({100 * one.drop.ci[0]:.1f} to {100 * one.drop.ci[1]:.1f})"
        for one in worst
        if one.drop.ci[0] > 0
    ]
    if not says:
        says = [f"No corruption costs more accuracy than can be told from {clean.n:,} images"]
    return tuple(says[:_SHOWN])
