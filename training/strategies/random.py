"""Draw at random: the control that every other strategy must beat."""

import numpy as np

from training.strategies.pool import Pool, Selection


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Selection:
    """Draw groups uniformly without replacement."""
    rows = pool.rows
    picked = rows[rng.permutation(len(rows))[:count]]
    probabilities = 1.0 / (len(rows) - np.arange(count))
    return Selection(
        ids=pool.ids[picked],
        scores=np.zeros(count),
        reasons=("drawn at random",) * count,
        probabilities=probabilities,
        strategy="random",
    )
