"""The most typical image of each part of the pool that has no label yet."""

import numpy as np
from numpy.typing import NDArray

from training.strategies import candidates, clusters
from training.strategies.pool import Pool, Selection

MOST_CLUSTERS = 500
NEIGHBOURS = 20
_LEAST_DISTANCE = 1e-5


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Selection:
    """Pick the image nearest its neighbours in the largest clusters without a label, one by one.

    Labeled and unlabeled images are clustered together, into as many clusters as there will be
    labels and at most 500; when each has one, those with the fewest come next. In a pool of more
    than 20,000 distinct images a random sample of 20,000 is looked at.

    Source: Hacohen, Dekel, Weinshall 2022, "Active Learning on a Budget: Opposite Strategies Suit
    High and Low Budgets" (arXiv 2202.02794).
    """
    rows = candidates.sample(pool.rows, at_least=count, rng=rng)
    known = pool.known_features()
    points = np.concatenate([pool.features(rows), known])
    wanted = min(len(known) + count, MOST_CLUSTERS, len(points))
    labels, _ = clusters.of(points, wanted, rng=rng)
    own = labels[: len(rows)]
    typical = _typicality(points[: len(rows)], own)
    sizes = np.bincount(own, minlength=wanted)
    taken = np.bincount(labels[len(rows) :], minlength=wanted)
    # Of each cluster its most typical come first; the clusters wait by labels, then by size.
    order_in = [
        places[candidates.by_score(typical[places], rng=rng)]
        for places in (np.flatnonzero(own == label) for label in range(wanted))
    ]
    given = np.zeros(wanted, dtype=np.intp)
    order = []
    for _ in range(count):
        left = np.flatnonzero(given < sizes)
        label = left[np.lexsort((left, -(sizes - given)[left], taken[left]))[0]]
        order.append(order_in[label][given[label]])
        given[label] += 1
        taken[label] += 1
    picked = np.array(order, dtype=np.intp)
    return Selection(
        ids=pool.ids[rows[picked]],
        scores=typical[picked],
        reasons=tuple(f"typical of {sizes[own[place]]} images like it" for place in picked),
        strategy="typiclust",
    )


def _typicality(points: NDArray[np.float32], labels: NDArray[np.intp]) -> NDArray[np.float64]:
    """(M,) one over the mean distance to the 20 nearest of the own cluster; 0 for a lone one."""
    from sklearn.neighbors import NearestNeighbors

    found = np.zeros(len(points))
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        near = min(NEIGHBOURS, len(places) - 1)
        if near:
            fitted = NearestNeighbors(n_neighbors=near, algorithm="brute").fit(points[places])
            distances, _ = fitted.kneighbors()
            found[places] = 1.0 / np.maximum(distances.mean(axis=1), _LEAST_DISTANCE)
    return found
