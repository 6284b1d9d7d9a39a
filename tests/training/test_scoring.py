from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss

from curation import backbones
from tests.training import discs
from training import steering
from training.finetuning import scoring
from training.finetuning.data import Images
from training.finetuning.objective import Rows


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_score__as_scikit_learn(task: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(24, 4))
    known = np.array([True, True, True, False])
    paths = discs.make(tmp_path).paths
    # Class 2 is missing from the truth, and class 3 cannot be predicted.
    y = rng.integers(0, 2, 24) if task == "single-label" else rng.integers(0, 2, (24, 4))
    told = iter(np.array_split(logits, [10, 20]))
    found = scoring.score(
        lambda pixels: torch.from_numpy(next(told)),
        Images(paths, backbones.Preprocessing(32, (0, 0, 0), (1, 1, 1))),
        Rows(paths, y),
        known=known,
        batch_size=10,
    )
    if task == "single-label":
        called = logits[:, :3].argmax(axis=1)
        p = torch.from_numpy(logits[:, :3]).softmax(1).numpy()
        with pytest.warns(UserWarning, match="y_pred contains classes"):
            balanced = balanced_accuracy_score(y, called)
        assert found["balanced_accuracy"] == pytest.approx(balanced)
        assert found["accuracy"] == (called == y).mean()
        assert found["macro_f1"] == pytest.approx(f1_score(y, called, average="macro"))
        assert found["loss"] == pytest.approx(log_loss(y, p, labels=[0, 1, 2]))
        return
    masked = np.where(known, logits, -np.inf)
    called = masked >= 0
    assert found["accuracy"] == (called == y).all(axis=1).mean()
    assert found["macro_f1"] == pytest.approx(f1_score(y, called, average="macro"))
    recall = [(called[:, n] & (y[:, n] == 1)).sum() / y[:, n].sum() for n in range(4)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recall))
    p = np.clip(1 / (1 + np.exp(-np.where(y == 1, masked, -masked))), 1e-12, 1)
    assert found["loss"] == pytest.approx(-np.log(p).mean(axis=1).mean())


def test_is_better__by_metric_then_by_loss() -> None:
    low, high = {"macro_f1": 0.5, "loss": 2.0}, {"macro_f1": 0.6, "loss": 3.0}
    assert steering.is_better(high, low, metric="macro-f1")
    assert not steering.is_better(high, low, metric="log-loss")
    assert steering.is_better({**low, "loss": 1.9}, low, metric="macro-f1")
    assert not steering.is_better(low, low, metric="macro-f1")
