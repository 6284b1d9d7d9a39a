"""Rules for projects whose classes came and went since they were learned."""

from dataclasses import replace

import numpy as np
import pytest

from curation.catalog.annotations import Given
from curation.records import ProjectRecord
from labeling import methods
from labeling.crowdlab import Opinions
from labeling.methods import METHODS, Votes
from tests.labeling.crowd import crowd

RECORD = ProjectRecord(
    id=1,
    name="p",
    task="single-label",
    classes=("a", "b", "c"),
    class_ids=(5, 6, 7),
    seed=1,
    target=None,
    seconds_per_label=4.0,
    guidelines="",
    state="active",
)


def given(who: int, *classes: int) -> Given:
    return Given(who, "person", classes)


def answers() -> tuple[Votes, Opinions]:
    images, people, said, truth = crowd(images=150)
    chances = np.full((150, 3), 0.1)
    chances[np.arange(150), truth] = 0.8
    rows = zip(images.tolist(), people.tolist(), ((value + 5,) for value in said), strict=True)
    return Votes.of(rows), Opinions(np.arange(150), chances)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "majority"])
def test_rule__classes_that_were_merged_or_added_since(method: str) -> None:
    votes, opinions = answers()
    learned = methods.fit(RECORD, method, votes, opinions=opinions)
    # c became a part of b, and there is a d.
    now = replace(RECORD, classes=("a", "b", "d"), class_ids=(5, 6, 9))
    rule = METHODS[method].rule(now, learned, opinions)
    for image in range(150):
        agreed = rule(image, [given(1, 5), given(7, 6)])
        assert agreed.classes in {(5,), (6,)}
        assert 0.33 < agreed.confidence <= 1
    assert rule(0, [given(1, 9), given(2, 9), given(7, 6)]).classes == (9,)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "majority"])
def test_rule__several_labels_after_the_order_of_classes_changed(method: str) -> None:
    votes, opinions = answers()
    record = replace(RECORD, task="multi-label")
    learned = methods.fit(record, method, votes, opinions=opinions)
    turned = replace(record, classes=("c", "b", "a"), class_ids=(7, 6, 5))
    asked = [given(3, 5), given(4, 5, 6), given(1, 5)]
    before, after = (METHODS[method].rule(one, learned, opinions) for one in (record, turned))
    for image in range(20):
        assert before(image, asked) == after(image, asked)
    assert before(0, [given(1), given(2)]) == methods.Agreed((), 1.0)
