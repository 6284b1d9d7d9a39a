from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from sklearn.datasets import load_sample_image

from curation.appearance import APPEARANCE, WORKING_PIXELS, measure, shrink

Rgb = NDArray[np.uint8]


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(load_sample_image("china.jpg"))


def of(image: Image.Image) -> np.void:
    return measure(np.asarray(image.convert("RGB")))


def noisy(image: Image.Image, sigma: float) -> Image.Image:
    levels = np.asarray(image, np.float64)
    noise = np.random.default_rng(0).normal(0, sigma, levels.shape)
    return Image.fromarray(np.clip(levels + noise, 0, 255).astype(np.uint8))


@settings(deadline=None, max_examples=60)
@given(
    arrays.arrays(
        np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)), fill=st.just(0)
    )
)
def test_measure__any_picture_gives_finite_numbers_in_their_ranges(rgb: Rgb) -> None:
    row = measure(rgb)
    assert row.dtype == APPEARANCE
    assert np.isfinite(np.array(row.tolist(), np.float64)).all()
    levels = [row[name] for name in ("p01", "p05", "p25", "p50", "p75", "p95", "p99")]
    assert levels == sorted(levels)
    assert 0 <= row["mean"] <= 255
    assert 0 <= row["entropy"] <= 8
    for share in ("clipped_dark", "clipped_bright", "level_share"):
        assert 0 <= row[share] <= 1 + 1e-6
    assert row["information"] >= 0
    assert row["noise"] >= 0
    assert row["chroma"] <= 255


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (2, 3), (3, 90_000)])
@pytest.mark.parametrize("level", [0, 130, 255])
def test_measure__one_level_of_any_shape_is_blank(shape: tuple[int, int], level: int) -> None:
    row = measure(np.full((*shape, 3), level, np.uint8))
    assert row["mean"] == row["p01"] == row["p99"] == level
    assert row["level_share"] == 1
    for name in ("deviation", "entropy", "information", "sharpness", "noise", "colourfulness"):
        assert row[name] == 0
    assert row["clipped_dark"] == (level == 0)
    assert row["clipped_bright"] == (level == 255)


def test_measure__percentiles_are_those_of_the_levels() -> None:
    levels = np.random.default_rng(0).permutation(np.arange(10_000) // 50).reshape(100, 100)
    row = measure(np.repeat(levels[..., None], 3, axis=2).astype(np.uint8))
    for name in ("p01", "p05", "p25", "p50", "p75", "p95", "p99"):
        assert abs(row[name] - np.percentile(levels, int(name[1:]))) <= 1
    assert row["mean"] == pytest.approx(levels.mean())
    assert row["deviation"] == pytest.approx(levels.std(), rel=1e-5)
    assert row["entropy"] == pytest.approx(np.log2(200), rel=1e-5)


def test_measure__sharpness_falls_with_every_step_of_blur(photo: Image.Image) -> None:
    blurred = [photo.filter(ImageFilter.GaussianBlur(radius)) for radius in (0, 2, 4, 8)]
    sharpness = [of(image)["sharpness"] for image in blurred]
    assert sharpness == sorted(sharpness, reverse=True)
    assert sharpness[0] > sharpness[-1] + 0.5


def test_measure__sharpness_does_not_follow_contrast_or_backdrop(photo: Image.Image) -> None:
    grey = photo.convert("L").resize((240, 160))
    pale = Image.fromarray((np.asarray(grey) * 0.4 + 100).astype(np.uint8))
    framed = Image.new("L", (260, 200), 90)
    framed.paste(grey, (10, 20))
    assert of(pale)["sharpness"] == pytest.approx(of(grey)["sharpness"], abs=0.15)
    assert of(framed)["sharpness"] == pytest.approx(of(grey)["sharpness"], abs=0.15)


def test_measure__noise_does_not_make_a_blurred_picture_sharp(photo: Image.Image) -> None:
    small = photo.resize((320, 213))
    blurred = noisy(small.filter(ImageFilter.GaussianBlur(5)), 6)
    assert of(blurred)["sharpness"] < of(small)["sharpness"] - 0.5
    assert of(blurred)["noise"] > of(small.filter(ImageFilter.GaussianBlur(5)))["noise"] + 2


def test_measure__uneven_light_and_noise_are_no_information(photo: Image.Image) -> None:
    ramp = np.tile(np.linspace(120, 150, 200), (200, 1))
    wall = noisy(Image.fromarray(ramp.astype(np.uint8)), 2)
    assert of(wall)["entropy"] > 4
    assert of(wall)["information"] < 0.06
    assert of(photo)["information"] > 1


def test_measure__colour_is_told_from_grey(photo: Image.Image) -> None:
    grey = of(photo.convert("L"))
    assert grey["colourfulness"] == grey["chroma"] == 0
    assert of(photo)["colourfulness"] > 15
    assert of(photo)["chroma"] > 50


def test_measure__same_scene_at_other_sizes_looks_alike(photo: Image.Image) -> None:
    large = photo.resize((1920, 1281), Image.Resampling.BICUBIC)
    first, second = of(photo), of(large)
    assert second["mean"] == pytest.approx(first["mean"], abs=1)
    assert second["information"] == pytest.approx(first["information"], rel=0.1)
    assert second["sharpness"] == pytest.approx(first["sharpness"], abs=0.3)


def test_measure__leaves_the_picture_and_repeats_from_threads(photo: Image.Image) -> None:
    rgb = np.array(photo)
    before = rgb.copy()
    alone = measure(rgb)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(measure, [rgb] * 8))
    assert all(row == alone for row in together)
    assert (rgb == before).all()


@pytest.mark.parametrize("shape", [(256, 256), (257, 257), (1000, 900), (3, 90_000), (5000, 20)])
def test_shrink__keeps_the_mean_and_the_limit(shape: tuple[int, int]) -> None:
    grey = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    small = shrink(grey)
    assert small.size <= WORKING_PIXELS * 1.22
    assert small.mean() == pytest.approx(grey.mean(), abs=2)
