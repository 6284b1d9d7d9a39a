"""Against published worked examples, scikit-learn, and answers of which the truth is known."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from labeling import agreement
from labeling.agreement import Answers

KRIPPENDORFF = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""
"""Krippendorff 2011, example C: nominal alpha is 0.743."""

FLEISS = """
0 0 0 0 14
0 2 6 4 2
0 0 3 5 6
0 3 9 2 0
2 2 8 1 1
7 7 0 0 0
3 2 6 3 0
2 5 3 2 2
6 5 2 1 0
0 2 2 3 7
"""
"""Fourteen raters, ten subjects, five categories: kappa is 0.210."""


def table(text: str) -> Answers:
    """Rows are annotators, columns images, a dot is no answer."""
    rows = [line.split() for line in text.split("\n") if line]
    return Answers.of(
        [
            (image, str(annotator), (int(value),))
            for annotator, row in enumerate(rows)
            for image, value in enumerate(row)
            if value != "."
        ]
    )


def test_krippendorff_alpha__published_examples() -> None:
    found = agreement.krippendorff_alpha(table(KRIPPENDORFF))
    assert found.value == pytest.approx(0.743, abs=5e-4)
    assert found.n == 11  # one image has one answer
    assert found.ci[0] < 0.743 < found.ci[1]
    binary = table("0 1 0 0 0 0 0 0 1 0\n1 1 1 0 0 1 0 0 0 0")
    assert agreement.krippendorff_alpha(binary).value == pytest.approx(0.095, abs=5e-4)


def test_fleiss_kappa__published_example() -> None:
    rows = []
    for image, line in enumerate(filter(None, FLEISS.split("\n"))):
        said = [kind for kind, count in enumerate(line.split()) for _ in range(int(count))]
        rows += [(image, str(person), (kind,)) for person, kind in enumerate(said)]
    found = agreement.fleiss_kappa(Answers.of(rows))
    assert found.value == pytest.approx(0.210, abs=5e-4)
    assert found.n == 10


def test_cohen_kappa__published_example_and_scikit_learn() -> None:
    said = [(1, 1)] * 20 + [(1, 0)] * 5 + [(0, 1)] * 10 + [(0, 0)] * 15
    rows = [(n, "ab"[who], (pair[who],)) for n, pair in enumerate(said) for who in (0, 1)]
    found = agreement.cohen_kappa(Answers.of(rows), "a", "b")
    assert found.value == pytest.approx(0.4)
    first, second = (list(column) for column in zip(*said, strict=True))
    assert found.value == pytest.approx(cohen_kappa_score(first, second))
    assert found.ci[0] < 0.4 < found.ci[1]


def test_figures__where_there_is_nothing_to_agree_on() -> None:
    same = Answers.of([(image, who, (1,)) for image in range(5) for who in "ab"])
    alone = Answers.of([(image, "a", (image,)) for image in range(5)])
    for answers, n in ((same, 5), (alone, 0)):
        assert agreement.krippendorff_alpha(answers).value is None
        assert agreement.fleiss_kappa(answers).n == n
    assert agreement.pairs(alone) == []


def test_krippendorff_alpha__sets_by_masi() -> None:
    near = Answers.of([(n, "ab"[k], (n, n + 1)[: k + 1]) for n in range(20) for k in (0, 1)])
    nominal = agreement.krippendorff_alpha(near).value
    graded = agreement.krippendorff_alpha(near, distance=agreement.masi).value
    assert nominal is not None and graded is not None
    # No two answers are equal, but each is a part of the other: a third of the way apart and more.
    assert nominal < 0.05
    assert graded > 0.2


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [((1,), (1,), 0), ((), (), 0), ((1,), (2,), 1), ((1,), (1, 2), 2 / 3), ((1, 2), (2, 3), 8 / 9)],
)
def test_masi__as_defined(one: tuple[int, ...], other: tuple[int, ...], distance: float) -> None:
    assert agreement.masi(one, other) == pytest.approx(distance)
    assert agreement.masi(other, one) == pytest.approx(distance)


def test_intervals__cover_the_true_coefficient() -> None:
    """Two people who say the truth with probability 0.8, else any of four classes."""
    right, classes, trials = 0.8, 4, 200
    covered = 0
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, classes, 150)
        said = [
            np.where(rng.random(150) < right, truth, rng.integers(0, classes, 150)) for _ in "ab"
        ]
        rows = [(n, "ab"[who], (int(said[who][n]),)) for n in range(150) for who in (0, 1)]
        low, high = agreement.krippendorff_alpha(Answers.of(rows), seed=seed).ci
        # Classes are equally frequent, so that what is beyond chance is how often both know.
        covered += low <= right**2 <= high
    assert 0.9 * trials <= covered


def test_pairs__by_how_many_images_they_share() -> None:
    rows = [(n, "a", (0,)) for n in range(6)] + [(n, "b", (0,)) for n in range(4)]
    assert agreement.pairs(Answers.of([*rows, (0, "c", (0,))])) == [("a", "b", 4)]


def test_disputes__the_most_frequent_first() -> None:
    said = [(1, "a", (1,)), (1, "b", (2,)), (2, "a", (2,)), (2, "b", (1,)), (3, "a", (3,))]
    answers = Answers.of([*said, (3, "b", (1,)), (4, "a", (1,)), (4, "b", (1,))])
    assert agreement.disputes(answers) == [((1,), (2,), [1, 2]), ((1,), (3,), [3])]


def test_of_class__asks_of_one_class_alone() -> None:
    answers = Answers.of([(1, "a", (1, 2)), (1, "b", (2,)), (2, "a", (1,)), (2, "b", (1,))])
    assert agreement.of_class(answers, 1).values == (True, False, True, True)
