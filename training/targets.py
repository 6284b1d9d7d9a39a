"""Labels as a classifier wants them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

THRESHOLD = 0.5
"""A multi-label class is predicted from this probability on."""


def to_targets(
    classes: Sequence[tuple[int, ...]], class_ids: Sequence[int], *, task: str
) -> NDArray[np.int64]:
    """Class ids as indices, or as a table of 0 and 1.

    Args:
        classes: class ids of each image; exactly one where the task is single-label.
        class_ids: all C of them, in the project's order.
        task: `single-label` or `multi-label`.

    Returns:
        (N,) class indices, or (N, C) of 0 and 1 where the task is multi-label.
    """
    index = {class_id: position for position, class_id in enumerate(class_ids)}
    if task == "single-label":
        return np.array([index[found[0]] for found in classes], dtype=np.int64)
    table = np.zeros((len(classes), len(class_ids)), dtype=np.int64)
    for row, found in enumerate(classes):
        table[row, [index[class_id] for class_id in found]] = 1
    return table
