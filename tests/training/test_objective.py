from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from curation.errors import TrainingError
from training.finetuning.objective import Objective, Rows
from training.settings import FineTuneSettings

CLASSES = ("a", "b", "c")
PLAIN = FineTuneSettings(class_weight="none")
Y = np.array([0, 1, 2, 1, 0])
TABLE = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 0], [0, 1, 0], [1, 1, 1]])


def objective(y: Any, settings: FineTuneSettings = PLAIN, **more: Any) -> Objective:
    rows = Rows([Path(str(n)) for n in range(len(y))], y, more.pop("weights", None))
    task = "single-label" if y.ndim == 1 else "multi-label"
    return Objective(rows, classes=CLASSES, task=task, settings=settings, **more)


def logits() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32))


def test_loss__single_label_is_torchs_weighted_smoothed_cross_entropy() -> None:
    weight = np.array([1.0, 2.0, 0.0, 1.0, 1.0])
    asked = objective(
        Y, replace(PLAIN, label_smoothing=0.1), weights=weight, class_weight=np.array([1.0, 3.0, 2])
    )
    rows = np.array([4, 1, 0])
    found = asked.loss(logits()[rows], asked.targets(rows))
    each = functional.cross_entropy(
        logits()[rows][:, :2], torch.from_numpy(Y[rows]), reduction="none", label_smoothing=0.1
    )
    # Class c has no row that counts, so that smoothing spares it.
    assert asked.known.tolist() == [True, True, False]
    shift = logits()[rows].logsumexp(1) - logits()[rows][:, :2].logsumexp(1)
    expected = ((each + shift) * torch.tensor([1.0, 6.0, 1.0])).sum()
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_loss__multi_label_is_torchs() -> None:
    asked = objective(TABLE, class_weight=np.array([1.0, 2.0, 4.0]))
    rows = np.arange(5)
    expected = functional.binary_cross_entropy_with_logits(
        logits(),
        torch.from_numpy(TABLE).float(),
        pos_weight=torch.tensor([1.0, 2.0, 4.0]),
        reduction="sum",
    )
    found = asked.loss(logits(), asked.targets(rows))
    assert found.item() == pytest.approx(expected.item() / 3, rel=1e-6)
    right = ((logits().numpy() >= 0) == TABLE).all(axis=1).sum()
    assert asked.right(logits(), rows).item() == right


def test_objective__weighted_sampling_takes_the_weight_out_of_the_loss() -> None:
    settings = FineTuneSettings(class_weight="balanced", sampling="weighted")
    asked = objective(np.array([0, 0, 0, 1, 2]), settings)
    assert asked.chance is not None
    assert asked.chance == pytest.approx([1 / 9] * 3 + [1 / 3] * 2)
    assert (asked.targets(np.arange(5)).sum(1) == 1).all()


@pytest.mark.parametrize("settings", [{"mixup": 1.0}, {"cutmix": 1.0}, {"mixup": 1.0, "cutmix": 1}])
def test_mixed__pixels_and_targets_alike(settings: dict[str, Any]) -> None:
    asked = objective(Y, replace(PLAIN, **settings))
    rows = np.arange(5)
    # Each image is full of its own number, so that its mean tells what it was blended with.
    images = torch.arange(5.0)[:, None, None, None].expand(5, 3, 8, 8).clone()
    numpys, torchs = np.random.get_state()[1].copy(), torch.get_rng_state()
    blended, targets = asked.mixed(images, asked.targets(rows), seed=(1, 2, 3))
    again, _ = asked.mixed(
        torch.arange(5.0)[:, None, None, None].expand(5, 3, 8, 8).clone(),
        asked.targets(rows),
        seed=(1, 2, 3),
    )
    assert (np.random.get_state()[1] == numpys).all() and (torch.get_rng_state() == torchs).all()
    assert torch.equal(blended, again)
    assert (blended[2] == 2).all() and (targets[2] == torch.eye(3)[2]).all()
    share = (blended[0].mean() - 4) / -4
    assert 0 < share < 1
    truth = torch.eye(3)[torch.from_numpy(Y)]
    for row in (0, 1, 3, 4):
        mirror = 4 - row
        mean = share * row + (1 - share) * mirror
        assert blended[row].mean().item() == pytest.approx(mean.item(), abs=1e-5)
        expected = share * truth[row] + (1 - share) * truth[mirror]
        assert targets[row].numpy() == pytest.approx(expected.numpy(), abs=1e-5)


@pytest.mark.parametrize(
    ("y", "more", "says"),
    [
        (np.array([1, 1]), {}, "only: b"),
        (np.array([0, 1]), {"weights": np.array([1.0, 0.0])}, "only: a"),
        (np.array([[1, 0, 1], [1, 0, 1]]), {}, "only: a, c"),
        (np.array([0, 1]), {"class_weight": np.zeros(3)}, "leave no image that counts"),
        (np.array([0, 1]), {"weights": np.array([1.0, -1.0])}, "at least 0"),
    ],
)
def test_objective__nothing_to_learn(y: Any, more: dict[str, Any], says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        objective(y, **more)
