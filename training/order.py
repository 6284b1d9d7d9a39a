"""Which images each step of each epoch shows: by the seed alone, so that nothing need be stored."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]

_ORDER = 0
"""Told from other random numbers of the same seed and epoch."""


@dataclass(frozen=True, eq=False)
class Order:
    """One epoch.

    Attributes:
        steps: rows (B,) of each.
        looks: which sight of each image a step's row is, told apart over all epochs.
    """

    steps: tuple[Rows, ...]
    looks: tuple[Rows, ...]


def steps_of(count: int, batch_size: int) -> int:
    """Steps an epoch; their batches differ by one image at most."""
    return math.ceil(count / batch_size)


def draw(
    count: int, *, batch_size: int, seed: int, epoch: int, chance: NDArray[np.float64] | None = None
) -> Order:
    """The order of one epoch.

    Args:
        count: images, N.
        batch_size: images a step.
        seed: of the run.
        epoch: from 1.
        chance: (N,) summing to 1: N images are drawn, each anew; None shows each once.
    """
    rng = np.random.default_rng([seed, epoch, _ORDER])
    steps = steps_of(count, batch_size)
    looks: Rows
    if chance is None:
        rows = rng.permutation(count)
        looks = np.full(count, epoch)
    else:
        rows = rng.choice(count, count, p=chance)
        looks = epoch + (_repeats(rows) << 32)
    return Order(tuple(np.array_split(rows, steps)), tuple(np.array_split(looks, steps)))


def parts(count: int, most: int) -> list[Rows]:
    """Places (n,) among a step's rows of each of its parts, none without a pair.

    A place and its mirror, as far from the end, are in the same part, so that a step whose images
    are blended with their mirrors comes out the same in one part and in several.

    Args:
        count: rows of the step.
        most: parts.
    """
    half, odd = divmod(count, 2)
    held = np.array_split(np.arange(half), max(1, min(most, half)))
    middles = [np.arange(0)] * (len(held) - 1) + [np.full(odd, half)]
    return [
        np.concatenate([places, middle, count - 1 - places[::-1]])
        for places, middle in zip(held, middles, strict=True)
    ]


def _repeats(rows: Rows) -> Rows:
    """(N,) how often each entry's value came before it."""
    by_value = np.argsort(rows, kind="stable")
    _, starts, sizes = np.unique(rows[by_value], return_index=True, return_counts=True)
    seen = np.empty(len(rows), dtype=np.int64)
    seen[by_value] = np.arange(len(rows)) - np.repeat(starts, sizes)
    return seen
