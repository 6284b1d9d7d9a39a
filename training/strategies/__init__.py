"""Which images to label next: one file for each strategy, one line for each in `STRATEGIES`."""

import numpy as np

from curation.errors import SelectionError
from training.strategies import auto, margin, max_herding, random, uncertainty_herding
from training.strategies.pool import Pool, Selection, Strategy, check

_ENTRIES = (
    Strategy("random", random.choose, False, "draw at random", "control"),
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
