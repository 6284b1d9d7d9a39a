"""Small random changes of whole batches that leave the answer as it is."""

import numpy as np
import torch
from torch.nn import functional

_ZOOM = (0.8, 1.1)
_SHIFT = 0.08
_DEGREES = 8.0
_BRIGHTNESS = 0.2


def light(batch: torch.Tensor, *, rng: np.random.Generator) -> torch.Tensor:
    """Zoom, shift, rotate a little, mirror and change the brightness of each image on its own.

    One interpolation for the whole batch, so it costs a small part of a training step.

    Args:
        batch: (B, 3, S, S) pixels from 0 to 1.
        rng: the only source of randomness.
    """
    n = len(batch)
    angle = np.deg2rad(rng.uniform(-_DEGREES, _DEGREES, n))
    zoom = rng.uniform(*_ZOOM, n)
    mirror = rng.choice([-1.0, 1.0], n)
    theta = np.zeros((n, 2, 3), dtype=np.float32)
    theta[:, 0, 0] = mirror * np.cos(angle) * zoom
    theta[:, 0, 1] = -np.sin(angle) * zoom
    theta[:, 1, 0] = mirror * np.sin(angle) * zoom
    theta[:, 1, 1] = np.cos(angle) * zoom
    theta[:, :, 2] = rng.uniform(-_SHIFT, _SHIFT, (n, 2))
    grid = functional.affine_grid(torch.from_numpy(theta), list(batch.shape), align_corners=False)
    moved = functional.grid_sample(batch, grid, padding_mode="border", align_corners=False)
    light_factor = rng.uniform(1 - _BRIGHTNESS, 1 + _BRIGHTNESS, (n, 1, 1, 1)).astype(np.float32)
    return (moved * torch.from_numpy(light_factor)).clamp_(0, 1)
