"""Cover what the model is unsure about."""

import numpy as np

from training.strategies import candidates, coverage
from training.strategies.pool import Pool, Selection

BANDWIDTH = 0.5
# Keeps the order meaningful where the model is certain of everything: then it is max-herding.
_LEAST_WEIGHT = 1e-6


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Selection:
    """Pick the images that together lie near as much of the model's uncertainty as possible.

    As max-herding, with each target weighted by 1 - margin of its calibrated probabilities. In a
    pool of more than 20,000 distinct images the targets are a random sample of 20,000, and the
    candidates are the 10,000 with the smallest margins and 10,000 random others.

    Source: Bae, Oh, Sutherland 2024, "Uncertainty Herding: One Active Learning Method for All
    Label Budgets" (arXiv 2412.20644).
    """
    margins = pool.margins(pool.rows)
    spot = np.arange(len(pool.rows))
    among = candidates.unsure(margins, at_least=count, rng=rng)
    around = candidates.sample(spot, at_least=0, rng=rng)
    targets = pool.features(pool.rows[around])
    same = len(among) == len(around) == len(spot)
    picks = coverage.pick(
        targets if same else pool.features(pool.rows[among]),
        targets,
        count=count,
        bandwidth=BANDWIDTH,
        weights=np.maximum(1.0 - margins[around], _LEAST_WEIGHT),
        known=pool.known_features(),
    )
    chosen = among[picks.order]
    return Selection(
        ids=pool.ids[pool.rows[chosen]],
        scores=picks.gains,
        reasons=tuple(
            f"stands for {gain:.2f} images' worth of doubt; its own margin is {margin:.2f}"
            for gain, margin in zip(picks.gains, margins[chosen], strict=True)
        ),
        strategy="uncertainty-herding",
    )
