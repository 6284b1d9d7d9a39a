from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from curation.errors import TrainingError
from training.finetune import Epoch, FineTuned, fit
from training.settings import FineTuneSettings

CLASSES = ("left", "right", "never")
QUICK = FineTuneSettings(input_size=64, batch_size=8, epochs=2, augmentation="none")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], NDArray[np.int64]]:
    """24 noisy pictures with a bright disc on a dark ground, or a dark one on a bright ground."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    rows, columns = np.mgrid[:64, :64]
    paths = []
    for number, side in enumerate(y):
        disc = (rows - 32) ** 2 + (columns - 32) ** 2 < 300
        picture = np.where(disc == (side == 1), 180, 60) + rng.normal(scale=20, size=(64, 64))
        path = folder / f"{number}.png"
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(path)
        paths.append(path)
    return paths, y


def train(
    data: tuple[Sequence[Path], NDArray[np.int64]],
    *,
    settings: FineTuneSettings = QUICK,
    seed: int = 0,
    task: str = "single-label",
) -> list[Epoch]:
    paths, y = data
    rng = np.random.default_rng(seed)
    return list(fit(paths, y, classes=CLASSES, rng=rng, settings=settings, task=task))


def test_fit__learns_and_saves(
    images: tuple[list[Path], NDArray[np.int64]], tmp_path: Path
) -> None:
    epochs = train(images)
    assert [epoch.number for epoch in epochs] == [0, 1, 2]
    assert epochs[0].loss is None and epochs[2].loss is not None
    model = epochs[-1].model.calibrated(1.5)
    p = model.probabilities(images[0])
    assert (p.argmax(axis=1) == images[1]).mean() > 0.9
    assert p.sum(axis=1) == pytest.approx(1)
    assert (p[:, 2] == 0).all()
    model.save(tmp_path / "model.safetensors")
    again = FineTuned.load(tmp_path / "model.safetensors")
    assert again.probabilities(images[0]) == pytest.approx(p, abs=1e-6)
    assert (again.classes, again.settings, again.temperature) == (CLASSES, QUICK, 1.5)


def test_fit__same_seed_same_model(images: tuple[list[Path], NDArray[np.int64]]) -> None:
    light = replace(QUICK, augmentation="light", epochs=1)
    one, two, other = (train(images, settings=light, seed=seed)[-1] for seed in (1, 1, 2))
    assert one.loss == two.loss != other.loss
    same = one.model.logits(images[0])[:, :2]
    assert (same == two.model.logits(images[0])[:, :2]).all()


def test_fit__the_caller_may_stop(images: tuple[list[Path], NDArray[np.int64]]) -> None:
    paths, y = images
    epochs = fit(paths, y, classes=CLASSES, rng=np.random.default_rng(0), settings=QUICK)
    first = next(epochs)
    assert (first.model.probabilities(paths).argmax(axis=1) == y).mean() > 0.9


def test_fit__weight_of_zero_ignores_an_image(
    images: tuple[list[Path], NDArray[np.int64]],
) -> None:
    paths, y = images
    flipped = y.copy()
    flipped[:4] = 1 - flipped[:4]
    weight = np.ones(24)
    weight[:4] = 0
    *_, last = fit(
        paths,
        flipped,
        classes=CLASSES,
        rng=np.random.default_rng(0),
        settings=QUICK,
        sample_weight=weight,
    )
    assert (last.model.probabilities(paths[:4]).argmax(axis=1) == y[:4]).all()


def test_fit__multi_label(images: tuple[list[Path], NDArray[np.int64]]) -> None:
    paths, y = images
    table = np.stack([y == 0, y == 1, np.zeros(24)], axis=1).astype(np.int64)
    p = train((paths, table), task="multi-label")[-1].model.probabilities(paths)
    assert ((p >= 0.5) == table).mean() > 0.9


def test_fit__loss_that_is_not_a_number(images: tuple[list[Path], NDArray[np.int64]]) -> None:
    wild = replace(QUICK, backbone_learning_rate=1e30, head_learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"loss became .*Lower backbone-learning-rate"):
        train(images, settings=wild)


def test_fit__one_class_only(images: tuple[list[Path], NDArray[np.int64]]) -> None:
    with pytest.raises(TrainingError, match="only: left"):
        train((images[0], np.zeros(24, dtype=np.int64)))


def test_load__broken_file(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\x40\x00\x00\x00\x00\x00\x00\x00{")
    with pytest.raises(TrainingError, match="Train it again"):
        FineTuned.load(tmp_path / "model.safetensors")
