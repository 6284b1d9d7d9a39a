"""The images for which the two best classes are closest."""

import numpy as np

from training.strategies import candidates
from training.strategies.pool import Pool, Selection


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Selection:
    """Take the smallest margins, smallest first; equal margins in random order.

    Source: Settles 2009, "Active Learning Literature Survey", section 3.1.
    """
    rows = pool.rows
    margins = pool.margins(rows)
    order = candidates.by_score(-margins, rng=rng)[:count]
    picked = rows[order]
    return Selection(
        ids=pool.ids[picked],
        scores=1.0 - margins[order],
        reasons=tuple(
            reason(pool, row, margin) for row, margin in zip(picked, margins[order], strict=True)
        ),
        strategy="margin",
    )


def reason(pool: Pool, row: np.intp, margin: float) -> str:
    """The margin of one row, in words."""
    if pool.multi_label or pool.probabilities is None or pool.probabilities.shape[1] < 2:
        return f"hardest class decided by a margin of {margin:.2f}"
    second, first = np.sort(np.asarray(pool.probabilities[row], dtype=np.float64))[-2:]
    return f"two classes nearly tie: {first:.2f} against {second:.2f}"
