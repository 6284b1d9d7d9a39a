"""Laying one picture of a pair over the other: many pairs at once.

Inverse-compositional Gauss-Newton for an affine warp (Baker & Matthews 2004), on pictures from
which local mean and contrast were taken, so that light and exposure do not pull. OpenCV's
`findTransformECC` finds the same warps at about ten times the cost, since it takes one pair a call.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

FLOOR = 8.0
"""Grey levels of contrast that count as none."""

CLIP = 2.5
"""So many local standard deviations at most."""


def normalised(pictures: Tensor, window: float) -> Tensor:
    """Pictures (P, s, s) without their local mean and contrast.

    Args:
        pictures: grey levels, 0 to 255.
        window: standard deviation, in pixels, of the Gaussian that `local` means.
    """
    mean = _smooth(pictures, window)
    rest = pictures - mean
    contrast = _smooth(rest * rest, window).clamp_min(0).sqrt()
    return (rest / (contrast + FLOOR)).clamp(-CLIP, CLIP)


def register(moving: Tensor, fixed: Tensor, warp: Tensor, *, steps: int, every: int = 1) -> Tensor:
    """Warps that lay the moving pictures over the fixed ones.

    Args:
        moving: (P, s, s), of `normalised`.
        fixed: (P, s, s), of `normalised`.
        warp: (P, 2, 3) first guess, from coordinates (-1 to 1) of the fixed picture to those of
            the moving one.
        steps: of Gauss-Newton.
        every: compare only every so many pixels along x and y.

    Returns:
        (P, 2, 3) warps; a pair that runs away keeps its first guess.
    """
    pairs, side, _ = fixed.shape
    place = _places(side, every)
    chosen = slice(every // 2, None, every)
    slope = _slopes(fixed)[:, chosen, chosen].reshape(pairs, -1, 2)
    flat = fixed[:, chosen, chosen].reshape(pairs, -1)
    linear = torch.cat([place, torch.ones_like(place[:, :1])], dim=1)
    steepest = (slope[:, :, :, None] * linear[None, :, None, :]).reshape(pairs, -1, 6)
    hessian = steepest.transpose(1, 2) @ steepest
    damping = 1e-3 * hessian.diagonal(dim1=1, dim2=2).mean(dim=1) + 1e-3
    inverse = torch.linalg.inv(hessian + damping[:, None, None] * torch.eye(6))
    first, bottom = warp, torch.tensor([[[0.0, 0.0, 1.0]]]).expand(pairs, 1, 3)
    for _ in range(steps):
        laid, inside = _seen(moving, warp, place)
        error = ((laid - flat) * inside)[:, :, None]
        change = (inverse @ (steepest.transpose(1, 2) @ error)).reshape(pairs, 2, 3)
        change = change.clamp(-0.2, 0.2)
        change[:, :, :2] += torch.eye(2)
        step = torch.linalg.inv(torch.cat([change, bottom], dim=1))
        warp = (torch.cat([warp, bottom], dim=1) @ step)[:, :2]
    lost = ~(((warp - first).abs() <= 0.5).all(dim=2).all(dim=1))  # NaN is lost, too
    return torch.where(lost[:, None, None], first, warp)


def sample(pictures: Tensor, warp: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures (P, s, s) seen through the warps, and 1 where a pixel lies inside, else 0."""
    side = pictures.shape[1]
    found, inside = _seen(pictures, warp, _places(side, 1))
    return found.reshape(pictures.shape), inside.reshape(pictures.shape)


def _seen(pictures: Tensor, warp: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """The pictures at the warped places (n, 2), and whether these are inside: two (P, n)."""
    at = place[None] @ warp[:, :, :2].transpose(1, 2) + warp[:, None, :, 2]
    found = functional.grid_sample(
        pictures[:, None], at[:, :, None], padding_mode="border", align_corners=False
    )[:, 0, :, 0]
    return found, (at.abs() <= 1).all(dim=2).float()


@lru_cache(maxsize=8)
def _places(side: int, every: int) -> Tensor:
    """(n, 2): x and y of the middle of every so many pixels, row after row."""
    line = ((2 * torch.arange(side) + 1) / side - 1)[every // 2 :: every]
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x.reshape(-1), y.reshape(-1)], dim=1)


def _slopes(pictures: Tensor) -> Tensor:
    """(P, s, s, 2): change along x and y, per unit of our coordinates; 0 at the border."""
    slope = torch.zeros(*pictures.shape, 2)
    scale = pictures.shape[1] / 4  # a central difference spans two pixels, of 2 / side each
    slope[:, :, 1:-1, 0] = (pictures[:, :, 2:] - pictures[:, :, :-2]) * scale
    slope[:, 1:-1, :, 1] = (pictures[:, 2:] - pictures[:, :-2]) * scale
    return slope


@lru_cache(maxsize=8)
def _smoothing(side: int, window: float) -> Tensor:
    """(s, s): Gaussian means along one side; a matrix, which is faster than a small convolution."""
    pixels = torch.arange(side)
    weights = torch.exp(-0.5 * ((pixels[:, None] - pixels) / window) ** 2)
    return weights / weights.sum(dim=1, keepdim=True)


def _smooth(pictures: Tensor, window: float) -> Tensor:
    """Gaussian mean of pictures (P, s, s)."""
    line = _smoothing(pictures.shape[1], window)
    return line @ pictures @ line.T
