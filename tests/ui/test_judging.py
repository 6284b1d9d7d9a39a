"""Longer examinations of models, as commands."""

from pathlib import Path

import pytest

from curation.errors import InputError
from curation.workspace import Project
from tests import trained
from tests.ui.commands import asked
from ui import judging


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Project:
    base = tmp_path_factory.getbasetemp()
    return trained.copied(base, tmp_path_factory.mktemp("judging") / "shop")


def test_forecast__a_picture_that_is_no_png_is_refused_before_any_training(
    shop: Project, tmp_path: Path
) -> None:
    said: list[str] = []
    with pytest.raises(InputError, match=r"curve\.jpg.*ends in \.png"):
        judging.forecast(
            shop, out=tmp_path / "curve.jpg", report=lambda done, total, says: said.append(says)
        )
    assert not said
    assert not (tmp_path / "curve.jpg").exists()


def test_forecast__a_target_of_all_right(shop: Project, tmp_path: Path) -> None:
    picture = tmp_path / "curve.PNG"
    words = ("models", "forecast", "--target", "1", "--out", str(picture))
    found = asked(shop.workspace.path, *words)
    assert found["target"] == 1
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_cross_validate__says_how_its_models_were_made(shop: Project) -> None:
    found = asked(shop.workspace.path, "models", "cross-validate", "--kind", "head", "--folds", "3")
    assert "temperature" in found["notes"][0]
    assert set(found["metrics"]["ece"]) == {"value", "n", "ci"}
    assert all(one["temperature"] > 0 for one in found["folds"])
