import numpy as np
import pytest
from numpy.typing import NDArray

from training.heads import strength
from training.settings import HeadSettings

CLASSES = ("a", "b")


def rows(
    count: int, columns: int, *, noise: float, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Unit-norm rows; the first column tells the class, as far as the noise lets it."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, count)
    points = rng.normal(size=(count, columns))
    points[:, 0] += np.where(y == 1, 2.0, -2.0)
    flipped = rng.random(count) < noise
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points.astype(np.float32), np.where(flipped, 1 - y, y)


def test_choose__noisy_labels_get_a_smaller_strength_than_clean_ones() -> None:
    noisy, clean = (
        strength.choose(*rows(2_500, 60, noise=noise), classes=CLASSES) for noise in (0.3, 0.0)
    )
    assert noisy.strength < clean.strength
    for choice in (noisy, clean):
        tried = [one.strength for one in choice.tried]
        assert tried == sorted(tried) and choice.strength in tried
        best = min(choice.tried, key=lambda one: one.log_loss)
        assert best.strength == choice.strength and choice.head is not None
    assert "2,000 labels and judged by 500 others" in noisy.says


def test_choose__few_rows_keep_what_is_set() -> None:
    X, y = rows(200, 10, noise=0.1)
    found = strength.choose(X, y, classes=CLASSES, settings=HeadSettings(strength=7.0))
    assert (found.strength, found.tried, found.head) == (7.0, (), None)
    assert "too few" in found.says


def test_choose__copies_do_not_judge_what_they_were_learned_from() -> None:
    # Every row four times, with labels by chance: where copies may judge, leaning on every column
    # pays; where they may not, nothing does.
    rng = np.random.default_rng(3)
    X = np.repeat(rng.normal(size=(600, 300)), 4, axis=0).astype(np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    y = np.repeat(rng.integers(0, 2, 600), 4)
    groups = np.repeat(np.arange(600), 4)
    apart = strength.choose(X, y, classes=CLASSES, groups=groups)
    mixed = strength.choose(X, y, classes=CLASSES)
    assert apart.strength < 3.0 < mixed.strength


@pytest.mark.parametrize("case", ["one-group", "a-group-a-class", "half-weighs-nothing"])
def test_choose__groups_that_cannot_be_divided_keep_what_is_set(case: str) -> None:
    X, y = rows(2_000, 10, noise=0.1)
    halves = np.arange(2_000) // 1_000
    groups = {"one-group": 0 * halves, "a-group-a-class": y, "half-weighs-nothing": halves}[case]
    found = strength.choose(
        X,
        y,
        classes=CLASSES,
        settings=HeadSettings(strength=7.0),
        sample_weight=1.0 - halves if case == "half-weighs-nothing" else None,
        groups=groups,
    )
    assert (found.strength, found.tried, found.head) == (7.0, (), None)
    assert "divided by group" in found.says


@pytest.mark.parametrize("seed", [0, 1])
def test_choose__same_seed_same_choice(seed: int) -> None:
    X, y = rows(2_100, 20, noise=0.2)
    one, two = (strength.choose(X, y, classes=CLASSES, seed=seed) for _ in range(2))
    assert one.tried == two.tried
