import numpy as np
import pytest
from numpy.typing import NDArray

from curation.errors import TrainingError
from training.judging import forecast
from training.judging.learning_curve import LearningCurve, of_answers

LAW = (0.95, 1.5, 0.5)


def score(law: tuple[float, float, float], labels: float) -> float:
    return law[0] - law[1] * labels ** -law[2]


def simulated(
    law: tuple[float, float, float],
    sizes: list[int],
    *,
    seed: int,
    images: int = 500,
    draws: int = 4,
    luck: float = 0.3,
) -> LearningCurve:
    """Answers of models whose expected accuracy follows a power law.

    Images differ in how hard they are, and the labels in how lucky they are: with a deviation of
    luck / sqrt(labels), which parts of the same labels have partly in common.
    """
    rng = np.random.default_rng(seed)
    ease, common = rng.uniform(size=images), rng.normal()
    right = np.zeros((draws, len(sizes), images), dtype=bool)
    for draw in range(draws):
        for at, size in enumerate(sizes):
            share = size / sizes[-1]
            own = np.sqrt(share) * common + np.sqrt(1 - share) * rng.normal()
            chance = score(law, size) + luck / np.sqrt(size) * own
            moody = rng.uniform(size=images) < 0.2
            right[draw, at] = np.where(moody, rng.uniform(size=images), ease) < chance
    right[:, -1] = right[0, -1]
    return of_answers(np.array(sizes, float), right)


def steady(law: tuple[float, float, float], sizes: list[int]) -> LearningCurve:
    """Scores on the law itself, but for rounding."""
    images = 20_000
    right = np.zeros((2, len(sizes), images), dtype=bool)
    for at, size in enumerate(sizes):
        right[:, at, : round(score(law, size) * images)] = True
    return of_answers(np.array(sizes, float), right)


def test_forecast__goes_on_along_the_law() -> None:
    found = forecast.forecast(steady(LAW, [50, 100, 200, 400]), rng=np.random.default_rng(0))
    assert found.power_law == pytest.approx(LAW, rel=0.1)
    assert found.now.value == pytest.approx(score(LAW, 400), abs=1e-3)
    assert found.gain.value == pytest.approx(score(LAW, 500) - score(LAW, 400), abs=5e-4)
    low, high = found.gain.ci
    assert found.says[0] == (
        f"100 more labels: {100 * found.gain.value:+.1f} points ({100 * low:.1f} to "
        f"{100 * high:.1f})"
    )


def test_forecast__labels_for_a_target() -> None:
    curve = steady(LAW, [50, 100, 200, 400])
    needed = (LAW[1] / (LAW[0] - 0.9)) ** (1 / LAW[2])  # 900
    found = forecast.forecast(curve, rng=np.random.default_rng(0), target=0.9)
    value, low, high = found.needed
    assert value == pytest.approx(needed, rel=0.1)
    assert low is not None and high is not None and low < value < high
    assert found.says[1].startswith("90.0 % takes about ")


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (0.8, "the target of 80.0 % is met"),
        (0.99, "99.0 % takes more than 10 times the 400 there are: cannot be said"),
        (1, "100.0 % takes more than 10 times the 400 there are: cannot be said"),
    ],
)
def test_forecast__target_met_or_out_of_reach(target: float, says: str) -> None:
    curve = steady(LAW, [50, 100, 200, 400])
    found = forecast.forecast(curve, rng=np.random.default_rng(0), target=target)
    assert found.says[1].startswith(says)


def test_forecast__more_than_can_be_said() -> None:
    curve = steady(LAW, [50, 100, 200, 400])
    found = forecast.forecast(curve, rng=np.random.default_rng(0), more=4000)
    assert found.gain.value is None
    assert "cannot be said" in found.says[0]


def test_forecast__a_flat_curve_promises_nothing() -> None:
    found = forecast.forecast(
        simulated((0.9, 0.0, 1.0), [50, 100, 200, 400], seed=1), rng=np.random.default_rng(0)
    )
    assert 0 <= found.gain.value < 0.01
    assert found.gain.ci[0] == pytest.approx(0, abs=1e-9)


def test_forecast__same_seed_same_band() -> None:
    curve = simulated(LAW, [50, 100, 200], seed=0)
    one, other = (forecast.forecast(curve, rng=np.random.default_rng(3)) for _ in range(2))
    assert (one.now, one.gain, one.says) == (other.now, other.gain, other.says)
    assert (one.band == other.band).all()


def test_forecast__copies_make_no_band_narrower() -> None:
    rng = np.random.default_rng(0)
    sizes, right = np.array([50.0, 100, 200]), rng.uniform(size=(2, 3, 80)) < 0.8
    once, copied = (
        of_answers(sizes, np.repeat(right, times, axis=2), groups=np.repeat(np.arange(80), times))
        for times in (1, 3)
    )
    one, other = (
        forecast.forecast(curve, rng=np.random.default_rng(3)) for curve in (once, copied)
    )
    assert other.now.n == 3 * one.now.n
    assert other.now.ci == pytest.approx(one.now.ci)
    assert other.gain.ci == pytest.approx(one.gain.ci)


def test_forecast__too_few_sizes_or_draws() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(TrainingError, match=r"at least 3 training sizes.*there are 2 sizes"):
        forecast.forecast(simulated(LAW, [100, 200], seed=0), rng=rng)
    with pytest.raises(TrainingError, match="3 sizes, 1 times"):
        forecast.forecast(simulated(LAW, [50, 100, 200], seed=0, draws=1), rng=rng)
    with pytest.raises(TrainingError, match=r"target of 90"):
        forecast.forecast(simulated(LAW, [50, 100, 200], seed=0), rng=rng, target=90)


def test_draw__a_picture() -> None:
    curve = simulated(LAW, [50, 100, 200, 400], seed=0)
    found = forecast.forecast(curve, rng=np.random.default_rng(0), target=0.9)
    assert forecast.draw(curve, found, title="Digits").startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("law", [(0.95, 1.5, 0.5), (0.9, 2.0, 0.4), (0.98, 0.9, 0.25)])
@pytest.mark.parametrize("sizes", [[100, 200, 400], [50, 84, 141, 238, 400]])
def test_forecast__bands_cover(law: tuple[float, float, float], sizes: list[int]) -> None:
    true_gain = score(law, 500) - score(law, 400)
    true_score: NDArray[np.float64] = np.array([score(law, 400), score(law, 800)])
    held = []
    for seed in range(200):
        curve = simulated(law, sizes, seed=seed)
        found = forecast.forecast(curve, rng=np.random.default_rng(seed))
        low, high = np.quantile(forecast.at(found.band, 800), [0.025, 0.975])
        held.append(
            [
                found.gain.ci[0] <= true_gain <= found.gain.ci[1],
                found.now.ci[0] <= true_score[0] <= found.now.ci[1],
                low <= true_score[1] <= high,
            ]
        )
    coverage = np.mean(held, axis=0)
    assert (coverage >= 0.90).all()
