"""Images whose labels would change the model much, and in different directions."""

import numpy as np
from numpy.typing import NDArray

from training.strategies import candidates
from training.strategies.pool import Pool, Selection


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Selection:
    """Draw by k-means++ on the gradient of the last layer that the likeliest label would give.

    The gradient of an image is (onehot of the likeliest class - p) times its embedding. Distances
    come from the two factors, so no (N, C d) matrix exists. The first is the one with the largest
    gradient, each other is drawn in proportion to its squared distance to the nearest before. In a
    pool of more than 20,000 distinct images the candidates are the 10,000 with the smallest margins
    and 10,000 random others.

    Multi-label: the likeliest answer is given by each class, and so is its gradient.

    Source: Ash et al. 2020, "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower
    Bounds" (arXiv 1906.03671).
    """
    among = candidates.unsure(pool.margins(pool.rows), at_least=count, rng=rng)
    rows = pool.rows[among]
    points = pool.features(rows)
    q = _errors(pool, rows)
    size = np.einsum("ij,ij->i", q, q) * np.einsum("ij,ij->i", points, points)
    far = np.full(len(rows), np.inf)
    left = np.ones(len(rows), dtype=bool)
    order: list[int] = []
    chances: list[float] = []
    for turn in range(count):
        pick, chance = (int(np.argmax(size)), 1.0) if turn == 0 else _draw(far, left, rng)
        order.append(pick)
        chances.append(chance)
        left[pick] = False
        shared = (q @ q[pick]) * (points @ points[pick])
        np.minimum(far, np.maximum(size + size[pick] - 2 * shared, 0), out=far)
    picked = np.array(order, dtype=np.intp)
    return Selection(
        ids=pool.ids[rows[picked]],
        scores=np.sqrt(size[picked]),
        reasons=tuple(
            f"its label would move the model by {value:.2f}" for value in np.sqrt(size[picked])
        ),
        probabilities=np.array(chances),
        strategy="badge",
    )


def _errors(pool: Pool, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """(M, C) how far the likeliest answer is from the probabilities."""
    p = pool.chances(rows)
    if pool.is_binary:
        likeliest = (p >= 0.5).astype(np.float64)
    else:
        likeliest = np.zeros_like(p)
        likeliest[np.arange(len(p)), p.argmax(axis=1)] = 1
    return (likeliest - p).astype(np.float32)


def _draw(
    far: NDArray[np.float64], left: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[int, float]:
    """One of those that are left, and the probability with which it was drawn."""
    weight = np.where(left, far, 0.0)
    total = weight.sum()
    # Of a model that is certain of everything, or of equal images, each is as good.
    weight, total = (weight, total) if total > 0 else (left.astype(np.float64), float(left.sum()))
    ends = np.cumsum(weight)
    pick = int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))
    return pick, float(weight[pick] / total)
