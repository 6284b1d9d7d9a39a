"""Boxes of several people: which mean the same, and what they agree on."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.records import Box
from labeling import drawings, matching

CAT, DOG = 1, 2
sides = st.integers(1, 40)
boxes = st.builds(Box, st.sampled_from([CAT, DOG]), sides, sides, sides, sides)
drawing = st.lists(boxes, max_size=4).map(tuple)


def test_match__takes_the_best_of_all_pairings() -> None:
    left, right = Box(CAT, 0, 0, 10, 10), Box(CAT, 4, 0, 10, 10)
    # Nearest first would pair `left` with the middle one and leave `right` alone.
    middle, far = Box(CAT, 1, 0, 10, 10), Box(CAT, -2, 0, 10, 10)
    found = matching.match([left, right], [middle, far], threshold=0.3)
    assert [(i, j) for i, j, _ in found] == [(0, 1), (1, 0)]
    assert matching.match([left], [Box(CAT, 5, 0, 10, 10)]) == []  # a third of them is shared


@given(drawing, drawing)
def test_distance__as_a_distance(one: tuple[Box, ...], other: tuple[Box, ...]) -> None:
    assert matching.distance(one, one) == pytest.approx(0)
    assert 0 <= matching.distance(one, other) <= 1
    assert matching.distance(one, other) == pytest.approx(matching.distance(other, one))


def test_consensus__where_more_than_half_drew_it() -> None:
    first = (Box(CAT, 10, 10, 20, 20), Box(DOG, 100, 10, 30, 30))
    second = (Box(CAT, 12, 11, 20, 20), Box(CAT, 101, 12, 30, 30))
    third = (Box(DOG, 99, 11, 32, 30), Box(CAT, 11, 9, 22, 21), Box(CAT, 200, 200, 5, 5))
    for order in permutations([first, second, third]):
        found = matching.consensus(order)
        assert found.boxes == (Box(CAT, 11, 10, 21, 20), Box(DOG, 100, 11, 31, 30))
        assert found.classes == (CAT, DOG)
        assert found.confidence == pytest.approx(2 / 3)


def test_consensus__nothing_drawn_is_an_answer() -> None:
    box = Box(CAT, 1, 2, 3, 4)
    assert matching.consensus([()]).confidence == 1
    assert matching.consensus([(box,)]).boxes == (box,)
    assert matching.consensus([(), (box,)]).boxes == ()
    assert matching.consensus([(), (box,)]).confidence == 0.5
    assert matching.consensus([(), (box,), (box,)]).boxes == (box,)


def drawn(shift: float, *, images: int = 40, seed: int = 0) -> drawings.Drawn:
    rng = np.random.default_rng(seed)
    rows = []
    for image in range(images):
        x, y = rng.uniform(0, 400, 2)
        a, b = rng.normal(0, shift, 2)
        rows += [
            (image, "ann", (Box(CAT, x, y, 50, 50),)),
            (image, "bea", (Box(CAT, x + a, y + b, 50, 50),)),
        ]
    return drawings.gather(rows)


def test_alpha__falls_as_boxes_drift_apart() -> None:
    found = [drawings.alpha(drawn(shift)) for shift in (0, 5, 500)]
    values = [figure.value for figure in found]
    assert values[0] == pytest.approx(1)
    assert values[1] is not None and values[2] is not None
    assert 0.6 < values[1] < 0.9
    assert values[2] == pytest.approx(0, abs=0.1)
    assert found[1].ci[0] < values[1] < found[1].ci[1]
    assert found[1].n == 40


def test_alpha__of_nominal_answers_is_krippendorffs() -> None:
    """Boxes in one place that differ only by class are equal or different, and nothing between."""
    from labeling import agreement
    from labeling.agreement import Answers

    rng = np.random.default_rng(1)
    rows = [
        (image, who, int(rng.choice([CAT, DOG], p=p)))
        for image, p in enumerate(rng.dirichlet([0.4, 0.4], 30))
        for who in "abc"
    ]
    nominal = agreement.krippendorff_alpha(Answers.of(rows))
    same = drawings.gather((image, who, (Box(said, 0, 0, 9, 9),)) for image, who, said in rows)
    assert drawings.alpha(same).value == pytest.approx(nominal.value)
    assert drawings.alpha(drawings.of_class(same, CAT)).value == pytest.approx(nominal.value)
    confused = drawings.disputes(same)
    assert [(a, b) for a, b, _ in confused] == [(CAT, DOG)]
    assert drawings.alpha({1: [("a", ())]}).value is None
