"""The statistics that the audit rests on, each on data whose truth is known."""

import numpy as np
import pytest

from curation.bias import discovery, gaps, power, shuffles, spurious
from curation.bias.association import cramers_v
from curation.bias.evidence import answers
from curation.bias.representation import test_labeled as labeled_tests
from curation.bias.representation import test_mix as mix_tests
from tests.curation.bias.made import evidence, sliced


def test_shuffle__keeps_strata_and_whole_groups() -> None:
    rng = np.random.default_rng(1)
    groups = np.array([1, 1, 2, 3, 4, 5])
    strata = np.array([0, 0, 0, 1, 1, 1])
    codes = np.array([7, 7, 8, 1, 2, 3])
    given = shuffles.units(groups, codes, strata)
    assert len(given.codes) == 5
    for block in shuffles.shuffle(given, rng=rng, times=20):
        rows = block[:, given.of]
        assert (np.sort(block[:, given.strata == 0]) == [7, 8]).all()
        assert (np.sort(block[:, given.strata == 1]) == [1, 2, 3]).all()
        assert (rows[:, 0] == rows[:, 1]).all()


def test_p_lower__is_uniform_where_the_column_has_no_meaning() -> None:
    rng = np.random.default_rng(2)
    found = []
    for _ in range(300):
        y = rng.integers(0, 3, 90)
        # Classes differ in difficulty and in their share of the slice: neither may count.
        codes = (rng.random(90) < 0.2 + 0.2 * y).astype(np.int64)
        score = (rng.random(90) < 0.9 - 0.3 * y).astype(float)
        groups = np.arange(90) // 2 * 2 + (rng.random(90) < 0.5)
        p = shuffles.p_lower(score, codes, groups=groups, strata=y, count=2, rng=rng, times=99)
        found.append(p[1])
    assert 0.01 <= np.mean(np.array(found) <= 0.05) <= 0.09
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)


def test_measure__weighs_classes_by_their_share_in_the_slice() -> None:
    strata = np.repeat([0, 0, 1, 1], [80, 20, 20, 80])
    inside = np.repeat([False, True, False, True], [80, 20, 20, 80])
    right = np.where(strata == 0, 1.0, 0.5)
    right[strata == 1] = np.tile([0.0, 1.0], 50)
    gap = gaps.measure(right, inside, strata=strata, groups=np.arange(200))
    assert gap is not None
    assert gap.value == pytest.approx(0.0)
    assert gap.inside == pytest.approx(0.6)
    assert gaps.measure(right, strata == 1, strata=strata, groups=np.arange(200)) is None


def test_measure__interval_covers_and_copies_widen_it() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        y = rng.integers(0, 3, 200)
        inside = rng.random(200) < 0.25
        right = (rng.random(200) < np.where(inside, 0.6, 0.8) - 0.1 * y).astype(float)
        gap = gaps.measure(right, inside, strata=y, groups=np.arange(200))
        assert gap is not None
        covered += gap.ci[0] <= 0.2 <= gap.ci[1]
    assert 0.92 <= covered / 400 <= 0.98
    twice = gaps.measure(
        np.tile(right, 2), np.tile(inside, 2), strata=np.tile(y, 2), groups=np.tile(range(200), 2)
    )
    assert twice is not None
    assert twice.ci == pytest.approx(gap.ci)


def test_cramers_v__none_complete_and_free_of_bias() -> None:
    assert float(cramers_v(np.array([[30, 0], [0, 30]]))) == pytest.approx(1.0, abs=0.02)
    rng = np.random.default_rng(4)
    tables = rng.multinomial(60, np.full(20, 1 / 20), size=500).reshape(500, 4, 5)
    assert cramers_v(tables).mean() < 0.08


def test_mix__the_mirror_image_of_a_finding_is_none() -> None:
    rng = np.random.default_rng(5)
    site = np.repeat([0, 1, 2], [150, 80, 70])
    y = np.where(site == 1, np.where(rng.random(300) < 0.8, 0, 1), rng.integers(0, 3, 300))
    tested = mix_tests(
        np.eye(3, dtype=np.int64)[y],
        site,
        sliced("site", list(map(str, site))),
        classes=("a", "b", "c"),
        groups=np.arange(300),
        rng=rng,
        times=499,
    )
    p = {one.slice["site"]: one.p for one in tested}
    assert p["1"] == 1 / 500
    assert min(p["0"], p["2"]) > 0.05


@pytest.mark.parametrize("count", [0, 40])
def test_mix__all_labels_in_one_slice(count: int) -> None:
    tested = mix_tests(
        np.eye(3, dtype=np.int64)[np.arange(count) % 3],
        np.ones(count, np.int64),
        sliced("site", ["0", "1", "2"]),
        classes=("a", "b", "c"),
        groups=np.arange(count),
        rng=np.random.default_rng(0),
        times=19,
    )
    assert tested == []


def test_labeled__a_slice_that_is_passed_over() -> None:
    labeled = np.repeat([True, False, True, False], [60, 140, 8, 92])
    site = sliced("site", ["x"] * 200 + ["y"] * 100)
    tested = {one.slice["site"]: one for one in labeled_tests(labeled, site, groups=np.arange(300))}
    assert tested["y"].p < 0.001
    assert tested["y"].gap == pytest.approx(0.22)
    assert tested["x"].p > 0.99
    # Ten copies of each image are one chance to be labeled, not ten.
    copies = {
        one.slice["site"]: one for one in labeled_tests(labeled, site, groups=np.arange(300) // 10)
    }
    assert copies["y"].p > 0.001


def test_shortcut__a_size_that_gives_the_class_away() -> None:
    rng = np.random.default_rng(6)
    y = rng.integers(0, 2, 200)
    size = np.where(rng.random(200) < 0.9, y, 1 - y) * 1000.0 + 500
    alone = spurious.rate_alone(size, y, groups=np.arange(200), rng=rng, times=199)
    assert alone.value == pytest.approx(0.9, abs=0.07)
    assert alone.chance_ci[0] < 0.5 < alone.chance_ci[1]
    tested = spurious.test_shortcut("size", alone, model=0.95, classes=2)
    assert tested.worth
    assert tested.p == 1 / 200
    noise = spurious.rate_alone(rng.random(200), y, groups=np.arange(200), rng=rng, times=199)
    assert noise.p > 0.01


def test_slices__a_property_tells_the_label_through_the_slice() -> None:
    rng = np.random.default_rng(7)
    n = 400
    site = rng.integers(0, 2, n)
    y = np.where(rng.random(n) < 0.85, site, 1 - site)
    column = sliced("site", list(map(str, site)))
    common = {
        "groups": np.arange(n),
        "p_association": 0.001,
        "rng": rng,
        "times": 199,
    }
    brightness = 50.0 * site + rng.normal(size=n)
    found = spurious.test_slices("brightness", brightness, y, site, column, **common)
    assert found.worth
    assert found.p <= 0.01
    assert found.gap > 0.2
    # Where brightness belongs to the class itself, sites have nothing to do with it.
    own = spurious.test_slices(
        "brightness", 50.0 * y + rng.normal(size=n), y, site, column, **common
    )
    assert not (own.worth and own.p <= 0.01)


def test_discovery__finds_the_place_where_the_model_fails() -> None:
    rng = np.random.default_rng(8)
    n = 600
    blob = rng.integers(0, 6, n)
    X = (8 * np.eye(6)[blob] + rng.normal(size=(n, 6))).astype(np.float32)
    y = rng.integers(0, 3, n)
    faults = evidence(y, rng.random(n) < np.where(blob == 2, 0.3, 0.9), classes=3, X=X)
    even = evidence(y, rng.random(n) < 0.8, classes=3, X=X)

    def tested(made: object, seed: int) -> list[object]:
        given = answers(made)
        return discovery.test(
            given,
            X,
            ids=np.arange(n),
            classes=("a", "b", "c"),
            groups=np.arange(n),
            strata=y,
            named=[(sliced("blob", list(map(str, blob))), blob)],
            rng=np.random.default_rng(seed),
            times=199,
        )

    worst = tested(faults, 0)[0]
    assert worst.p == 1 / 200
    assert set(blob[list(worst.examples)]) == {2}
    assert "blob 2" in worst.says
    chances = [one.p for seed in range(12) for one in tested(even, seed)]
    assert np.mean(np.array(chances) <= 0.05) <= 0.2


def test_needed__fits_the_smallest_gap() -> None:
    n = power.needed(1000, rate=0.7, tests=3)
    assert power.smallest_gap(n, 1000, rate=0.7, tests=3) <= power.JUDGED_GAP
    assert power.smallest_gap(n - 2, 1000, rate=0.7, tests=3) > power.JUDGED_GAP
    assert power.needed(5, rate=0.7, tests=3) == 2 * power.needed(10**9, rate=0.7, tests=3) - 1
