"""The strategy that suits what there is, and which rule chose it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from training.strategies import margin, max_herding, uncertainty_herding
from training.strategies.pool import Pool, Selection

_LARGE_BATCH = 2_000
_LARGE_POOL = 1_000_000


@dataclass(frozen=True)
class _Rule:
    says: str
    applies: Callable[[Pool, int], bool]
    choose: Callable[[Pool, int, np.random.Generator], Selection]


# The first that applies is taken.
_RULES = (
    _Rule(
        "no model yet: cover the pool",
        lambda pool, count: pool.probabilities is None,
        max_herding.choose,
    ),
    _Rule(
        "more than 2,000 asked for or more than 1,000,000 in the pool: smallest margins",
        lambda pool, count: count > _LARGE_BATCH or len(pool.rows) > _LARGE_POOL,
        margin.choose,
    ),
    _Rule(
        "a model and a usual budget: cover what the model is unsure about",
        lambda pool, count: True,
        uncertainty_herding.choose,
    ),
)


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Selection:
    """Apply the first rule that fits; `Selection.rule` says which one it was."""
    rule = next(rule for rule in _RULES if rule.applies(pool, count))
    return replace(rule.choose(pool, count, rng), rule=rule.says)
