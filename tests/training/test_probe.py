import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from curation.errors import BackboneError
from training.finetuning import probe
from training.finetuning.probe import Probe, Rate, Way
from training.settings import FineTuneSettings

PLAIN, FIRST, BF16 = Way("fp32", True), Way("fp32", False), Way("bf16", True)


@pytest.mark.parametrize(
    ("plain", "first", "bf16", "taken"),
    [
        (252, 40, 132, PLAIN),  # bf16 slower, as seen on a machine with AMX
        (100, 90, 110, PLAIN),  # faster, but not clearly
        (100, 90, 200, BF16),
        (100, 300, 200, FIRST),
        (100, 100, 100, PLAIN),
    ],
)
def test_choose__only_what_is_clearly_faster(
    plain: float, first: float, bf16: float, taken: Way
) -> None:
    rates = [Rate(PLAIN, 64, plain), Rate(FIRST, 64, first), Rate(BF16, 64, bf16)]
    assert probe.choose(rates) == taken


def test_rate__of_other_sizes_follows_from_the_nearest() -> None:
    rates = (Rate(PLAIN, 64, 250), Rate(BF16, 64, 100), Rate(PLAIN, 128, 60))
    found = Probe("tf_efficientnet_lite0", "cpu", PLAIN, rates, 32, 4.0)
    assert found.rate(64) == 250
    assert found.rate(128) == 60
    assert found.rate(256) == 15
    assert found.sizes == (64, 128)
    assert found.says == (
        "Trained tf_efficientnet_lite0 for 4.0 s on the cpu. Images a second at 64 px: fp32, "
        "channels last: 250; bf16, channels last: 100. Taken: fp32, channels last; 128 px: 60."
    )


def test_measure__a_backbone_at_two_sizes() -> None:
    before = torch.get_rng_state()
    found = probe.measure(
        FineTuneSettings(), classes=3, sizes=[64, 32, 448], device=torch.device("cpu"), seconds=1.0
    )
    assert found.sizes == (32, 64, 448)
    assert {rate.way for rate in found.rates if rate.input_size == 32} <= set(probe.WAYS["cpu"])
    assert found.rates[0].way == PLAIN
    assert all(rate.images_per_second > 0 for rate in found.rates)
    assert found.rate(448) < found.rate(32)
    assert torch.equal(before, torch.get_rng_state())


def test_measure__ends_in_time_where_steps_are_long() -> None:
    begun = time.perf_counter()
    found = probe.measure(
        FineTuneSettings(), classes=3, sizes=[160, 448], device=torch.device("cpu"), seconds=0.05
    )
    # Six steps of eight images at most are begun, whatever the time.
    assert [rate.measured for rate in found.rates] == [True, False]
    assert time.perf_counter() - begun < 60


def test_measure__a_backbone_that_does_not_exist() -> None:
    with pytest.raises(BackboneError, match="no model 'resnet5'"):
        probe.measure(FineTuneSettings(backbone="resnet5"), classes=3)


def test_remembered__measures_once_and_again_where_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = FineTuneSettings(input_size=64)
    measured: list[Probe] = []
    real = partial(probe.measure, seconds=0.5)

    def counted(*words: Any, **named: Any) -> Probe:
        measured.append(real(*words, **named))
        return measured[-1]

    monkeypatch.setattr(probe, "measure", counted)
    first = probe.remembered(tmp_path, settings, classes=3)
    assert probe.remembered(tmp_path, settings, classes=3) == first == measured[0]
    assert len(measured) == 1
    probe.remembered(tmp_path, settings, classes=4)
    assert len(measured) == 2
    for path in tmp_path.iterdir():
        path.write_text("{")
    assert probe.remembered(tmp_path, settings, classes=3) == measured[2]
    probe.forget(tmp_path)
    assert list(tmp_path.iterdir()) == []
