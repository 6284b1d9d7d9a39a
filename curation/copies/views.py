"""The ways in which a copy may show its original: turned, mirrored, or a part of it.

Coordinates run from -1 to 1 across each side, from the outer edge of the first pixel to that of
the last, x before y, so that a warp means the same at every resolution.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.appearance import THUMB

CROPS = ((0.9, 3), (0.8, 4))
"""Shares of each side that a cropped copy may show, and at how many places along it."""

MIDDLES = (0.85,)
"""Shares of each side of a middle part: what a frame around a picture leaves of it."""


@dataclass(frozen=True)
class View:
    """A part of a thumbnail, turned.

    Attributes:
        left: first column of the part.
        top: first row of it.
        side: its columns and rows.
        turn: 0 to 7: bit 0 mirrors, bit 1 turns upside down, bit 2 then swaps rows and columns.
    """

    left: int = 0
    top: int = 0
    side: int = THUMB
    turn: int = 0

    def warp(self) -> NDArray[np.float64]:
        """(2, 3): from coordinates of the view to those of the whole picture."""
        turned = np.diag([-1.0 if self.turn & 1 else 1.0, -1.0 if self.turn & 2 else 1.0])
        if self.turn & 4:
            turned = turned[:, ::-1]
        middle = (2 * np.array([self.left, self.top]) + self.side) / THUMB - 1
        return np.column_stack([turned * self.side / THUMB, middle])


def turned(pictures: NDArray[np.float32], turn: int) -> NDArray[np.float32]:
    """Pictures (N, s, s) mirrored and turned as `View.turn` says; not copied."""
    if turn & 1:
        pictures = pictures[:, :, ::-1]
    if turn & 2:
        pictures = pictures[:, ::-1]
    return np.swapaxes(pictures, 1, 2) if turn & 4 else pictures


def _all() -> tuple[View, ...]:
    found = [View(turn=turn) for turn in range(8)]
    for share, positions in CROPS:
        side = round(THUMB * share)
        edges = np.linspace(0, THUMB - side, positions).round().astype(int)
        found += [View(int(left), int(top), side) for top in edges for left in edges]
    for share in MIDDLES:
        side = round(THUMB * share)
        edge = (THUMB - side) // 2
        found += [View(edge, edge, side), View(edge, edge, side, turn=1)]
    return tuple(found)


VIEWS = _all()
"""The views of one picture that are looked for among all whole pictures: eight turns, parts of each
size from anywhere, and the middle, also mirrored. That the copy is the larger one needs no view of
its own: then the original is a part of the copy."""
