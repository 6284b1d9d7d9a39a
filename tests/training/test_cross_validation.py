from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from curation import splits, workspace
from curation.errors import Cancelled, TrainingError
from tests.catalog.rows import add_images
from training import evaluation
from training.heads.head import fit_head
from training.judging import cross_validation
from training.judging.cross_validation import Fit, Predictor, Rows

CLASSES = ("a", "b", "c")
Matrix = NDArray[np.float64]


def material(
    n: int = 120, *, copies: int = 2
) -> tuple[Matrix, NDArray[np.int64], NDArray[np.int64]]:
    """Points of three classes, each with copies in its group."""
    rng = np.random.default_rng(0)
    y = np.arange(n // copies) % 3
    X = rng.normal(size=(n // copies, 5)) + 2 * np.eye(3, 5)[y]
    return np.repeat(X, copies, axis=0), np.repeat(y, copies), np.repeat(np.arange(len(y)), copies)


def learner(X: Matrix, y: Rows, seen: list[Rows], stops: list[Rows] | None = None) -> Fit:
    def fit(rows: Rows, steering: Rows) -> Predictor:
        seen.append(rows)
        if stops is not None:
            stops.append(steering)
        head = fit_head(X[rows], y[rows], classes=CLASSES)
        return lambda asked: head.probabilities(X[asked])

    return fit


def test_run__no_model_judges_a_group_that_it_saw() -> None:
    X, y, groups = material()
    seen: list[Rows] = []
    fold_of = cross_validation.assign(y, groups, folds=4)
    found = cross_validation.run(
        learner(X, y, seen), y, fold_of, classes=CLASSES, rng=np.random.default_rng(0)
    )
    assert len(seen) == 4
    for number, rows in enumerate(seen):
        assert not set(groups[rows]) & set(groups[fold_of == number])
    pooled = evaluation.evaluate(found.probabilities, y, CLASSES, rng=np.random.default_rng(0))
    assert found.metrics.figure("accuracy") == pooled.figure("accuracy")
    assert found.metrics.n == len(y)
    shares = [fold.figures["accuracy"] for fold in found.folds]
    assert sum(one.value * one.n for one in shares) == pytest.approx(
        found.metrics.figure("accuracy").value * len(y)
    )
    assert [one["fold"] for one in found.as_json()["folds"]] == [f"fold-{n}" for n in (1, 2, 3, 4)]


def test_run__answers_are_calibrated_by_other_folds() -> None:
    X, y, groups = material(600, copies=1)
    fold_of = cross_validation.assign(y, groups, folds=3)

    def too_sure(rows: Rows, steering: Rows) -> Predictor:
        honest = learner(X, y, [])(rows, steering)

        def sharpened(asked: Rows) -> Matrix:
            powers = honest(asked) ** 6
            return powers / powers.sum(axis=1, keepdims=True)

        return sharpened

    plain, sharp = (
        cross_validation.run(fit, y, fold_of, classes=CLASSES, rng=np.random.default_rng(0))
        for fit in (learner(X, y, []), too_sure)
    )
    assert min(fold.temperature for fold in sharp.folds) > 4
    loss = plain.metrics.figure("log-loss").value
    assert sharp.metrics.figure("log-loss").value == pytest.approx(loss, rel=0.02)
    assert (sharp.probabilities.argmax(axis=1) == plain.probabilities.argmax(axis=1)).all()


def test_run__intervals_rest_on_groups() -> None:
    X, y, groups = material()
    fold_of = cross_validation.assign(y, groups, folds=3)
    found = cross_validation.run(
        learner(X, y, []), y, fold_of, classes=CLASSES, rng=np.random.default_rng(0), groups=groups
    )
    assert (found.metrics.n, found.metrics.groups) == (120, 60)


def test_run__rows_left_out_are_neither_learned_from_nor_judged() -> None:
    X, y, groups = material()
    fold_of = cross_validation.assign(y, groups, folds=3)
    fold_of[:10] = cross_validation.LEFT_OUT
    seen: list[Rows] = []
    found = cross_validation.run(
        learner(X, y, seen), y, fold_of, classes=CLASSES, rng=np.random.default_rng(0)
    )
    assert found.metrics.n == 110
    assert np.isnan(found.probabilities[:10]).all()
    assert min(rows.min() for rows in seen) >= 10


@pytest.mark.parametrize("steers", [True, False])
def test_run__models_stop_by_groups_that_they_neither_learn_from_nor_are_judged_on(
    steers: bool,
) -> None:
    X, y, groups = material()
    fold_of = cross_validation.assign(y, groups, folds=3)
    seen: list[Rows] = []
    stops: list[Rows] = []
    found = cross_validation.run(
        learner(X, y, seen, stops),
        y,
        fold_of,
        classes=CLASSES,
        rng=np.random.default_rng(0),
        groups=groups,
        steers=steers,
    )
    for number, (learned, steering) in enumerate(zip(seen, stops, strict=True)):
        held = np.flatnonzero(fold_of == number)
        assert sorted([*learned, *steering, *held]) == list(range(len(y)))
        parts = [set(groups[rows].tolist()) for rows in (learned, steering, held)]
        assert len(set.union(*parts)) == sum(map(len, parts))
        assert 0.1 < len(steering) / len(y) / (2 / 3) < 0.2 if steers else not len(steering)
        fold = found.folds[number].as_json()
        assert (fold["trained"], fold["steered"]) == (len(learned), len(steering))


def test_divide__no_class_is_held_back_as_a_whole() -> None:
    groups = np.arange(60)
    for seed in range(10):
        y = np.r_[np.zeros(58, np.int64), 1, 2]
        learned, steering = cross_validation.divide(groups, y, groups, seed=seed)
        assert len(steering) and set(y[learned]) == {0, 1, 2}
    many = np.eye(3, dtype=np.int64)[np.r_[np.zeros(59, np.int64), 1]]
    learned, steering = cross_validation.divide(groups, many, groups)
    assert len(steering) and many[learned].any(axis=0).tolist() == [True, True, False]
    few = np.arange(19)
    learned, steering = cross_validation.divide(few, few % 2, few)
    assert len(learned) == 19 and not len(steering)


def test_run__stops_when_asked() -> None:
    X, y, groups = material()

    def report(done: int, total: int, says: str) -> None:
        if done == 1:
            raise Cancelled("stopped")

    seen: list[Rows] = []
    with pytest.raises(Cancelled):
        cross_validation.run(
            learner(X, y, seen),
            y,
            cross_validation.assign(y, groups),
            classes=CLASSES,
            rng=np.random.default_rng(0),
            report=report,
        )
    assert len(seen) == 1


def test_run__one_fold_only() -> None:
    X, y, _ = material()
    with pytest.raises(TrainingError, match="at least two folds"):
        cross_validation.run(
            learner(X, y, []),
            y,
            np.zeros(len(y), np.int64),
            classes=CLASSES,
            rng=np.random.default_rng(0),
        )


def test_assign__more_folds_than_groups() -> None:
    fold_of = cross_validation.assign(np.array([0, 1, 0, 1]), np.array([1, 1, 2, 3]), folds=5)
    assert sorted(set(fold_of)) == [0, 1, 2]
    with pytest.raises(TrainingError, match="1 groups for 5 folds"):
        cross_validation.assign(np.array([0, 1]), np.array([7, 7]))


def test_of_split__the_folds_of_a_project(tmp_path: Path) -> None:
    project = workspace.create_project(tmp_path / "work", name="p", class_names=["a", "b"], seed=1)
    with project.catalog.write() as connection:
        made = add_images(connection, project.record, [f"hash-{n}" for n in range(12)])
    splits.assign(project, folds=3, name="folds")
    ids = np.array([*made, max(made) + 1], np.int64)
    fold_of, names = cross_validation.of_split(splits.folds(project, "folds"), ids)
    assert names == ["fold-1", "fold-2", "fold-3"]
    assert fold_of[-1] == cross_validation.LEFT_OUT
    for number, fold in enumerate(splits.folds(project, "folds")):
        assert sorted(ids[fold_of == number]) == sorted(fold.test)
    project.catalog.close()
