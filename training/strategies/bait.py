"""Images that tell most about the parameters which decide the pool."""

import numpy as np
from numpy.typing import NDArray

from training.strategies import candidates
from training.strategies.pool import Pool, Selection

_RIDGE = 1.0


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Selection:
    """Pick one by one what lowers the trace of (inverse information of L) (information of U) most.

    The information of an image is taken at its likeliest class, w w^T with w = sqrt(p (1 - p)) x,
    so each pick costs two passes over the candidates and no factorisation. In a pool of more than
    20,000 distinct images the candidates are the 10,000 with the smallest margins and 10,000 random
    others; the pool's information comes from a random sample of 20,000. Without the model itself,
    what is labeled counts with the pool's mean p (1 - p).

    Source: Ash et al. 2021, "Gone Fishing: Neural Active Learning with Fisher Embeddings" (arXiv
    2106.09675), forward picks only.
    """
    margins = pool.margins(pool.rows)
    rows = pool.rows[candidates.unsure(margins, at_least=count, rng=rng)]
    W, doubt = _information(pool, rows)
    around = candidates.sample(pool.rows, at_least=0, rng=rng)
    F = W if np.array_equal(around, rows) else _information(pool, around)[0]
    F = F.T @ F / len(F)
    inverse = _inverse(pool, float(doubt.mean()))
    # v = M^-1 w of each candidate is never kept: its two products with u are enough.
    spread = W @ inverse
    own = np.einsum("ij,ij->i", spread, W)
    gain = np.einsum("ij,ij->i", spread @ F, spread)
    left = np.ones(len(rows), dtype=bool)
    order: list[int] = []
    scores: list[float] = []
    for _ in range(count):
        worth = np.where(left, gain / (1 + own), -np.inf)
        pick = int(np.argmax(worth))
        order.append(pick)
        scores.append(float(worth[pick]))
        left[pick] = False
        u = inverse @ W[pick]
        c = 1 + W[pick] @ u
        Fu = F @ u
        towards = (W @ u) / c
        gain += -2 * towards * (W @ (inverse @ Fu)) + towards**2 * (u @ Fu)
        own -= c * towards**2
        inverse -= np.outer(u, u) / c
    picked = np.array(order, dtype=np.intp)
    return Selection(
        ids=pool.ids[rows[picked]],
        scores=np.array(scores),
        reasons=tuple(
            f"lowers the doubt about the model by {value:.3g}; its own margin is {margin:.2f}"
            for value, margin in zip(scores, pool.margins(rows[picked]), strict=True)
        ),
        strategy="bait",
    )


def _information(
    pool: Pool, rows: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(M, d) w of each row, and (M,) its p (1 - p)."""
    doubt = _doubt(pool.chances(rows), binary=pool.is_binary)
    return np.sqrt(doubt)[:, None] * pool.features(rows), doubt


def _doubt(p: NDArray[np.float64], *, binary: bool) -> NDArray[np.float64]:
    """(M,) p (1 - p) at the likeliest class; multi-label: at the class that is open most."""
    if binary:
        return np.asarray((p * (1 - p)).max(axis=1))
    top = p.max(axis=1)
    return np.asarray(top * (1 - top))


def _inverse(pool: Pool, mean: float) -> NDArray[np.float64]:
    """(d, d) inverse of the information of what is labeled, and a ridge."""
    known = pool.known_features().astype(np.float64)
    weighted = known * mean
    if pool.predict is not None and len(known):
        doubt = _doubt(pool.predict(pool.known_features()), binary=pool.is_binary)
        weighted = known * doubt[:, None]
    M = _RIDGE * np.eye(known.shape[1]) + weighted.T @ known
    return np.asarray(np.linalg.inv(M))
