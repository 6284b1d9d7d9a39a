from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from curation import workspace as workspaces
from curation.embeddings import EmbeddingStore
from curation.issues import outliers
from curation.issues.evidence import Evidence
from curation.issues.table import Issue
from curation.records import LabelRow
from curation.scan import ScanStore

Floats = NDArray[np.float32]


def images(count: int, *, seed: int = 0, classes: int = 3) -> tuple[Floats, NDArray[np.int64]]:
    """Unit rows in some clusters of two dozen dimensions, and the cluster of each."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, count)
    X = np.eye(48)[y] + 0.06 * rng.standard_normal((count, 48)) * (np.arange(48) < 24)
    return unit(X), y


def unit(X: NDArray[np.floating]) -> Floats:
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def strangers(count: int, *, spread: float, seed: int = 1) -> Floats:
    """Rows around a direction where no image lies."""
    rng = np.random.default_rng(seed)
    return unit(np.eye(48)[40] + spread * rng.standard_normal((count, 48)))


def evidence(
    folder: Path,
    X: Floats,
    *,
    labels: Mapping[int, int] | None = None,
    groups: NDArray[np.int64] | None = None,
    classes: int = 3,
) -> Evidence:
    """Of images with the ids 1, 2, ...; labels are given as image id to class number."""
    names = [f"class-{number}" for number in range(classes)]
    project = workspaces.create_project(folder / "workspace", name="shop", class_names=names)
    ids = np.arange(1, len(X) + 1)
    store = EmbeddingStore(folder / "embeddings", "test")
    if len(X):
        store.append(ids, X)
    keys = project.record.class_ids
    given = {i: LabelRow(i, i, (keys[c],), "people", 1.0) for i, c in (labels or {}).items()}
    return Evidence(
        project=project,
        ids=ids,
        groups=ids if groups is None else groups,
        scans=ScanStore(folder / "scans"),
        embeddings=store,
        labels=given,
        out_of_fold=None,
    )


def of_kind(found: list[Issue], kind: str) -> dict[int, Issue]:
    return {issue.image_id: issue for issue in found if issue.kind == kind}


@pytest.mark.parametrize("spread", [0.0001, 0.05, 0.2])
def test_find_outliers__a_cluster_of_strangers_however_tight(spread: float) -> None:
    X = np.concatenate([images(600)[0], strangers(20, spread=spread)])
    found = outliers.find_outliers(X, np.arange(620))
    planted = np.arange(620) >= 600
    assert roc_auc_score(planted, found.score) > 0.99
    assert found.is_issue[planted].all()
    assert found.is_issue[~planted].mean() < 0.01


def test_find_outliers__one_stranger() -> None:
    X = np.concatenate([images(300)[0], strangers(1, spread=0.0)])
    found = outliers.find_outliers(X, np.arange(301))
    assert found.score.argmax() == 300
    assert found.is_issue[300]
    assert found.is_issue.sum() <= 3


def test_find_outliers__copies_do_not_shield_each_other() -> None:
    X = np.concatenate([images(300)[0], np.repeat(strangers(1, spread=0.0), 40, axis=0)])
    groups = np.arange(340)
    groups[300:] = 300
    assert outliers.find_outliers(X, groups).is_issue[300:].all()


def test_find_outliers__a_clean_dataset_has_few() -> None:
    shares = [
        outliers.find_outliers(images(1_000, seed=seed)[0], np.arange(1_000)).is_issue.mean()
        for seed in range(3)
    ]
    assert max(shares) < 0.01


@pytest.mark.parametrize("count", [0, 1, 3, 19])
def test_find_outliers__too_few_to_judge(count: int) -> None:
    found = outliers.find_outliers(images(count)[0], np.arange(count))
    assert np.isnan(found.score).all()
    assert not found.is_issue.any()


@pytest.mark.parametrize("count", [20, 200])
def test_find_outliers__identical_images_are_no_outliers(count: int) -> None:
    found = outliers.find_outliers(np.tile(images(1)[0], (count, 1)), np.arange(count))
    assert np.isfinite(found.score).all()
    assert not found.is_issue.any()


def test_distances__the_own_group_does_not_count() -> None:
    reference = np.eye(4, dtype=np.float32)
    rows = np.concatenate([reference[:1], reference[:1]])
    found = outliers.distances(rows, np.array([0, 9]), reference, np.arange(4), nearest=1)
    np.testing.assert_allclose(found, [np.sqrt(2), 0], atol=1e-6)


def test_choose_reference__one_of_a_group_and_at_most_so_many() -> None:
    groups = np.array([5, 5, 2, 2, 2, 9])
    assert outliers.choose_reference(groups).tolist() == [0, 2, 5]
    many = outliers.choose_reference(np.arange(100), most=10)
    assert len(many) == 10
    assert many.tolist() == sorted(set(many.tolist()))


def test_find_space__fewer_rows_than_columns_gives_the_same_distances() -> None:
    X = images(60)[0]
    padded = np.concatenate([X, np.zeros((60, 80), np.float32)], axis=1)
    narrow, wide = outliers.find_space(X).place(X), outliers.find_space(padded).place(padded)
    of = [np.linalg.norm(Z[:, None] - Z[None], axis=2) for Z in (narrow, wide)]
    np.testing.assert_allclose(of[0], of[1], rtol=1e-3, atol=1e-4)


def test_find__rows_for_every_image_in_ascending_order(tmp_path: Path) -> None:
    X, y = images(200)
    labels = {i + 1: int(y[i]) for i in range(0, 200, 2)}
    found = list(outliers.find(evidence(tmp_path, X, labels=labels)))
    ids = [issue.image_id for issue in found]
    assert ids == sorted(ids)
    assert len(of_kind(found, "outlier")) == len(of_kind(found, "atypical")) == 200
    assert all(0 <= issue.score <= 1 and issue.related == () for issue in found)
    assert sum(issue.is_issue for issue in found) <= 4


def test_find__an_image_far_from_its_class_is_atypical(tmp_path: Path) -> None:
    X, y = images(200)
    labels = {i + 1: int(y[i]) for i in range(200)}
    labels[1] = (int(y[0]) + 1) % 3
    found = of_kind(list(outliers.find(evidence(tmp_path, X, labels=labels))), "atypical")
    assert found[1].is_issue
    assert found[1].score == max(issue.score for issue in found.values())
    assert found[1].reason.startswith(f"labeled class-{labels[1]}, ")


def test_find__an_unlabeled_image_near_no_class_is_atypical(tmp_path: Path) -> None:
    X, y = images(200)
    rows = np.concatenate([X, strangers(4, spread=0.1)])
    labels = {i + 1: int(y[i]) for i in range(100)}
    found = of_kind(list(outliers.find(evidence(tmp_path, rows, labels=labels))), "atypical")
    assert [i for i, issue in found.items() if issue.is_issue] == [201, 202, 203, 204]
    assert found[201].reason.startswith("image of none of the labeled classes: ")


def test_find__without_labels_nothing_is_atypical(tmp_path: Path) -> None:
    found = list(outliers.find(evidence(tmp_path, images(50)[0])))
    assert {issue.kind for issue in found} == {"outlier"}


def test_find__classes_with_few_labels_are_not_judged(tmp_path: Path) -> None:
    X, y = images(200)
    labels = {i + 1: int(y[i]) for i in range(200) if y[i] == 0}
    rare = np.flatnonzero(y == 1)[:3] + 1
    labels |= {int(i): 1 for i in rare}
    found = of_kind(list(outliers.find(evidence(tmp_path, X, labels=labels))), "atypical")
    assert set(found) == {i for i, c in labels.items() if c == 0}


@pytest.mark.parametrize("count", [0, 3])
def test_find__hardly_any_image(tmp_path: Path, count: int) -> None:
    assert list(outliers.find(evidence(tmp_path, images(count)[0]))) == []


def test_find__identical_images_with_labels(tmp_path: Path) -> None:
    X = np.tile(images(1)[0], (40, 1))
    labels = {i: i % 2 for i in range(1, 41)}
    found = list(outliers.find(evidence(tmp_path, X, labels=labels)))
    assert len(found) == 80
    assert not any(issue.is_issue for issue in found)


def test_find__without_embeddings(tmp_path: Path) -> None:
    given = replace(evidence(tmp_path, images(50)[0]), embeddings=None)
    assert list(outliers.find(given)) == []
