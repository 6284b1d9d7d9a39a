"""What an evaluation found: figures of the whole, of each class, and what is taken for what."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import NotFound
from training import intervals
from training.intervals import Figure

PAIRS = 10
MOST_IN_JSON = 200
"""With more classes the confusion table is left out of the JSON; the most confused pairs stay."""


@dataclass(frozen=True)
class ClassMetrics:
    """One class. A figure's value is None where no image allows it to be measured."""

    name: str
    support: int
    precision: Figure
    recall: Figure
    f1: Figure
    auroc: Figure
    average_precision: Figure

    def as_json(self) -> dict[str, Any]:
        """Snake-case names, figures as `Figure.as_json`."""
        figures = ("precision", "recall", "f1", "auroc", "average_precision")
        return {"class": self.name, "support": self.support} | {
            name: getattr(self, name).as_json() for name in figures
        }


@dataclass(frozen=True)
class ConfusedPair:
    """Images of one class that were given another.

    Attributes:
        truth: the class that they have.
        predicted: what they were taken for.
        count: how many.
        share: of all images of `truth`.
    """

    truth: str
    predicted: str
    count: int
    share: Figure

    def as_json(self) -> dict[str, Any]:
        """The attributes under their names."""
        return {
            "truth": self.truth,
            "predicted": self.predicted,
            "count": self.count,
            "share": self.share.as_json(),
        }


@dataclass(frozen=True, eq=False)
class Metrics:
    """All figures of one evaluation.

    Attributes:
        n: images.
        groups: of images that belong together, on which the intervals rest.
        task: `single-label` or `multi-label`.
        figures: by name; see `evaluation.evaluate`.
        per_class: in the order of the classes.
        confusion: single-label (C, C), rows truth, columns prediction; multi-label (C, 2, 2).
        mistaken: (C, C) images that have the row's class, were not given it, and were given the
            column's, which they do not have; the diagonal is 0.
        independent: (C,) effective number of groups among the images of each class, as a share of
            the images.
        notes: what could not be measured, in sentences.
    """

    n: int
    groups: int
    task: str
    figures: dict[str, Figure]
    per_class: tuple[ClassMetrics, ...]
    confusion: NDArray[np.int64]
    mistaken: NDArray[np.int64]
    independent: NDArray[np.float64]
    notes: tuple[str, ...]

    def figure(self, name: str) -> Figure:
        """A figure by its kebab-case or snake-case name.

        Raises:
            NotFound: no such figure for this task.
        """
        key = name.replace("-", "_")
        if key not in self.figures:
            known = ", ".join(known.replace("_", "-") for known in self.figures)
            raise NotFound(f"No metric {name!r} for a {self.task} task. Known: {known}.")
        return self.figures[key]

    def as_json(self) -> dict[str, Any]:
        """One object: each figure under its name, then n, task, classes, confusions and notes.

        `groups` is there where some images belong together.
        """
        shown = self.task == "multi-label" or len(self.per_class) <= MOST_IN_JSON
        return {name: figure.as_json() for name, figure in self.figures.items()} | {
            "n": self.n,
            **({"groups": self.groups} if self.groups < self.n else {}),
            "task": self.task,
            "per_class": [one.as_json() for one in self.per_class],
            "confusion": self.confusion.tolist() if shown else [],
            "confused_pairs": [pair.as_json() for pair in confused_pairs(self)],
            "notes": list(self.notes),
        }


def confused_pairs(metrics: Metrics, *, most: int = PAIRS) -> tuple[ConfusedPair, ...]:
    """What is taken for what most often, the most frequent first.

    Equally many come in the order of the classes. The share's interval is Wilson's, for as many
    trials as there are groups of images.
    """
    order = np.argsort(-metrics.mistaken, axis=None, kind="stable")[:most]
    found = []
    for row, column in np.stack(np.unravel_index(order, metrics.mistaken.shape), axis=1).tolist():
        count = int(metrics.mistaken[row, column])
        if not count:
            break
        own = metrics.per_class[row]
        scale = float(metrics.independent[row])
        interval = intervals.wilson(count * scale, own.support * scale)
        share = Figure(count / own.support, own.support, interval)
        found.append(ConfusedPair(own.name, metrics.per_class[column].name, count, share))
    return tuple(found)
