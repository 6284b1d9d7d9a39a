import itertools
import multiprocessing
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from curation.errors import BackboneError, Cancelled, TrainingError, UnreadableImage
from curation.progress import silent
from tests.training import discs
from tests.training.discs import CLASSES, QUICK
from training.finetuning import checkpoints, distributed, network, scoring, trainer
from training.finetuning.finetuned import FineTuned
from training.finetuning.objective import Rows
from training.finetuning.trainer import Epoch
from training.settings import FineTuneSettings

ALL_ON = replace(
    QUICK,
    epochs=3,
    batch_size=5,
    accumulate=2,
    label_smoothing=0.1,
    dropout=0.3,
    drop_path=0.2,
    mixup=0.4,
    cutmix=1.0,
    ema=0.9,
    l1=1e-5,
    layer_decay=0.8,
    augmentation="light",
    head_learning_rate=1e-2,
    backbone_learning_rate=1e-3,
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return discs.make(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return discs.weights(tmp_path_factory.mktemp("weights"))


def train(
    rows: Rows,
    folder: Path,
    weights: Path,
    *,
    validation: Rows | None = None,
    settings: FineTuneSettings = QUICK,
    classes: Sequence[str] = CLASSES,
    task: str = "single-label",
    seed: int = 1,
    **more: Any,
) -> list[Epoch]:
    return list(
        trainer.run(
            rows,
            validation,
            classes=classes,
            task=task,
            settings=settings,
            seed=seed,
            folder=folder,
            weights=weights,
            device="cpu",
            **more,
        )
    )


def model(folder: Path) -> FineTuned:
    return FineTuned.load(folder / trainer.MODEL)


def content(folder: Path) -> bytes:
    return (folder / trainer.MODEL).read_bytes()


def gap(one: Path, two: Path) -> float:
    """Largest difference of a weight."""
    first, second = load_file(one / trainer.MODEL), load_file(two / trainer.MODEL)
    return max(float((first[name].double() - second[name]).abs().max()) for name in first)


def test_run__learns_steers_and_leaves_a_model(rows: Rows, tmp_path: Path, weights: Path) -> None:
    seen: list[tuple[int, int]] = []
    validation = discs.part(rows, 16, 24)
    epochs = train(
        discs.part(rows, 0, 16),
        tmp_path,
        weights,
        validation=validation,
        report=lambda done, total, says: seen.append((done, total)),
    )
    assert [epoch.number for epoch in epochs] == [1, 2]
    assert all(np.isfinite(epoch.loss) and epoch.images_per_second > 0 for epoch in epochs)
    assert seen[-1] == (32, 32)
    p = model(tmp_path).probabilities(validation.paths)
    assert (p.argmax(axis=1) == validation.targets).all()
    assert (p[:, 2] == 0).all()
    best = [epoch for epoch in epochs if epoch.best][-1]
    loss = -np.log(p[np.arange(8), validation.targets]).mean()
    assert best.validation["loss"] == pytest.approx(loss, abs=1e-6)
    assert best.validation["accuracy"] == 1
    # A finished training is told again, not done again.
    before = (tmp_path / trainer.MODEL).stat().st_mtime_ns
    again = train(discs.part(rows, 0, 16), tmp_path, weights, validation=validation)
    assert again == epochs
    assert (tmp_path / trainer.MODEL).stat().st_mtime_ns == before
    with pytest.raises(TrainingError, match="other images, labels, settings or seed"):
        train(discs.part(rows, 0, 16), tmp_path, weights, validation=validation, seed=2)


def work(
    rows: Rows,
    folder: Path,
    weights: Path,
    settings: FineTuneSettings,
    told: Connection,
    env: dict[str, str],
) -> None:
    """What a process of its own does: it waits for an answer to each report on a step."""
    os.environ.update(env)
    torch.set_num_threads(1)

    def report(done: int, total: int, says: str) -> None:
        if says.startswith("train: epoch"):
            told.send(done)
            told.recv()

    with distributed.group():
        train(
            discs.part(rows, 0, 19),
            folder,
            weights,
            validation=discs.part(rows, 19, 24),
            settings=settings,
            save_every_seconds=0.0,
            report=report if distributed.rank() == 0 else silent,
        )


class Child:
    """A training in a process of its own, which can be killed between any two steps."""

    def __init__(self, *job: Any, env: dict[str, str] | None = None) -> None:
        # Forked from a process that has only imported things: a fresh one takes many seconds.
        processes = multiprocessing.get_context("forkserver")
        processes.set_forkserver_preload(["training.finetuning.trainer", "albumentations"])
        self.pipe, end = processes.Pipe()
        self.process = processes.Process(target=work, args=(*job, end, env or {}))
        self.process.start()
        end.close()

    def follow(self, *, until: int | None = None) -> int:
        """Let it take steps, then kill it, or see it end; the images that it reported last."""
        done = 0
        for step in itertools.count(1):
            try:
                done = self.pipe.recv()
            except EOFError:
                break
            if step == until:
                self.process.kill()
                break
            self.pipe.send(None)
        self.process.join()
        self.pipe.close()
        return done


def test_run__killed_anywhere_ends_with_the_same_weights(
    rows: Rows, tmp_path: Path, weights: Path
) -> None:
    # In the middle of the first epoch, right after its end, in the second, at once, at the end.
    reached = []
    for steps in (2, 3, 1, 4, None):
        child = Child(rows, tmp_path / "killed", weights, ALL_ON)
        reached.append(child.follow(until=steps))
        assert child.process.exitcode == (0 if steps is None else -signal.SIGKILL)
    # A report comes before the step's checkpoint: the step that was reported last is taken again.
    assert reached == [10, 19, 19, 34, 57]
    whole = Child(rows, tmp_path / "whole", weights, ALL_ON)
    assert whole.follow() == 57
    assert content(tmp_path / "whole") == content(tmp_path / "killed")


def test_run__cancelled_goes_on_from_the_step_it_reached(
    rows: Rows, tmp_path: Path, weights: Path
) -> None:
    epochs = train(rows, tmp_path / "whole", weights, settings=ALL_ON)

    def stop(done: int, total: int, says: str) -> None:
        if says.startswith("train: epoch 2") and done >= 35:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        train(rows, tmp_path / "stopped", weights, settings=ALL_ON, report=stop)
    first: list[str] = []
    again = train(
        rows,
        tmp_path / "stopped",
        weights,
        settings=ALL_ON,
        report=lambda done, total, says: first.append(f"{done} {says[:14]}"),
    )
    assert next(says for says in first if "epoch" in says) == "44 train: epoch 2"
    assert [epoch.loss for epoch in again] == [epoch.loss for epoch in epochs]
    assert content(tmp_path / "whole") == content(tmp_path / "stopped")


def test_run__a_damaged_checkpoint_gives_way_to_the_one_before(
    rows: Rows, tmp_path: Path, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(rows, tmp_path / "whole", weights, settings=ALL_ON)
    folder = tmp_path / "damaged"

    def stop(done: int, total: int, says: str) -> None:
        if says.startswith("train: epoch 2") and done >= 35:
            raise Cancelled("Stopped.")

    def until_stopped() -> None:
        with pytest.raises(Cancelled):
            train(rows, folder, weights, settings=ALL_ON, save_every_seconds=0, report=stop)

    until_stopped()
    newest = folder / checkpoints.NEWEST
    assert (folder / checkpoints.BEFORE).exists()
    damaged = bytearray(newest.read_bytes())
    damaged[-1000] ^= 1
    newest.write_bytes(damaged)

    def look(done: int, total: int, says: str) -> None:
        # Before the next one is written, it is gone: written over, it would take the sound one's
        # place.
        if "epoch" in says:
            there.append(newest.exists())

    there: list[bool] = []
    epochs = train(rows, folder, weights, settings=ALL_ON, report=look)
    assert not there[0]
    assert any("its checksum differs" in epoch.says for epoch in epochs)
    assert "from the one before" in caplog.text
    assert content(tmp_path / "whole") == content(folder)


def test_run__begins_anew_where_the_finished_model_was_taken_away(
    rows: Rows, tmp_path: Path, weights: Path
) -> None:
    epochs = train(rows, tmp_path, weights)
    first = content(tmp_path)
    (tmp_path / trainer.MODEL).unlink()
    again = train(rows, tmp_path, weights)
    assert [epoch.loss for epoch in again] == [epoch.loss for epoch in epochs]
    assert content(tmp_path) == first


def test_run__files_of_the_settings_that_change_in_between(rows: Rows, tmp_path: Path) -> None:
    own = discs.weights(tmp_path / "own")
    recipe = tmp_path / "own.toml"
    flip = 'name = "own"\nversion = 1\n[[steps]]\ntransform = "VerticalFlip"\np = 0.5\n'
    recipe.write_text(flip)
    settings = replace(QUICK, epochs=1, augmentation=str(recipe))
    train(rows, tmp_path / "run", own, settings=settings)
    recipe.write_text(flip.replace("0.5", "0.6"))
    with pytest.raises(TrainingError, match="recipe or weights file has changed"):
        train(rows, tmp_path / "run", own, settings=settings)
    recipe.write_text(flip)
    train(rows, tmp_path / "run", own, settings=settings)
    state = load_file(own)
    save_file({name: tensor + 1 for name, tensor in state.items()}, own)
    with pytest.raises(TrainingError, match="recipe or weights file has changed"):
        train(rows, tmp_path / "run", own, settings=settings)
    own.unlink()
    with pytest.raises(BackboneError, match=r"Cannot read the weights .*No such file"):
        train(rows, tmp_path / "run", own, settings=settings)


@pytest.mark.parametrize("place", ["first-step", "linear-head", "validation"])
def test_run__too_little_memory_of_the_gpu(
    place: str, rows: Rows, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    owner, name = {
        "first-step": (torch.optim.AdamW, "step"),
        "linear-head": (network.Input, "forward"),
        "validation": (scoring, "score"),
    }[place]
    monkeypatch.setattr(owner, name, full)
    says = "too little memory for steps of 8 images in 1 parts at 32 pixels"
    with pytest.raises(TrainingError, match=says):
        train(rows, tmp_path, weights, validation=rows)


def test_run__accumulation_and_processes_change_nothing_but_rounding(
    rows: Rows, tmp_path: Path, weights: Path
) -> None:
    # No random numbers for each image within the network: those differ by part.
    plain = replace(ALL_ON, dropout=0.0, drop_path=0.0, accumulate=1, batch_size=7)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    together = [
        Child(rows, tmp_path / "two", weights, plain, env={**place, "RANK": rank}) for rank in "01"
    ]
    for name, parts in (("one", 1), ("parts", 3)):
        train(
            discs.part(rows, 0, 19),
            tmp_path / name,
            weights,
            validation=discs.part(rows, 19, 24),
            settings=replace(plain, accumulate=parts),
        )
    assert [child.follow() for child in together] == [57, 0]
    assert [child.process.exitcode for child in together] == [0, 0]
    moved = gap_to_start(tmp_path / "one", weights)
    assert moved > 1e-3
    for name in ("parts", "two"):
        assert gap(tmp_path / "one", tmp_path / name) < 0.01 * moved, name


def gap_to_start(folder: Path, weights: Path) -> float:
    trained, start = load_file(folder / trainer.MODEL), load_file(weights)
    return max(
        float((trained[name].double() - start[name]).abs().max())
        for name in trained
        if not name.startswith("classifier")
    )


def test_run__patience_keeps_the_best_epoch(rows: Rows, tmp_path: Path, weights: Path) -> None:
    # Wrong labels in the validation: the surer the model, the worse its log-loss.
    wrong = Rows(rows.paths[16:], 1 - rows.targets[16:])
    settings = replace(QUICK, epochs=9, patience=2, metric="log-loss")
    epochs = train(discs.part(rows, 0, 16), tmp_path, weights, validation=wrong, settings=settings)
    best = [epoch for epoch in epochs if epoch.best][-1]
    assert len(epochs) == best.number + 2 < 9
    assert f"the model of epoch {best.number}" in epochs[-1].says
    p = model(tmp_path).probabilities(wrong.paths)
    loss = -np.log(p[np.arange(8), wrong.targets]).mean()
    assert loss == pytest.approx(best.validation["loss"], rel=1e-4)


def test_run__loss_that_is_no_number(rows: Rows, tmp_path: Path, weights: Path) -> None:
    wild = replace(QUICK, backbone_learning_rate=1e3, head_learning_rate=1e3)
    with pytest.raises(TrainingError, match=r"no model\. Lower backbone-learning-rate, now 1000"):
        train(rows, tmp_path / "at-once", weights, settings=wild)
    assert not (tmp_path / "at-once" / trainer.MODEL).exists()
    # Rising over four epochs of one step each, the rate does its harm only later.
    later = replace(
        QUICK, batch_size=24, epochs=4, warmup_epochs=4.0, backbone_learning_rate=3.0, clip=0.0
    )
    *good, last = train(rows, tmp_path / "later", weights, settings=later)
    assert np.isnan(last.loss) and not last.best
    assert f"the model of epoch {good[-1].number} is kept" in last.says
    assert np.isfinite(model(tmp_path / "later").logits(rows.paths)[:, :2]).all()


def test_run__weights_and_sampling(rows: Rows, tmp_path: Path, weights: Path) -> None:
    flipped = rows.targets.copy()
    flipped[:8] = 1 - flipped[:8]
    weight = np.r_[np.zeros(8), np.ones(16)]
    for sampling in ("plain", "weighted"):
        settings = replace(QUICK, sampling=sampling)
        train(Rows(rows.paths, flipped, weight), tmp_path / sampling, weights, settings=settings)
        p = model(tmp_path / sampling).probabilities(rows.paths[:8])
        assert (p.argmax(axis=1) == rows.targets[:8]).all()


def test_run__multi_label(rows: Rows, tmp_path: Path, weights: Path) -> None:
    y = rows.targets
    table = np.stack([y == 0, y == 1, np.zeros(24)], axis=1).astype(np.int64)
    settings = replace(QUICK, mixup=0.2, batch_size=7)
    epochs = train(
        Rows(rows.paths, table),
        tmp_path,
        weights,
        validation=Rows(rows.paths, table),
        settings=settings,
        task="multi-label",
    )
    p = model(tmp_path).probabilities(rows.paths)
    assert ((p >= 0.5) == table).mean() > 0.9
    assert (p[:, 2] == 0).all()
    assert epochs[-1].validation["accuracy"] == ((p >= 0.5) == table).all(axis=1).mean()


@pytest.mark.parametrize("mode", ["L", "I;16", "P"])
def test_run__two_images_in_all(mode: str, tmp_path: Path, weights: Path) -> None:
    rows = discs.make(tmp_path / "images", count=2, mode=mode, noise=0.0)
    train(rows, tmp_path / "run", weights, validation=discs.part(rows, 0, 1))
    p = model(tmp_path / "run").probabilities(rows.paths)
    assert (p.argmax(axis=1) == rows.targets).all()


def test_run__a_thousand_classes_some_with_one_image(
    rows: Rows, tmp_path: Path, weights: Path
) -> None:
    y = np.r_[rows.targets[:21], [500, 998, 999]]
    names = [f"class {number}" for number in range(1000)]
    epochs = train(
        Rows(rows.paths, y),
        tmp_path,
        weights,
        validation=discs.part(rows, 0, 4),
        classes=names,
    )
    found = model(tmp_path)
    assert np.flatnonzero(found.known).tolist() == [0, 1, 500, 998, 999]
    assert epochs[-1].validation["accuracy"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "bf16"},
        {"precision": "fp16"},
        {"batch_norm": "trained", "head_warmup": "none", "channels_last": False},
        {"backbone": "test_vit", "input_size": 64, "ema": 0.9},
        {"backbone": "test_resnet", "drop_path": 0.1},
        {"backbone": "test_mambaout", "layer_decay": 0.5},
    ],
)
def test_run__settings_that_work(change: dict[str, Any], rows: Rows, tmp_path: Path) -> None:
    settings = replace(QUICK, epochs=1, **change)
    file = discs.weights(tmp_path, backbone=settings.backbone)
    (epoch,) = train(rows, tmp_path / "run", file, settings=settings)
    assert epoch.is_sound
    found = model(tmp_path / "run")
    pixels = np.zeros((2, settings.input_size, settings.input_size, 3), np.uint8)
    assert np.isfinite(found.logits_of(pixels)[:, :2]).all()


def test_run__labels_that_allow_no_model(rows: Rows, tmp_path: Path, weights: Path) -> None:
    for targets, says in (
        (np.zeros(24, dtype=np.int64), "only: left"),
        (np.full(24, 3), "Labels run from 3 to 3"),
        (rows.targets[:20], "24 images for 20 labels"),
    ):
        with pytest.raises(TrainingError, match=says):
            train(Rows(rows.paths, targets), tmp_path / "run", weights)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with pytest.raises(UnreadableImage, match=r"broken\.png"):
        train(Rows([*rows.paths[:23], broken], rows.targets), tmp_path / "run", weights)
    assert not (tmp_path / "run" / trainer.MODEL).exists()
