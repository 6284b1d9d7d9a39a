from pathlib import Path

import pytest

from curation.errors import InputError
from training.asked import Asked


def test_checked__paths_hold_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = Asked("fine-tune", {"weights": "w.safetensors", "augmentation": "my.toml"}).checked()
    assert asked.settings["weights"] == str(tmp_path / "w.safetensors")
    assert asked.settings["augmentation"] == str(tmp_path / "my.toml")
    plain = {"weights": "", "augmentation": "light"}
    assert Asked("fine-tune", plain).checked().settings == plain


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (Asked(seed=-1), "--seed is -1; give a whole number from 0"),
        (Asked(seed=10**20), "--seed is 1000"),
        (Asked(minutes=float("inf")), "--minutes is inf"),
        (Asked(minutes=float("nan")), "--minutes is nan"),
        (Asked(processes=0), "--processes is 0"),
    ],
)
def test_checked__numbers_that_cannot_be(asked: Asked, says: str) -> None:
    with pytest.raises(InputError, match=says):
        asked.checked()


def test_is_of__processes_are_no_part_of_the_words() -> None:
    asked = Asked("head", {"strength": 3.0}, seed=1)
    assert Asked("head", {"strength": 3.0}, seed=1, processes=2).is_of({"asked": asked.as_json()})
    assert not Asked("head", {"strength": 3.0}, seed=2).is_of({"asked": asked.as_json()})
    assert not asked.is_of({})
