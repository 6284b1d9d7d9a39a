"""Which boxes of several people mean the same thing, and the boxes that they agree on."""

from collections import Counter
from collections.abc import Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

from curation.records import Box
from labeling.votes import Agreed

Floats = NDArray[np.float64]
Drawing = tuple[Box, ...]

THRESHOLD = 0.5
"""Boxes that overlap less (intersection over union) are of different things."""


def overlaps(one: Sequence[Box], other: Sequence[Box]) -> Floats:
    """(N, M) intersection over union of each box with each, 0 to 1; classes do not matter.

    >>> overlaps([Box(1, 0, 0, 2, 2)], [Box(1, 1, 0, 2, 2), Box(2, 5, 5, 1, 1)]).round(3).tolist()
    [[0.333, 0.0]]
    """
    a, b = _corners(one)[:, None], _corners(other)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    both = np.maximum(sides, 0.0).prod(axis=-1)
    areas = [(x[..., 2:] - x[..., :2]).prod(axis=-1) for x in (a, b)]
    either = areas[0] + areas[1] - both
    return np.asarray(np.divide(both, either, out=np.zeros_like(both), where=either > 0))


def _corners(boxes: Sequence[Box]) -> Floats:
    """(N, 4) left, top, right, bottom."""
    found = [(box.x, box.y, box.x + box.width, box.y + box.height) for box in boxes]
    return np.array(found, dtype=np.float64).reshape(-1, 4)


def match(
    one: Sequence[Box], other: Sequence[Box], *, threshold: float = THRESHOLD
) -> list[tuple[int, int, float]]:
    """Pairs of boxes that mean the same, as (index, index, overlap), each box at most once.

    Of all ways to pair them, the one with the largest sum of overlaps (Kuhn 1955, "The Hungarian
    method for the assignment problem"); pairs below the threshold are none.
    """
    if not one or not other:
        return []
    from scipy.optimize import linear_sum_assignment

    found = overlaps(one, other)
    found[found < threshold] = 0.0
    rows, columns = linear_sum_assignment(found, maximize=True)
    return [
        (i, j, float(found[i, j]))
        for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
        if found[i, j] > 0
    ]


def distance(one: Drawing, other: Drawing) -> float:
    """How far two drawings of one image are apart: 0 where they are the same, 1 at most.

    1 minus twice the overlaps of boxes that match and are of one class, over the number of boxes:
    a box that the other did not draw counts in full, and one that is a little off a little. Two
    empty drawings agree.

    >>> distance((Box(1, 0, 0, 2, 2),), (Box(1, 0, 0, 2, 1),)), distance((), (Box(1, 0, 0, 2, 2),))
    (0.5, 1.0)
    """
    count = len(one) + len(other)
    if not count:
        return 0.0
    alike = sum(
        overlap for i, j, overlap in match(one, other) if one[i].class_id == other[j].class_id
    )
    return max(0.0, 1.0 - 2 * alike / count)


def clusters(drawings: Sequence[Drawing], *, threshold: float = THRESHOLD) -> list[list[Box]]:
    """Boxes that mean the same thing, at most one of each person.

    One drawing after the other is matched with the boxes found so far, at their medians; whoever
    agrees most with the others comes first, so that the order in which people answered says little.
    """
    near = [[1.0 - distance(one, other) for other in drawings] for one in drawings]
    order = sorted(range(len(drawings)), key=lambda at: -sum(near[at]))
    found: list[list[Box]] = []
    for at in order:
        drawing = drawings[at]
        pairs = match([_middle(boxes) for boxes in found], drawing, threshold=threshold)
        taken = {j: i for i, j, _ in pairs}
        for j, box in enumerate(drawing):
            if j in taken:
                found[taken[j]].append(box)
            else:
                found.append([box])
    return found


def _middle(boxes: Sequence[Box]) -> Box:
    """The median of each side, with the class that most gave; of equally many the first."""
    left, top, right, bottom = (
        median(sides) for sides in zip(*_corners(boxes).tolist(), strict=True)
    )
    class_id = Counter(box.class_id for box in boxes).most_common(1)[0][0]
    return Box(class_id, left, top, right - left, bottom - top)


def consensus(drawings: Sequence[Drawing]) -> Agreed:
    """The boxes that more than half of the people drew.

    Each at the median of its sides, with the class that most of them gave.

    Args:
        drawings: of each person, oldest first; at least one, and an empty one counts.

    Returns:
        The confidence is that of the least certain box that anybody drew: the share of people who
        drew it with the class it has, or who did not draw it where it is none; 1 without any box.
    """
    if len(set(drawings)) == 1:
        same = drawings[0]
        return Agreed(tuple(sorted({box.class_id for box in same})), 1.0, same)
    agreed: list[Box] = []
    sure = [1.0]
    for boxes in clusters(drawings):
        share = len(boxes) / len(drawings)
        if share > 0.5:
            box = _middle(boxes)
            agreed.append(box)
            sure.append(sum(one.class_id == box.class_id for one in boxes) / len(drawings))
        else:
            sure.append(1 - share)
    agreed.sort(key=lambda box: (box.y, box.x, box.class_id))
    return Agreed(tuple(sorted({box.class_id for box in agreed})), min(sure), tuple(agreed))
