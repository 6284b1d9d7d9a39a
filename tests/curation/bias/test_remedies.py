import numpy as np
import pytest

from curation.bias import remedies
from curation.bias.representation import tables
from curation.errors import InputError
from tests.curation.bias.made import sliced

CODES = np.repeat([0, 0, 1, 1], [40, 10, 5, 45])
Y = np.repeat([0, 1, 0, 1], [40, 10, 5, 45])


def weighted(weights: np.ndarray) -> np.ndarray:
    found = np.zeros((2, 2))
    np.add.at(found, (CODES, Y), weights)
    return found


def test_reweigh__makes_slice_and_class_independent_and_keeps_both() -> None:
    after = weighted(remedies.reweigh(CODES, Y))
    assert after == pytest.approx(np.outer(after.sum(axis=1), after.sum(axis=0)) / after.sum())
    assert after.sum(axis=1) == pytest.approx([50, 50])
    assert after.sum(axis=0) == pytest.approx([45, 55])


def test_balance_groups__all_cells_count_alike() -> None:
    assert weighted(remedies.balance_groups(CODES, Y)) == pytest.approx(np.full((2, 2), 25))
    drawn = remedies.sample_groups(CODES, Y, 4000, rng=np.random.default_rng(1))
    shares = tables(np.eye(2, dtype=np.int64)[Y[drawn]], CODES[drawn], 2) / 4000
    assert shares == pytest.approx(np.full((2, 2), 0.25), abs=0.03)


def test_balance_groups__one_label_alone_does_not_decide() -> None:
    y = np.array([0] * 99 + [1])
    assert remedies.balance_groups(np.zeros(100, int), y).max() == remedies.MOST_WEIGHT


def test_plan_weights__shares_add_up() -> None:
    column = sliced("site", ["x"] * 50 + ["y"] * 50)
    cells = remedies.plan_weights("reweigh", column, CODES, Y, ("a", "b"))
    assert [(dict(one.slice), one.label, one.n) for one in cells[:1]] == [({"site": "x"}, "a", 40)]
    assert sum(one.before for one in cells) == pytest.approx(1)
    assert sum(one.after for one in cells) == pytest.approx(1)


def test_quota__failing_slices_first_and_never_more_than_the_pool_holds() -> None:
    assert remedies.quota([60, 60], [50, 50], [50, 50], 20, failing=[False, True]) == [0, 20]
    assert remedies.quota([10, 0, 60], [99, 7, 99], [50, 50, 50], 30) == [23, 7, 0]
    assert remedies.quota([90, 90], [300, 100], [50, 50], 40) == [30, 10]
    assert remedies.quota([0, 0], [3, 2], [50, 50], 40) == [3, 2]


def test_plan_quota__refuses_what_cannot_be_divided() -> None:
    column = sliced("site", ["x", "y"])
    with pytest.raises(InputError, match="batch of 0 images"):
        remedies.plan_quota(column, [1, 1], [5, 5], budget=0, rate=0.7, failing=[False, False])
    with pytest.raises(InputError, match="pool is empty"):
        remedies.plan_quota(column, [1, 1], [0, 0], budget=9, rate=0.7, failing=[False, False])
    with pytest.raises(InputError, match=r"'hope'.*reweigh, group-balanced, quota"):
        remedies.check("hope")
