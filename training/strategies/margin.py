"""The images for which the two best classes are closest."""

import numpy as np

from training.strategies.pool import Pool, Selection


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Selection:
    """Take the smallest margins, smallest first; equal margins in random order.

    Source: Settles 2009, "Active Learning Literature Survey", section 3.1.
    """
    rows = pool.rows
    margins = pool.margins(rows)
    # Without the shuffle, equal margins (a saturated model) would follow the ids, and so
    # whatever the ids follow: a folder, a camera, a day.
    order = np.lexsort((rng.permutation(len(rows)), margins))[:count]
    picked = rows[order]
    return Selection(
        ids=pool.ids[picked],
        scores=1.0 - margins[order],
        reasons=tuple(
            _reason(pool, row, margin) for row, margin in zip(picked, margins[order], strict=True)
        ),
        strategy="margin",
    )


def _reason(pool: Pool, row: np.intp, margin: float) -> str:
    if pool.multi_label or pool.probabilities is None or pool.probabilities.shape[1] < 2:
        return f"hardest class decided by a margin of {margin:.2f}"
    second, first = np.sort(np.asarray(pool.probabilities[row], dtype=np.float64))[-2:]
    return f"two classes nearly tie: {first:.2f} against {second:.2f}"
