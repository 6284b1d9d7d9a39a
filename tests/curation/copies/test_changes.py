"""What was done to a picture, in words."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from curation.copies.changes import describe
from tests.curation.copies.conftest import Compared

SAME = np.eye(2, 3)
MIRROR = np.array([[-1.0, 0, 0], [0, 1, 0]])
QUARTER = np.array([[0.0, -1, 0], [1, 0, 0]])


def turned(degrees: float, width: int, height: int) -> NDArray[np.float64]:
    """The warp of a turn in true proportions."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    size = np.diag([width, height])
    return np.column_stack([np.linalg.inv(size) @ turn @ size, (0, 0)])


def inverse(warp: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.linalg.inv(np.vstack([warp, (0, 0, 1)]))[:2]


CASES = [
    (SAME, (300, 200), (300, 200), "the same view"),
    (SAME, (600, 400), (300, 200), "one is 2.0 times as large"),
    (SAME, (315, 210), (300, 200), "the same view"),
    (MIRROR, (300, 200), (300, 200), "mirrored"),
    (-MIRROR, (300, 200), (300, 200), "mirrored, rotated by 180°"),
    (-SAME, (300, 200), (300, 200), "rotated by 180°"),
    (QUARTER, (200, 300), (300, 200), "rotated by 90°"),
    (turned(3, 300, 200), (300, 200), (300, 200), "rotated by 3°"),
    (turned(-3, 300, 200), (300, 200), (300, 200), "rotated by 3°"),
    (turned(0.5, 300, 200), (300, 200), (300, 200), "the same view"),
    (0.9 * SAME, (300, 200), (270, 180), "one shows 81 % of the other"),
    (0.9 * MIRROR, (300, 200), (270, 180), "mirrored, one shows 81 % of the other"),
]


@pytest.mark.parametrize(("warp", "moving", "fixed", "says"), CASES)
def test_describe__whichever_came_first(
    warp: NDArray[np.float64], moving: tuple[int, int], fixed: tuple[int, int], says: str
) -> None:
    assert describe(warp, moving, fixed) == says
    assert describe(inverse(warp), fixed, moving) == says


def test_describe__what_was_done_to_real_copies(
    textiles: list[Path], plant_and_compare: Callable[..., Compared]
) -> None:
    expected = {
        "re-encoded": "the same view",
        "gamma": "the same view",
        "resized": "one is 2.0 times as large",
        "mirrored": "mirrored",
        "rotated-3": "rotated by 3°",
        "rotated-90": "rotated by 90°",
        "rotated-180": "rotated by 180°",
        "cropped-80": "one shows 64 % of the other",
    }
    compared = plant_and_compare(textiles[:8], list(expected), each=1)
    pairs = compared.pairs
    for row, root in compared.roots.items():
        [at] = np.flatnonzero(
            (np.minimum(pairs.moving, pairs.fixed) == root)
            & (np.maximum(pairs.moving, pairs.fixed) == row)
        )
        moving, fixed = (compared.sizes[side[at]].tolist() for side in (pairs.moving, pairs.fixed))
        assert describe(pairs.warp[at], moving, fixed) == expected[compared.changes[row]]
