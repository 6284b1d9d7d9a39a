"""Each finding provoked by a real training, and healthy trainings of which nothing is said."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from training import diagnosis
from training.calibration import fit_temperature, to_probabilities
from training.diagnosis import Answers, Evidence, Finding, Share
from training.diagnosis.evidence import look_at
from training.finetuning import trainer
from training.heads.head import fit_head
from training.heads.mlp_training import fit_mlp
from training.settings import FineTuneSettings, HeadSettings, MlpSettings, Settings

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
Labels = NDArray[np.int64]


def digits(labels: int, *, held: int = 400) -> tuple[NDArray[np.float32], Labels, Labels, Labels]:
    """Unit-norm pixels, classes, rows to learn from and rows held out; always the same."""
    X, y = load_digits(return_X_y=True)
    X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    order = np.random.default_rng(4).permutation(len(X))
    return X, y.astype(np.int64), order[held : held + labels], order[:held]


def evidence(
    model: Any, X: NDArray[np.float32], y: Labels, train: Labels, held: Labels, **more: Any
) -> Evidence:
    logits = model.logits(X[held])
    task = "single-label" if y.ndim == 1 else "multi-label"
    temperature = fit_temperature(logits, y[held], task=task).temperature
    found = [
        to_probabilities(part, task=task, temperature=temperature)
        for part in (model.logits(X[train]), logits)
    ]
    return Evidence(
        classes=NAMES[: found[0].shape[1]],
        targets=y[train],
        train=Answers(found[0], y[train]),
        held_out=Answers(found[1], y[held]),
        **more,
    )


def of_head(
    labels: int, *, y: Labels | None = None, settings: Settings | None = None, **more: Any
) -> list[Finding]:
    X, right, train, held = digits(labels)
    y = right if y is None else y
    how = settings or HeadSettings()
    assert isinstance(how, HeadSettings)
    task = "single-label" if y.ndim == 1 else "multi-label"
    head = fit_head(X[train], y[train], classes=NAMES, task=task, settings=how)
    return diagnosis.diagnose(evidence(head, X, y, train, held, settings=how, **more))


def of_mlp(labels: int, **settings: Any) -> list[Finding]:
    X, y, train, held = digits(labels)
    how = MlpSettings(**settings)
    model, epochs = fit_mlp(
        X[train], y[train], classes=NAMES, settings=how, validation=(X[held], y[held]), seed=1
    )
    told = [asdict(epoch) for epoch in epochs]
    return diagnosis.diagnose(evidence(model, X, y, train, held, settings=how, epochs=told))


def kinds(found: Sequence[Finding]) -> list[str]:
    for one in found:
        assert one.kind in diagnosis.KINDS
        assert one.says.endswith(".")
        assert "labelloop" in one.next_step
    return [one.kind for one in found]


def changed(y: Labels, share: float) -> Labels:
    """With so many labels replaced by another class."""
    rng = np.random.default_rng(2)
    hit = rng.random(len(y)) < share
    return np.where(hit, (y + rng.integers(1, 10, len(y))) % 10, y)


def drawn_as_sets() -> Labels:
    """Multi-label: what a digit is, whether it is even, whether it is below five; as 10 columns."""
    y = digits(1)[1]
    return np.stack([(y % 2 == 0), y < 5, *(y == n for n in range(8))], axis=1).astype(np.int64)


@pytest.mark.parametrize("labels", [300, 1_000])
def test_diagnose__a_healthy_head(labels: int) -> None:
    assert of_head(labels) == []
    assert of_head(labels, y=drawn_as_sets()) == []


def test_diagnose__a_healthy_small_network() -> None:
    assert of_mlp(1_000) == []


@pytest.mark.parametrize("share", [0.1, 0.2])
def test_diagnose__label_noise(share: float) -> None:
    found = of_head(1_000, y=changed(digits(1)[1], share))
    assert kinds(found) == ["label-noise"]
    assert "--kind wrong-label --to-label-studio" in found[0].next_step


def test_diagnose__label_noise_of_sets() -> None:
    y = drawn_as_sets()
    flipped = np.random.default_rng(3).random(len(y)) < 0.15
    assert kinds(of_head(1_000, y=np.where(flipped[:, None], y[::-1], y))) == ["label-noise"]


def test_diagnose__better_than_people_agree() -> None:
    found = of_head(1_000, agreement=Share(80, 100))
    assert kinds(found) == ["label-noise"]
    assert "people agree on 80.0 %" in found[0].says
    assert of_head(1_000, agreement=Share(99, 100)) == []


def test_diagnose__underfit_by_a_penalty() -> None:
    found = of_head(1_000, settings=HeadSettings(strength=0.001))
    assert kinds(found) == ["underfit"]
    assert "--set strength=0.01" in found[0].next_step


def test_diagnose__underfit_by_too_few_epochs() -> None:
    found = of_mlp(1_000, epochs=2)
    assert kinds(found) == ["underfit"]
    assert "--set epochs=4" in found[0].next_step


def test_diagnose__underfit_by_stopping_early() -> None:
    found = of_mlp(1_000, patience=2, learning_rate=3e-4)
    assert kinds(found) == ["underfit"]
    assert "--set patience=6" in found[0].next_step


def test_diagnose__overfit_and_too_few() -> None:
    assert kinds(of_head(20)) == ["too-few", "overfit"]
    assert "label-noise" not in kinds(of_head(30))


def test_diagnose__overfit_by_too_many_epochs() -> None:
    found = of_mlp(300, learning_rate=0.02, patience=0, epochs=30)
    assert kinds(found) == ["overfit"]
    assert "while that of training fell" in found[0].says


def test_diagnose__learning_rates_of_a_small_network() -> None:
    high, low = of_mlp(1_000, learning_rate=1.0, epochs=6), of_mlp(1_000, learning_rate=1e-5)
    assert kinds(high) == ["learning-rate-too-high"]
    assert "--set learning-rate=0.1" in high[0].next_step
    assert kinds(low) == ["learning-rate-too-low"]
    assert "--set learning-rate=0.0001" in low[0].next_step


def test_diagnose__too_few_of_a_class() -> None:
    X, y, train, held = digits(1_000)
    kept = np.concatenate([train[y[train] != 8], train[y[train] == 8][:3]])
    head = fit_head(X[kept], y[kept], classes=NAMES)
    found = diagnosis.diagnose(evidence(head, X, y, kept, held, settings=HeadSettings()))
    assert kinds(found) == ["too-few"]
    assert "eight (3)" in found[0].says
    kept = np.concatenate([train[y[train] != 8], train[y[train] == 8][:12]])
    head = fit_head(X[kept], y[kept], classes=NAMES, settings=HeadSettings(class_weight="none"))
    seen = evidence(head, X, y, kept, held, settings=HeadSettings())
    assert seen.held_out is not None
    weak = Answers(np.where(np.arange(10) == 8, 0.0, seen.held_out.probabilities), y[held])
    assert "eight (12; 0.0 %" in diagnosis.diagnose(replace(seen, held_out=weak))[0].says


def test_diagnose__validation_is_missing_or_lacks_a_class() -> None:
    X, y, train, held = digits(1_000)
    head = fit_head(X[train], y[train], classes=NAMES)
    rest = held[~np.isin(y[held], [3, 4])]
    found = diagnosis.diagnose(evidence(head, X, y, train, rest, settings=HeadSettings()))
    assert kinds(found) == ["missing-from-validation"]
    assert "three, four" in found[0].says
    alone = Evidence(NAMES, MlpSettings(), y[train], steered=False)
    assert kinds(diagnosis.diagnose(alone)) == ["no-validation"]


def test_diagnose__one_class() -> None:
    seen = Evidence(NAMES, HeadSettings(), np.full(30, 7))
    found = diagnosis.diagnose(seen)
    assert kinds(found) == ["one-class", "too-few"]
    assert "All 30 labels that were learned from are seven." in found[0].says


def test_diagnose__the_same_answer_to_everything() -> None:
    X, y, train, held = digits(1_000)
    X = np.repeat(X[:1], len(X), axis=0)
    head = fit_head(X[train], y[train], classes=NAMES)
    found = diagnosis.diagnose(evidence(head, X, y, train, held, settings=HeadSettings()))
    assert kinds(found) == ["broken-input"]
    assert "to all 400 images" in found[0].says


# Pictures and fine-tuning -------------------------------------------------------------------------


def pictures(folder: Path, count: int) -> tuple[list[Path], Labels]:
    """Digits of 32 x 32 pixels."""
    folder.mkdir()
    X, y = load_digits(return_X_y=True)
    for row in range(count):
        pixels = (X[row].reshape(8, 8) * 15.9).astype(np.uint8)
        Image.fromarray(pixels).resize((32, 32)).save(folder / f"{row}.png")
    return [folder / f"{row}.png" for row in range(count)], y[:count].astype(np.int64)


def test_look_at__pictures_that_show_nothing(tmp_path: Path) -> None:
    paths, y = pictures(tmp_path / "digits", 40)
    seen = Evidence(NAMES, HeadSettings(), y, pictures=look_at(paths))
    assert "broken-input" not in kinds(diagnosis.diagnose(seen))
    for path in paths[:3]:
        Image.new("RGB", (32, 32), "red").save(path)
    for path in paths[3:15]:
        path.write_bytes(paths[20].read_bytes())
    for path in paths[30:]:
        path.write_bytes(b"gone")
    looked = look_at(paths)
    assert (looked.n, looked.flat, looked.repeated, looked.unreadable) == (40, 3, 13, 10)
    found = diagnosis.diagnose(replace(seen, pictures=looked))[-1]
    assert found.kind == "broken-input"
    for words in ("3 are of one colour", "13 are one and the same", "10 can no longer be read"):
        assert words in found.says


def fine_tuned(tmp_path: Path, **settings: Any) -> list[Finding]:
    paths, y = pictures(tmp_path / "digits", 220)
    train, held = slice(0, 160), slice(160, 220)
    how = FineTuneSettings(input_size=32, augmentation="none", **settings)
    epochs = list(
        trainer.run(
            trainer.Rows(paths[train], y[train]),
            trainer.Rows(paths[held], y[held]),
            classes=NAMES,
            task="single-label",
            settings=how,
            seed=0,
            folder=tmp_path / "run",
            device="cpu",
        )
    )
    from training.finetuning.finetuned import FineTuned

    model = FineTuned.load(tmp_path / "run" / trainer.MODEL)
    seen = Evidence(
        NAMES,
        how,
        y[train],
        train=Answers(model.probabilities(paths[train]), y[train]),
        held_out=Answers(model.probabilities(paths[held]), y[held]),
        epochs=[asdict(epoch) for epoch in epochs],
        pictures=look_at(paths[train]),
    )
    return diagnosis.diagnose(seen)


def test_diagnose__fine_tuning_too_fast(tmp_path: Path) -> None:
    found = fine_tuned(tmp_path, epochs=2, backbone_learning_rate=0.05, head_learning_rate=0.2)
    assert kinds(found) == ["learning-rate-too-high"]
    assert "--set backbone-learning-rate=0.005 --set head-learning-rate=0.02" in found[0].next_step


def test_diagnose__fine_tuning_too_slowly(tmp_path: Path) -> None:
    found = fine_tuned(tmp_path, epochs=2, backbone_learning_rate=1e-8, head_learning_rate=1e-8)
    assert kinds(found) == ["learning-rate-too-low"]


def test_diagnose__a_loss_that_is_no_number() -> None:
    seen = Evidence(
        NAMES,
        FineTuneSettings(),
        digits(500)[1],
        epochs=[{"loss": 0.4, "validation": {"loss": 0.6}}, {"loss": float("nan")}],
    )
    found = diagnosis.diagnose(seen)
    assert kinds(found) == ["learning-rate-too-high"]
    assert "no number in epoch 2 of 2" in found[0].says


@pytest.mark.slow
def test_diagnose__healthy_fine_tuning(tmp_path: Path) -> None:
    assert fine_tuned(tmp_path, epochs=6) == []
