from collections.abc import Callable
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


def learner(
    X: Matrix, y: NDArray[np.int64], seen: list[NDArray[np.int64]]
) -> Callable[[NDArray[np.int64]], Callable[[NDArray[np.int64]], Matrix]]:
    def fit(rows: NDArray[np.int64]) -> Callable[[NDArray[np.int64]], Matrix]:
        seen.append(rows)
        head = fit_head(X[rows], y[rows], classes=CLASSES)
        return lambda asked: head.probabilities(X[asked])

    return fit


def test_run__no_model_judges_a_group_that_it_saw() -> None:
    X, y, groups = material()
    seen: list[NDArray[np.int64]] = []
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

    def too_sure(rows: NDArray[np.int64]) -> Callable[[NDArray[np.int64]], Matrix]:
        honest = learner(X, y, [])(rows)

        def sharpened(asked: NDArray[np.int64]) -> Matrix:
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
    seen: list[NDArray[np.int64]] = []
    found = cross_validation.run(
        learner(X, y, seen), y, fold_of, classes=CLASSES, rng=np.random.default_rng(0)
    )
    assert found.metrics.n == 110
    assert np.isnan(found.probabilities[:10]).all()
    assert min(rows.min() for rows in seen) >= 10


def test_run__stops_when_asked() -> None:
    X, y, groups = material()

    def report(done: int, total: int, says: str) -> None:
        if done == 1:
            raise Cancelled("stopped")

    seen: list[NDArray[np.int64]] = []
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
