"""Intervals of differences: known examples, laws, and how often they hold the truth."""

import numpy as np
import pytest

from curation.intervals import median_difference, rate_difference


@pytest.mark.parametrize(
    ("one", "other", "ends"),
    [
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((10, 10), (0, 20), (0.6791, 1.0)),
    ],
)
def test_rate_difference__newcombes_examples(
    one: tuple[int, int], other: tuple[int, int], ends: tuple[float, float]
) -> None:
    """Examples (a), (b) and (g) of method 10 in Newcombe 1998, table II."""
    found = rate_difference(*one, *other)
    assert found["ci"] == pytest.approx(ends, abs=1e-4)
    assert found["n"] == one[1] + other[1]
    low, high = rate_difference(*other, *one)["ci"]
    assert (-high, -low) == pytest.approx(ends, abs=1e-4)


def test_rate_difference__nothing_on_one_side() -> None:
    assert rate_difference(0, 0, 3, 4) == {"value": None, "n": 4, "ci": [-1.0, 1.0]}


def test_median_difference__holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    truth = float(np.exp(1.2) - np.exp(0.9))
    held = 0
    for _ in range(400):
        one, other = (np.sort(rng.lognormal(m, 0.6, n)) for m, n in ((1.2, 27), (0.9, 213)))
        low, high = median_difference(one, other, rng=rng, resamples=500)["ci"]
        held += low <= truth <= high
    assert 0.91 <= held / 400 <= 0.98


def test_median_difference__too_few_bound_nothing() -> None:
    rng = np.random.default_rng(0)
    few, many = np.array([1.0, 2.0, 9.0]), np.arange(20, dtype=np.float64)
    assert median_difference(few, many, rng=rng) == {"value": -8.0, "n": 23, "ci": [None, None]}
    assert median_difference(few[:0], many, rng=rng)["value"] is None
