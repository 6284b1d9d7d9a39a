"""`labelloop augment` on photos of the sample data, and what it says to questions of no use."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

import labelloop
from curation import workspace as workspaces
from curation.augmentation import recipes
from curation.catalog import plans
from curation.errors import InputError, NotFound, WorkspaceError
from tests import engines, searchable
from ui.cli import app


def run(*words: str) -> str:
    """What a command prints on stdout; its error is raised."""
    done = CliRunner().invoke(app, ["augment", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 photos, 20 of them labeled a or b."""
    base = tmp_path_factory.getbasetemp()
    folder = tmp_path_factory.mktemp("augment")
    photos = folder / "photos"
    shutil.copytree(searchable.photo(base, 0).parent, photos)
    rows = [f"{number:02}.jpg,{'ab'[number % 4 == 0]}\n" for number in range(20)]
    (folder / "labels.csv").write_text("filename,label\n" + "".join(rows))
    shop = labelloop.create(folder / "shop", classes=["a", "b"])
    shop.add_images(photos, labels=folder / "labels.csv")
    engines.warm(base, folder / "shop")
    return folder / "shop"


@pytest.fixture
def shop(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "shop")
    return tmp_path / "shop"


def asked(workspace: Path, *words: str) -> dict[str, Any]:
    found = json.loads(run(*words, "--json", "--workspace", str(workspace)))
    assert isinstance(found, dict)
    return found


def test_augment__lists_and_shows_recipes(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    light = run("--show", "light", "--workspace", str(shop))
    assert tomllib.loads(light)["name"] == "light"
    (shop / "recipes").mkdir()
    (shop / "recipes" / "mine.toml").write_text(light.replace('"light"', '"mine"'))
    listed = asked(shop, "--list")["recipes"]
    assert [recipe["name"] for recipe in listed] == [*recipes.shipped(), "mine"]
    assert listed[-1]["steps"] == listed[0]["steps"]
    assert asked(shop, "--show", "mine")["toml"] == light.replace('"light"', '"mine"')
    monkeypatch.chdir(tmp_path)
    assert "medical-safe   version 1" in run("--list")
    with pytest.raises(WorkspaceError, match="is not a workspace"):
        run("--list", "--workspace", str(tmp_path))


def test_augment__preview(shop: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    said = asked(shop, "--recipe", "standard", "--preview", str(sheet), "--images", "3")
    assert (len(said["images"]), said["variants"]) == (3, 4)
    first = sheet.read_bytes()
    with Image.open(sheet) as image:
        assert image.width > 5 * 224
        assert image.height > 3 * 224
    words = ("--recipe", "standard", "--preview", str(sheet), "--images", "3")
    assert "3 images, 4 copies of each" in run(*words, "--workspace", str(shop))
    assert sheet.read_bytes() == first
    asked(shop, *words, "--seed", "1")
    assert sheet.read_bytes() != first


def test_augment__preview_writes_over_nothing_else(made: Path, shop: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    Image.new("RGB", (8, 8)).save(photo)
    before = photo.read_bytes()
    with pytest.raises(InputError, match=r"photo.png exists and is no sheet of ours"):
        asked(shop, "--recipe", "light", "--preview", str(photo))
    assert photo.read_bytes() == before
    with pytest.raises(InputError, match=r"name sheet.png instead of sheet.jpg"):
        asked(shop, "--recipe", "light", "--preview", str(tmp_path / "sheet.jpg"))
    with pytest.raises(InputError, match="--images is 0; give a number from 1 to 50"):
        asked(shop, "--recipe", "light", "--preview", str(tmp_path / "s.png"), "--images", "0")
    inside = made.parent / "photos" / "sheet.png"
    with pytest.raises(InputError, match=r"sheet.png lies in .*photos, from which images are"):
        asked(shop, "--recipe", "light", "--preview", str(inside))
    empty = labelloop.create(tmp_path / "empty", classes=["a", "b"])
    with pytest.raises(InputError, match=r"No image can be shown.*labelloop import"):
        empty.augment_preview("light", tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_augment__check(shop: Path) -> None:
    said = asked(shop, "--recipe", "medical-safe", "--check", "--images", "8")
    assert (said["recipe"], said["version"], said["images"]) == ("medical-safe", 1, 8)
    assert said["judge"].startswith("heads fitted to the labels out of fold")
    assert [step["transform"] for step in said["steps"]] == [
        step.transform for step in recipes.find("medical-safe").steps
    ]
    for view in [*said["steps"], said["whole"]]:
        for name in ("drift", "drift_to_other_class", "unchanged", "agreement", "difference"):
            assert set(view[name]) == {"value", "n", "ci"}
            assert view[name]["n"] == 8
        assert 0 <= view["p_adjusted"] <= 1
        assert view["breaks"] == []
    lines = run(
        "--recipe", "medical-safe", "--check", "--images", "8", "--workspace", str(shop)
    ).splitlines()
    assert lines[0].startswith("medical-safe, version 1, on 8 images")
    assert lines[-1] == said["says"][-1]


def test_augment__write_and_import_again(shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = asked(shop, "--recipe", "light", "--write", str(out), "--per-image", "2")
    assert (said["images"], said["copies"], said["left_out"]) == (20, 40, {})
    lines = run(
        *("--recipe", "light", "--write", str(out), "--per-image", "2"), "--workspace", str(shop)
    )
    assert "40 were there already" in lines
    other = labelloop.create(tmp_path / "other", classes=["a", "b"])
    assert other.add_images(out / "augmented.csv")["added"] == 40
    assert other.status()["classes"] == {"a": 30, "b": 10}


def test_augment__only_what_the_balance_plan_wants(shop: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    with pytest.raises(InputError, match="No balance plan in force wants augmented copies"):
        asked(shop, "--write", out, "--quotas")
    project = workspaces.project(workspaces.open(shop))
    with project.catalog.write() as connection:
        wanted = {"recipe": "documents", "augmentation": {"b": 10}}
        plans.put(connection, project.id, "balance", wanted)
    said = asked(shop, "--write", out, "--quotas")
    assert (said["recipe"], said["images"], said["copies"]) == ("documents", 5, 10)
    table = (tmp_path / "out" / "augmented.csv").read_text().splitlines()
    assert {line.split(",")[1] for line in table[1:]} == {"b"}
    with project.catalog.write() as connection:
        plans.put(connection, project.id, "balance", {"augmentation": {"gone": 1}})
    with pytest.raises(InputError, match="names classes that the project no longer has: gone"):
        asked(shop, "--recipe", "light", "--write", out, "--quotas")


def test_augment__says_what_is_wrong_with_the_question(shop: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    wrong = [
        (["--recipe", "light"], "Give exactly one of --list, --show, --preview, --check, --write"),
        (["--list", "--check"], "there are --list and --check"),
        (["--check"], "Name a recipe, as in --recipe standard"),
        (["--recipe", "light", "--write", out, "--images", "3"], "--images goes with --preview"),
        (["--recipe", "light", "--check", "--per-image", "3"], "go with --write"),
        (["--recipe", "light", "--write", out, "--per-image", "3", "--quotas"], "not both"),
        (["--recipe", "light", "--write", out, "--per-image", "0"], "--per-image is 0"),
        (["--recipe", "light", "--write", out, "--format", "gif"], "choices: png, jpeg"),
        (["--recipe", "light", "--check", "--images", "0"], "--images is 0"),
    ]
    for words, says in wrong:
        with pytest.raises(InputError, match=says):
            asked(shop, *words)
    with pytest.raises(NotFound, match=r"No recipe 'heavy'. Choose one of: light, standard"):
        asked(shop, "--recipe", "heavy", "--check")
    (shop / "recipes").mkdir()
    (shop / "recipes" / "odd.toml").write_text('name = "odd"\nversion = \n')
    with pytest.raises(InputError, match=r"odd.toml is not valid TOML: .*line 2"):
        asked(shop, "--recipe", "odd", "--check")
    assert not Path(out).exists()


def test_python__says_what_the_command_says(shop: Path, tmp_path: Path) -> None:
    project = labelloop.open(shop)
    assert project.recipes() == asked(shop, "--list")["recipes"]
    words = ("--recipe", "light", "--check", "--images", "4")
    assert project.augment_check("light", images=4) == asked(shop, *words)
    done = project.augment("light", tmp_path / "out")
    assert done["copies"] == 20
    assert done["says"] == []
