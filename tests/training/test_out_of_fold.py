import numpy as np
import pytest
from numpy.typing import NDArray

from curation.errors import TrainingError
from training.heads import out_of_fold


def clusters(
    sizes: list[int], *, spread: float = 0.2, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Unit rows around one direction a class, shuffled."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    X = np.eye(16)[y] + spread * rng.standard_normal((len(y), 16))
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32), y


def test_probabilities__separable_classes_are_told_apart_with_confidence() -> None:
    X, y = clusters([40, 40, 40])
    found = out_of_fold.probabilities(X, y, np.arange(120), classes=3)
    assert found.shape == (120, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == y).mean() > 0.95


def test_probabilities__a_group_does_not_vouch_for_its_own_label() -> None:
    X, y = clusters([40, 40])
    X[:6], y[:6] = X[y == 0][0], 1  # six copies of an image of class 0, all labeled 1
    groups = np.arange(80)
    alone = out_of_fold.probabilities(X, y, groups, classes=2)[:6, 1]
    groups[:6] = 0
    together = out_of_fold.probabilities(X, y, groups, classes=2)[:6, 1]
    assert together.max() < 0.5
    assert together.max() < alone.max()


def test_probabilities__repeats_under_one_seed() -> None:
    X, y = clusters([30, 30])
    first, again, other = (
        out_of_fold.probabilities(X, y, np.arange(60), classes=2, seed=seed) for seed in (4, 4, 5)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("sizes", [[30, 1], [30, 2, 1], [1, 1], [2, 2], [60, 1, 1, 1]])
def test_probabilities__classes_with_hardly_an_image(sizes: list[int]) -> None:
    X, y = clusters(sizes)
    found = out_of_fold.probabilities(X, y, np.arange(len(y)), classes=len(sizes))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_probabilities__identical_images_get_their_classes_shares() -> None:
    X = np.tile(np.eye(8, dtype=np.float32)[:1], (60, 1))
    y = np.repeat([0, 1, 2], 20)
    found = out_of_fold.probabilities(X, y, np.arange(60), classes=3)
    np.testing.assert_allclose(found, 1 / 3, atol=0.05)


def test_probabilities__multi_label() -> None:
    X, y = clusters([40, 40, 40])
    truth = np.eye(3, dtype=np.int64)[y]
    truth[:, 2] = 1
    found = out_of_fold.probabilities(X, truth, np.arange(120), classes=3)
    assert ((found[:, :2] > 0.5) == truth[:, :2]).mean() > 0.95
    assert found[:, 2].min() > 0.9


@pytest.mark.parametrize(("rows", "classes"), [(0, 2), (1, 2), (5, 1)])
def test_probabilities__too_little_to_train_on(rows: int, classes: int) -> None:
    X, y = clusters([10, 10])
    with pytest.raises(TrainingError, match="two groups and two classes"):
        out_of_fold.probabilities(X[:rows], y[:rows], np.arange(rows), classes=classes)


def test_probabilities__one_group_only() -> None:
    X, y = clusters([10, 10])
    with pytest.raises(TrainingError, match="there are 1 and 2"):
        out_of_fold.probabilities(X, y, np.zeros(20, dtype=np.int64), classes=2)


def test_probabilities__lengths_differ() -> None:
    X, y = clusters([10, 10])
    with pytest.raises(TrainingError, match="20 embeddings, 19 labels and 20 groups"):
        out_of_fold.probabilities(X, y[:-1], np.arange(20), classes=2)


def test_assign__groups_stay_whole_and_classes_are_spread() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 60, 200)
    y = (groups % 4 == 0).astype(np.int64)
    folds = out_of_fold.assign(y, groups, folds=5, seed=0)
    for group in np.unique(groups):
        assert len(np.unique(folds[groups == group])) == 1
    shares = [y[folds == fold].mean() for fold in range(5)]
    assert max(shares) - min(shares) < 0.15
