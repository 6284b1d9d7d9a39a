"""k-means as the strategies use it."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SMALL = 5_000
_FEW = 256
_TURNS = 50


def of(
    points: NDArray[np.float32], count: int, *, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Clusters of points, by scikit-learn's k-means; of many points by its form for batches.

    Args:
        points: (M, d).
        count: of clusters, at most M.
        rng: where they begin.

    Returns:
        (M,) the cluster of each, and (M,) the squared distance to its middle. Equal points make
        fewer clusters.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    given: dict[str, Any] = {
        "n_clusters": count,
        "n_init": 1,
        "max_iter": _TURNS,
        "init": "k-means++" if count <= _FEW else "random",
        "random_state": int(rng.integers(2**31)),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # equal points
        if len(points) <= _SMALL:
            found: Any = KMeans(**given).fit(points)
        else:
            found = MiniBatchKMeans(**given, batch_size=4096, reassignment_ratio=0).fit(points)
    labels = np.asarray(found.labels_, dtype=np.intp)
    apart = points - found.cluster_centers_[labels]
    return labels, np.asarray(np.einsum("ij,ij->i", apart, apart), dtype=np.float32)


def nearest(labels: NDArray[np.intp], distances: NDArray[np.float32]) -> NDArray[np.intp]:
    """(K,) of each cluster the place nearest its middle, by ascending number of the cluster."""
    order = np.lexsort((distances, labels))
    _, first = np.unique(labels[order], return_index=True)
    return np.asarray(order[first])
