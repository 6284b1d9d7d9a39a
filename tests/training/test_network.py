from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from curation.errors import BackboneError, TrainingError
from tests.training import discs
from tests.training.discs import QUICK
from training.finetuning import network


def build(folder: Path, backbone: str, **change: float | str | bool) -> nn.Module:
    settings = replace(QUICK, backbone=backbone, **change)
    file = discs.weights(folder, backbone=backbone)
    return network.build(settings, 3, seed=0, weights=file)


def test_build__other_input_size_keeps_what_was_pretrained(tmp_path: Path) -> None:
    module = build(tmp_path, "test_vit", input_size=64)
    assert module(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
    original = timm.create_model("test_vit", num_classes=3, checkpoint_path="")
    stored = discs.weights(tmp_path, backbone="test_vit")
    from safetensors.torch import load_file

    wanted = load_file(stored)["blocks.0.attn.qkv.weight"]
    assert torch.equal(module.state_dict()["blocks.0.attn.qkv.weight"], wanted)
    assert module.state_dict()["pos_embed"].shape != original.state_dict()["pos_embed"].shape


def test_in_words__only_what_torch_says_of_compiling() -> None:
    from torch._dynamo.exc import InternalTorchDynamoError
    from torch._inductor.exc import InvalidCxxCompiler

    for error in (InternalTorchDynamoError("graph"), InvalidCxxCompiler("c++")):
        with pytest.raises(TrainingError, match="cannot be compiled here"), network.in_words(QUICK):
            raise error
    compiled = network.in_words(replace(QUICK, compile=True))
    with pytest.raises(RuntimeError, match="out of range"), compiled:
        raise RuntimeError("out of range")


def test_build__what_a_backbone_cannot_do(tmp_path: Path) -> None:
    none = tmp_path / "none.safetensors"
    with pytest.raises(BackboneError, match="set input-size 224"):
        network.skeleton(replace(QUICK, backbone="mixer_s32_224", input_size=64), 3)
    with pytest.raises(BackboneError, match="timm has no model 'resnet8'"):
        network.skeleton(replace(QUICK, backbone="resnet8"), 3)
    with pytest.raises(TrainingError, match=r"vgg11 has no drop-path, now 0\.1"):
        network.build(replace(QUICK, backbone="vgg11", drop_path=0.1), 3, seed=0, weights=none)


def test_build__leaves_torchs_random_numbers_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    one, two = (build(tmp_path, "test_efficientnet") for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.classifier.weight, two.classifier.weight)


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_vit", "test_convnext"])
def test_parameter_groups__rates_fall_with_depth(backbone: str, tmp_path: Path) -> None:
    module = build(tmp_path, backbone, input_size=64)
    settings = replace(QUICK, layer_decay=0.5, weight_decay=0.1)
    groups = network.parameter_groups(module, settings)
    names = {id(weight): name for name, weight in module.named_parameters()}
    assert sorted(names) == sorted(id(weight) for group in groups for weight in group["params"])
    rates = {}
    for group in groups:
        for weight in group["params"]:
            rates[names[id(weight)]] = group["lr"]
            is_matrix = weight.ndim > 1 and "pos_embed" not in names[id(weight)]
            is_matrix &= "cls_token" not in names[id(weight)]
            assert group["weight_decay"] == (0.1 if is_matrix else 0.0), names[id(weight)]
    (head,) = network.classifiers(module)
    assert {rates[names[id(weight)]] for weight in head.parameters()} == {1e-3}
    backbones = sorted({rate for rate in rates.values() if rate != 1e-3})
    assert backbones[-1] == pytest.approx(2e-4)
    ratios = np.diff(np.log2(backbones))
    assert ratios == pytest.approx(np.ones(len(ratios)))
    first = next(iter(rates.values()))
    assert first == backbones[0] and len(backbones) > 2


def test_train_mode__batch_normalisation_frozen_or_trained(tmp_path: Path) -> None:
    module = build(tmp_path, "test_efficientnet", dropout=0.5)
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    assert norms
    for rule in ("frozen", "trained"):
        network.train_mode(module, replace(QUICK, batch_norm=rule))
        assert module.training
        assert {part.training for part in norms} == {rule == "trained"}


def test_input__as_timm_normalises() -> None:
    how = network.preprocessing(replace(QUICK, backbone="resnet18"))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    found = network.Input(how)(torch.from_numpy(pixels))
    mean, std = (np.array(side, dtype=np.float32) for side in (how.mean, how.std))
    wanted = ((pixels / np.float32(255) - mean) / std).transpose(0, 3, 1, 2)
    assert found.numpy() == pytest.approx(wanted, abs=1e-5)
