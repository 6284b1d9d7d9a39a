"""The images whose likeliest class is least likely."""

import numpy as np

from training.strategies import candidates
from training.strategies.pool import Pool, Selection


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Selection:
    """Take the smallest largest probability first; equal ones in random order.

    Multi-label: the class that is hardest to decide counts.

    Source: Settles 2009, "Active Learning Literature Survey", section 3.1.
    """
    rows = pool.rows
    p = pool.chances(rows)
    sure = (np.maximum(p, 1 - p)).min(axis=1) if pool.is_binary else p.max(axis=1)
    order = candidates.by_score(-sure, rng=rng)[:count]
    return Selection(
        ids=pool.ids[rows[order]],
        scores=1.0 - sure[order],
        reasons=tuple(f"the best guess is only {value:.0%} sure" for value in sure[order]),
        strategy="least-confidence",
    )
