import warnings
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr
from sklearn import metrics as sk

from curation.errors import NotFound, TrainingError
from training import intervals
from training.evaluation import Metrics, by_slice, classes, confused_pairs, evaluate, ranking
from training.evaluation.answers import Answers

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


CASES = [
    # images, classes, weighted, decimals of the scores (few: many ties), classes left out of truth
    (400, 4, False, 1, ()),
    (400, 4, True, 1, ()),
    (150, 6, False, 0, (2,)),
    (150, 6, True, 0, (0, 5)),
    (60, 2, True, 2, ()),
    (40, 9, False, 3, (8,)),
    (7, 3, True, 0, ()),
]
EXACT = {"abs": 1e-9, "rel": 0}


@pytest.mark.parametrize(("n", "classes", "weighted", "decimals", "absent"), CASES)
def test_evaluate__agrees_with_scikit_learn(
    n: int, classes: int, weighted: bool, decimals: int, absent: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(n)
    truth = rng.choice(np.setdiff1d(np.arange(classes), absent), n)
    scores = rng.normal(size=(n, classes))
    scores[np.arange(n), truth] += 1.2
    p = np.exp(np.round(scores, decimals))
    p /= p.sum(axis=1, keepdims=True)
    w = rng.integers(1, 4, n).astype(float) if weighted else None
    found = evaluate(p, truth, [str(at) for at in range(classes)], rng=rng, weights=w)
    guess, columns = p.argmax(axis=1), list(range(classes))
    seen = sorted({*truth.tolist(), *guess.tolist()})
    table = np.eye(classes, dtype=int)[truth]
    kept = {"sample_weight": w}
    sums = {
        name: sk.precision_recall_fscore_support(
            truth, guess, labels=seen, average="macro", zero_division=0, **kept
        )[at]
        for at, name in enumerate(("macro_precision", "macro_recall", "macro_f1"))
    }
    held = [column for column in columns if table[:, column].any()]
    areas = {c: sk.roc_auc_score(table[:, c], p[:, c], **kept) for c in held}
    precisions = {c: sk.average_precision_score(table[:, c], p[:, c], **kept) for c in held}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        balanced = sk.balanced_accuracy_score(truth, guess, **kept)
    expected = sums | {
        "accuracy": sk.accuracy_score(truth, guess, **kept),
        "balanced_accuracy": balanced,
        "macro_auroc": np.mean(list(areas.values())),
        "macro_average_precision": np.mean(list(precisions.values())),
        "log_loss": sk.log_loss(truth, p, labels=columns, **kept),
        "brier": sk.brier_score_loss(truth, p, labels=columns, scale_by_half=False, **kept),
    }
    for k in (3, 5):
        if k < classes:
            # Scikit-learn lets the last of equal classes come first.
            expected[f"top_{k}_accuracy"] = sk.top_k_accuracy_score(
                classes - 1 - truth, p[:, ::-1], k=k, labels=columns, **kept
            )
    figures = {name: figure.value for name, figure in found.figures.items()}
    figures.pop("ece")
    assert figures == pytest.approx(expected, **EXACT)
    _, _, f1, _ = sk.precision_recall_fscore_support(
        truth, guess, labels=columns, zero_division=0, **kept
    )
    for column, one in enumerate(found.per_class):
        assert one.support == table[:, column].sum()
        if column in held:
            assert one.f1.value == pytest.approx(f1[column], **EXACT)
            assert one.auroc.value == pytest.approx(areas[column], **EXACT)
            assert one.average_precision.value == pytest.approx(precisions[column], **EXACT)
        else:
            assert one.auroc.value is None and one.average_precision.value is None
    assert (found.confusion == sk.confusion_matrix(truth, guess, labels=columns)).all()
    if len(held) == classes:
        one_against_rest = sk.roc_auc_score(
            truth if classes > 2 else table, p, multi_class="ovr", **kept
        )
        assert figures["macro_auroc"] == pytest.approx(one_against_rest, **EXACT)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "absent"), [(200, ()), (60, (1,))])
def test_evaluate__multi_label_agrees_with_scikit_learn(
    n: int, absent: tuple[int, ...], weighted: bool
) -> None:
    rng = np.random.default_rng(n)
    p = np.round(rng.uniform(0.01, 0.99, size=(n, 4)), 2)
    truth = (p + rng.normal(scale=0.4, size=p.shape) > 0.5).astype(np.int64)
    truth[:, list(absent)] = 0
    w = rng.integers(1, 4, n).astype(float) if weighted else None
    found = evaluate(p, truth, CLASSES, rng=rng, weights=w)
    guess = (p >= 0.5).astype(int)
    kept = {"sample_weight": w}
    held = [column for column in range(4) if column not in absent]
    expected = {
        "accuracy": sk.accuracy_score(truth, guess, **kept),
        "balanced_accuracy": sk.recall_score(
            truth[:, held], guess[:, held], average="macro", **kept
        ),
        "micro_auroc": sk.roc_auc_score(truth, p, average="micro", **kept),
        "micro_average_precision": sk.average_precision_score(truth, p, average="micro", **kept),
        "macro_auroc": sk.roc_auc_score(truth[:, held], p[:, held], **kept),
        "macro_average_precision": sk.average_precision_score(truth[:, held], p[:, held], **kept),
        "brier": np.mean([sk.brier_score_loss(truth[:, c], p[:, c], **kept) for c in range(4)]),
        "log_loss": np.mean(
            [sk.log_loss(truth[:, c], p[:, c], labels=[0, 1], **kept) for c in range(4)]
        ),
    }
    for average in ("micro", "macro"):
        scores = sk.precision_recall_fscore_support(
            truth, guess, average=average, zero_division=0, **kept
        )
        expected |= {
            f"{average}_{name}": scores[at] for at, name in enumerate(("precision", "recall", "f1"))
        }
    figures = {name: figure.value for name, figure in found.figures.items()}
    figures.pop("ece")
    assert figures == pytest.approx(expected, **EXACT)
    assert (found.confusion == sk.multilabel_confusion_matrix(truth, guess)).all()


def test_evaluate__multi_label_of_many_cells_ranks_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "MOST_CELLS", 400)
    rng = np.random.default_rng(0)
    p = rng.uniform(size=(300, 4))
    found = evaluate(p, (rng.uniform(size=p.shape) < p).astype(int), CLASSES, rng=rng)
    assert found.figure("micro-auroc").n == 100
    assert found.figure("macro-auroc").n == 300


def test_evaluate__a_perfect_ranking_of_few_is_not_certain() -> None:
    p = np.full((103, 2), 0.5)
    p[:3] = [0.1, 0.9]
    truth = np.repeat([1, 0], [3, 100])
    rare = evaluate(p, truth, ("many", "few"), rng=np.random.default_rng(0)).per_class[1]
    for figure in (rare.auroc, rare.average_precision, rare.f1, rare.recall):
        assert figure.value == 1
        assert figure.ci[0] < 0.8


def test_evaluate__a_class_that_is_never_predicted_leaves_its_precision_open() -> None:
    p = np.tile([0.9, 0.1], (50, 1))
    truth = np.repeat([0, 1], [45, 5])
    found = evaluate(p, truth, ("a", "b"), rng=np.random.default_rng(0))
    precision = found.figure("macro-precision")
    assert precision.value == pytest.approx(0.45)
    assert precision.ci[1] > 0.9


def test_confused_pairs__most_frequent_first() -> None:
    truth = np.repeat([0, 1, 2], [10, 10, 10])
    guess = truth.copy()
    guess[:6], guess[10:12], guess[12:13] = 1, 2, 0
    p = np.eye(3)[guess]
    found = evaluate(p, truth, ("shirt", "coat", "bag"), rng=np.random.default_rng(0))
    pairs = confused_pairs(found)
    assert [(one.truth, one.predicted, one.count) for one in pairs] == [
        ("shirt", "coat", 6),
        ("coat", "bag", 2),
        ("coat", "shirt", 1),
    ]
    assert pairs[0].share == intervals.Figure(0.6, 10, intervals.wilson(6, 10))
    assert found.as_json()["confused_pairs"][0]["truth"] == "shirt"
    assert len(confused_pairs(found, most=2)) == 2


def test_confused_pairs__multi_label_counts_what_was_said_in_place() -> None:
    truth = np.array([[1, 0, 1], [1, 0, 0], [0, 1, 0]])
    p = np.array([[0.0, 1.0, 1.0], [0.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    found = evaluate(p, truth, ("a", "b", "c"), rng=np.random.default_rng(0))
    assert [(one.truth, one.predicted, one.count) for one in confused_pairs(found)] == [
        ("a", "b", 2)
    ]


def test_by_slice__same_as_evaluating_its_images_alone() -> None:
    p, truth = answers(200)
    studio = ["x"] * 120 + ["y"] * 70 + [""] * 10
    slices = by_slice(p, truth, CLASSES, {"studio": studio}, rng=np.random.default_rng(0))
    assert [(one.value, one.n) for one in slices["studio"]] == [("x", 120), ("y", 70), ("", 10)]
    alone = evaluate(p[120:190], truth[120:190], CLASSES, rng=np.random.default_rng(0))
    for name, figure in slices["studio"][1].figures.items():
        assert figure.value == pytest.approx(alone.figures[name].value)
    assert set(slices["studio"][0].figures) >= {"accuracy", "balanced_accuracy", "macro_f1"}
    assert slices["studio"][2].as_json() == {"column": "studio", "value": "", "n": 10}


def test_by_slice__copies_make_no_interval_narrower() -> None:
    p, truth = answers(60)
    groups = np.repeat(np.arange(60), 3)
    once, copied = (
        by_slice(
            np.repeat(p, times, axis=0),
            np.repeat(truth, times),
            CLASSES,
            {"studio": ["x"] * 40 * times + ["y"] * 20 * times},
            rng=np.random.default_rng(0),
            groups=groups if times == 3 else None,
        )["studio"]
        for times in (1, 3)
    )
    for one, other in zip(copied, once, strict=True):
        assert one.n == 3 * other.n
        assert one.figures["accuracy"].ci == pytest.approx(other.figures["accuracy"].ci)


def test_by_slice__column_of_another_length() -> None:
    p, truth = answers(30)
    with pytest.raises(TrainingError, match="2 values of 'studio' for 30 images"):
        by_slice(p, truth, CLASSES, {"studio": ["x", "y"]}, rng=np.random.default_rng(0))


@pytest.mark.parametrize("measure", [ranking.auroc, ranking.average_precision])
def test_ranking__influence_is_the_slope_in_each_weight(
    measure: Callable[..., ranking.Ranked],
) -> None:
    rng = np.random.default_rng(0)
    scores, present = np.round(rng.normal(size=40), 1), rng.uniform(size=40) < 0.3
    weight, order = rng.integers(1, 4, 40).astype(float), ranking.Order.of(scores)
    found = measure(order, present, weight)
    for row in range(40):
        more = weight.copy()
        more[row] += 1e-6
        slope = (measure(order, present, more).value - found.value) / 1e-6
        assert found.influence[row] == pytest.approx(weight[row] * slope, abs=1e-6)


@pytest.mark.parametrize(("own", "apart"), [(5, 1.0), (5, 2.5), (20, 2.5)])
def test_newcombe__covers_with_few_of_the_class(own: int, apart: float) -> None:
    area = float(ndtr(apart / np.sqrt(2)))

    def interval(rng: np.random.Generator) -> tuple[float, float]:
        present = np.arange(200) < own
        order = ranking.Order.of(rng.normal(size=200) + apart * present)
        found = ranking.auroc(order, present, np.ones(200))
        nothing = np.zeros(200, np.int64)
        return ranking.auroc_figure(found, present, Answers(nothing, nothing, np.ones(200), 1)).ci

    assert 0.92 <= covers(interval, area) <= 0.995


def test_evaluate__every_figure_lies_in_its_interval() -> None:
    found = judged()
    figures = list(found.figures.values())
    for one in found.per_class:
        figures += [one.precision, one.recall, one.f1, one.auroc, one.average_precision]
    for figure in figures:
        assert figure.value is not None
        assert figure.ci[0] <= figure.value <= figure.ci[1]
        assert figure.n > 0


def test_evaluate__same_seed_same_intervals() -> None:
    assert judged().as_json() == judged().as_json()


def told(task: str, n: int = 150) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    p, truth = answers(n)
    if task == "single-label":
        return p, truth
    return p, (p + np.random.default_rng(1).normal(scale=0.3, size=p.shape) > 0.4).astype(np.int64)


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_evaluate__groups_of_one_image_change_nothing(task: str) -> None:
    p, truth = told(task)
    own = np.random.default_rng(2).permutation(len(p)) + 7
    w = np.random.default_rng(3).integers(1, 4, len(p)).astype(float)
    alone, grouped = (
        evaluate(p, truth, CLASSES, rng=np.random.default_rng(0), weights=w, groups=groups)
        for groups in (None, own)
    )
    assert grouped.as_json() == alone.as_json()
    assert "groups" not in grouped.as_json()


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_evaluate__copies_make_no_interval_narrower(task: str) -> None:
    p, truth = told(task)
    once = evaluate(p, truth, CLASSES, rng=np.random.default_rng(0))
    copied = evaluate(
        np.repeat(p, 4, axis=0),
        np.repeat(truth, 4, axis=0),
        CLASSES,
        rng=np.random.default_rng(0),
        groups=np.repeat(np.arange(len(p)), 4),
    )
    assert (copied.n, copied.groups, copied.as_json()["groups"]) == (600, 150, 150)
    pairs = [(copied.figures[name], figure) for name, figure in once.figures.items()]
    names = ("precision", "recall", "f1", "auroc", "average_precision")
    for one, other in zip(copied.per_class, once.per_class, strict=True):
        pairs += [(getattr(one, name), getattr(other, name)) for name in names]
    pairs += [
        (one.share, other.share)
        for one, other in zip(confused_pairs(copied), confused_pairs(once), strict=True)
    ]
    for one, other in pairs:
        assert (one.value, *one.ci) == pytest.approx((other.value, *other.ci), abs=1e-6)


def test_evaluate__groups_of_another_length() -> None:
    p, truth = answers(30)
    with pytest.raises(TrainingError, match="2 groups for 30 images"):
        evaluate(p, truth, CLASSES, rng=np.random.default_rng(0), groups=np.array([1, 2]))


def test_evaluate__the_calibration_error_of_a_calibrated_model_may_be_small() -> None:
    lows = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        p = rng.dirichlet(np.ones(3), 150)
        truth = (p.cumsum(axis=1) > rng.uniform(size=(150, 1))).argmax(axis=1)
        figure = evaluate(p, truth, CLASSES[:3], rng=rng).figure("ece")
        assert figure.ci[0] <= figure.value <= figure.ci[1]
        lows.append(figure.ci[0])
    assert np.mean(lows) < 0.03  # a percentile interval begins at 0.07


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


@pytest.mark.parametrize(
    ("trials", "rates"),
    [
        ([30, 20, 12, 6, 3], [0.95, 0.9, 0.8, 0.7, 0.6]),
        ([100, 50, 30, 14, 6], [0.99, 0.99, 0.99, 0.99, 0.99]),
    ],
)
def test_mean_of_figures__covers_with_few_of_some_classes(
    trials: list[int], rates: list[float]
) -> None:
    def interval(rng: np.random.Generator) -> tuple[float, float]:
        hits = rng.binomial(trials, rates)
        return intervals.mean_of_figures(
            [
                intervals.proportion(np.arange(n) < right)
                for n, right in zip(trials, hits, strict=True)
            ]
        )

    assert 0.90 <= covers(interval, float(np.mean(rates))) <= 0.985


def test_proportion_of_groups__covers_with_copies_of_some() -> None:
    def interval(rng: np.random.Generator) -> tuple[float, float]:
        sizes = rng.choice([1, 1, 1, 2, 8], 60)
        members = np.repeat(np.arange(60), sizes)
        hits = (rng.uniform(size=60) < 0.8)[members] ^ (rng.uniform(size=len(members)) < 0.02)
        return intervals.proportion_of_groups(hits, members).ci

    assert 0.92 <= covers(interval, 0.8 * 0.98 + 0.2 * 0.02) <= 0.99


def test_reflected__takes_off_what_the_draws_add() -> None:
    draws = np.linspace(0.1, 0.3, 201)  # of a value of 0.15
    assert intervals.reflected(draws, 0.15) == pytest.approx((0.005, 0.195))
    assert intervals.reflected(draws, 0.05) == pytest.approx((0.0, 0.05))
    assert intervals.reflected(draws, 0.9) == pytest.approx((0.9, 1.0))


def test_resampled_counts__draw_whole_groups() -> None:
    members = np.array([0, 1, 1, 2, 2, 2])
    (drawn,) = intervals.resampled_counts(
        6, rng=np.random.default_rng(0), resamples=40, members=members
    )
    assert (drawn[:, 1] == drawn[:, 2]).all() and (drawn[:, 3:] == drawn[:, 3:4]).all()
    assert (drawn[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_resampled_counts__draw_as_many_as_there_are() -> None:
    rng = np.random.default_rng(0)
    blocks = list(intervals.resampled_counts(50, rng=rng, resamples=30))
    assert np.concatenate(blocks).sum(axis=1).tolist() == [50.0] * 30
