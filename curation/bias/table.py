"""What an audit tests and finds, in one form for all kinds; and Holm's correction over it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["quality", "representation", "discovered", "spurious", "association"]

LEVEL = 0.05
"""Chance, at most, that an audit of columns without meaning finds anything at all."""

ORDER: tuple[Kind, ...] = ("quality", "representation", "discovered", "spurious", "association")
"""From whom the model fails, over why, to what may become a fault."""


@dataclass(frozen=True)
class Tested:
    """One hypothesis and what was seen of it.

    Attributes:
        kind: what was tested.
        slice: value by column; empty for what concerns the dataset as a whole.
        metric: what `gap` is measured in.
        gap: how much worse, 0 to 1.
        ci: 95 % interval of the gap alone, without correction.
        p: of a permutation test, before correction.
        n: images that it rests on.
        says: one sentence.
        worth: whether it would be worth a finding if it is no chance.
        examples: ids of images that show it.
    """

    kind: Kind
    slice: Mapping[str, str]
    metric: str
    gap: float
    ci: tuple[float, float]
    p: float
    n: int
    says: str
    worth: bool = True
    examples: tuple[int, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What was tested and is no chance."""

    tested: Tested
    p_adjusted: float


@dataclass(frozen=True)
class Settled:
    """All hypotheses after correction.

    Attributes:
        findings: the most serious first.
        tested: every hypothesis, with its corrected p-value.
    """

    findings: tuple[Finding, ...]
    tested: tuple[Finding, ...] = field(default=())


def holm(p: Sequence[float]) -> NDArray[np.float64]:
    """P-values corrected for all of them being tested together (Holm 1979).

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def settle(tested: Sequence[Tested], *, few_labels: bool = False) -> Settled:
    """Which hypotheses are findings, the most serious first.

    Args:
        tested: everything that the audit tested.
        few_labels: whether representation comes before quality.
    """
    adjusted = holm([one.p for one in tested]) if tested else np.zeros(0)
    every = [Finding(one, float(p)) for one, p in zip(tested, adjusted, strict=True)]
    order = {kind: at for at, kind in enumerate(ORDER)}
    if few_labels:
        order["representation"] = -1
    found = [one for one in every if one.p_adjusted <= LEVEL and one.tested.worth]
    # The lower end: a large gap of which little is known is less serious than a sure one.
    found.sort(key=lambda one: (order[one.tested.kind], -one.tested.ci[0], one.p_adjusted))
    return Settled(tuple(found), tuple(every))
