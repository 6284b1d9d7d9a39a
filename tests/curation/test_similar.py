from pathlib import Path

import pytest

from curation import workspace
from curation.catalog import images
from curation.errors import InputError, NotFound
from curation.similar import similar
from curation.workspace import Project
from tests import searchable


@pytest.fixture
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp()


@pytest.fixture
def shop(tmp_path: Path, base: Path) -> Project:
    return searchable.copied(base, tmp_path / "shop")


def test_similar__of_an_image_by_name(shop: Project) -> None:
    found = similar(shop, "03.jpg", count=5)
    assert found["image"] == "03.jpg"
    names = [row["image"] for row in found["neighbours"]]
    assert len(set(names)) == 5
    assert "03.jpg" not in names
    values = [row["similarity"] for row in found["neighbours"]]
    assert values == sorted(values, reverse=True)
    assert -1 <= values[-1] <= values[0] < 1
    # Nearness is mutual: the nearest one has this image among its own.
    back = similar(shop, names[0], count=23)["neighbours"]
    assert {"image": "03.jpg", "similarity": values[0]} in back


def test_similar__of_an_imported_file_is_that_image(shop: Project, base: Path) -> None:
    by_name = similar(shop, "03.jpg", count=5)
    assert similar(shop, str(searchable.photo(base, 3)), count=5) == by_name


def test_similar__of_an_uploaded_image(shop: Project, base: Path, tmp_path: Path) -> None:
    upload = tmp_path / "upload.bin"
    upload.write_bytes(searchable.photo(base, 3).read_bytes())
    found = similar(shop, str(upload), count=3)
    assert found["image"] == str(upload)
    assert found["neighbours"][0]["image"] == "03.jpg"
    assert found["neighbours"][0]["similarity"] > 0.999
    of_bytes = similar(shop, searchable.spare().read_bytes(), count=30)
    assert of_bytes["image"] == "the uploaded image"
    assert len(of_bytes["neighbours"]) == searchable.PHOTOS


def test_similar__of_an_excluded_image(shop: Project) -> None:
    with shop.catalog.write() as connection:
        record = images.find(connection, shop.id, "03.jpg")
        images.set_state(connection, [record.id], "excluded", reason="dark")
    names = [row["image"] for row in similar(shop, "03.jpg", count=99)["neighbours"]]
    assert len(names) == searchable.PHOTOS - 1
    assert "03.jpg" not in names


@pytest.mark.parametrize(
    ("name", "hint"),
    [("3.jpg", "03.jpg"), ("03.png", "03.jpg"), ("O3.jpg", "03.jpg"), ("qqqqqq/", "")],
)
def test_similar__an_unknown_name(shop: Project, name: str, hint: str) -> None:
    with pytest.raises(NotFound, match=name) as error:
        similar(shop, name)
    assert (hint in str(error.value)) if hint else "Nearest" not in str(error.value)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "caf\udce9.jpg", ".", "%_"])
def test_similar__a_name_that_no_file_can_have(shop: Project, name: str) -> None:
    with pytest.raises(NotFound):
        similar(shop, name)


def test_similar__a_file_that_is_no_image(shop: Project, tmp_path: Path) -> None:
    page = tmp_path / "page.jpg"
    page.write_text("<html></html>")
    with pytest.raises(InputError, match=r"page\.jpg: not an image: an HTML page"):
        similar(shop, str(page))


def test_similar__a_count_below_one(shop: Project) -> None:
    with pytest.raises(InputError, match="--count"):
        similar(shop, "03.jpg", count=0)


def test_similar__an_empty_project(tmp_path: Path) -> None:
    project = workspace.create_project(tmp_path / "new", name="new", class_names=["a", "b"])
    with pytest.raises(InputError, match="labelloop import"):
        similar(project, str(searchable.spare()))
