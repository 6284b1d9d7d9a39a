import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from curation.augmentation import recipes
from curation.augmentation.pipeline import Pipeline, alone, seed_of
from curation.augmentation.recipes import Recipe, Step
from curation.augmentation.transforms import TRANSFORMS, Choice, Flag, Number, Range, Rule, Size
from curation.errors import InputError
from curation.records import Box
from tests import searchable

Pixels = NDArray[np.uint8]


def photo(side: int = 64) -> Pixels:
    return np.asarray(Image.open(searchable.spare()).convert("RGB").resize((side, side)))


def recipe(*steps: Step) -> Recipe:
    return Recipe("trial", 1, "", mirrors=True, steps=steps, origin="trial.toml")


def extremes(rule: Rule) -> Any:
    """The widest value that a rule allows, where it costs nothing."""
    if isinstance(rule, Range):
        return [
            int(rule.low) if rule.whole else rule.low,
            int(rule.high) if rule.whole else rule.high,
        ]
    if isinstance(rule, Number):
        return int(min(rule.high, 60)) if rule.whole else float(rule.high)
    if isinstance(rule, Choice):
        return rule.words[-1]
    return True if isinstance(rule, Flag) else [32, 32]


@pytest.mark.parametrize("name", list(TRANSFORMS))
def test_apply__every_allowed_transform_at_its_bounds_and_again(name: str) -> None:
    import albumentations

    known = TRANSFORMS[name]
    assert set(known.parameters) <= set(
        inspect.signature(getattr(albumentations, name).__init__).parameters
    )
    for values in (
        {key: extremes(known.parameters[key]) for key in known.required},
        {key: extremes(rule) for key, rule in known.parameters.items()},
    ):
        assert all(not known.parameters[key].fault(value) for key, value in values.items())
        pipeline = Pipeline(recipe(Step(name, 1.0, values)))
        first = [pipeline.apply(photo(), seed=seed).pixels for seed in (1, 2, 3)]
        again = [Pipeline(pipeline.recipe).apply(photo(), seed=seed).pixels for seed in (3, 2, 1)]
        for one, other in zip(first, reversed(again), strict=True):
            assert one.dtype == np.uint8
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", recipes.shipped())
def test_apply__depends_on_the_seed_alone(name: str) -> None:
    pixels = photo()
    before = pixels.copy()
    pipeline = Pipeline(recipes.find(name))
    made = {seed: pipeline.apply(pixels, seed=seed).pixels for seed in range(12)}
    for seed in reversed(range(12)):
        pipeline.apply(photo(32), seed=99 + seed)
        np.testing.assert_array_equal(pipeline.apply(pixels, seed=seed).pixels, made[seed])
    assert len({image.tobytes() for image in made.values()}) >= 9
    assert all(image.shape == pixels.shape for image in made.values())
    np.testing.assert_array_equal(pixels, before)


def test_seed_of__image_and_copy() -> None:
    seeds = {seed_of(0, image, copy) for image in range(50) for copy in range(20)}
    assert len(seeds) == 1000
    assert seed_of(1, 2, 3) == seed_of(1, 2, 3) != seed_of(2, 2, 3)


def test_apply__what_is_not_drawn_is_a_copy_of_its_own() -> None:
    pixels = photo()
    same = Pipeline(recipe(Step("HorizontalFlip", 0.0, {}))).apply(pixels, seed=0).pixels
    np.testing.assert_array_equal(same, pixels)
    assert not np.shares_memory(same, pixels)


# Handedness ---------------------------------------------------------------------------------------


def likeness(one: Pixels, other: Pixels) -> float:
    a, b = (np.asarray(side, float).mean(axis=2).ravel() for side in (one, other))
    return float(np.corrcoef(a, b)[0, 1])


def mirrored(name: str, seeds: range) -> int:
    """How many copies look more like a mirror image of the original than like the original."""
    # Four quarters, each of another grey: no mirror image and no turn of it is like it.
    quarters = np.array([[220, 20], [150, 90]], np.uint8)
    pixels = np.repeat(np.kron(quarters, np.ones((40, 40), np.uint8))[:, :, None], 3, axis=2)
    flips = [pixels[:, ::-1], pixels[::-1], pixels.transpose(1, 0, 2), pixels[::-1, ::-1]]
    pipeline = Pipeline(recipes.find(name))
    copies = (pipeline.apply(pixels, seed=seed).pixels for seed in seeds)
    return sum(likeness(c, pixels) <= max(likeness(c, flip) for flip in flips) for c in copies)


@pytest.mark.parametrize("name", ["medical-safe", "documents", "industrial"])
def test_apply__never_mirrors_where_that_is_promised(name: str) -> None:
    assert mirrored(name, range(120)) == 0


def test_apply__the_test_of_mirroring_sees_it() -> None:
    assert 36 <= mirrored("light", range(120)) <= 84


@pytest.mark.parametrize("name", ["medical-safe", "documents", "industrial"])
def test_apply__boxes_keep_their_turn_where_mirroring_is_ruled_out(name: str) -> None:
    corners = [Box(1, 20, 20, 6, 6), Box(2, 50, 20, 6, 6), Box(3, 20, 50, 6, 6)]
    pipeline = Pipeline(recipes.find(name))
    for seed in range(60):
        made = pipeline.apply(photo(80), seed=seed, boxes=corners).boxes
        (ax, ay), (bx, by), (cx, cy) = ((b.x + b.width / 2, b.y + b.height / 2) for b in made)
        assert (bx - ax) * (cy - ay) - (by - ay) * (cx - ax) > 100


# Boxes --------------------------------------------------------------------------------------------


def test_apply__a_box_follows_what_it_surrounds() -> None:
    pixels = np.zeros((120, 160, 3), np.uint8)
    pixels[30:60, 40:100] = 255
    boxes = [Box(7, 40, 30, 60, 30)]
    step = Step(
        "Affine",
        1.0,
        {"scale": [0.8, 1.2], "translate_percent": [-0.1, 0.1], "rotate": [90, 90]},
    )
    pipeline = Pipeline(recipe(step, Step("HorizontalFlip", 0.5, {})))
    for seed in range(30):
        made = pipeline.apply(pixels, seed=seed, boxes=boxes)
        rows, columns = np.nonzero(made.pixels[:, :, 0] > 127)
        (box,) = made.boxes
        assert box.class_id == 7
        found = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert (box.x, box.y, box.width, box.height) == pytest.approx(found, abs=2)


def test_apply__a_box_that_left_is_dropped_and_counted() -> None:
    shift = Step("Affine", 1.0, {"translate_percent": [0.4, 0.4]})
    boxes = [Box(1, 0, 0, 20, 20), Box(2, 50, 50, 10, 10), Box(3, 70, 70, 20, 20)]
    made = Pipeline(recipe(shift)).apply(photo(100), seed=0, boxes=boxes)
    assert [box.class_id for box in made.boxes] == [1, 2]
    assert made.dropped == 1
    first, cut = made.boxes
    assert (first.x, first.y, first.width) == pytest.approx((40, 40, 20), abs=1)
    assert (cut.x + cut.width, cut.y + cut.height) == pytest.approx((100, 100), abs=0.01)


def test_apply__boxes_stay_where_only_light_changes() -> None:
    boxes = (Box(1, 3.5, 4.25, 10, 11),)
    light = recipe(Step("RandomGamma", 1.0, {"gamma_limit": [50, 150]}))
    made = Pipeline(light).apply(photo(), seed=0, boxes=boxes)
    assert (made.boxes, made.dropped) == (boxes, 0)
    boxless = Pipeline(recipe(Step("HorizontalFlip", 1.0, {}))).apply(photo(), seed=0)
    assert (boxless.boxes, boxless.dropped) == ((), 0)


# Refusals -----------------------------------------------------------------------------------------


def test_apply__an_image_smaller_than_the_crop() -> None:
    crop = Pipeline(recipe(Step("RandomCrop", 1.0, {"height": 50, "width": 90})))
    assert crop.apply(photo(100), seed=0).pixels.shape == (50, 90, 3)
    with pytest.raises(InputError, match="64 x 64 pixels is smaller than the crop of 90 x 50"):
        crop.apply(photo(64), seed=0)


def test_pipeline__what_albumentations_refuses_or_warns_of_names_the_step() -> None:
    even = Step("Posterize", 1.0, {"num_bits": "many"})
    with pytest.raises(InputError, match=r"trial.toml, Posterize: .*Mend that step"):
        Pipeline(recipe(even))
    unknown = Step("GaussNoise", 1.0, {"var_limit": [1, 2]})
    with pytest.raises(InputError, match=r"trial.toml, GaussNoise: .*'var_limit' are not valid"):
        Pipeline(recipe(unknown))


def test_alone__one_step_on_every_image() -> None:
    standard = recipes.find("standard")
    flip = alone(standard, replace(standard.steps[1], p=0.1))
    np.testing.assert_array_equal(Pipeline(flip).apply(photo(), seed=5).pixels, photo()[:, ::-1])


def test_rules__say_what_to_give() -> None:
    assert Size(100).fault([0, 5]) == "[height, width], two whole numbers from 1 to 100"
    assert Number(3, 9, whole=True).fault(4.5) == "a whole number from 3 to 9"
    assert Flag().fault(1) == "true or false"
    assert Range(0, 1).fault([0.2, True]) != ""
