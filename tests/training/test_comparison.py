import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from curation.errors import NotFound, TrainingError
from training.evaluation import evaluate
from training.judging import comparison
from training.judging.comparison import compare, mcnemar

CLASSES = ("a", "b", "c")


def given(
    truth: NDArray[np.int64], right: NDArray[np.bool_], *, classes: int = 3
) -> NDArray[np.float64]:
    """Probabilities of a model that is right where it is told to be."""
    return np.eye(classes)[np.where(right, truth, (truth + 1) % classes)]


def two_models(
    n: int, rng: np.random.Generator, *, only_first: float, only_second: float, copies: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Models that are both right on all images but those that only one or none gets right."""
    truth = np.repeat(rng.choice(3, n // copies, p=[0.6, 0.3, 0.1]), copies)
    luck = np.repeat(rng.uniform(size=n // copies), copies)
    first = luck > only_second
    second = (luck <= only_second) | (luck > only_second + only_first)
    return given(truth, first), given(truth, second), truth, np.repeat(np.arange(n), copies)[:n]


def test_mcnemar__published_example() -> None:
    # Agresti 1990, table 10.1: approval of the prime minister; statsmodels' example too.
    first = np.repeat([True, True, False, False], [794, 150, 86, 570])
    second = np.repeat([True, False, True, False], [794, 150, 86, 570])
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second, found.exact) == (150, 86, False)
    assert found.p_value == pytest.approx(4.115e-05, rel=1e-3)


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (1, 0), (3, 9), (12, 12), (2, 20)])
def test_mcnemar__few_are_a_binomial_test(lost: int, won: int) -> None:
    first = np.repeat([True, False, True], [lost, won, 30])
    second = np.repeat([False, True, True], [lost, won, 30])
    found = mcnemar(first, second)
    assert found.exact
    expected = binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert found.p_value == pytest.approx(expected, abs=1e-12)


def test_mcnemar__copies_count_once() -> None:
    first, second = np.array([True, False, False]), np.array([True, True, True])
    alone = mcnemar(first, second)
    copied = mcnemar(np.repeat(first, 4), np.repeat(second, 4), groups=np.repeat([0, 1, 2], 4))
    assert copied.p_value == pytest.approx(alone.p_value)
    assert copied.only_second == 8


def test_compare__better_is_said_with_its_interval() -> None:
    rng = np.random.default_rng(0)
    first, second, truth, _ = two_models(1000, rng, only_first=0.02, only_second=0.08)
    found = compare(first, second, truth, CLASSES, rng=rng, names=("run-1", "run-2"))
    one = found.metrics["accuracy"]
    assert one.told and one.needed is None
    low, high = one.difference.ci
    assert low < 0.06 < high
    assert found.says == (
        f"run-2 is better by {100 * one.difference.value:.1f} points "
        f"({100 * low:.1f} to {100 * high:.1f})"
    )
    turned = compare(second, first, truth, CLASSES, rng=np.random.default_rng(0))
    assert turned.says.startswith("A is better by ")
    assert found.mcnemar.p_value < 0.001


def test_compare__figures_are_those_of_evaluate() -> None:
    rng = np.random.default_rng(1)
    first, second, truth, _ = two_models(300, rng, only_first=0.05, only_second=0.1)
    found = compare(first, second, truth, CLASSES, rng=rng)
    for name, one in found.metrics.items():
        alone = [evaluate(p, truth, CLASSES, rng=rng).figure(name) for p in (first, second)]
        assert [one.first, one.second] == alone
        assert one.difference.value == pytest.approx(alone[1].value - alone[0].value)


def test_compare__cannot_tell_yet() -> None:
    rng = np.random.default_rng(3)
    first, second, truth, _ = two_models(200, rng, only_first=0.05, only_second=0.07)
    found = compare(first, second, truth, CLASSES, rng=rng)
    assert found.says.startswith("cannot tell yet: B - A is ")
    assert "images would be needed" in found.says
    needed = found.metrics["accuracy"].needed
    assert needed is not None and needed > 200


def test_compare__the_same_model_twice() -> None:
    rng = np.random.default_rng(0)
    first, _, truth, _ = two_models(200, rng, only_first=0.1, only_second=0.1)
    found = compare(first, first, truth, CLASSES, rng=rng)
    low, high = found.metrics["accuracy"].difference.ci
    assert low < 0 < high  # no evidence that they never differ
    assert "more than 100 times the 200 images" in found.says
    assert found.mcnemar.p_value == 1


def test_compare__copies_are_no_evidence() -> None:
    rng = np.random.default_rng(0)
    first, second, truth, groups = two_models(400, rng, only_first=0.03, only_second=0.06, copies=4)
    widths = []
    for chosen in (None, groups):
        found = compare(first, second, truth, CLASSES, rng=np.random.default_rng(0), groups=chosen)
        low, high = found.metrics["accuracy"].difference.ci
        widths.append(high - low)
    assert widths[1] > 1.6 * widths[0]
    assert found.groups == 100


def test_compare__multi_label() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.uniform(size=(400, 3)) < 0.4).astype(np.int64)
    wrong = rng.uniform(size=(2, 400, 3)) < np.array([0.15, 0.05])[:, None, None]
    first, second = np.where(wrong, 1 - truth, truth).astype(float)
    found = compare(first, second, truth, CLASSES, rng=rng, metric="balanced-accuracy")
    recall = [np.mean([p[truth[:, c] == 1, c].mean() for c in range(3)]) for p in (first, second)]
    difference = found.metrics["balanced-accuracy"].difference
    assert difference.value == pytest.approx(recall[1] - recall[0])
    assert found.says.startswith("B is better by ")
    assert found.as_json()["balanced_accuracy"]["difference"]["value"] == difference.value


def test_compare__what_cannot_be_compared() -> None:
    rng = np.random.default_rng(0)
    first, second, truth, _ = two_models(20, rng, only_first=0.1, only_second=0.1)
    with pytest.raises(NotFound, match=r"'speed' to compare by\. Known: accuracy"):
        compare(first, second, truth, CLASSES, rng=rng, metric="speed")
    with pytest.raises(TrainingError, match="19 groups for 20 images"):
        compare(first, second, truth, CLASSES, rng=rng, groups=np.arange(19))
    with pytest.raises(TrainingError, match="do not fit"):
        compare(first, second[:10], truth, CLASSES, rng=rng)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "copies"), [(200, 1), (1000, 1), (800, 2)])
def test_compare__intervals_cover(n: int, copies: int) -> None:
    held = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        first, second, truth, groups = two_models(
            n, rng, only_first=0.04, only_second=0.1, copies=copies
        )
        found = compare(first, second, truth, CLASSES, rng=rng, groups=groups)
        held.append(
            [one.difference.ci[0] <= 0.06 <= one.difference.ci[1] for one in found.metrics.values()]
        )
    coverage = np.mean(held, axis=0)
    assert (coverage >= 0.92).all() and (coverage <= 0.995).all()
    assert tuple(found.metrics) == comparison.METRICS
