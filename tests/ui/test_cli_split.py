"""`labelloop split` on the sample data, and on what cannot be split."""

from pathlib import Path

import pytest

import labelloop
from curation.errors import InputError, NotFound
from tests.ui import commands
from tests.ui.commands import asked, run


@pytest.fixture
def shop(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    return commands.shop(tmp_path_factory.getbasetemp(), tmp_path / "shop")


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for all tests that write nothing."""
    return commands.shop(tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("split") / "shop")


def test_split__and_again_and_removed(shop: Path) -> None:
    would = asked(shop, "split", "--dry-run")
    made = asked(shop, "split")
    assert made["parts"] == would["parts"]
    assert (would["dry_run"], made["dry_run"]) == (True, False)
    assert made["joined"] == made["images"] == sum(made["parts"].values())
    assert made["shares"] == pytest.approx(
        {"train": 0.7, "validation": 0.15, "test": 0.15}, abs=0.002
    )
    whole = made["labeled"]["train"], made["labeled"]["test"]
    for name, share in made["class_shares"]["train"].items():
        assert abs(share - made["class_shares"]["test"][name]) <= 1.5 / min(whole)
    assert asked(shop, "split")["joined"] == 0
    assert asked(shop, "split", "--check")["parts"] == made["parts"]
    frame = labelloop.open(shop).parts()
    assert frame["part"].value_counts().to_dict() == made["parts"]
    with pytest.raises(InputError, match="--remove default --yes"):
        run(shop, "split", "--remove", "default")
    assert asked(shop, "split", "--remove", "default", "--yes")["images"] == made["images"]
    with pytest.raises(NotFound, match="labelloop split"):
        run(shop, "split", "--check")


def test_split__for_people_says_parts_and_what_to_know(shop: Path) -> None:
    lines = run(shop, "split", "--train", ".8", "--test", ".2").splitlines()
    assert lines[1].split()[0] == "train"
    assert lines[2].split()[0] == "test"
    assert "labelloop issues --kind near-duplicate" in "\n".join(lines)
    assert lines[-1] == "Nothing that belongs together lies in two parts."


def test_split__folds_by_a_column(shop: Path) -> None:
    made = asked(shop, "split", "--folds", "3", "--by", "season", "--name", "cv")
    assert set(made["parts"]) == {"fold-1", "fold-2", "fold-3"}
    assert made["components"] <= 5
    assert asked(shop, "split", "--check", "--name", "cv", "--by", "studio")["leaks"] > 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--shares", "70/15/10"], "sum to 95"),
        (["--train", ".5", "--test", ".4"], "sum to 0.9"),
        (["--shares", "80/20", "--train", ".5"], "not both"),
        (["--folds", "1"], "Ask for 2 to 100"),
        (["--folds", "5", "--shares", "80/20"], "either shares or folds"),
        (["--by", "patient"], r"'patient'\. The columns are season, studio"),
        (["--by", "studio", "--folds", "50"], "50 folds need 50 sets"),
        (["--stratify", "colour"], r"'colour'\. The columns are"),
        (["--from-imported"], "came without a split"),
        (["--name", ""], "Not a usable name"),
        (["--with-reserve"], "belongs to --folds"),
    ],
)
def test_split__says_what_is_wrong_with_the_question(
    imported: Path, words: list[str], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        run(imported, "split", *words)
    with pytest.raises(NotFound):
        run(imported, "split", "--check")
