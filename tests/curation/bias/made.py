"""Labels and answers of a model with known faults, made without any image."""

import numpy as np

from curation.bias.evidence import Evidence
from curation.bias.slices import Slices


def sliced(name: str, values: list[str]) -> Slices:
    """The slices of a column that holds these values."""
    distinct, codes = np.unique(values, return_inverse=True)
    return Slices((name,), tuple((str(value),) for value in distinct), codes.astype(np.int32))


def evidence(
    y: np.ndarray,
    right: np.ndarray,
    *,
    classes: int,
    groups: np.ndarray | None = None,
    properties: dict[str, np.ndarray] | None = None,
    X: np.ndarray | None = None,
    unlabeled: int = 0,
) -> Evidence:
    """A model that gives a right label 0.8 and a wrong one 0.1.

    The unlabeled images come after the labeled ones.
    """
    n = len(y)
    probabilities = np.full((n, classes), 0.2 / (classes - 1))
    said = np.where(right, y, (y + 1) % classes)
    probabilities[np.arange(n), said] = 0.8
    total = n + unlabeled
    return Evidence(
        classes=tuple("abcdefghij"[:classes]),
        single=True,
        ids=np.arange(1, total + 1),
        groups=np.arange(total) if groups is None else groups,
        labeled=np.arange(n),
        truth=np.eye(classes, dtype=np.int64)[y],
        probabilities=probabilities,
        judged=np.ones(n, bool),
        properties=properties or {},
        X=X,
    )
