from pathlib import Path

import pytest

from curation.augmentation import recipes
from curation.augmentation.transforms import TRANSFORMS
from curation.errors import InputError, NotFound

GENTLE = """
name = "gentle"
version = 2
description = "Small turns."
mirrors = false

[[steps]]
transform = "Affine"
p = 0.8
rotate = [-5, 5]
border_mode = "replicate"
"""


def test_find__the_shipped_recipes() -> None:
    found = {recipe.name: recipe for recipe in recipes.every()}
    wanted = {"light", "standard", "strong", "industrial", "documents", "medical-safe"}
    assert set(found) == set(recipes.shipped()) == wanted
    assert all(recipe.version >= 1 and recipe.description for recipe in found.values())
    assert {name for name, recipe in found.items() if not recipe.mirrors} == {
        "industrial",
        "documents",
        "medical-safe",
    }


def test_find__own_recipes_by_name_and_by_path(tmp_path: Path) -> None:
    path = tmp_path / "gentle.toml"
    path.write_text(GENTLE)
    found = recipes.find("gentle", folder=tmp_path)
    assert found == recipes.find(str(path))
    assert (found.version, found.steps[0].p) == (2, 0.8)
    assert found.steps[0].parameters == {"rotate": [-5, 5], "border_mode": "replicate"}
    assert found in list(recipes.every(tmp_path))
    assert recipes.text(found) == GENTLE
    path.write_text(GENTLE.replace("[-5, 5]", "[-6, 5]"))
    assert recipes.find("gentle", folder=tmp_path).digest != found.digest


def test_find__a_printed_recipe_is_a_start_for_ones_own(tmp_path: Path) -> None:
    light = recipes.find("light")
    text = recipes.text(light).replace('name = "light"', 'name = "mine"')
    (tmp_path / "mine.toml").write_text(text)
    assert recipes.find("mine", folder=tmp_path).steps == light.steps


def test_find__unknown_or_shadowing(tmp_path: Path) -> None:
    (tmp_path / "gentle.toml").write_text(GENTLE)
    with pytest.raises(NotFound, match=r"'heavy'. Choose one of: light, .*medical-safe, gentle;"):
        recipes.find("heavy", folder=tmp_path)
    with pytest.raises(NotFound, match=r"No recipe '\.\./gentle'"):
        recipes.find("../gentle", folder=tmp_path)
    with pytest.raises(InputError, match=r"Cannot read the recipe .*gone.toml: No such file"):
        recipes.find(str(tmp_path / "gone.toml"))
    (tmp_path / "strong.toml").write_text(GENTLE.replace("gentle", "strong"))
    with pytest.raises(InputError, match="name of a recipe that comes with labelloop"):
        recipes.find("strong", folder=tmp_path)
    with pytest.raises(InputError, match="Choose another"):
        recipes.find(str(tmp_path / "strong.toml"))


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ("p = 0.8", "p = 0.8 0.9", r"gentle.toml is not valid TOML: .*line 9"),
        ("p = 0.8", "p = 1.5", r"step 1 \(Affine\): p is 1.5; give a number from 0 to 1"),
        ("p = 0.8", "", r"p is None; give a number"),
        ("p = 0.8", "p = true", r"p is True; give a number"),
        ('"Affine"', '"Lambda"', r"no transform 'Lambda' may be used. Choose from: Affine, Rot"),
        ('"Affine"', "3", r"no transform 3 may be used"),
        ("rotate", "rotation", r"no parameter 'rotation' here. Known: scale, translate_percent,"),
        ("[-5, 5]", "[5, -5]", r"rotate is \[5, -5\]; give \[lowest, highest\], two numbers from"),
        ("[-5, 5]", "[-500, 5]", r"two numbers from -180 to 180"),
        ("[-5, 5]", "5", r"rotate is 5; give \[lowest, highest\]"),
        ("[-5, 5]", '["a", 5]', r"give \[lowest, highest\]"),
        ('"replicate"', '"reflect"', r"border_mode is 'reflect'; give one of: constant, replicate"),
        ('name = "gentle"', 'name = "../x"', r"name is '../x'"),
        ("version = 2", "version = 0", r"version is 0; give a whole number from 1 on"),
        ("mirrors = false", 'mirrors = "no"', r"mirrors is 'no'; give true or false"),
        ("mirrors = false", "steps = []", r"list of 1 to 30 steps|TOML"),
        ("mirrors = false", "mirror = false", r"unknown mirror. Known: name, version"),
        ('"Affine"\np = 0.8', '"RandomCrop"\np = 0.8\nheight = 3', r"RandomCrop has no parameter"),
        (
            'rotate = [-5, 5]\nborder_mode = "replicate"',
            '[[steps]]\ntransform = "RandomCrop"\np = 1\nheight = 3',
            r"step 2: RandomCrop needs width",
        ),
        (
            'rotate = [-5, 5]\nborder_mode = "replicate"',
            '[[steps]]\ntransform = "HorizontalFlip"\np = 0.5',
            r"step 2: HorizontalFlip mirrors, and the recipe promises not to",
        ),
    ],
)
def test_parse__refuses_what_cannot_be_done(was: str, becomes: str, says: str) -> None:
    assert was in GENTLE
    with pytest.raises(InputError, match=says):
        recipes.parse(GENTLE.replace(was, becomes), origin="gentle.toml")


@pytest.mark.parametrize("name", [name for name, known in TRANSFORMS.items() if known.mirrors])
def test_parse__a_promise_not_to_mirror_binds_every_transform(name: str) -> None:
    step = f'name = "x"\nversion = 1\nmirrors = false\n[[steps]]\ntransform = "{name}"\np = 0.1\n'
    with pytest.raises(InputError, match="promises not to"):
        recipes.parse(step, origin="x.toml")
    assert recipes.parse(step.replace("false", "true"), origin="x.toml").mirrors


def test_too_small__follows_the_sizes_through_the_steps() -> None:
    crop = '[[steps]]\ntransform = "RandomCrop"\np = 1\nheight = 50\nwidth = 60\n'
    resize = '[[steps]]\ntransform = "RandomResizedCrop"\np = 1\nsize = [40, 80]\n'
    head = 'name = "x"\nversion = 1\n'
    cut = recipes.parse(head + crop, origin="x")
    assert cut.too_small(60, 50) == ""
    assert cut.too_small(59, 50) == "smaller than the crop of 60 x 50 pixels"
    assert recipes.parse(head + crop + resize, origin="x").too_small(60, 50) == ""
    assert recipes.parse(head + resize + crop, origin="x").too_small(600, 500) != ""
