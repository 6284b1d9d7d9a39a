"""Pairs that may show the same picture."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from curation.copies import planting
from curation.copies.candidates import Candidates, describe, propose
from curation.copies.views import VIEWS
from tests.curation.copies.conftest import thumbs_of


def pairs_of(found: Candidates) -> list[tuple[int, int]]:
    return [
        (min(a, b), max(a, b))
        for a, b in zip(found.moving.tolist(), found.fixed.tolist(), strict=True)
    ]


@pytest.mark.parametrize("count", [0, 1])
def test_propose__nothing_to_pair(count: int, textiles: list[Path]) -> None:
    found = propose(thumbs_of(textiles[:count]), neighbours=4)
    assert len(found) == 0
    assert found.similarity.shape == (0,)


def test_propose__two_pictures_make_one_pair(textiles: list[Path]) -> None:
    found = propose(thumbs_of(textiles[:2]), neighbours=4)
    assert pairs_of(found) == [(0, 1)]
    assert 0 <= found.similarity[0] < 0.9


def test_propose__flat_pictures_resemble_nothing(textiles: list[Path]) -> None:
    flat = np.stack([np.full((64, 64), level, np.uint8) for level in (0, 128, 255)])
    found = propose(np.concatenate([flat, thumbs_of(textiles[:2])]), neighbours=4)
    flat_ones = (found.moving < 3) | (found.fixed < 3)
    assert (found.similarity[flat_ones] <= 0).all()
    assert (found.similarity[~flat_ones] > 0).all()


def test_propose__all_pictures_identical(textiles: list[Path]) -> None:
    found = propose(np.repeat(thumbs_of(textiles[:1]), 7, axis=0), neighbours=4)
    assert len(found) >= 7 * 4 / 2
    assert found.similarity == pytest.approx(1, abs=0.01)
    assert set(found.view.tolist()) == {0}


def test_propose__each_pair_once_and_no_picture_with_itself(textiles: list[Path]) -> None:
    found = propose(thumbs_of(textiles[:60]), neighbours=4)
    pairs = pairs_of(found)
    assert len(pairs) == len(set(pairs))
    assert all(a < b for a, b in pairs)
    asked = np.bincount(np.concatenate([found.moving, found.fixed]), minlength=60)
    assert asked.min() >= 4
    assert (found.similarity <= 1.01).all()
    assert ((found.view >= 0) & (found.view < len(VIEWS))).all()


@pytest.mark.parametrize("folder", ["textiles", "garments"])
@pytest.mark.parametrize(
    "change",
    ["re-encoded", "resized", "brightened", "mirrored", "rotated-90", "blurred", "cropped"],
)
def test_propose__a_copys_nearest_is_its_original(
    folder: str, change: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    originals: list[Path] = request.getfixturevalue(folder)[:40]
    planted = planting.plant(
        originals, tmp_path, count=6, rng=np.random.default_rng(1), changes=[change]
    )
    found = propose(thumbs_of([*originals, *(one.copy for one in planted)]), neighbours=1)
    pairs = set(pairs_of(found))
    right = [
        (originals.index(one.original), row) in pairs
        for row, one in enumerate(planted, start=len(originals))
    ]
    assert sum(right) >= len(right) - (change == "cropped")


def test_propose__names_the_view_that_was_recognised(textiles: list[Path]) -> None:
    [one] = thumbs_of(textiles[:1])
    for at, view in enumerate(VIEWS[:8]):
        seen = one[:, ::-1] if view.turn & 1 else one
        seen = seen[::-1] if view.turn & 2 else seen
        seen = seen.T if view.turn & 4 else seen
        found = propose(np.stack([one, seen]), neighbours=1)
        inverse = {5: 6, 6: 5}.get(at, at)
        assert int(found.view[0]) == (at if found.moving[0] == 0 else inverse)
        assert found.similarity[0] > 0.98


def test_propose__reads_thumbnails_as_they_are_asked_for(textiles: list[Path]) -> None:
    held = thumbs_of(textiles[:30])

    class Stored:
        def __len__(self) -> int:
            return len(held)

        def __getitem__(self, rows: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
            return held[rows]

    plain, lazy = propose(held, neighbours=3), propose(Stored(), neighbours=3)
    assert pairs_of(plain) == pairs_of(lazy)
    np.testing.assert_array_equal(plain.similarity, lazy.similarity)


def test_propose__tells_how_far_it_is(textiles: list[Path]) -> None:
    told: list[int] = []
    propose(thumbs_of(textiles[:20]), neighbours=2, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 20


def test_describe__of_unit_length_or_nothing(textiles: list[Path]) -> None:
    thumbs = np.concatenate([thumbs_of(textiles[:5]), np.full((1, 64, 64), 77, np.uint8)])
    for view in VIEWS:
        lengths = np.linalg.norm(describe(thumbs, view), axis=1)
        np.testing.assert_allclose(lengths, [1, 1, 1, 1, 1, 0], atol=1e-5)


@pytest.mark.parametrize(
    "light",
    [
        lambda x: 0.7 * x,
        lambda x: 40 + 0.7 * x,
        lambda x: 255 * (x / 255) ** 0.8,
        lambda x: x * np.linspace(0.7, 1, 64),
    ],
    ids=["darker", "paler", "gamma", "from one side"],
)
def test_describe__hardly_sees_the_light(
    light: Callable[[NDArray[np.float64]], NDArray[np.float64]], textiles: list[Path]
) -> None:
    thumbs = thumbs_of(textiles[:20]).astype(np.float64)
    one, other = (describe(x.astype(np.float32), VIEWS[0]) for x in (thumbs, light(thumbs)))
    alike = one @ other.T
    assert alike.diagonal().min() > 0.95
    assert (alike.argmax(axis=1) == np.arange(20)).all()
