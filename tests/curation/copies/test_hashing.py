"""Candidates by hashes: as the exact search finds them, but for a few."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from curation.copies import candidates, hashing
from curation.copies.candidates import Candidates
from curation.copies.views import VIEWS
from tests.curation.copies.conftest import thumbs_of


def clouds(count: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """(N, 64, 64) smooth pictures that share a vignette, as photos of one place do."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 7, 7), dtype=np.uint8)
    along = np.linspace(-1, 1, 64)
    light = 1 - 0.4 * (along[:, None] ** 2 + along**2)
    found = [cv2.resize(one, (64, 64), interpolation=cv2.INTER_CUBIC) * light for one in coarse]
    return np.array(found).astype(np.uint8)


def cropped(thumbs: NDArray[np.uint8], *, left: int, top: int) -> NDArray[np.uint8]:
    parts = [cv2.resize(one[top : top + 56, left : left + 56], (64, 64)) for one in thumbs]
    return np.array(parts, np.uint8)


def pairs_of(found: Candidates) -> set[tuple[int, int]]:
    return {
        (min(a, b), max(a, b))
        for a, b in zip(found.moving.tolist(), found.fixed.tolist(), strict=True)
    }


@pytest.fixture(scope="module")
def crowd() -> NDArray[np.uint8]:
    """600 pictures, then changed copies of the first 60."""
    originals = clouds(600)
    noise = np.random.default_rng(1).normal(0, 6, (15, 64, 64))
    copies = [
        originals[:15, :, ::-1],
        np.rot90(originals[15:30], axes=(1, 2)),
        cropped(originals[30:45], left=5, top=3),
        np.clip(originals[45:60] * 0.8 + noise, 0, 255).astype(np.uint8),
    ]
    return np.concatenate([originals, *copies])


PLANTED = {(row, 600 + row) for row in range(60)}


@pytest.fixture(scope="module")
def by_hashes(crowd: NDArray[np.uint8]) -> Candidates:
    """As among very many pictures: cells of the inverted file are searched, not all hashes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "LIST_BELOW", 200)
        return hashing.propose(crowd, neighbours=4)


@pytest.fixture(scope="module")
def exact(crowd: NDArray[np.uint8]) -> Candidates:
    return candidates.propose(crowd, neighbours=4)


def test_describe__as_one_view_at_a_time(garments: list[Path], textiles: list[Path]) -> None:
    thumbs = thumbs_of([*garments[:6], *textiles[:6]])
    together = hashing.describe(thumbs).numpy()
    assert together.shape == (12, len(VIEWS), 256)
    for number, view in enumerate(VIEWS):
        alone = candidates.describe(thumbs, view)
        np.testing.assert_allclose(together[:, number], alone, atol=2e-4)


def test_hashes__differ_by_the_angle(textiles: list[Path]) -> None:
    described = hashing.describe(thumbs_of(textiles[:40]))[:, 0]
    bits = np.unpackbits(hashing.hashes(described), axis=1)
    apart = (bits[:, None] != bits).mean(axis=2)
    angle = np.arccos(np.clip((described @ described.T).numpy(), -1, 1)) / np.pi
    assert np.abs(apart - angle).max() < 0.15
    assert abs((apart - angle).mean()) < 0.01


def test_propose__finds_what_the_exact_search_finds(
    by_hashes: Candidates, exact: Candidates
) -> None:
    assert pairs_of(exact) >= PLANTED
    assert len(pairs_of(by_hashes) & PLANTED) >= 59
    assert len(pairs_of(by_hashes) & pairs_of(exact)) > 0.8 * len(exact)
    assert len(by_hashes) == len(pairs_of(by_hashes)) <= 4 * 660


def shared(ours: Candidates, theirs: Candidates) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the pairs that both hold."""
    first, second = (pairs.moving * 10_000 + pairs.fixed for pairs in (ours, theirs))
    _, here, there = np.intersect1d(first, second, return_indices=True)
    return here, there


def test_propose__tells_view_and_similarity(by_hashes: Candidates, exact: Candidates) -> None:
    here, there = shared(by_hashes, exact)
    assert len(here) > 1000
    similarity = np.abs(by_hashes.similarity[here] - exact.similarity[there])
    assert np.quantile(similarity, 0.99) < 0.02
    assert (by_hashes.view[here] == exact.view[there]).mean() > 0.95


def test_propose__tells_how_alike_pictures_are(
    garments: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "LIST_BELOW", 200)
    thumbs = thumbs_of(garments[:500])
    ours, theirs = (way.propose(thumbs, neighbours=4) for way in (hashing, candidates))
    here, there = shared(ours, theirs)
    off = ours.level[here] - theirs.level[there]
    assert abs(off.mean()) < 0.05
    assert off.std() < 0.25 * theirs.level.std()


def test_propose__many_pictures_go_by_hashes(
    crowd: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "EXACT_BELOW", 100)
    few, many = crowd[-99:], crowd[-100:]
    for thumbs, hashed in ((few, False), (many, True)):
        found = candidates.propose(thumbs, neighbours=4)
        same = np.array_equal(found.level, hashing.propose(thumbs, neighbours=4).level)
        assert same == hashed


def test_propose__same_pairs_every_time(
    crowd: NDArray[np.uint8], by_hashes: Candidates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "LIST_BELOW", 200)
    again = hashing.propose(crowd, neighbours=4)
    for name in ("moving", "fixed", "view", "similarity", "level"):
        np.testing.assert_array_equal(getattr(by_hashes, name), getattr(again, name))


def test_propose__a_crowd_of_equals_is_found_and_does_not_flood() -> None:
    others = clouds(300, seed=4)
    thumbs = np.concatenate([np.repeat(clouds(1), 200, axis=0), others])
    found = hashing.propose(thumbs, neighbours=4)
    equal = {pair for pair in pairs_of(found) if pair[1] < 200}
    assert {row for pair in equal for row in pair} == set(range(200))
    assert len({row for pair in pairs_of(found) - equal for row in pair if row < 200}) < 20


def test_propose__flat_pictures_pair_with_nothing() -> None:
    flat = np.full((40, 64, 64), 90, np.uint8)
    thumbs = np.concatenate([flat, clouds(200)])
    found = hashing.propose(thumbs, neighbours=4)
    assert len(found)
    assert min(found.moving.min(), found.fixed.min()) >= 40
    alone = hashing.propose(clouds(200), neighbours=4)
    assert {(a - 40, b - 40) for a, b in pairs_of(found)} == pairs_of(alone)


@pytest.mark.parametrize(
    "thumbs",
    [np.empty((0, 64, 64), np.uint8), clouds(1), np.full((9, 64, 64), 7, np.uint8)],
    ids=["none", "one", "all flat"],
)
def test_propose__nothing_to_pair(thumbs: NDArray[np.uint8]) -> None:
    assert len(hashing.propose(thumbs, neighbours=4)) == 0


def test_propose__two_pictures() -> None:
    thumbs = np.repeat(clouds(1), 2, axis=0)
    found = hashing.propose(thumbs, neighbours=4)
    assert pairs_of(found) == {(0, 1)}
    assert found.similarity[0] > 0.99


def test_propose__reads_few_thumbnails_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "READ", 64)
    thumbs = clouds(200)
    asked: list[int] = []

    class Stored:
        def __len__(self) -> int:
            return len(thumbs)

        def __getitem__(self, rows: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
            asked.append(len(thumbs[rows]))
            return thumbs[rows]

    found = hashing.propose(Stored(), neighbours=4)
    assert pairs_of(found) == pairs_of(hashing.propose(thumbs, neighbours=4))
    assert sorted(asked) == [8, 8, *[64] * 6]


def test_propose__says_how_far_it_is_and_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "READ", 64)
    told: list[int] = []
    hashing.propose(clouds(200), neighbours=1, progress=told.append)
    assert told == [64, 128, 192, 200]

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hashing.propose(clouds(200), neighbours=1, progress=stop)
