"""Small margins, taken from as many clusters of the pool as there are."""

import numpy as np

from training.strategies import candidates, clusters
from training.strategies.margin import reason
from training.strategies.pool import Pool, Selection

BETA = 10
MOST_CLUSTERS = 1_000


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Selection:
    """Go round the clusters of the ten times `count` smallest margins, small clusters first.

    One image of each cluster at a turn, its smallest margin first, until there are enough. The
    clusters are those of k-means, as many as images are asked for and at most 1,000, where the
    source clusters the whole pool once by average linkage.

    Source: Citovsky et al. 2021, "Batch Active Learning at Scale" (arXiv 2107.14263).
    """
    rows = pool.rows
    margins = pool.margins(rows)
    among = candidates.by_score(-margins, rng=rng)[: BETA * count]
    labels, _ = clusters.of(
        pool.features(rows[among]), min(count, MOST_CLUSTERS, len(among)), rng=rng
    )
    # `among` ascends with the margin, so the turn of an image is its place in its cluster.
    turn = np.empty(len(among), dtype=np.intp)
    for label in np.unique(labels):
        turn[labels == label] = np.arange(int((labels == label).sum()))
    sizes = np.bincount(labels)[labels]
    order = among[np.lexsort((np.arange(len(among)), labels, sizes, turn))[:count]]
    picked = rows[order]
    return Selection(
        ids=pool.ids[picked],
        scores=1.0 - margins[order],
        reasons=tuple(
            reason(pool, row, margin) for row, margin in zip(picked, margins[order], strict=True)
        ),
        strategy="cluster-margin",
    )
