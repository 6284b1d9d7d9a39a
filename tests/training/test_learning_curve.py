import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from curation.errors import Cancelled, TrainingError
from training.heads.head import fit_head
from training.judging import learning_curve

Rows = NDArray[np.int64]


class Digits:
    """Real digits, twice each, with heads as models."""

    def __init__(self) -> None:
        X, y = load_digits(return_X_y=True)
        self.X, self.y = np.repeat(X[:500], 2, axis=0) / 16, np.repeat(y[:500], 2)
        self.groups = np.repeat(np.arange(500), 2)
        self.learned, self.judged = np.arange(400), np.arange(400, 1000)
        self.trained: list[Rows] = []

    def fit(self, rows: Rows):  # type: ignore[no-untyped-def]
        self.trained.append(rows)
        head = fit_head(self.X[rows], self.y[rows], classes=[str(n) for n in range(10)])
        return lambda asked: head.probabilities(self.X[asked])

    def measure(self, **settings: object) -> learning_curve.LearningCurve:
        return learning_curve.measure(
            self.fit,
            self.y,
            self.groups,
            self.learned,
            self.judged,
            rng=np.random.default_rng(0),
            **settings,  # type: ignore[arg-type]
        )


def test_measure__parts_are_nested_and_hold_whole_groups() -> None:
    digits = Digits()
    found = digits.measure(sizes=[51, 101, 201], draws=2)
    assert found.sizes.tolist() == [52, 102, 202, 400]
    assert len(digits.trained) == 7
    for rows in digits.trained:
        assert len(rows) == 2 * len(set(digits.groups[rows]))
        assert set(rows) <= set(digits.learned)
    first = [set(rows) for rows in digits.trained[0:6:2]]
    assert first[0] < first[1] < first[2]
    assert found.scores.shape == (2, 4)
    assert found.scores[0, -1] == found.scores[1, -1]
    assert found.scores.mean(axis=0)[0] < found.scores[0, -1]


def test_measure__balanced_accuracy_is_the_mean_recall() -> None:
    digits = Digits()
    found = digits.measure(sizes=[100, 200], draws=2, metric="balanced-accuracy")
    guess = digits.fit(digits.learned)(digits.judged).argmax(axis=1)
    truth = digits.y[digits.judged]
    recalls = [(guess[truth == one] == one).mean() for one in range(10)]
    assert found.scores[0, -1] == pytest.approx(np.mean(recalls), abs=1e-6)


def test_measure__a_size_that_allows_no_model_is_left_out() -> None:
    digits = Digits()
    order = np.argsort(digits.y[:400], kind="stable")
    digits.learned = order[:100]  # three classes or so
    found = digits.measure(sizes=[2, 30, 60])
    assert found.sizes[0] >= 30
    assert "2 labels were too few" in found.notes[0]


def test_measure__stops_when_asked() -> None:
    digits = Digits()

    def report(done: int, total: int, says: str) -> None:
        if done == 2:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        digits.measure(report=report)
    assert len(digits.trained) == 2


def test_measure__what_cannot_be_measured() -> None:
    digits = Digits()
    with pytest.raises(TrainingError, match="at least 3 sizes"):
        digits.measure(sizes=[400])
    with pytest.raises(TrainingError, match="at least 2 draws"):
        digits.measure(draws=1)
    with pytest.raises(TrainingError, match="'recall'"):
        digits.measure(metric="recall")
