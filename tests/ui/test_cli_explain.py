"""`labelloop explain`: where a model looks, what it goes by, where it is wrong."""

from pathlib import Path

import pytest
from PIL import Image

import labelloop
from curation.errors import InputError, NotFound, TrainingError
from tests import trained
from tests.ui.commands import asked, run
from training.explain import rows


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("cli-explain") / "shop"
    trained.copied(tmp_path_factory.getbasetemp(), target).catalog.close()
    return target


def name_of_an_image(workspace: Path) -> str:
    return str(asked(workspace, "similar", str(photos(workspace)[0]), "--count", "1")["image"])


def photos(workspace: Path) -> list[Path]:
    return sorted((workspace.parents[1] / "trained-photos").glob("*.jpg"))


def test_explain__an_image_of_the_project(shop: Path, tmp_path: Path) -> None:
    name, out = name_of_an_image(shop), tmp_path / "why.png"
    said = asked(shop, "explain", name, "--run", trained.HEAD, "--out", str(out))
    assert said["image"] == name
    assert said["run"] == trained.HEAD
    assert said["out"] == str(out)
    assert sum(said["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert said["explained"] == said["predicted"][0] == next(iter(said["probabilities"]))
    assert len(said["neighbours"]) == 5
    assert name not in [one["image"] for one in said["neighbours"]]
    with Image.open(out) as drawn:
        assert drawn.format == "PNG"


def test_explain__a_file_and_another_class(shop: Path, tmp_path: Path) -> None:
    file = tmp_path / "elsewhere.png"
    with Image.open(photos(shop)[0]) as photo:
        photo.convert("L").save(file)
    other = ("--class", "sneaker", "--neighbours", "0")
    said = asked(shop, "explain", str(file), *other)
    assert (said["explained"], said["neighbours"], said["out"]) == ("sneaker", [], None)
    lines = run(shop, "explain", str(file), *other).splitlines()
    assert lines[0].startswith(f"{file}: ")
    assert "newest run" in lines[1]
    assert "--out why.png" in lines[-1]


def test_explain__mistakes(shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "mistakes.html"
    words = ("explain", "--mistakes", "--run", "train-1", "--part", "test")
    said = asked(shop, *words, "--out", str(out))
    assert said["images"] == len(rows.of(trained_project(shop), trained.HEAD, "test"))
    assert len(said["mistakes"]) == sum(one["mistakes"] for one in said["classes"].values())
    again = labelloop.open(shop).mistakes(run=trained.HEAD, part="test")
    assert again["mistakes"] == said["mistakes"]
    page = out.read_text(encoding="utf-8")
    assert "steers by the test part" in page
    assert all(one["image"] in page for one in said["mistakes"])
    assert "is wrong about" in run(shop, *words).splitlines()[0]


def trained_project(folder: Path) -> trained.Project:
    from curation import workspace

    return workspace.project(workspace.open(folder))


def test_explain__says_what_is_wrong_with_the_question(shop: Path, tmp_path: Path) -> None:
    name = name_of_an_image(shop)
    with pytest.raises(InputError, match="not both"):
        run(shop, "explain")
    with pytest.raises(InputError, match="not both"):
        run(shop, "explain", name, "--mistakes")
    with pytest.raises(NotFound, match=r"No image named 'nothing\.jpg'"):
        run(shop, "explain", "nothing.jpg")
    with pytest.raises(InputError, match=r"ends in \.png"):
        run(shop, "explain", name, "--out", str(tmp_path / "why.jpg"))
    with pytest.raises(NotFound, match="No run 'train-9'"):
        run(shop, "explain", name, "--run", "train-9")
    with pytest.raises(InputError, match="no part 'holdout'"):
        run(shop, "explain", "--mistakes", "--part", "holdout")
    with pytest.raises(InputError, match=r"ends in \.html"):
        run(shop, "explain", "--mistakes", "--out", str(tmp_path / "mistakes.pdf"))
    with pytest.raises(InputError, match="--count is 101; give 1 to 100"):
        run(shop, "explain", "--mistakes", "--count", "101")
    fresh = tmp_path / "fresh"
    run(fresh, "init", "--classes", "a,b")
    with pytest.raises(NotFound, match="labelloop train"):
        run(fresh, "explain", str(photos(shop)[0]))
    assert not list(tmp_path.glob("why*"))


def test_explain__a_damaged_model_is_said(shop: Path, tmp_path: Path) -> None:
    import shutil

    mine = tmp_path / "shop"
    shutil.copytree(shop, mine)
    path = mine / "runs" / trained.MLP / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(TrainingError, match="not what the training wrote"):
        run(mine, "explain", str(photos(shop)[0]), "--run", trained.MLP)
