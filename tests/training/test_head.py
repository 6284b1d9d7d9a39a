from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression

from curation.errors import TrainingError
from training.heads import logistic
from training.heads.head import Head, fit_head
from training.settings import HeadSettings

CLASSES = ("ok", "scratch", "dent")
EXACT = HeadSettings(strength=10.0, class_weight="none", tolerance=1e-9)


def blobs(
    rows: int, columns: int, *, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    y = rng.choice(3, rows, p=[0.6, 0.3, 0.1])
    points = rng.normal(size=(rows, columns)) * 0.4
    points[np.arange(rows), y] += 1
    points += 0.5
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), y


@pytest.mark.parametrize(("rows", "columns"), [(60, 200), (300, 20)])
@pytest.mark.parametrize("rule", ["none", "balanced"])
def test_fit_head__agrees_with_scikit_learn(rows: int, columns: int, rule: str) -> None:
    X, y = blobs(rows, columns)
    weight = np.random.default_rng(1).uniform(0.5, 1.5, rows)
    settings = HeadSettings(strength=10.0, class_weight=rule, tolerance=1e-9)
    ours = fit_head(X, y, classes=CLASSES, settings=settings, sample_weight=weight)
    # Their rule counts rows, ours sums the sample weights: give them ours.
    sums = np.bincount(y, weights=weight)
    per_class = np.ones(3) if rule == "none" else weight.sum() / (3 * sums)
    theirs = LogisticRegression(C=10.0, tol=1e-9, max_iter=10_000)
    theirs.fit(X.astype(np.float64), y, sample_weight=weight * per_class[y])
    expected = theirs.predict_proba(X.astype(np.float64))
    assert np.abs(ours.probabilities(X) - expected).max() < 2e-3


def test_fit_head__multi_label_agrees_with_scikit_learn() -> None:
    X, _ = blobs(120, 30)
    y = (X[:, :3] > np.median(X[:, :3], axis=0)).astype(np.int64)
    ours = fit_head(X, y, classes=CLASSES, task="multi-label", settings=EXACT).probabilities(X)
    for column in range(3):
        theirs = LogisticRegression(C=10.0, tol=1e-9, max_iter=10_000)
        theirs.fit(X.astype(np.float64), y[:, column])
        expected = theirs.predict_proba(X.astype(np.float64))[:, 1]
        assert np.abs(ours[:, column] - expected).max() < 2e-3


def test_fit_head__same_labels_same_head() -> None:
    X, y = blobs(80, 50)
    one, two = (fit_head(X, y, classes=CLASSES) for _ in range(2))
    assert (one.weight == two.weight).all() and (one.bias == two.bias).all()


def test_fit_head__class_without_a_label_gets_probability_zero() -> None:
    X, y = blobs(80, 50)
    p = fit_head(X[y < 2], y[y < 2], classes=CLASSES).probabilities(X)
    assert (p[:, 2] == 0).all()
    assert p.sum(axis=1) == pytest.approx(1)
    assert np.isfinite(p).all()


def test_fit_head__class_with_one_image() -> None:
    X, y = blobs(80, 50)
    kept = np.concatenate([np.flatnonzero(y < 2), np.flatnonzero(y == 2)[:1]])
    p = fit_head(X[kept], y[kept], classes=CLASSES).probabilities(X[kept])
    assert p[-1].argmax() == 2


def test_fit_head__one_class_only() -> None:
    X, _ = blobs(10, 5)
    with pytest.raises(TrainingError, match=r"10 labels .*only: scratch.*max-herding"):
        fit_head(X, np.ones(10, dtype=np.int64), classes=CLASSES)


def test_fit_head__no_rows() -> None:
    with pytest.raises(TrainingError, match="Label some images first"):
        fit_head(np.empty((0, 5)), np.empty(0, dtype=np.int64), classes=CLASSES)


def test_fit_head__label_out_of_range() -> None:
    X, y = blobs(10, 5)
    with pytest.raises(TrainingError, match="0 to 2"):
        fit_head(X, y + 3, classes=CLASSES)


def test_fit_head__nan_embedding() -> None:
    X, y = blobs(10, 5)
    X[2, 2] = np.nan
    with pytest.raises(TrainingError, match="NaN"):
        fit_head(X, y, classes=CLASSES)


def test_fit_head__rows_of_weight_zero_do_not_count() -> None:
    X, y = blobs(90, 20)
    kept = np.arange(90) < 60
    whole = fit_head(X, y, classes=CLASSES, sample_weight=kept.astype(float), settings=EXACT)
    part = fit_head(X[kept], y[kept], classes=CLASSES, settings=EXACT)
    assert np.abs(whole.probabilities(X) - part.probabilities(X)).max() < 5e-3


def test_fit_head__class_weight_raises_recall_of_that_class() -> None:
    X, y = blobs(200, 4)
    plain, raised = (
        fit_head(X, y, classes=CLASSES, settings=EXACT, class_weight=np.array([1, 1, w]))
        for w in (1, 20)
    )
    found = [(head.probabilities(X).argmax(1)[y == 2] == 2).mean() for head in (plain, raised)]
    assert found[1] > found[0]


def test_fit_head__multi_label_class_always_or_never_present() -> None:
    X, y = blobs(60, 20)
    table = np.stack([y == 0, np.ones(60), np.zeros(60)], axis=1).astype(np.int64)
    p = fit_head(X, table, classes=CLASSES, task="multi-label").probabilities(X)
    assert np.isfinite(p).all()
    assert (p[:, 1] > 0.9).all() and (p[:, 2] == 0).all()


def test_probabilities__other_backbone() -> None:
    X, y = blobs(60, 20)
    with pytest.raises(TrainingError, match=r"20 columns; got \(60, 19\)"):
        fit_head(X, y, classes=CLASSES).probabilities(X[:, 1:])


def test_load__gives_the_same_probabilities(tmp_path: Path) -> None:
    X, y = blobs(60, 20)
    head = fit_head(X[y < 2], y[y < 2], classes=CLASSES).calibrated(1.7)
    head.save(tmp_path / "run" / "head.safetensors")
    again = Head.load(tmp_path / "run" / "head.safetensors")
    assert (again.probabilities(X) == head.probabilities(X)).all()
    assert (again.classes, again.task, again.temperature) == (CLASSES, "single-label", 1.7)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["head.safetensors"]


@pytest.mark.parametrize("keep", [0, 5, 60, -7])
def test_load__broken_file(tmp_path: Path, keep: int) -> None:
    X, y = blobs(60, 20)
    path = tmp_path / "head.safetensors"
    fit_head(X, y, classes=CLASSES).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TrainingError, match="Train it again"):
        Head.load(path)


def test_load__tables_that_do_not_fit(tmp_path: Path) -> None:
    X, y = blobs(60, 20)
    path = tmp_path / "head.safetensors"
    fit_head(X, y, classes=CLASSES).save(path)
    with safe_open(path, framework="numpy") as file:
        about = file.metadata()
    save_file({"weight": np.ones((3, 20)), "bias": np.ones(2)}, path, metadata=about)
    with pytest.raises(TrainingError, match=r"classes and weights do not fit together.*again"):
        Head.load(path)


def test_load__missing_file(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="Train it again"):
        Head.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("rule", ["none", "balanced"])
def test_fit_head__thousands_of_rows_agree_with_scikit_learn(rule: str) -> None:
    X, y = blobs(2_400, 40)
    weight = np.random.default_rng(1).uniform(0.5, 1.5, len(X))
    settings = HeadSettings(strength=30.0, class_weight=rule)
    ours = fit_head(X, y, classes=CLASSES, settings=settings, sample_weight=weight)
    sums = np.bincount(y, weights=weight)
    per_class = np.ones(3) if rule == "none" else weight.sum() / (3 * sums)
    theirs = LogisticRegression(C=30.0, tol=1e-9, max_iter=10_000)
    theirs.fit(X.astype(np.float64), y, sample_weight=weight * per_class[y])
    expected = theirs.predict_proba(X.astype(np.float64))
    assert np.abs(ours.probabilities(X) - expected).max() < 5e-3


def test_fit_head__thousands_of_rows_multi_label() -> None:
    X, _ = blobs(2_400, 40)
    noise = np.random.default_rng(2).normal(size=(2_400, 2)) * 0.1
    y = (X[:, :2] + noise > np.median(X[:, :2], axis=0)).astype(np.int64)
    y = np.concatenate([y, np.ones((2_400, 1), dtype=np.int64)], axis=1)
    settings = HeadSettings(strength=30.0, class_weight="none")
    ours = fit_head(X, y, classes=CLASSES, task="multi-label", settings=settings).probabilities(X)
    for column in range(2):
        theirs = LogisticRegression(C=30.0, tol=1e-9, max_iter=10_000)
        theirs.fit(X.astype(np.float64), y[:, column])
        expected = theirs.predict_proba(X.astype(np.float64))[:, 1]
        assert np.abs(ours[:, column] - expected).max() < 5e-3
    assert (ours[:, 2] > 0.99).all()


def test_fit_head__same_bits_on_any_number_of_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = blobs(2_400, 40)
    found = []
    for cores in (1, 3):
        monkeypatch.setattr(logistic, "usable_cores", lambda cores=cores: cores)
        found.append(fit_head(X, y, classes=CLASSES))
    assert (found[0].weight == found[1].weight).all() and (found[0].bias == found[1].bias).all()


def test_fit_head__a_start_leads_to_the_same_head() -> None:
    X, y = blobs(2_400, 40)
    kept = y < 2
    start = fit_head(X[kept], y[kept], classes=CLASSES, settings=HeadSettings(strength=3.0))
    from_start = fit_head(X, y, classes=CLASSES, start=start)
    from_nothing = fit_head(X, y, classes=CLASSES)
    assert np.abs(from_start.probabilities(X) - from_nothing.probabilities(X)).max() < 1e-2
