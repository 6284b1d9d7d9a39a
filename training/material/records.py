"""What a training sees: labeled images in three parts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.records import LabelRow

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Part:
    """Labeled images.

    Attributes:
        ids: (N,) of the catalog.
        targets: (N,) class indices, or (N, C) of 0 and 1 for multi-label.
        groups: (N,) images with the same number belong together.
        weights: (N,) how much each counts; at least 0.
    """

    ids: NDArray[np.int64]
    targets: NDArray[np.int64]
    groups: NDArray[np.int64]
    weights: NDArray[np.float64]

    def __len__(self) -> int:
        """Its images."""
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Weak:
    """Labels that no person gave, to learn from and never to judge by.

    An image that rules find likely to be of several classes has a row for each of them.

    Attributes:
        ids: (K,) of the catalog.
        targets: (K,) class indices.
        groups: (K,) images with the same number belong together.
        weights: (K,) how much each counts; above 0.
        of_rules: (K,) whether rules say it; else somebody accepted it from a machine.
        machine: images with a label that somebody accepted from a machine.
        rules: images that rules label.
        plan: of the rules; none where they are not learned from.
        undecided: whether it is to be measured yet how much rules count.
        says: what came of that.
    """

    ids: NDArray[np.int64]
    targets: NDArray[np.int64]
    groups: NDArray[np.int64]
    weights: NDArray[np.float64]
    of_rules: NDArray[np.bool_]
    machine: int = 0
    rules: int = 0
    plan: int | None = None
    undecided: bool = False
    says: str = ""

    def __len__(self) -> int:
        """Its rows."""
        return len(self.ids)

    def as_json(self) -> dict[str, Any]:
        """All but the rows."""
        facts = ("machine", "rules", "plan", "undecided", "says")
        return {name: getattr(self, name) for name in facts}

    def weighed(self, weight: float, says: str) -> "Weak":
        """The same with rules that count so much; without them if that is nothing."""
        kept = ~self.of_rules | (weight > 0)
        weights = np.where(self.of_rules, weight, 1.0) * self.weights
        return replace(
            self,
            ids=self.ids[kept],
            targets=self.targets[kept],
            groups=self.groups[kept],
            weights=weights[kept],
            of_rules=self.of_rules[kept],
            rules=self.rules if weight else 0,
            plan=self.plan if weight else None,
            undecided=False,
            says=says,
        )


_NO_IDS = np.zeros(0, np.int64)
NOTHING_WEAK = Weak(_NO_IDS, _NO_IDS, _NO_IDS, np.zeros(0), np.zeros(0, np.bool_))


@dataclass(frozen=True, eq=False)
class Material:
    """All that a training sees of a project.

    Attributes:
        snapshot: id of the dataset as it stood.
        task: `single-label` or `multi-label`.
        classes: C names.
        train: to learn from.
        validation: to steer by; may be empty.
        test: to report; may be empty.
        origins: where validation and test come from: `split`, `reserve`, `drawn` or `none`.
        class_weight: (C,) of the balance plan, or none.
        plan: settings of the balance plan in force; empty for none.
        side: pixels of the typical shorter side.
        notes: what should be known about it, in sentences.
        weak: what machines and rules say of other images.
    """

    snapshot: str
    task: str
    classes: tuple[str, ...]
    train: Part
    validation: Part
    test: Part
    origins: dict[str, str]
    class_weight: NDArray[np.float64] | None
    plan: dict[str, Any]
    side: int
    notes: tuple[str, ...]
    weak: Weak = NOTHING_WEAK

    def part(self, name: str) -> Part:
        """One of `PARTS`."""
        found: Part = getattr(self, name)
        return found

    def as_json(self) -> dict[str, Any]:
        """All but the rows."""
        return {
            "snapshot": self.snapshot,
            "task": self.task,
            "classes": list(self.classes),
            "images": {name: len(self.part(name)) for name in PARTS},
            "origins": self.origins,
            "class_weight": None if self.class_weight is None else self.class_weight.tolist(),
            "plan": self.plan,
            "side": self.side,
            "notes": list(self.notes),
            "weak": self.weak.as_json(),
        }


@dataclass(frozen=True, slots=True)
class Row:
    """One labeled image of the snapshot and what it may be used for."""

    label: LabelRow
    name: str
    sha256: str
    group: str
    part: str


def joined(parts: Sequence[Part]) -> Part:
    """Several parts, one after the other."""
    return Part(
        *(
            np.concatenate([getattr(part, column) for part in parts])
            for column in ("ids", "targets", "groups", "weights")
        )
    )
