"""Spread over the pool: each image is the one farthest from all before."""

import numpy as np

from training.strategies import candidates
from training.strategies.pool import Pool, Selection

_BLOCK_ROWS = 512


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Selection:
    """Pick the image whose nearest known or picked one is farthest, one by one.

    Without labels the first is the one nearest the middle of the pool. In a pool of more than
    20,000 distinct images a random sample of 20,000 is looked at.

    Source: Sener, Savarese 2018, "Active Learning for Convolutional Neural Networks: A Core-Set
    Approach" (arXiv 1708.00489), the greedy form.
    """
    rows = candidates.sample(pool.rows, at_least=count, rng=rng)
    points = pool.features(rows)
    size = np.einsum("ij,ij->i", points, points)
    known = pool.known_features()
    # Squared, to the nearest one known; with none, the place in the middle comes first.
    far = np.full(len(points), np.inf, dtype=np.float32)
    for start in range(0, len(known), _BLOCK_ROWS):
        block = known[start : start + _BLOCK_ROWS]
        near = (np.einsum("ij,ij->i", block, block) - 2 * (points @ block.T)).min(axis=1)
        np.minimum(far, size + near, out=far)
    if not len(known):
        middle = points.mean(axis=0)
        far = (middle @ middle + 2 * (points @ middle) - size).astype(np.float32)
    order: list[int] = []
    distances: list[float] = []
    for turn in range(count):
        pick = int(np.argmax(far))
        order.append(pick)
        distances.append(float(np.sqrt(max(far[pick], 0))))
        if turn == 0 and not len(known):
            far = np.full(len(points), np.inf, dtype=np.float32)
        np.minimum(far, size - 2 * (points @ points[pick]) + size[pick], out=far)
        far[order] = -np.inf
    picked = np.array(order, dtype=np.intp)
    first = "stands in the middle of the pool"
    says = [f"{value:.2f} away from everything known" for value in distances]
    return Selection(
        ids=pool.ids[rows[picked]],
        scores=np.array(distances),
        reasons=tuple(says if len(known) else [first, *says[1:]]),
        strategy="k-center",
    )
