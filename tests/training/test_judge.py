import numpy as np
import pytest

from curation.errors import TrainingError
from training.heads import judge


def test_learn__never_saw_the_originals_nor_their_copies() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=(60, 200)).astype(np.float32)
    X = np.concatenate([one, one + 0.01 * rng.normal(size=one.shape).astype(np.float32)])
    y = np.tile(rng.integers(0, 2, 60), 2)
    rows = np.arange(120)
    apart = judge.learn(X, y, np.arange(120), classes=2)(rows, X)
    together = judge.learn(X, y, np.tile(np.arange(60), 2), classes=2)(rows, X)
    # By heart where the copy is known; by chance where it is not, since there is nothing to learn.
    assert (apart.argmax(axis=1) == y).mean() > 0.9
    assert (together.argmax(axis=1) == y).mean() < 0.7


def test_learn__sees_what_there_is_to_see() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    X = rng.normal(size=(40, 8)).astype(np.float32) + 3 * y[:, None].astype(np.float32)
    judged = judge.learn(X, y, np.arange(40), classes=3)(np.arange(5), X[:5])
    assert (judged.argmax(axis=1) == y[:5]).all()
    assert judged.sum(axis=1) == pytest.approx(1)
    assert (judged[:, 2] == 0).all()
    table = np.stack([y == 0, y == 1], axis=1).astype(np.int64)
    several = judge.learn(X, table, np.arange(40), classes=2)(np.arange(40), X)
    assert ((several > 0.5) == table).mean() > 0.95


def test_learn__too_little() -> None:
    X = np.eye(4, dtype=np.float32)
    with pytest.raises(TrainingError, match="two groups of images; there are 1"):
        judge.learn(X, np.array([0, 1, 0, 1]), np.zeros(4, np.int64), classes=2)
    with pytest.raises(TrainingError, match="no two answers"):
        judge.learn(X, np.zeros(4, np.int64), np.arange(4), classes=2)
