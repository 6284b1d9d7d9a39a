import json
import tomllib
from pathlib import Path

import pytest

from curation.errors import InputError, NotFound, TrainingError
from training.settings import KINDS, FineTuneSettings, HeadSettings, from_json, kind_of


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_settings__survive_json_and_toml(kind: str, tmp_path: Path) -> None:
    settings = kind_of(kind)()
    assert from_json(json.loads(json.dumps(settings.as_json()))) == settings
    assert type(settings).from_json(tomllib.loads(settings.as_toml())) == settings
    (tmp_path / "s.toml").write_text(settings.as_toml())
    assert type(settings).from_toml(tmp_path / "s.toml") == settings
    assert all("_" not in key for key in settings.as_json())


def test_kind_of__unknown() -> None:
    with pytest.raises(NotFound, match="head, mlp, fine-tune"):
        kind_of("magic")


def test_from_json__another_kind() -> None:
    with pytest.raises(InputError, match="kind 'head'; 'fine-tune' is wanted"):
        FineTuneSettings.from_json(HeadSettings().as_json())


def test_from_json__unknown_setting() -> None:
    with pytest.raises(InputError, match=r"learning-speed.*Known: strength"):
        HeadSettings.from_json({"learning-speed": 1})


def test_from_toml__broken_file(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("strength = = 1")
    with pytest.raises(InputError, match="Cannot read settings"):
        HeadSettings.from_toml(tmp_path / "s.toml")


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0},
        {"input-size": 8},
        {"batch-size": 2.5},
        {"augmentation": "heavy"},
        {"class-weight": "fair"},
        {"backbone-learning-rate": float("nan")},
        {"head-learning-rate": 1e38},
        {"weight-decay": -1.0},
        {"label-smoothing": 1.0},
        {"label-smoothing": "much"},
        {"layer-decay": 1.5},
        {"accumulate": 64},
        {"ema": 1.0},
        {"compile": "yes"},
        {"precision": "int8"},
        {"backbone": 5},
        {"weights": 5},
    ],
)
def test_from_json__value_that_cannot_be_used(values: dict[str, object]) -> None:
    with pytest.raises(TrainingError, match=next(iter(values))):
        FineTuneSettings.from_json(values)
