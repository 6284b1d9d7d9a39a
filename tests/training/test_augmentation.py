from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curation.augmentation import recipes
from curation.augmentation.pipeline import Pipeline, seed_of
from curation.errors import InputError, NotFound, TrainingError
from tests.training import discs
from tests.training.discs import CLASSES, QUICK
from training.finetuning import augmentation, trainer
from training.finetuning.finetuned import FineTuned
from training.settings import FineTuneSettings

CROP = (
    'name = "cut"\nversion = 4\n[[steps]]\ntransform = "RandomCrop"\np = 1.0\n'
    "height = 40\nwidth = 48\n"
)


def pixels(count: int = 6, side: int = 64) -> augmentation.Pixels:
    return np.random.default_rng(0).integers(0, 255, (count, side, side, 3), dtype=np.uint8)


def test_prepare__by_row_and_look_and_not_by_batch() -> None:
    light = augmentation.prepare(recipes.find("light"), size=64, seed=7)
    images, rows, first = pixels(), np.arange(6), np.full(6, 1)
    whole = light(images, rows, first)
    assert whole.shape == images.shape
    part = light(images[[4, 2]], np.array([4, 2]), np.array([1, 2]))
    np.testing.assert_array_equal(part[0], whole[4])
    assert (part[1] != whole[2]).any()
    assert (light(images, rows, first + 1) != whole).any(axis=(1, 2, 3)).all()
    other = augmentation.prepare(recipes.find("light"), size=64, seed=8)
    assert (other(images, rows, first) != whole).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("name", ["light", "strong", "industrial"])
def test_prepare__threads_change_no_pixel(name: str) -> None:
    """What one pipeline alone makes of each image, its turn in the order being of no matter."""
    found = recipes.find(name)
    images, rows = pixels(48), np.arange(48)
    alone = Pipeline(found)
    expected = [
        alone.apply(images[row], seed=seed_of(7, row, 3)).pixels for row in reversed(range(48))
    ][::-1]
    augment = augmentation.prepare(found, size=64, seed=7)
    with ThreadPoolExecutor(8) as pool:
        parts = list(
            pool.map(
                lambda part: augment(images[part], part, np.full(len(part), 3)),
                np.array_split(rows, 16),
            )
        )
    np.testing.assert_array_equal(np.concatenate(parts), np.stack(expected))


def test_prepare__crops_are_resized_to_the_input() -> None:
    cut = recipes.parse(CROP, origin="cut.toml")
    made = augmentation.prepare(cut, size=64, seed=0)(pixels(), np.arange(6), np.full(6, 1))
    assert made.shape == (6, 64, 64, 3)
    with pytest.raises(TrainingError, match="input-size 44 images are smaller than the crop of 48"):
        augmentation.prepare(cut, size=44, seed=0)


def test_settings__any_recipe_by_name_or_file(tmp_path: Path) -> None:
    for name in ("none", *recipes.shipped()):
        assert FineTuneSettings(augmentation=name).augmentation == name
    assert augmentation.recipe("none") is None
    (tmp_path / "cut.toml").write_text(CROP)
    found = augmentation.recipe(str(tmp_path / "cut.toml"))
    assert found is not None
    assert found == augmentation.recipe("cut", folder=tmp_path)
    with pytest.raises(TrainingError, match="none, light, standard, strong"):
        FineTuneSettings(augmentation="heavy")
    with pytest.raises(NotFound, match="No recipe 'heavy'"):
        augmentation.recipe("heavy")


def test_run__a_model_says_what_it_was_trained_with(tmp_path: Path) -> None:
    rows = discs.make(tmp_path / "images", count=4)
    weights = discs.weights(tmp_path / "weights")
    (tmp_path / "cut.toml").write_text(CROP)

    def trained(name: str) -> FineTuned:
        settings = replace(QUICK, input_size=64, epochs=1, augmentation=name)
        folder = tmp_path / Path(name).stem
        epochs = trainer.run(
            rows,
            None,
            classes=CLASSES,
            task="single-label",
            settings=settings,
            seed=0,
            folder=folder,
            weights=weights,
        )
        assert len(list(epochs)) == 1
        return FineTuned.load(folder / trainer.MODEL)

    plain, cut = trained("none"), trained(str(tmp_path / "cut.toml"))
    assert plain.recipe is None
    assert cut.recipe is not None
    assert (cut.recipe["name"], cut.recipe["version"]) == ("cut", 4)
    assert np.abs(plain.probabilities(rows.paths) - cut.probabilities(rows.paths)).max() > 1e-6
    with pytest.raises(InputError, match=r"Cannot read the recipe .*gone.toml"):
        trained(str(tmp_path / "gone.toml"))
