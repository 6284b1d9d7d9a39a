from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from curation import workspace as workspaces
from curation.embeddings import EmbeddingStore
from curation.issues import label_errors
from curation.issues.evidence import Evidence
from curation.records import LabelRow, Task
from curation.scan import ScanStore
from training.heads import out_of_fold

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


def images(count: int, *, seed: int = 0, classes: int = 3) -> tuple[Floats, Labels]:
    """Unit rows around one direction a class, and their classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % classes
    X = np.eye(24)[y] + 0.1 * rng.standard_normal((count, 24))
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32), y


def spoil(y: Labels, *, share: float = 0.1, seed: int = 0) -> tuple[Labels, NDArray[np.bool_]]:
    """Labels with a share of them changed, and which."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(y), round(share * len(y)), replace=False)
    given = y.copy()
    given[rows] = (y[rows] + rng.integers(1, y.max() + 1, len(rows))) % (y.max() + 1)
    return given, given != y


def evidence(
    folder: Path,
    X: Floats,
    labels: Mapping[int, tuple[int, ...]],
    *,
    groups: Labels | None = None,
    task: Task = "single-label",
) -> Evidence:
    """Of images with the ids 1, 2, ...; labels are given as image id to class numbers."""
    names = ["shirt", "coat", "dress"]
    project = workspaces.create_project(
        folder / "workspace", name="shop", class_names=names, task=task
    )
    ids = np.arange(1, len(X) + 1)
    store = EmbeddingStore(folder / "embeddings", "test")
    if len(X):
        store.append(ids, X)
    keys = project.record.class_ids
    given = {
        i: LabelRow(i, i, tuple(keys[c] for c in of), "people", 1.0) for i, of in labels.items()
    }
    return Evidence(
        project=project,
        ids=ids,
        groups=ids if groups is None else groups,
        scans=ScanStore(folder / "scans"),
        embeddings=store,
        labels=given,
        out_of_fold=out_of_fold.probabilities,
    )


def judged(X: Floats, y: Labels, groups: Labels) -> label_errors.Judgement:
    classes = int(y.max()) + 1
    votes = label_errors.vote(X, np.eye(classes, dtype=np.int64)[y], groups)
    model = out_of_fold.probabilities(X, y, groups, classes=classes)
    return label_errors.judge(y, label_errors.combine(model, votes.shares))


def test_judge__finds_changed_labels_and_what_they_were() -> None:
    X, y = images(300)
    given, changed = spoil(y)
    found = judged(X, given, np.arange(300))
    assert average_precision_score(changed, found.score) > 0.95
    assert found.is_issue[changed].mean() > 0.9
    assert found.is_issue[~changed].mean() < 0.02
    np.testing.assert_array_equal(found.suggested[found.is_issue], y[found.is_issue])


def test_judge__right_labels_are_left_alone() -> None:
    X, y = images(300)
    assert judged(X, y, np.arange(300)).is_issue.sum() <= 3


def test_judge__a_near_duplicate_does_not_vouch_for_itself() -> None:
    X, y = images(120)
    X[:12] = X[0]
    given, groups = y.copy(), np.arange(120)
    given[:12], groups[:12] = 1, 0
    found = judged(X, given, groups)
    assert found.is_issue[:12].all()
    assert (found.suggested[:12] == 0).all()


def test_vote__copies_of_the_own_group_are_not_asked() -> None:
    X, y = images(60)
    X[:5], groups = X[0], np.arange(60)
    groups[:5] = 0
    truth = np.eye(3, dtype=np.int64)[y]
    votes = label_errors.vote(X, truth, groups, nearest=10)
    assert votes.counts[0].tolist() == [10, 0, 0]
    np.testing.assert_allclose(votes.shares.sum(axis=1), 1)


def test_vote__more_asked_than_there_are() -> None:
    X, y = images(6)
    votes = label_errors.vote(X, np.eye(3, dtype=np.int64)[y], np.arange(6))
    assert (votes.counts.sum(axis=1) == 5).all()


def test_judge_sets__a_class_too_many_and_a_class_too_few() -> None:
    X, y = images(300)
    truth = np.eye(3, dtype=np.int64)[y]
    truth[:, 2] |= truth[:, 0]  # whatever has the first class has the third
    given = truth.copy()
    given[0, 1], given[1, 1] = 1, 0
    model = out_of_fold.probabilities(X, given, np.arange(300), classes=3)
    found = label_errors.judge_sets(given, model)
    assert set(np.argsort(-found.score)[:2]) == {0, 1}
    assert found.is_issue[:2].all()
    assert found.suggested[:2].tolist() == [1, 1]
    assert found.is_issue[2:].mean() < 0.02


def test_find__every_labeled_image_in_ascending_order(tmp_path: Path) -> None:
    X, y = images(150)
    given, changed = spoil(y[:120])
    labels = {i + 1: (int(c),) for i, c in enumerate(given)}
    project = evidence(tmp_path, X, labels)
    found = list(label_errors.find(project))
    assert [issue.image_id for issue in found] == list(range(1, 121))
    assert all(0 <= issue.score <= 1 for issue in found)
    flagged = [issue for issue in found if issue.is_issue]
    assert len(flagged) >= 6
    assert {issue.image_id for issue in flagged} <= set(np.flatnonzero(changed) + 1)
    keys = project.project.record.class_ids
    assert all(i.suggested_class_id == keys[y[i.image_id - 1]] for i in flagged)
    assert all(i.suggested_class_id is None for i in found if not i.is_issue)


def test_find__says_why(tmp_path: Path) -> None:
    X, y = images(120)
    labels = {i + 1: (int(c),) for i, c in enumerate(y)}
    labels[1] = (1,)  # is a shirt
    found = list(label_errors.find(evidence(tmp_path, X, labels)))
    assert found[0].reason.startswith("labeled coat; 10 of 10 nearest labeled images and the model")
    assert found[0].reason.endswith("say shirt")
    assert found[1].reason.startswith("labeled coat, as ")


def test_find__multi_label(tmp_path: Path) -> None:
    X, y = images(150)
    labels = {i + 1: (int(c),) for i, c in enumerate(y)}
    labels[1], labels[2] = (), (0, 1)  # a shirt and a coat
    project = evidence(tmp_path, X, labels, task="multi-label")
    found = list(label_errors.find(project))
    assert len(found) == 150
    assert [issue.image_id for issue in found if issue.is_issue] == [1, 2]
    assert found[0].suggested_class_id == project.project.record.class_ids[0]
    assert found[1].suggested_class_id is None
    assert found[0].reason.startswith("labeled nothing; the model gives shirt ")


def test_find__a_class_with_one_image_is_not_judged(tmp_path: Path) -> None:
    X, y = images(90)
    labels = {i + 1: (int(c),) for i, c in enumerate(y) if c < 2} | {3: (2,)}
    found = list(label_errors.find(evidence(tmp_path, X, labels)))
    assert {issue.image_id for issue in found} == set(labels) - {3}


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {1: (0,), 2: (1,), 3: (2,)},
        dict.fromkeys(range(1, 61), (0,)),
        {i: (i % 2,) for i in range(1, 20)},
    ],
    ids=["none", "three", "one class", "nineteen"],
)
def test_find__too_few_labels(
    tmp_path: Path, labels: dict[int, tuple[int, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        assert list(label_errors.find(evidence(tmp_path, images(60)[0], labels))) == []
    assert "wrong labels are looked for from 20 labels of two classes on" in caplog.text


def test_find__an_empty_project(tmp_path: Path) -> None:
    assert list(label_errors.find(evidence(tmp_path, images(0)[0], {}))) == []


def test_find__identical_images(tmp_path: Path) -> None:
    X = np.tile(images(1)[0], (60, 1))
    labels = {i: (i % 3,) for i in range(1, 61)}
    found = list(label_errors.find(evidence(tmp_path, X, labels)))
    assert len(found) == 60
    assert not any(issue.is_issue for issue in found)


def test_find__prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    X, y = images(90)
    labels = {i + 1: (int(c),) for i, c in enumerate(y)}
    list(label_errors.find(evidence(tmp_path, X, labels)))
    assert capfd.readouterr() == ("", "")


def test_find__without_a_model(tmp_path: Path) -> None:
    X, y = images(60)
    labels = {i + 1: (int(c),) for i, c in enumerate(y)}
    given = replace(evidence(tmp_path, X, labels), out_of_fold=None)
    assert list(label_errors.find(given)) == []
