from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sk

from curation.errors import NotFound, TrainingError
from training import intervals
from training.evaluation import Metrics, evaluate

CLASSES = tuple("abcd")


def answers(
    n: int, *, seed: int = 0, classes: int = 4
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    truth = rng.choice(
        classes, n, p=np.geomspace(8, 1, classes) / np.geomspace(8, 1, classes).sum()
    )
    scores = rng.normal(size=(n, classes))
    scores[np.arange(n), truth] += 1.2
    p = np.exp(np.round(scores, 1))  # rounded, so that some scores tie
    return p / p.sum(axis=1, keepdims=True), truth


def judged(n: int = 400, *, weights: NDArray[np.float64] | None = None) -> Metrics:
    p, truth = answers(n)
    return evaluate(p, truth, CLASSES, rng=np.random.default_rng(0), weights=weights)


@pytest.mark.parametrize("weighted", [False, True])
def test_evaluate__agrees_with_scikit_learn(weighted: bool) -> None:
    p, truth = answers(400)
    weights = np.random.default_rng(1).integers(1, 4, 400).astype(float) if weighted else None
    found = judged(weights=weights)
    guess = p.argmax(axis=1)
    close = {"abs": 1e-9, "rel": 0}
    figures = {name: figure.value for name, figure in found.figures.items()}
    assert figures["accuracy"] == pytest.approx(
        sk.accuracy_score(truth, guess, sample_weight=weights), **close
    )
    assert figures["balanced_accuracy"] == pytest.approx(
        sk.balanced_accuracy_score(truth, guess, sample_weight=weights), **close
    )
    assert figures["macro_f1"] == pytest.approx(
        sk.f1_score(truth, guess, average="macro", sample_weight=weights), **close
    )
    assert figures["log_loss"] == pytest.approx(
        sk.log_loss(truth, p, sample_weight=weights), **close
    )
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        truth, guess, sample_weight=weights
    )
    for column, one in enumerate(found.per_class):
        area = sk.roc_auc_score(truth == column, p[:, column], sample_weight=weights)
        assert one.precision.value == pytest.approx(precision[column], **close)
        assert one.recall.value == pytest.approx(recall[column], **close)
        assert one.f1.value == pytest.approx(f1[column], **close)
        assert one.auroc.value == pytest.approx(area, **close)
        assert one.support == (truth == column).sum()
    assert (found.confusion == sk.confusion_matrix(truth, guess)).all()


def test_evaluate__multi_label_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(size=(200, 4))
    truth = (p + rng.normal(scale=0.4, size=p.shape) > 0.5).astype(np.int64)
    found = evaluate(p, truth, CLASSES, rng=rng)
    guess = (p >= 0.5).astype(int)
    assert found.figure("accuracy").value == pytest.approx(sk.accuracy_score(truth, guess))
    for average in ("micro", "macro"):
        expected = sk.f1_score(truth, guess, average=average)
        assert found.figure(f"{average}-f1").value == pytest.approx(expected, abs=1e-9)
    for column, one in enumerate(found.per_class):
        assert one.auroc.value == pytest.approx(
            sk.roc_auc_score(truth[:, column], p[:, column]), abs=1e-9
        )
    assert (found.confusion == sk.multilabel_confusion_matrix(truth, guess)).all()


def test_evaluate__every_figure_lies_in_its_interval() -> None:
    found = judged()
    figures = list(found.figures.values())
    for one in found.per_class:
        figures += [one.precision, one.recall, one.f1, one.auroc]
    for figure in figures:
        assert figure.value is not None
        assert figure.ci[0] <= figure.value <= figure.ci[1] or figure is found.figures["ece"]
        assert figure.n > 0


def test_evaluate__same_seed_same_intervals() -> None:
    assert judged().as_json() == judged().as_json()


def test_evaluate__class_absent_from_the_truth_is_said() -> None:
    p, truth = answers(100)
    truth[truth == 2] = 0
    found = evaluate(p, truth, CLASSES, rng=np.random.default_rng(0))
    absent = found.per_class[2]
    assert absent.support == 0
    assert absent.recall.as_json() == {"value": None, "n": 0, "ci": [0.0, 1.0]}
    assert absent.auroc.value is None
    assert any("'c'" in note and "unknown" in note for note in found.notes)
    recalls = [one.recall.value for one in found.per_class if one.recall.value is not None]
    assert found.figure("balanced-accuracy").value == pytest.approx(np.mean(recalls))


def test_evaluate__one_image() -> None:
    p = np.array([[0.7, 0.1, 0.1, 0.1]])
    found = evaluate(p, np.array([0]), CLASSES, rng=np.random.default_rng(0))
    assert found.figure("accuracy").value == 1
    assert found.figure("accuracy").ci[0] < 0.3


def test_evaluate__empty_holdout() -> None:
    with pytest.raises(TrainingError, match="holdout holds no labeled image"):
        evaluate(np.empty((0, 4)), np.empty(0, int), CLASSES, rng=np.random.default_rng(0))


def test_evaluate__nan_probabilities() -> None:
    p, truth = answers(10)
    p[3, 1] = np.nan
    with pytest.raises(TrainingError, match="NaN"):
        evaluate(p, truth, CLASSES, rng=np.random.default_rng(0))


def test_figure__unknown_name() -> None:
    with pytest.raises(NotFound, match=r"'speed'.*balanced-accuracy"):
        judged().figure("speed")


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe 1998, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0000),
    ],
)
def test_wilson__published_values(successes: int, n: int, low: float, high: float) -> None:
    assert intervals.wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson__nothing_known() -> None:
    assert intervals.wilson(0, 0) == (0.0, 1.0)


def covers(build: Callable[[np.random.Generator], tuple[float, float]], truth: float) -> float:
    found = [build(np.random.default_rng(seed)) for seed in range(400)]
    return float(np.mean([low <= truth <= high for low, high in found]))


def test_bootstrap__covers_a_mean() -> None:
    def interval(rng: np.random.Generator) -> tuple[float, float]:
        values = rng.exponential(size=80)
        return intervals.bootstrap(lambda w: w @ values / w.sum(axis=1), 80, rng=rng, resamples=400)

    assert 0.90 <= covers(interval, 1.0) <= 0.98


def test_mean_of_proportions__covers_with_few_of_some_classes() -> None:
    trials = np.array([30, 20, 12, 6, 3])
    rates = np.array([0.95, 0.9, 0.8, 0.7, 0.6])

    def interval(rng: np.random.Generator) -> tuple[float, float]:
        hits = rng.binomial(trials, rates).astype(float)
        return intervals.mean_of_proportions(hits, trials.astype(float), rng=rng, resamples=1000)

    assert 0.92 <= covers(interval, float(rates.mean())) <= 0.985


def test_resampled_counts__draw_as_many_as_there_are() -> None:
    rng = np.random.default_rng(0)
    blocks = list(intervals.resampled_counts(50, rng=rng, resamples=30))
    assert np.concatenate(blocks).sum(axis=1).tolist() == [50.0] * 30
