"""The images about which versions of the model disagree."""

import numpy as np

from curation.errors import NeedsModel
from training.strategies import candidates, entropy
from training.strategies.pool import Pool, Selection

DRAWS = 20
RATE = 0.5
_BLOCK_ROWS = 2048


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Selection:
    """Take the largest mutual information between answer and model, by dropout on the embeddings.

    Twenty versions of the model each see half of the columns of the embeddings. What counts is the
    entropy of their mean less their mean entropy: doubt that all share is not counted.

    Sources: Houlsby et al. 2011, "Bayesian Active Learning for Classification and Preference
    Learning" (arXiv 1112.5745); Gal, Islam, Ghahramani 2017, "Deep Bayesian Active Learning with
    Image Data" (arXiv 1703.02910).

    Raises:
        NeedsModel: the pool has the model's probabilities, and not the model.
    """
    if pool.predict is None:
        raise NeedsModel(
            "Strategy 'bald' asks versions of the model itself, and only its probabilities are "
            "here. Use 'margin'."
        )
    rows = pool.rows
    keep = rng.random((DRAWS, pool.embeddings.shape[1])) >= RATE
    information = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK_ROWS):
        X = pool.features(rows[start : start + _BLOCK_ROWS])
        drawn = np.stack([pool.predict(X * mask / np.float32(1 - RATE)) for mask in keep])
        shared = entropy.of(drawn.mean(axis=0), binary=pool.is_binary)
        own = entropy.of(drawn, binary=pool.is_binary).mean(axis=0)
        information[start : start + len(X)] = shared - own
    order = candidates.by_score(information, rng=rng)[:count]
    return Selection(
        ids=pool.ids[rows[order]],
        scores=information[order],
        reasons=tuple(
            f"versions of the model disagree by {value:.2f} bits" for value in information[order]
        ),
        strategy="bald",
    )
