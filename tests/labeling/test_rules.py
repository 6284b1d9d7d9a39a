"""Rules on real photos of which a few are labeled: votes, figures, probabilities, bad input."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation import weak_labels
from curation.catalog import annotations, runs
from curation.catalog import images as image_rows
from curation.errors import InputError
from curation.records import RemoteAnswer
from curation.workspace import Project
from labeling import consensus
from labeling.rules import applying, definitions, label_model, votes
from labeling.rules.applying import apply, check
from tests import searchable

SECOND = '[[rule]]\nname = "few"'


@pytest.fixture
def shop(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """24 photos 00.jpg to 23.jpg with the ids 1 to 24, of the classes a and b."""
    return searchable.copied(tmp_path_factory.getbasetemp(), tmp_path / "shop")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "rules.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def answer(project: Project, said: dict[int, str]) -> None:
    with project.catalog.write() as connection:
        person = annotations.annotator_of_user(connection, project.id, 7, name="somebody")
        given = [
            RemoteAnswer(
                key, key, 7, "answered", project.record.ids_of([name]), 1.0, "none", "", name
            )
            for key, name in said.items()
        ]
        annotations.put_remote(connection, project.id, given, annotator_ids={7: person})
        consensus.settle(connection, project, list(said))


FILE = """
[[rule]]
name = "low numbers"
class = "a"
when = [{ field = "stem", matches = "^0[0-9]$" }]
unless = [{ field = "name", is = "03.jpg" }]

[[rule]]
name = "few"
class = "b"
when = { field = "metadata.shelf", above = 3 }

[[rule]]
name = "contrary"
class = "b"
when = [{ field = "extension", in = ["jpg"] }, { field = "stem", starts-with = "0" }]

[[rule]]
name = "never"
class = "b"
when = [{ field = "width", at-most = 0 }, { field = "aspect", between = [0, 9] }]
"""


def test_check__what_each_rule_covers_and_how_often_it_is_right(
    shop: Project, write: Callable[[str], Path]
) -> None:
    with shop.catalog.write() as connection:
        shelves = {key: {"shelf": "4" if key > 20 else "none"} for key in range(1, 25)}
        image_rows.put_metadata(connection, shop.id, shelves)
    answer(shop, {1: "a", 2: "a", 3: "b", 21: "b"})
    rules = definitions.read(write(FILE), shop.record)
    found = check(shop, rules)
    by_name = {one.name: one for one in found.report.rules}
    low, few, contrary, never = by_name.values()
    assert (low.fired, few.fired, contrary.fired, never.fired) == (9, 4, 10, 0)
    assert low.coverage == 9 / 24
    assert (low.overlaps, low.conflicts) == (1.0, 1.0)
    assert (contrary.overlaps, contrary.conflicts) == (0.9, 0.9)
    assert (few.overlaps, few.accuracy.value, few.accuracy.n) == (0.0, 1.0, 1)
    assert low.accuracy.value == pytest.approx(2 / 3)
    assert low.accuracy.n == 3
    assert low.accuracy.ci == pytest.approx((0.208, 0.939), abs=0.001)
    assert "never fires" in never.says
    assert (found.report.covered, found.report.conflicting) == (14, 9)
    assert found.report.contradictions == (
        {"rules": ["low numbers", "contrary"], "images": 9, "of": 9},
    )
    assert found.labeled == 10, "four of the covered images are labeled"
    assert found.plan is None
    with shop.catalog.read() as connection:
        assert weak_labels.in_force(connection, shop) is None


def test_apply__probabilities_of_the_pool_that_give_way_to_people(
    shop: Project, write: Callable[[str], Path]
) -> None:
    answer(shop, {1: "a", 2: "a", 3: "a", 20: "b", 21: "b"})
    text = """
    [[rule]]
    name = "low"
    class = "a"
    when = [{ field = "stem", starts-with = "0" }]
    [[rule]]
    name = "like its neighbours"
    class-from = "neighbour"
    when = [{ field = "neighbour.agreement", at-least = 0.1 }]
    """
    done = apply(shop, definitions.read(write(text), shop.record), in_rounds=True)
    assert done.labeled == 19
    soft = weak_labels.soft(shop, most=100)
    assert soft is not None
    assert (soft.plan, len(soft.ids)) == (done.plan, 19)
    assert np.allclose(soft.chances.sum(axis=1), 1)
    shown = applying.show(shop, "05.jpg")
    assert {one["rule"] for one in shown["votes"]} == {"low", "like its neighbours"}
    assert shown["probabilities"]["a"] > 0.5
    answer(shop, {6: "b"})
    after = weak_labels.soft(shop, most=100)
    assert after is not None
    assert set(soft.ids.tolist()) - set(after.ids.tolist()) == {6}
    assert len(weak_labels.soft(shop, most=5).ids) == 5  # type: ignore[union-attr]
    # Another file takes the place of the first, and its folder goes.
    answer(shop, {7: "a"})
    apply(shop, definitions.read(write(FILE[: FILE.index(SECOND)]), shop.record))
    folders = list((shop.workspace.path / "rules").iterdir())
    assert len(folders) == 1
    table = np.load(folders[0] / "votes.npy")
    assert (table.dtype, table.shape) == (np.int8, (24, 1))
    assert applying.clear(shop) == 2
    assert weak_labels.soft(shop, most=5) is None
    assert not list((shop.workspace.path / "rules").iterdir())


def test_cast__python_functions_and_predictions(shop: Project) -> None:
    a, b = shop.record.class_ids
    with shop.catalog.write() as connection:
        runs.add(
            connection, shop.id, "r", kind="head", snapshot_id=None, seed=0, settings={}, metrics={}
        )
        image_rows.put_metadata(connection, shop.id, {1: {"shelf": "4"}})
        runs.put_predictions(connection, shop.id, "r", [(1, a, 0.9, 0.8), (2, b, 0.6, 0.2)])
    answer(shop, {1: "a", 2: "b"})

    def wide(image: Any) -> str | None:
        assert image["metadata"] == {"shelf": "4"} or image["stem"] != "00"
        return "a" if image["width"] > 0 and image["stem"] == "00" else None

    def light(image: Any) -> str | None:
        return "b" if image["brightness"] > 0 else None

    light.fields = ("brightness",)  # type: ignore[attr-defined]
    said = definitions.Rule("model", "", "prediction", ())
    rules: definitions.Rules = [said, *definitions.of_functions([wide, light])]
    found = votes.cast(shop, rules)
    assert found.table[:3].tolist() == [[0, 0, 1], [1, -1, 1], [-1, -1, 1]]
    model = check(shop, rules).report.rules[0]
    assert model.accuracy.n == 0, "it may have learned from these labels"
    assert "calibration half" in model.says

    def broken(image: Any) -> str | None:
        return str(image["none"])

    def unknown(image: Any) -> str | None:
        return "c"

    with pytest.raises(InputError, match=r"broken failed on 00.jpg: KeyError"):
        votes.cast(shop, definitions.of_functions([broken]))
    with pytest.raises(InputError, match=r"says 'c' of 00.jpg, which is no class"):
        votes.cast(shop, definitions.of_functions([unknown]))
    with pytest.raises(InputError, match="Define it with `def`"):
        definitions.of_functions([lambda image: "a"])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("", "needs either class"),
        ('class = "c"\nwhen = [{ field = "width", above = 1 }]', "'c', which is no class.*a, b"),
        ('class = "a"', "would vote for every image"),
        ('class = "a"\nwhen = [{ field = "widht", above = 1 }]', "Did you mean width"),
        ('class = "a"\nwhen = [{ field = "width", is = "1" }]', "exactly one of above, below"),
        ('class = "a"\nwhen = [{ field = "width", above = "1" }]', "give a number"),
        ('class = "a"\nwhen = [{ field = "name", matches = "(" }]', "no pattern"),
        ('class = "a"\nwhen = [{ field = "width", above = 1, below = 2 }]', "exactly one"),
        ('class-from = "width"\nwhen = []', "reads its class from 'width'"),
        ('class = "a"\nif = "x"', "if, which mean nothing"),
        ('class = "a"\nwhen = 3', "write its conditions as a list"),
    ],
)
def test_read__a_rule_that_is_none(
    shop: Project, write: Callable[[str], Path], body: str, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        definitions.read(write(f"[[rule]]\nname = 'mine'\n{body}\n"), shop.record)


def test_read__files_that_hold_no_rules(shop: Project, write: Callable[[str], Path]) -> None:
    for text, says in {
        "": "no list of rules",
        "[rule]\nname = 1": "no list of rules",
        "[[rules]]\nname = 'x'": "also holds 'rules'",
        "not toml": "Cannot read the rules",
        2 * "[[rule]]\nname='x'\nclass='a'\nwhen={field='width', above=1}\n": "Two rules",
    }.items():
        with pytest.raises(InputError, match=says):
            definitions.read(write(text), shop.record)


def test_cast__a_pattern_that_would_run_for_ever(shop: Project, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(
        "[[rule]]\nname='slow'\nclass='a'\nwhen=[{ field='metadata.note', matches='^(a|aa)+$' }]\n"
    )
    with shop.catalog.write() as connection:
        image_rows.put_metadata(connection, shop.id, {1: {"note": "a" * 80 + "b"}})
    begun = time.monotonic()
    with pytest.raises(InputError, match=r"Rule 'slow'.*takes more than 0\.1 s"):
        votes.cast(shop, definitions.read(path, shop.record))
    assert time.monotonic() - begun < 3


def test_cast__a_column_that_no_image_has(shop: Project, write: Callable[[str], Path]) -> None:
    text = "[[rule]]\nname='x'\nclass='a'\nwhen={field='metadata.colour', is='red'}\n"
    with pytest.raises(InputError, match=r"metadata column 'colour'. There is none"):
        votes.cast(shop, definitions.read(write(text), shop.record))


def test_read__what_rules_said_is_gone(shop: Project, write: Callable[[str], Path]) -> None:
    text = "[[rule]]\nname='x'\nclass='a'\nwhen={field='width', above=1}\n"
    apply(shop, definitions.read(write(text), shop.record))
    (folder,) = (shop.workspace.path / "rules").iterdir()
    (folder / "rules.json").write_text(json.dumps({"rules": [], "classes": ["a", "b"]}))
    with pytest.raises(InputError, match="rules apply"):
        weak_labels.soft(shop, most=5)
    (folder / "rules.json").unlink()
    with pytest.raises(InputError, match="rules apply"):
        applying.show(shop, "00.jpg")


def test_fit__rules_that_err_more_weigh_less() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 4_000)
    right = np.array([0.9, 0.6, 0.4])
    wrong = (truth[:, None] + rng.integers(1, 3, (4_000, 3))) % 3
    said = np.where(rng.random((4_000, 3)) < right, truth[:, None], wrong)
    said[rng.random(said.shape) < 0.3] = -1
    said = said.astype(np.int8)
    fitted = label_model.fit(said[:200], truth[:200], classes=3)
    assert fitted.right.mean(axis=1) == pytest.approx(right, abs=0.1)
    likely = fitted.chances(said)
    assert np.allclose(likely.sum(axis=1), 1)
    voted = (said >= 0).any(axis=1)
    accuracy = (likely.argmax(axis=1) == truth)[voted].mean()
    shares = np.stack([(said == c).sum(axis=1) for c in range(3)], axis=1)
    assert accuracy > (shares.argmax(axis=1) == truth)[voted].mean() + 0.03
    # The probabilities mean what they say.
    assert likely.max(axis=1)[voted].mean() == pytest.approx(accuracy, abs=0.03)
    assert np.allclose(likely[~voted], fitted.prior)
    alone = label_model.fit(said[:0], truth[:0], classes=3)
    assert (alone.right == label_model.ASSUMED).all()
