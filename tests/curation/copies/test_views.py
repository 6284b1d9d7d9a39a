"""The ways in which a copy may show its original."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curation.copies import registration
from curation.copies.views import CROPS, VIEWS, View, turned

SIDE = 64
CORNERS = np.array([(-1, -1), (1, -1), (-1, 1), (1, 1)])


def picture(seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(seed).uniform(0, 255, (1, SIDE, SIDE)).astype(np.float32)


def test_views__the_whole_picture_comes_first() -> None:
    assert VIEWS[0] == View()
    np.testing.assert_array_equal(VIEWS[0].warp(), [[1, 0, 0], [0, 1, 0]])


def test_views__no_two_are_the_same() -> None:
    assert len(set(VIEWS)) == len(VIEWS)


def test_views__eight_turns_of_the_whole() -> None:
    seen = {turned(picture(), v.turn).tobytes() for v in VIEWS if v.side == SIDE}
    assert len(seen) == 8


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_views__every_part_lies_inside(view: View) -> None:
    assert 0 <= view.left <= view.left + view.side <= SIDE
    assert 0 <= view.top <= view.top + view.side <= SIDE


@pytest.mark.parametrize("turn", range(8))
def test_warp__of_a_turn_shows_what_turned_shows(turn: int) -> None:
    whole = picture()
    warp = torch.from_numpy(View(turn=turn).warp()[None]).float()
    seen, inside = registration.sample(torch.from_numpy(whole), warp)
    np.testing.assert_allclose(seen.numpy(), turned(whole, turn), atol=0.05)
    assert inside.all()


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_warp__leads_to_the_corners_of_the_part(view: View) -> None:
    warp = view.warp()
    corners = CORNERS @ warp[:, :2].T + warp[:, 2]
    pixels = (corners + 1) / 2 * SIDE
    assert pixels.min(axis=0) == pytest.approx((view.left, view.top))
    assert pixels.max(axis=0) == pytest.approx((view.left + view.side, view.top + view.side))


@pytest.mark.parametrize("share,positions", CROPS)
@given(data=st.data())
def test_views__near_every_crop_of_that_size(
    share: float, positions: int, data: st.DataObject
) -> None:
    side = round(SIDE * share)
    left, top = (data.draw(st.floats(0, SIDE - side)) for _ in range(2))
    furthest = (SIDE - side) / (positions - 1) / 2 + 0.5
    assert any(
        v.side == side and abs(v.left - left) <= furthest and abs(v.top - top) <= furthest
        for v in VIEWS
    )
