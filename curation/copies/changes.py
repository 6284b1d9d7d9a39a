"""What was done to a picture to get its copy, in words."""

import numpy as np
from numpy.typing import NDArray

TURNED_DEGREES = 1.0
SHOWN = 0.97
"""Share of a side from which on two pictures show the same part."""

LARGER = 1.1


def describe(warp: NDArray[np.floating], moving: tuple[int, int], fixed: tuple[int, int]) -> str:
    """Such as `mirrored, one shows 81 % of the other`, whichever of the two came first.

    Args:
        warp: (2, 3) from coordinates of the fixed picture to those of the moving one.
        moving: width and height of the moving picture.
        fixed: width and height of the fixed one.
    """
    pixels = np.diag(np.divide(moving, 2.0)) @ warp[:, :2] @ np.diag(np.divide(2.0, fixed))
    found = []
    if np.linalg.det(pixels) < 0:
        found.append("mirrored")
        pixels = pixels @ np.diag([-1.0, 1.0])
    degrees = float(
        np.degrees(np.arctan2(pixels[1, 0] - pixels[0, 1], pixels[0, 0] + pixels[1, 1]))
    )
    if abs(degrees) >= TURNED_DEGREES:
        found.append(f"rotated by {abs(degrees):.0f}°")
    share = float(np.sqrt(abs(np.linalg.det(warp[:, :2]))))
    share = min(share, 1 / max(share, 1e-6))
    if share < SHOWN:
        found.append(f"one shows {100 * share * share:.0f} % of the other")
    elif (ratio := (moving[0] * moving[1]) / max(1, fixed[0] * fixed[1])) and not (
        1 / LARGER**2 < ratio < LARGER**2
    ):
        found.append(f"one is {max(ratio, 1 / ratio) ** 0.5:.1f} times as large")
    return ", ".join(found) or "the same view"
