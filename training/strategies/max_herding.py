"""Cover the pool: the choice for the first round, when there is no model."""

import numpy as np

from training.strategies import candidates, coverage
from training.strategies.pool import Pool, Selection

BANDWIDTH = 1.0


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Selection:
    """Pick the images that together lie near as much of the pool as possible.

    Greedy on the sum over targets of the largest kernel value, with what is labeled counted as
    covering already. In a pool of more than 20,000 distinct images both the candidates and the
    points whose coverage is measured are one random sample of 20,000 of them.

    Source: Bae, Noh, Sutherland 2024, "Generalized Coverage for More Robust Low-Budget Active
    Learning" (arXiv 2407.12212).
    """
    rows = candidates.sample(pool.rows, at_least=count, rng=rng)
    points = pool.features(rows)
    picks = coverage.pick(
        points, points, count=count, bandwidth=BANDWIDTH, known=pool.known_features()
    )
    return Selection(
        ids=pool.ids[rows[picks.order]],
        scores=picks.gains,
        reasons=tuple(
            f"stands for about {gain:.1f} of {len(rows)} images not yet covered"
            for gain in picks.gains
        ),
        strategy="max-herding",
    )
