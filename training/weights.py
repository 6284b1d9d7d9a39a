"""How much each row and each class counts in training."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import TrainingError

_POWERS = {"none": 0.0, "square-root": 0.5, "balanced": 1.0}


def of_classes(
    counts: NDArray[np.floating[Any]],
    *,
    rule: str,
    given: NDArray[np.floating[Any]] | None = None,
) -> NDArray[np.float64]:
    """(C,) weight of each class: as given, or by a rule of `settings.CLASS_WEIGHTS`.

    A rule's weights are scaled so that the rows' mean weight is 1 and the penalty keeps its
    meaning; classes without a row get 1.

    Args:
        counts: (C,) rows (or their summed weights) of each class.
        rule: `none`, `square-root` or `balanced`.
        given: (C,) at least 0; used as they are, in place of the rule.

    Raises:
        TrainingError: given weights of another length, negative, or not finite.
    """
    if given is not None:
        chosen = np.asarray(given, dtype=np.float64)
        if chosen.shape != counts.shape or not np.isfinite(chosen).all() or chosen.min() < 0:
            raise TrainingError(
                f"Class weights must be {len(counts)} numbers of at least 0; got {chosen.tolist()}."
            )
        return chosen
    weight = np.ones(len(counts))
    held = counts > 0
    weight[held] = counts[held] ** -_POWERS[rule]
    weight[held] *= counts[held].sum() / (weight[held] * counts[held]).sum()
    return weight


def of_rows(rows: int, sample_weight: NDArray[np.floating[Any]] | None) -> NDArray[np.float64]:
    """(rows,) the sample weights as given, checked; all 1 for None.

    Raises:
        TrainingError: another length, a negative or non-finite weight, or all zero.
    """
    if sample_weight is None:
        return np.ones(rows)
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (rows,):
        raise TrainingError(f"{weight.shape} sample weights for {rows} rows: give one for each.")
    if not np.isfinite(weight).all() or weight.min() < 0 or weight.sum() == 0:
        raise TrainingError("Sample weights must be finite, at least 0, and not all 0.")
    return weight


def of_labels(
    truth: NDArray[np.floating[Any]],
    row_weight: NDArray[np.float64],
    *,
    rule: str,
    given: NDArray[np.floating[Any]] | None = None,
) -> NDArray[np.float64]:
    """(N,) weight of each row times that of its class; truth is (N, C) with a single 1 a row."""
    return np.asarray(row_weight * (truth @ of_classes(row_weight @ truth, rule=rule, given=given)))


def of_indices(
    y: NDArray[np.integer[Any]],
    row_weight: NDArray[np.float64],
    *,
    classes: int,
    rule: str,
    given: NDArray[np.floating[Any]] | None = None,
) -> NDArray[np.float64]:
    """The same as `of_labels`, from (N,) class indices: no table of rows times classes."""
    counts = np.bincount(y, weights=row_weight, minlength=classes).astype(np.float64)
    return np.asarray(row_weight * of_classes(counts, rule=rule, given=given)[y])


def of_cells(
    truth: NDArray[Any],
    row_weight: NDArray[np.float64],
    *,
    rule: str,
    given: NDArray[np.floating[Any]] | None = None,
) -> NDArray[np.float64]:
    """(N, C) weight of each row in each class's own question, absent against present.

    Args:
        truth: (N, C) of 0 and 1.
        row_weight: (N,).
        rule: balances absent against present within each class.
        given: (C,) weights of the present ones, in place of the rule.
    """
    present = row_weight @ truth
    if given is not None:
        up = of_classes(present, rule="none", given=given)
        down = np.ones_like(up)
    else:
        pairs = np.stack([row_weight.sum() - present, present], axis=1)
        down, up = np.stack([of_classes(pair, rule=rule) for pair in pairs]).T
    return np.asarray(row_weight[:, None] * np.where(truth == 1, up, down))
