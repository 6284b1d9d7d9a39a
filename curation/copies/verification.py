"""Whether two pictures, laid over each other, are one: measured on what still differs.

Look-alikes agree in what their kind has in common (outline, layout, light) and differ in the fine
texture everywhere; a copy agrees everywhere down to the finest detail that survived the copying.
So the pair is compared in many small windows, each normalised by itself and weighted by the texture
in it, not by its contrast: a strong shared edge counts no more than the weave beside it. A logistic
regression on these agreements, fitted to planted copies (`benchmarks/duplicates_fit.py`), says how
probable a copy is.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from curation import images
from curation.copies.candidates import fisher
from curation.copies.registration import normalised, register, sample

MODELS = Path(__file__).with_name("verifier.json")

COARSE_STEPS = 5
WINDOW = 2.0
"""Pixels, at every resolution: what `normalised` calls local while registering."""

HOPELESS = 0.35
"""Agreement at 32 pixels below which no pair is examined: planted copies stay above it in 99.5 of
100 cases, and pictures that merely share their kind of texture fall below."""

CLOSE = 128
"""Pixels of the sides of a picture that is looked at closely."""

TEXTURE = 16.0
"""Variance, in grey levels squared, of a window that counts half as textured."""

NOISE = 4.0
"""Variance that is noise: added to each window's own, so that flat windows agree in nothing."""

SURE = 12.0
"""Log odds beyond which nothing is surer."""

AGREEMENTS = (
    "correlation",
    "detail",
    "fine",
    "fine_strict",
    "fine_low",
    "fine_high",
    "broad",
    "broad_strict",
    "broad_low",
    "broad_high",
)
FEATURES = ("overlap", "textured", "shear", *AGREEMENTS)


@dataclass(frozen=True)
class Effort:
    """How finely a pair is registered.

    Attributes:
        steps: of Gauss-Newton.
        every: compare only every so many pixels along x and y while registering.
    """

    steps: int
    every: int


THUMBNAIL = Effort(steps=4, every=2)
CLOSELY = Effort(steps=10, every=1)


@dataclass(frozen=True)
class Setting:
    """What is known of pairs before they are examined.

    Attributes:
        similarity: (P,) of the candidates' descriptors.
        coarse: (P,) agreement at 32 pixels.
        level: (P,) how similar these two are to their look-alikes: see `candidates.levels`.
    """

    similarity: NDArray[np.floating[Any]]
    coarse: NDArray[np.floating[Any]]
    level: NDArray[np.floating[Any]]

    def __getitem__(self, here: NDArray[np.int64] | slice) -> "Setting":
        """That of some of the pairs."""
        return Setting(self.similarity[here], self.coarse[here], self.level[here])


def coarsely(
    moving: NDArray[np.uint8], fixed: NDArray[np.uint8], warp: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Agreement (P,) of thumbnails (P, 64, 64) at half their size, and the warps (P, 2, 3)."""
    with torch.inference_mode():
        a, b = (
            normalised(functional.avg_pool2d(torch.from_numpy(x).float()[:, None], 2)[:, 0], WINDOW)
            for x in (moving, fixed)
        )
        laid = register(a, b, torch.from_numpy(warp).float(), steps=COARSE_STEPS)
        seen, inside = sample(a, laid)
        return agreement(seen, b, inside).numpy(), laid.numpy()


def examine(
    moving: NDArray[np.uint8],
    fixed: NDArray[np.uint8],
    warp: NDArray[np.float32],
    aspects: NDArray[np.float64],
    effort: Effort,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Registers pictures more finely and measures what still differs.

    Args:
        moving: (P, s, s) grey levels.
        fixed: (P, s, s) grey levels.
        warp: (P, 2, 3) first guesses.
        aspects: (P, 2) width / height of the moving and of the fixed picture.
        effort: how finely.

    Returns:
        Features (P, F) in the order of `FEATURES`, and the warps (P, 2, 3).
    """
    with torch.inference_mode():
        a, b = torch.from_numpy(moving).float(), torch.from_numpy(fixed).float()
        fine_a, fine_b = normalised(a, WINDOW), normalised(b, WINDOW)
        laid = register(
            fine_a, fine_b, torch.from_numpy(warp), steps=effort.steps, every=effort.every
        )
        seen, inside = sample(a, laid)
        found = [
            inside.mean(dim=(1, 2)),
            _textured(b),
            shear(laid, torch.from_numpy(aspects).float()),
            _correlation(seen, b, inside),
            agreement(sample(fine_a, laid)[0], fine_b, inside),
            *_windows(seen, b, inside, side=7),
            *_windows(seen, b, inside, side=13),
        ]
        return torch.stack(found, dim=1).numpy(), laid.numpy()


def close_up(path: Path) -> NDArray[np.uint8]:
    """Grey levels (CLOSE, CLOSE) of a picture, squashed.

    Raises:
        UnreadableImage: as `images.decode`.
    """
    pixels = np.asarray(images.decode(path, at_least=CLOSE))
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    smaller = min(grey.shape) > CLOSE
    return np.asarray(
        cv2.resize(
            grey, (CLOSE, CLOSE), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        )
    )


def agreement(seen: Tensor, fixed: Tensor, inside: Tensor) -> Tensor:
    """(P,) cosine of two sets of normalised pictures where they overlap."""
    both = (seen * fixed * inside).sum(dim=(1, 2))
    sizes = (seen * seen * inside).sum(dim=(1, 2)) * (fixed * fixed * inside).sum(dim=(1, 2))
    return both / sizes.clamp_min(1e-6).sqrt()


def _correlation(seen: Tensor, fixed: Tensor, inside: Tensor) -> Tensor:
    """(P,) correlation of grey levels where the pictures overlap."""
    weight = inside / inside.sum(dim=(1, 2), keepdim=True).clamp_min(1)
    a = seen - (seen * weight).sum(dim=(1, 2), keepdim=True)
    b = fixed - (fixed * weight).sum(dim=(1, 2), keepdim=True)
    return agreement(a, b, inside)


def _windows(seen: Tensor, fixed: Tensor, inside: Tensor, *, side: int) -> tuple[Tensor, ...]:
    """Agreement in windows of `side` pixels.

    Returns:
        Four (P,): the mean over windows, weighted by the texture that both have; the mean weighted
        by the texture that either has, which is lower where one shows what the other lacks; and
        the 20th and 80th percentiles of the textured windows: under a watermark a few differ.
    """
    level = fixed.mean(dim=(1, 2), keepdim=True)
    a, b = (seen - level) * inside, (fixed - level) * inside
    maps = torch.stack([inside, a, b, a * a, b * b, a * b], dim=1)
    share, a, b, aa, bb, ab = functional.avg_pool2d(maps, side, stride=side // 2).unbind(dim=1)
    inner = share.clamp_min(1e-3)
    a, b, aa, bb, ab = a / inner, b / inner, aa / inner, bb / inner, ab / inner
    var_a, var_b = (aa - a * a).clamp_min(0), (bb - b * b).clamp_min(0)
    agree = (ab - a * b) / ((var_a + NOISE) * (var_b + NOISE)).sqrt()
    whole = (share > 0.6).float()
    least, most = torch.minimum(var_a, var_b), torch.maximum(var_a, var_b)
    shared, either = whole * least / (least + TEXTURE), whole * most / (most + TEXTURE)
    textured = shared > 0.5
    ranked = torch.where(textured, agree, torch.nan).flatten(1)
    low, high = ranked.nanquantile(torch.tensor([0.2, 0.8]), dim=1)
    enough = textured.sum(dim=(1, 2)) >= 8
    return (
        (agree * shared).sum(dim=(1, 2)) / shared.sum(dim=(1, 2)).clamp_min(1e-3),
        (agree * either).sum(dim=(1, 2)) / either.sum(dim=(1, 2)).clamp_min(1e-3),
        torch.where(enough, low, torch.zeros(())),
        torch.where(enough, high, torch.zeros(())),
    )


def _textured(pictures: Tensor) -> Tensor:
    """(P,) share of windows with texture."""
    squares = functional.avg_pool2d(torch.stack([pictures, pictures**2], dim=1), 7, stride=3)
    variance = squares[:, 1] - squares[:, 0] ** 2
    return (variance > TEXTURE).float().mean(dim=(1, 2))


def shear(warp: Tensor, aspects: Tensor) -> Tensor:
    """(P,) log of how much more a warp stretches one way than across, in true proportions."""
    moving, fixed = aspects[:, 0], aspects[:, 1]  # along x, a unit is so many along y
    true = warp[:, :, :2].clone()
    true[:, 0, 0] *= moving / fixed
    true[:, 0, 1] *= moving
    true[:, 1, 0] /= fixed
    sizes = torch.linalg.svdvals(true)
    return torch.log(sizes[:, 0] / sizes[:, 1].clamp_min(1e-3))


def inputs(features: NDArray[np.float32], setting: Setting) -> NDArray[np.float64]:
    """(P, I) what the regression weighs: agreements, also on Fisher's scale and by texture."""
    plain, agreements = features[:, :3], features[:, 3:]
    before = np.stack([setting.similarity, setting.coarse], axis=1)
    together = np.concatenate([before, agreements], axis=1)
    scaled = fisher(together)
    textured = features[:, 1:2]
    return np.concatenate(
        [plain, together, scaled, scaled * textured, setting.level[:, None]], axis=1
    )


def log_odds(weighed: NDArray[np.float64], model: str) -> NDArray[np.float64]:
    """(P,) log odds of a copy.

    Args:
        weighed: (P, I) of `inputs`; for `close` with the thumbnails' log odds as one more column.
        model: `thumbnail` or `close`: what was examined.
    """
    fitted = _models()[model]
    scaled = (weighed - fitted["mean"]) / fitted["scale"]
    found: NDArray[np.float64] = scaled @ fitted["weight"] + fitted["bias"]
    return np.clip(found, -SURE, SURE)


@lru_cache(maxsize=1)
def _models() -> dict[str, dict[str, NDArray[np.float64]]]:
    stored: dict[str, dict[str, Any]] = json.loads(MODELS.read_text(encoding="utf-8"))
    return {
        name: {key: np.asarray(model[key]) for key in ("mean", "scale", "weight", "bias")}
        for name, model in stored.items()
    }
