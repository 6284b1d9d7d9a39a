"""Which images to label next: one file for each strategy, one line for each in `STRATEGIES`."""

import numpy as np

from curation.errors import SelectionError
from training.strategies import (
    auto,
    badge,
    bait,
    bald,
    cluster_margin,
    entropy,
    k_center,
    least_confidence,
    margin,
    margin_kmeans,
    max_herding,
    random,
    typiclust,
    uncertainty_herding,
)
from training.strategies.pool import Pool, Selection, Strategy, check

_ENTRIES = (
    Strategy("random", random.choose, False, "draw at random", "control"),
    Strategy(
        "least-confidence",
        least_confidence.choose,
        True,
        "the best guess is least sure",
        "Settles 2009",
    ),
    Strategy("entropy", entropy.choose, True, "the answer says least", "Settles 2009"),
    Strategy("margin", margin.choose, True, "the two best classes nearly tie", "Settles 2009"),
    Strategy(
        "max-herding", max_herding.choose, False, "cover the pool; no model needed", "2407.12212"
    ),
    Strategy(
        "uncertainty-herding",
        uncertainty_herding.choose,
        True,
        "cover what the model is unsure about",
        "2412.20644",
    ),
    Strategy(
        "margin-kmeans",
        margin_kmeans.choose,
        True,
        "small margins, spread out; for large batches and pools",
        "1901.05954",
    ),
    Strategy(
        "cluster-margin",
        cluster_margin.choose,
        True,
        "small margins from every cluster; for very large batches",
        "2107.14263",
    ),
    Strategy("badge", badge.choose, True, "labels that would change the model", "1906.03671"),
    Strategy(
        "bait", bait.choose, True, "what tells most about the model; many classes", "2106.09675"
    ),
    Strategy("bald", bald.choose, True, "versions of the model disagree", "1703.02910"),
    Strategy("typiclust", typiclust.choose, False, "typical of what has no label", "2202.02794"),
    Strategy("k-center", k_center.choose, False, "far from all that is known", "1708.00489"),
    Strategy("auto", auto.choose, False, "the one that suits the round", "this project"),
)
STRATEGIES: dict[str, Strategy] = {entry.name: entry for entry in _ENTRIES}


def select(name: str, pool: Pool, count: int, rng: np.random.Generator) -> Selection:
    """Choose `count` images of the pool by the strategy of that name.

    The same seed gives the same ids, whatever the order of the pool's rows.

    Raises:
        SelectionError: an unknown name, a count below 1, repeated ids, NaN or infinity.
        NeedsModel: the strategy needs probabilities and the pool has none.
        PoolTooSmall: fewer distinct images than `count`.
    """
    if name not in STRATEGIES:
        raise SelectionError(f"Unknown strategy {name!r}. Choose one of: {', '.join(STRATEGIES)}.")
    strategy = STRATEGIES[name]
    check(pool, count, strategy=strategy)
    return strategy.function(pool, count, rng)


__all__ = ["STRATEGIES", "Pool", "Selection", "Strategy", "select"]
