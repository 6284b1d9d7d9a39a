"""All pairs of copies among many pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation.copies import planting, search
from curation.copies.planting import BENCHMARK
from curation.errors import Cancelled
from tests.curation.copies.conftest import Compared, compare, thumbs_of

PlantAndCompare = Callable[..., Compared]


@pytest.mark.parametrize("folder", ["textiles", "garments"])
def test_compare__finds_copies_by_each_of_ten_changes(
    folder: str, plant_and_compare: PlantAndCompare, request: pytest.FixtureRequest
) -> None:
    originals: list[Path] = request.getfixturevalue(folder)[:60]
    compared = plant_and_compare(originals, BENCHMARK, each=4)
    found = compared.found()
    hits = {
        change: sum(
            (root, row) in found
            for row, root in compared.roots.items()
            if compared.changes[row] == change
        )
        for change in BENCHMARK
    }
    assert min(hits.values()) >= 2, hits
    assert sum(hits.values()) >= 37, hits
    roots = compared.roots
    assert not {(a, b) for a, b in found if roots.get(a, a) != roots.get(b, b)}


def test_compare__only_the_copy_among_look_alikes(
    textiles: list[Path], plant_and_compare: PlantAndCompare
) -> None:
    compared = plant_and_compare(textiles[::8], ["resized"], each=1)
    assert compared.found() == {(root, row) for row, root in compared.roots.items()}


@pytest.mark.parametrize("count", [0, 1])
def test_compare__nothing_to_compare(count: int, textiles: list[Path]) -> None:
    pairs, _ = compare(textiles[:count])
    assert len(pairs.probability) == 0
    assert len(pairs.copies()) == 0
    assert pairs.warp.shape == (0, 2, 3)


def test_compare__two_pictures_that_are_one(textiles: list[Path], tmp_path: Path) -> None:
    [one] = planting.plant(
        textiles[:1], tmp_path, count=1, rng=np.random.default_rng(0), changes=["mirrored"]
    )
    pairs, _ = compare([one.original, one.copy])
    assert sorted((int(pairs.moving[0]), int(pairs.fixed[0]))) == [0, 1]
    assert pairs.copies().tolist() == [0]


def test_compare__two_pictures_that_are_not(textiles: list[Path]) -> None:
    pairs, _ = compare(textiles[:2])
    assert len(pairs.copies()) == 0


def test_compare__identical_pictures_are_all_copies(textiles: list[Path]) -> None:
    pairs, _ = compare([textiles[3]] * 6)
    assert len(pairs.probability) >= 6 * search.NEIGHBOURS / 2
    assert len(pairs.copies()) == len(pairs.probability)


def test_compare__flat_pictures_are_no_copies_of_each_other(
    textiles: list[Path], tmp_path: Path
) -> None:
    paths = []
    for level in (0, 60, 120, 250):
        paths.append(tmp_path / f"{level}.png")
        Image.new("L", (90, 60), level).save(paths[-1])
    pairs, _ = compare([*paths, *textiles[:5]])
    assert len(pairs.copies()) == 0
    assert np.isfinite(pairs.probability).all()


def test_compare__probabilities_rows_and_warps_are_sound(
    garments: list[Path], plant_and_compare: PlantAndCompare
) -> None:
    compared = plant_and_compare(garments[:30], ["cropped", "noised"], each=5)
    pairs, count = compared.pairs, 40
    assert ((pairs.probability >= 0) & (pairs.probability <= 1)).all()
    assert np.isfinite(pairs.warp).all()
    low, high = np.minimum(pairs.moving, pairs.fixed), np.maximum(pairs.moving, pairs.fixed)
    assert (low < high).all()
    assert high.max() < count
    assert len(set(zip(low.tolist(), high.tolist(), strict=True))) == len(low)


def test_compare__files_that_are_gone_leave_the_thumbnails_verdict(
    garments: list[Path], tmp_path: Path
) -> None:
    thumbs = thumbs_of(garments[:80])
    sizes = np.full((80, 2), 112, np.int64)
    seen = search.compare(thumbs, sizes, lambda rows: [garments[row] for row in rows])
    gone = search.compare(thumbs, sizes, lambda rows: [tmp_path / "gone.jpg" for _ in rows])
    assert seen.close.any()
    np.testing.assert_array_equal(seen.close, gone.close)
    odds = np.log(gone.probability / (1 - gone.probability))
    np.testing.assert_array_less(np.abs(odds[gone.close]), search.DOUBT + 1e-6)
    np.testing.assert_array_equal(seen.probability[~seen.close], gone.probability[~seen.close])


def test_compare__does_not_read_the_files_of_clear_cases(textiles: list[Path]) -> None:
    asked: list[int] = []

    def files(rows: object) -> list[Path]:
        asked.extend(rows)  # type: ignore[arg-type]
        return [textiles[row] for row in rows]  # type: ignore[attr-defined]

    found = search.compare(thumbs_of(textiles[:100]), np.full((100, 2), 224, np.int64), files)
    doubtful = np.concatenate([found.moving[found.close], found.fixed[found.close]])
    assert set(asked) == set(doubtful.tolist())
    assert len(set(asked)) < 50


@pytest.mark.parametrize("step", ["compare", "register", "examine"])
def test_compare__stops_when_asked(step: str, textiles: list[Path], tmp_path: Path) -> None:
    def report(done: int, total: int, says: str) -> None:
        told.append(says)
        if says == step:
            raise Cancelled("enough")

    told: list[str] = []
    planted = planting.plant(
        textiles[:20], tmp_path, count=9, rng=np.random.default_rng(0), changes=["gamma"]
    )
    paths = [*textiles[:20], *(one.copy for one in planted)]
    thumbs, sizes = thumbs_of(paths), np.full((len(paths), 2), 224, np.int64)
    with pytest.raises(Cancelled):
        search.compare(thumbs, sizes, lambda rows: [paths[r] for r in rows], report=report)
    assert told.count(step) == 1
    assert told[-1] == step


def test_copies__surest_first_and_from_the_threshold_on() -> None:
    probability = np.array([0.2, 0.5, 0.99, 0.7, 0.5])
    rows, no = np.arange(5), np.zeros(5, bool)
    pairs = search.Pairs(rows, rows + 1, probability, np.zeros((5, 2, 3), np.float32), no, {})
    assert pairs.copies(0.5).tolist() == [2, 3, 1, 4]
    assert pairs.copies(0.71).tolist() == [2]
    assert pairs.copies(1).tolist() == []
