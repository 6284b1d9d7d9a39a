import json
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from curation.errors import Cancelled, TrainingError
from training.heads.head import fit_head
from training.heads.mlp import Mlp
from training.heads.mlp_training import fit_mlp, run
from training.settings import MlpSettings

CLASSES = ("inside", "outside", "never")
QUICK = MlpSettings(hidden=64, epochs=30, batch_size=32, learning_rate=1e-2)


def rings(rows: int, *, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Two rings, one in the other, off the origin: no straight border tells them apart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    angle = rng.uniform(0, 2 * np.pi, rows)
    radius = np.where(y == 0, 0.4, 1.0) + rng.normal(size=rows) * 0.05
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.zeros(rows)], axis=1)
    return (5.0 + 0.1 * points).astype(np.float32), y


def test_fit_mlp__learns_what_a_head_cannot() -> None:
    X, y = rings(400)
    held = rings(200, seed=1)
    model, epochs = fit_mlp(X, y, classes=CLASSES, settings=QUICK, validation=held, seed=0)
    accuracy = (model.probabilities(held[0]).argmax(axis=1) == held[1]).mean()
    straight = fit_head(X, y, classes=CLASSES).probabilities(held[0]).argmax(axis=1) == held[1]
    assert accuracy > 0.95 and straight.mean() < 0.7
    best = [epoch for epoch in epochs if epoch.best][-1]
    assert best.validation["accuracy"] == pytest.approx(accuracy)
    assert model.probabilities(X).sum(axis=1) == pytest.approx(1)
    assert (model.probabilities(X)[:, 2] == 0).all()


def test_fit_mlp__same_seed_same_weights_and_no_global_numbers() -> None:
    X, y = rings(120)
    before = torch.get_rng_state()
    one, _ = fit_mlp(X, y, classes=CLASSES, settings=QUICK, seed=4)
    assert (torch.get_rng_state() == before).all()
    torch.rand(3)
    two, _ = fit_mlp(X, y, classes=CLASSES, settings=QUICK, seed=4)
    other, _ = fit_mlp(X, y, classes=CLASSES, settings=QUICK, seed=5)
    assert (one.weight == two.weight).all() and (one.hidden_weight == two.hidden_weight).all()
    assert (one.hidden_weight != other.hidden_weight).any()


def test_run__makes_no_copy_of_all_rows() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(3.0, 2.0, size=(20_000, 300)).astype(np.float32)
    y = (X[:, 0] > 3).astype(np.int64)
    settings = MlpSettings(hidden=4, epochs=1, batch_size=10_000)
    next(run(X[:100], y[:100], classes=CLASSES, settings=settings, seed=0))  # imports the rest
    tracemalloc.start()
    next(run(X, y, classes=CLASSES, settings=settings, seed=0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < X.nbytes


def test_run__ends_by_patience_and_keeps_the_best() -> None:
    X, y = rings(60)
    # Labels of the validation are by chance: nothing gets better for long.
    held = X, np.random.default_rng(1).integers(0, 2, 60)
    settings = MlpSettings(hidden=16, epochs=200, patience=3, batch_size=32)
    found = list(run(X, y, classes=CLASSES, settings=settings, validation=held, seed=0))
    assert len(found) < 200 and not any(epoch.best for epoch, _ in found[-3:])
    best = max(i for i, (epoch, _) in enumerate(found) if epoch.best)
    assert (found[-1][1].weight == found[best][1].weight).all()


def test_fit_mlp__a_loss_that_is_no_number() -> None:
    _, y = rings(60)
    # Finite numbers, but not the distance of some from their mean.
    X = np.where(np.arange(60) < 40, 3e38, -3e38).astype(np.float32)[:, None]
    settings = MlpSettings(hidden=16, epochs=5, batch_size=8)
    with pytest.raises(TrainingError, match=r"first epoch.*learning-rate"):
        fit_mlp(X, y, classes=CLASSES, settings=settings, seed=0)


def test_run__later_nan_keeps_the_best_before_it() -> None:
    X, y = rings(64)
    settings = MlpSettings(hidden=16, epochs=6, batch_size=64, learning_rate=1e-3)
    found = []
    for epoch, model in run(X, y, classes=CLASSES, settings=settings, validation=(X, y), seed=0):
        found.append((epoch, model))
        if epoch.number == 2:
            X[:] = np.inf  # what training sees from here on; the model has its own copies
    assert len(found) == 3 and not found[-1][0].best
    assert not math.isfinite(found[-1][0].loss) and "is kept" in found[-1][0].says
    assert found[-1][1].is_finite


def test_fit_mlp__a_thousand_classes_and_two_images() -> None:
    rng = np.random.default_rng(0)
    names = tuple(str(number) for number in range(1_000))
    X = rng.normal(size=(3_000, 24)).astype(np.float32)
    y = np.arange(3_000) % 1_000
    model, _ = fit_mlp(X, y, classes=names, settings=MlpSettings(epochs=1), seed=0)
    assert model.logits(X).shape == (3_000, 1_000)
    model, _ = fit_mlp(X[:2], y[:2], classes=names, settings=QUICK, seed=0)
    assert model.probabilities(X[:2]).argmax(axis=1).tolist() == [0, 1]
    assert (model.probabilities(X)[:, 2:] == 0).all()


def test_fit_mlp__one_class_only() -> None:
    X, _ = rings(10)
    with pytest.raises(TrainingError, match=r"10 labels .*only: outside"):
        fit_mlp(X, np.ones(10, dtype=np.int64), classes=CLASSES, seed=0)


def test_fit_mlp__multi_label() -> None:
    X, y = rings(300)
    table = np.stack([y == 0, X[:, 0] > 5.0, np.ones(300)], axis=1).astype(np.int64)
    model, epochs = fit_mlp(
        X, table, classes=CLASSES, task="multi-label", settings=QUICK, validation=(X, table), seed=0
    )
    p = model.probabilities(X)
    assert ((p >= 0.5) == (table == 1)).mean() > 0.95
    assert (p[:, 2] > 0.99).all() and epochs[-1].validation["accuracy"] > 0.8


def test_fit_mlp__rows_of_weight_zero_do_not_count() -> None:
    X, y = rings(200)
    wrong = np.concatenate([y, 1 - y])
    weight = np.concatenate([np.ones(200), np.zeros(200)])
    model, _ = fit_mlp(
        np.concatenate([X, X]), wrong, classes=CLASSES, settings=QUICK, sample_weight=weight, seed=0
    )
    assert (model.probabilities(X).argmax(axis=1) == y).mean() > 0.9


def test_fit_mlp__can_be_stopped() -> None:
    def stop(done: int, total: int, says: str) -> None:
        if done == 2:
            raise Cancelled("enough")

    X, y = rings(40)
    with pytest.raises(Cancelled):
        fit_mlp(X, y, classes=CLASSES, settings=QUICK, seed=0, report=stop)


def test_load__gives_the_same_probabilities(tmp_path: Path) -> None:
    X, y = rings(60)
    model = fit_mlp(X, y, classes=CLASSES, settings=QUICK, seed=0)[0].calibrated(1.7)
    path = tmp_path / "model.safetensors"
    model.save(path)
    again = Mlp.load(path)
    assert (again.probabilities(X) == model.probabilities(X)).all()
    assert (again.classes, again.temperature) == (CLASSES, 1.7)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(TrainingError, match="Train it again"):
        Mlp.load(path)
    with pytest.raises(TrainingError, match="3 columns"):
        model.logits(X[:, :2])


def test_load__a_head_is_no_network(tmp_path: Path) -> None:
    X, y = rings(60)
    fit_head(X, y, classes=CLASSES).save(tmp_path / "head.safetensors")
    with pytest.raises(TrainingError, match="not a network"):
        Mlp.load(tmp_path / "head.safetensors")


def test_epochs_are_plain_json() -> None:
    from dataclasses import asdict

    X, y = rings(40)
    _, epochs = fit_mlp(X, y, classes=CLASSES, settings=QUICK, validation=(X, y), seed=0)
    assert json.loads(json.dumps([asdict(epoch) for epoch in epochs]))[0]["number"] == 1
