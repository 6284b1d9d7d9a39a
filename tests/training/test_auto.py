from typing import Any

import pytest
import torch

from curation.errors import InputError, NotFound, TrainingError
from training import auto
from training.finetuning.probe import Probe, Rate, Way
from training.settings import FineTuneSettings, HeadSettings, MlpSettings

FASHION = {"images": 51_000, "classes": 10, "typical_side": 28, "validation": 9_000}
PHOTOS = {"images": 700, "classes": 10, "typical_side": 112, "validation": 150}


def at(rate: float, *, precision: str = "fp32", device: str = "cpu") -> Probe:
    """A probe of lite0 that trained so many images a second at 64 pixels."""
    way = Way(precision, True)
    sizes = (64, 96, 128, 160, 224)
    rates = tuple(Rate(way, size, rate * (64 / size) ** 2) for size in sizes)
    return Probe("tf_efficientnet_lite0", device, way, rates, 32, 4.9)


def choose(kind: str, rate: float = 250, **given: Any) -> auto.Chosen:
    return auto.choose(kind, **{"rates": at(rate), "device": torch.device("cpu"), **given})


def reason(chosen: auto.Chosen, of: str) -> str:
    (found,) = [text for text in chosen.reasons if text.startswith(of)]
    return found


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"images": 100, "classes": 2}, HeadSettings),
        ({"images": 3_000, "classes": 500}, HeadSettings),
        ({"images": 12_000, "classes": 2_000}, HeadSettings),
        ({"images": 300, "classes": 2}, FineTuneSettings),
        (FASHION, FineTuneSettings),
        ({"images": 5_000_000, "classes": 10}, MlpSettings),
        ({"images": 300, "classes": 2, "minutes": 0.1}, HeadSettings),
    ],
)
def test_choose__kind_by_labels_and_time(given: dict[str, Any], kind: type) -> None:
    chosen = choose("auto", **given)
    assert type(chosen.settings) is kind
    assert chosen.reasons[0].startswith(f"kind {kind.kind}: ")
    assert choose("auto", **given) == chosen


def test_choose__what_is_asked_stands_and_decides_on_the_kind() -> None:
    asked = {"strength": 3.0}
    assert choose("auto", **FASHION, asked=asked).settings == HeadSettings(strength=3.0)
    asked = {"input-size": 96, "epochs": 2, "precision": "bf16", "batch-size": 48}
    chosen = choose("auto", **FASHION, asked=asked)
    settings = chosen.settings
    assert isinstance(settings, FineTuneSettings)
    assert (settings.input_size, settings.epochs, settings.batch_size) == (96, 2, 48)
    assert settings.precision == "bf16"
    assert not [text for text in chosen.reasons if text.startswith(tuple(asked))]


def test_choose__little_pictures_get_a_little_input_and_fit_the_time() -> None:
    chosen = choose("auto", **FASHION)
    settings = chosen.settings
    assert isinstance(settings, FineTuneSettings)
    assert (settings.input_size, settings.batch_size) == (64, 64)
    assert "typically 28 pixels" in reason(chosen, "input-size 64")
    assert 8 <= settings.epochs <= 10
    slow = choose("fine-tune", 100, **FASHION)
    assert slow.settings.epochs == 3
    assert reason(slow, "epochs 3") == "epochs 3: what fits into 40 minutes."
    hour = choose("fine-tune", 100, **FASHION, minutes=60)
    assert slow.settings.epochs < hour.settings.epochs < settings.epochs
    assert "minutes here" in chosen.reasons[-1]


def test_choose__large_pictures_get_what_time_allows() -> None:
    assert choose("auto", **PHOTOS).settings.input_size == 224
    assert choose("auto", **PHOTOS, minutes=5).settings.input_size == 128
    late = choose("fine-tune", 5, **PHOTOS, asked={"epochs": 30})
    assert late.settings.input_size == 64
    assert "more than the 40 that are allowed" in late.reasons[-1]


def test_choose__few_images_are_steered_and_regularised_differently() -> None:
    few = choose("fine-tune", images=60, classes=3, validation=20).settings
    many = choose("fine-tune", **FASHION).settings
    assert isinstance(few, FineTuneSettings)
    assert isinstance(many, FineTuneSettings)
    assert (few.patience, few.label_smoothing) == (0, 0)
    assert many.patience > 0
    assert many.label_smoothing > 0
    assert many.backbone_learning_rate > few.backbone_learning_rate
    labels = choose("fine-tune", **FASHION, task="multi-label").settings
    assert labels.label_smoothing == 0


def test_choose__the_probe_decides_on_the_precision() -> None:
    chosen = choose("fine-tune", **PHOTOS, rates=at(250, precision="bf16"))
    assert chosen.settings.precision == "bf16"
    assert chosen.reasons[0].startswith("Trained tf_efficientnet_lite0")


def test_choose__transformers_learn_slowly_and_by_layer() -> None:
    asked = {"backbone": "vit_tiny_patch16_224"}
    transformer = choose("fine-tune", **PHOTOS, asked=asked).settings
    assert transformer.layer_decay < 1
    usual = choose("fine-tune", **PHOTOS).settings
    assert usual.layer_decay == 1
    assert transformer.backbone_learning_rate < usual.backbone_learning_rate


def test_choose__measures_where_no_rates_are_given() -> None:
    chosen = auto.choose(
        "fine-tune",
        images=300,
        classes=3,
        typical_side=28,
        minutes=1_000,
        device=torch.device("cpu"),
    )
    assert chosen.settings.input_size == 64
    assert "Images a second at 64 px: fp32, channels last" in chosen.reasons[0]


@pytest.mark.parametrize(
    ("kind", "asked", "error", "says"),
    [
        ("tree", {}, NotFound, "No kind of training 'tree'"),
        ("head", {"epochs": 3}, InputError, "Unknown setting of kind 'head': epochs"),
        (
            "auto",
            {"strength": 1.0, "epochs": 3, "depth": 2},
            InputError,
            r"depth \(none\), epochs \(mlp, fine-tune\), strength \(head\)",
        ),
        ("auto", {"dropout": 1.5}, TrainingError, "dropout is 1.5"),
    ],
)
def test_check__says_what_cannot_be(
    kind: str, asked: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        auto.check(kind, asked)
    with pytest.raises(error, match=says):
        choose(kind, images=10, classes=2, asked=asked)


@pytest.mark.parametrize("minutes", [0, float("inf"), float("nan")])
def test_choose__no_time(minutes: float) -> None:
    with pytest.raises(InputError, match=f"minutes is {minutes}; give a number above 0"):
        choose("auto", images=10, classes=2, minutes=minutes)


def test_choose__what_the_project_prefers_decides_on_no_kind() -> None:
    preferred = {
        "sampling": ("weighted", "the plan's"),
        "backbone": ("vit_tiny_patch16_224", "mine"),
    }
    chosen = choose("auto", **FASHION, preferred=preferred)
    assert isinstance(chosen.settings, FineTuneSettings)
    assert (chosen.settings.sampling, chosen.settings.layer_decay) == ("weighted", 0.75)
    assert reason(chosen, "backbone vit") == "backbone vit_tiny_patch16_224: mine."
    asked = choose("auto", **FASHION, preferred=preferred, asked={"sampling": "plain"})
    assert asked.settings.sampling == "plain"
    assert isinstance(
        choose("auto", images=50, classes=2, preferred=preferred).settings, HeadSettings
    )


def test_choose__a_batch_has_an_image_for_each_part() -> None:
    settings = choose("fine-tune", images=100, classes=2, asked={"accumulate": 24}).settings
    assert settings.batch_size == 24
