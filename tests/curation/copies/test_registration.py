"""Laying one picture over the other."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from curation.copies.registration import normalised, register, sample
from curation.images import decode

SIDE = 96
SAME = np.eye(2, 3)
WINDOW = 2.0


def grey(path: Path) -> NDArray[np.float64]:
    pixels = cv2.cvtColor(np.asarray(decode(path)), cv2.COLOR_RGB2GRAY)
    return cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float64)


def seen_through(pictures: NDArray[np.float64], warp: NDArray[np.float64]) -> NDArray[np.float64]:
    """What `sample` shows, by another library and cubic interpolation."""
    line = (2 * np.arange(SIDE) + 1) / SIDE - 1
    x, y = np.meshgrid(line, line)
    at = np.stack([x, y, np.ones_like(x)], axis=-1) @ warp.T
    places = [(at[..., axis] + 1) * SIDE / 2 - 0.5 for axis in (1, 0)]
    return np.asarray(ndimage.map_coordinates(pictures, places, order=3, mode="nearest"))


def torched(*pictures: NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).float()


def registered(
    moving: NDArray[np.float64],
    fixed: NDArray[np.float64],
    guess: NDArray[np.float64] = SAME,
    *,
    steps: int = 15,
    every: int = 1,
) -> NDArray[np.float64]:
    a, b = (normalised(torched(one), WINDOW) for one in (moving, fixed))
    first = torch.from_numpy(guess[None]).float()
    return register(a, b, first, steps=steps, every=every)[0].numpy().astype(np.float64)


def off_by(found: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Pixels by which the worst corner is missed."""
    corners = np.array([(x, y, 1) for x in (-1, 1) for y in (-1, 1)])
    return float(np.linalg.norm(corners @ (found - truth).T, axis=1).max() * SIDE / 2)


def turn(
    degrees: float, scale: float = 1, shift: tuple[float, float] = (0, 0)
) -> NDArray[np.float64]:
    angle = np.radians(degrees)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


@pytest.mark.parametrize(
    "truth",
    [
        SAME,
        turn(0, shift=(0.03, -0.02)),
        turn(2),
        turn(-3, 0.97, (0.01, 0.02)),
        np.array([[1.03, 0.02, 0.01], [-0.01, 0.97, -0.02]]),
    ],
    ids=["none", "shift", "turn", "similarity", "affine"],
)
def test_register__recovers_a_known_warp(truth: NDArray[np.float64], textiles: list[Path]) -> None:
    moving = grey(textiles[0])
    assert off_by(registered(moving, seen_through(moving, truth)), truth) < 0.25


def test_register__despite_other_light_and_noise(textiles: list[Path]) -> None:
    moving, truth = grey(textiles[5]), turn(2, shift=(0.01, -0.01))
    light = np.linspace(0.7, 1.2, SIDE)[None, :]
    noise = np.random.default_rng(0).normal(0, 4, (SIDE, SIDE))
    assert off_by(registered(moving, seen_through(moving, truth) * light + noise), truth) < 0.5


def test_register__from_a_mirrored_first_guess(textiles: list[Path]) -> None:
    moving = grey(textiles[1])
    mirror = np.array([[-1.0, 0, 0], [0, 1, 0]])
    truth = np.column_stack([turn(2)[:, :2] @ mirror[:, :2], (0.01, 0.0)])
    assert off_by(mirror, truth) > 1
    assert off_by(registered(moving, seen_through(moving, truth), mirror), truth) < 0.25


def test_register__every_second_pixel_does_nearly_as_well(textiles: list[Path]) -> None:
    moving, truth = grey(textiles[2]), turn(1.5, shift=(0.01, 0.01))
    found = registered(moving, seen_through(moving, truth), every=2)
    assert off_by(found, truth) < 0.5


def test_register__each_pair_by_itself(textiles: list[Path]) -> None:
    pictures = [grey(path) for path in textiles[:3]]
    truths = [turn(1), turn(-2), turn(0, shift=(0.02, 0.0))]
    seen = [seen_through(one, truth) for one, truth in zip(pictures, truths, strict=True)]
    a, b = (normalised(torched(*side), WINDOW) for side in (pictures, seen))
    guess = torch.from_numpy(np.stack([SAME] * 3)).float()
    together = register(a, b, guess, steps=15).numpy()
    for at, truth in enumerate(truths):
        alone = registered(pictures[at], seen[at])
        np.testing.assert_allclose(together[at], alone, atol=1e-3)
        assert off_by(together[at], truth) < 0.25


def test_register__flat_pictures_stay_where_they_were_guessed() -> None:
    flat, guess = np.full((SIDE, SIDE), 90.0), turn(5)
    np.testing.assert_allclose(registered(flat, flat, guess), guess, atol=1e-3)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_register__never_runs_away(seed: int) -> None:
    """Smooth clouds that have nothing in common pull a warp far from where it began."""
    clouds = ndimage.gaussian_filter(
        np.random.default_rng(seed).normal(size=(2, 8, 24, 24)), (0, 0, 4, 4)
    )
    moving, fixed = 128 + 50 * clouds / clouds.std()
    guess = np.stack([SAME] * 8)
    a, b = (normalised(torch.from_numpy(x).float(), WINDOW) for x in (moving, fixed))
    found = register(a, b, torch.from_numpy(guess).float(), steps=10).numpy()
    assert np.isfinite(found).all()
    assert (np.abs(found - guess) <= 0.5 + 1e-6).all()


def test_sample__shows_the_picture_itself_and_knows_what_is_outside(textiles: list[Path]) -> None:
    picture = torched(grey(textiles[0]))
    seen, inside = sample(picture, torch.from_numpy(SAME[None]).float())
    np.testing.assert_allclose(seen.numpy(), picture.numpy(), atol=0.05)
    assert inside.all()
    _, inside = sample(picture, torch.from_numpy(turn(0, shift=(1, 0))[None]).float())
    assert inside[0, :, : SIDE // 2].all()
    assert not inside[0, :, SIDE // 2 :].any()


def test_sample__follows_a_warp_as_another_library_does(textiles: list[Path]) -> None:
    picture, warp = ndimage.gaussian_filter(grey(textiles[3]), 2), turn(7, 0.8, (0.05, -0.1))
    seen, inside = sample(torched(picture), torch.from_numpy(warp[None]).float())
    difference = np.abs(seen[0].numpy() - seen_through(picture, warp))[inside[0].numpy() > 0]
    assert difference.mean() < 0.5


def test_normalised__does_not_see_brightness_and_contrast(textiles: list[Path]) -> None:
    picture = grey(textiles[0])
    plain, other = normalised(torched(picture, 30 + 0.9 * picture), WINDOW)
    different = normalised(torched(grey(textiles[1])), WINDOW)[0]
    assert (plain - other).abs().mean() < 0.05
    assert (plain - different).abs().mean() > 0.3
