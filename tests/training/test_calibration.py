import numpy as np
import pytest
from numpy.typing import NDArray

from curation.errors import TrainingError
from training import calibration
from training.calibration import to_probabilities


def draw(n: int, *, factor: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits that are `factor` times what the labels were drawn from."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(n, 4))
    p = to_probabilities(logits, task="single-label")
    labels = np.array([rng.choice(4, p=row) for row in p])
    return factor * logits, labels


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_fit_temperature__finds_the_factor(factor: float) -> None:
    found = calibration.fit_temperature(*draw(3000, factor=factor))
    assert found.temperature == pytest.approx(factor, rel=0.08)
    assert found.after is not None and found.before is not None
    assert found.after <= found.before


def test_fit_temperature__multi_label() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(2000, 3))
    labels = (rng.uniform(size=logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    found = calibration.fit_temperature(2.5 * logits, labels, task="multi-label")
    assert found.temperature == pytest.approx(2.5, rel=0.1)


@pytest.mark.parametrize("n", [0, 5, 29])
def test_fit_temperature__too_few_labels(n: int) -> None:
    found = calibration.fit_temperature(
        *draw(n, factor=3.0) if n else (np.empty((0, 4)), np.empty(0, int))
    )
    assert found.temperature == 1.0
    assert found.n == n
    assert "temperature" in found.note


def test_fit_temperature__label_of_a_class_the_model_does_not_know() -> None:
    logits, labels = draw(300, factor=3.0)
    logits[:, 3] = -np.inf
    found = calibration.fit_temperature(logits, labels)
    assert 1 < found.temperature < 20
    assert found.after is not None and np.isfinite(found.after)


def test_fit_temperature__lengths_differ() -> None:
    with pytest.raises(TrainingError, match="3 rows of logits for 2 labels"):
        calibration.fit_temperature(np.zeros((3, 2)), np.zeros(2, int))


def test_expected_calibration_error__by_hand() -> None:
    # Two rows at 0.9 (one right), two at 0.6 (both right): (|1 - 1.8| + |2 - 1.2|) / 4.
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    error = calibration.expected_calibration_error(p, np.array([0, 1, 0, 0]), bins=10)
    assert error == pytest.approx(0.4)


def test_expected_calibration_error__falls_by_calibration() -> None:
    logits, labels = draw(2000, factor=3.0)
    before = to_probabilities(logits, task="single-label")
    after = to_probabilities(logits, task="single-label", temperature=3.0)
    ece = calibration.expected_calibration_error
    assert ece(after, labels) < 0.04
    assert ece(before, labels) > 0.1


def test_expected_calibration_error__no_labels() -> None:
    with pytest.raises(TrainingError, match="reserve"):
        calibration.expected_calibration_error(np.empty((0, 2)), np.empty(0, int))


def test_log_loss__is_finite_for_a_probability_of_zero() -> None:
    found = calibration.log_loss(np.array([[1.0, 0.0]]), np.array([1]))
    assert found == pytest.approx(-np.log(1e-12))
