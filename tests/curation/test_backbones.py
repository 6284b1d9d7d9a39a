import socket
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_sample_image

from curation import backbones, inference
from curation.errors import BackboneError, FingerprintMismatch

DAISY = 985


def normalised(image: Image.Image) -> torch.Tensor:
    how = backbones.preprocessing(backbones.DEFAULT)
    pixels = torch.from_numpy(inference.fit(image, how)).permute(2, 0, 1)[None] / 255
    return (pixels - torch.tensor(how.mean)[:, None, None]) / torch.tensor(how.std)[:, None, None]


def test_load_imagenet_classifier__sees_a_daisy() -> None:
    flower = Image.fromarray(load_sample_image("flower.jpg"))
    with torch.inference_mode():
        scores = backbones.load_imagenet_classifier()(normalised(flower))
    assert int(scores.argmax()) == DAISY


def test_load_model__features_are_those_behind_the_classifier() -> None:
    pixels = normalised(Image.fromarray(load_sample_image("flower.jpg")))
    classifier = backbones.load_imagenet_classifier()
    with torch.inference_mode():
        features = backbones.load_model()(pixels)
        assert features.shape == (1, 1280)
        torch.testing.assert_close(classifier.classifier(features), classifier(pixels))


def test_load_model__new_head_and_dropout() -> None:
    model = backbones.load_model(classes=7, drop_rate=0.3)
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 224, 224)).shape == (2, 7)
    assert not model.training
    assert model.drop_rate == 0.3


def test_preprocessing__default_normalises_as_its_weights_were_trained() -> None:
    how = backbones.preprocessing(backbones.DEFAULT)
    assert (round(how.mean[0], 3), round(how.std[0], 3)) == (0.498, 0.502)
    assert (how.size, how.interpolation) == (224, "bicubic")


def test_open__is_repeatable_and_fingerprints_preprocessing() -> None:
    one = backbones.open()
    assert one == backbones.open()
    assert one.dimension == 1280
    weights = backbones.weights_hash(backbones.load_model())
    other = backbones.fingerprint(one.name, weights, replace(one.preprocessing, size=192))
    assert backbones.fingerprint(one.name, weights, one.preprocessing) == one.fingerprint
    assert other != one.fingerprint


def test_weights_hash__sees_one_changed_value() -> None:
    model = backbones.load_model()
    before = backbones.weights_hash(model)
    with torch.no_grad():
        next(model.parameters()).view(-1)[5] += 1e-3
    assert backbones.weights_hash(model) != before


def test_check_fingerprint__names_the_command() -> None:
    backbone = backbones.open()
    backbones.check_fingerprint(backbone.fingerprint, backbone)
    with pytest.raises(FingerprintMismatch, match="labelloop embed --backbone tf_efficientnet"):
        backbones.check_fingerprint("0123456789abcdef", backbone)


def test_load_model__unknown_name() -> None:
    with pytest.raises(BackboneError, match="timm has no model 'no_such_model'"):
        backbones.load_model("no_such_model")


def test_load_model__local_safetensors(tmp_path: Path) -> None:
    made = timm.create_model("resnet10t", num_classes=0)
    save_file(made.state_dict(), tmp_path / "weights.safetensors")
    opened = backbones.open("resnet10t", weights=tmp_path / "weights.safetensors")
    assert opened.dimension == made.num_features
    loaded = backbones.load_model("resnet10t", weights=opened.weights)
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(loaded(pixels), made.eval()(pixels))


def test_load_model__refuses_other_files(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(BackboneError, match="Pickled weights are not loaded"):
        backbones.load_model("resnet10t", weights=tmp_path / "weights.pt")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(BackboneError, match="do not fit this model"):
        backbones.load_model("resnet10t", weights=tmp_path / "other.safetensors")


def test_load_model__offline_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    started = time.monotonic()
    with pytest.raises(BackboneError, match=r"cannot be reached.*safetensors file"):
        backbones.load_model("resnet10t")
    assert time.monotonic() - started < backbones.HUB_ANSWERS_WITHIN_SECONDS + 2


def test_prepare__is_timms_evaluation_transform(tmp_path: Path) -> None:
    from timm.data import create_transform

    how = replace(backbones.preprocessing(backbones.DEFAULT), crop_fraction=0.875)
    photo = Image.fromarray(load_sample_image("china.jpg"))
    photo.save(tmp_path / "a.png")
    transform = create_transform(
        how.size, interpolation=how.interpolation, mean=how.mean, std=how.std, crop_pct=0.875
    )
    wanted = (transform(photo) * how.std[0] + how.mean[0]) * 255
    found = inference.prepare(tmp_path / "a.png", how)
    assert found.shape == (224, 224, 3)
    assert found.dtype == np.uint8
    assert np.abs(found - wanted.permute(1, 2, 0).numpy()).max() <= 1.01


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (2000, 2), (112, 112), (300, 200)])
def test_fit__any_shape(size: tuple[int, int]) -> None:
    how = backbones.preprocessing(backbones.DEFAULT)
    assert inference.fit(Image.new("RGB", size, "red"), how)[112, 112].tolist() == [255, 0, 0]
