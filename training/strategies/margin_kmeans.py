"""Small margins, spread over the pool: for large batches and very large pools."""

import numpy as np

from training.strategies import candidates, clusters
from training.strategies.margin import reason
from training.strategies.pool import Pool, Selection

BETA = 10


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Selection:
    """Cluster the ten times `count` smallest margins, and pick the image nearest each middle.

    What is missing, since equal images make fewer clusters, is filled by margin. People see the
    smallest margins first.

    Source: Zhdanov 2019, "Diverse mini-batch Active Learning" (arXiv 1901.05954), without its
    weights.
    """
    rows = pool.rows
    margins = pool.margins(rows)
    among = candidates.by_score(-margins, rng=rng)[: BETA * count]
    if len(among) > count:
        labels, distances = clusters.of(pool.features(rows[among]), count, rng=rng)
        middles = clusters.nearest(labels, distances)
    else:
        middles = np.arange(count)
    # Places in `among` ascend with the margin.
    rest = np.setdiff1d(np.arange(len(among)), middles)[: count - len(middles)]
    order = among[np.sort(np.concatenate([middles, rest]))]
    picked = rows[order]
    return Selection(
        ids=pool.ids[picked],
        scores=1.0 - margins[order],
        reasons=tuple(
            reason(pool, row, margin) for row, margin in zip(picked, margins[order], strict=True)
        ),
        strategy="margin-kmeans",
    )
