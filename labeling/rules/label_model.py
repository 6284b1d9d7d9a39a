"""From votes of rules to how likely each class is.

Rules are taken for independent given the true class. How each one errs is learned from images that
people labeled, drawn towards a rule that is right seven times in ten; nothing is learned from how
rules agree, since rules that look at the same things agree where they are wrong. See
docs/decisions/0013.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ASSUMED = 0.7
"""How often a rule that nothing is known of is taken to be right."""

STRENGTH = 4.0
"""That assumption counts as so many labeled images."""

MOST = 0.98
"""No rule is held for surer than that."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """What was learned of R rules and C classes.

    Attributes:
        prior: (C,) how frequent each class is.
        right: (R, C) how often a rule is right where it votes for a class.
    """

    prior: Floats
    right: Floats

    def chances(self, votes: NDArray[Any]) -> Floats:
        """(N, C) probabilities from votes (N, R); the prior where all abstain."""
        C = len(self.prior)
        score = np.tile(np.log(self.prior), (len(votes), 1))
        for rule in range(votes.shape[1]):
            fired = np.flatnonzero(votes[:, rule] >= 0)
            said = votes[fired, rule].astype(np.int64)
            right = self.right[rule, said]
            # Where it errs, classes are as likely as they are frequent.
            other = (1 - right) / np.maximum(1 - self.prior[said], 1e-9)
            score[fired] += np.log(other)[:, None]
            score[fired, said] += np.log(right / np.maximum(self.prior[said], 1e-9)) - np.log(other)
        score -= score.max(axis=1, keepdims=True)
        likely = np.exp(score)
        return np.asarray(likely / likely.sum(axis=1, keepdims=True)).reshape(len(votes), C)


def fit(votes: NDArray[Any], truth: NDArray[np.int64], *, classes: int) -> Fitted:
    """Learns how each rule errs.

    Args:
        votes: (n, R) of images that people labeled, -1 where a rule abstains; n may be 0.
        truth: (n,) their classes.
        classes: C.
    """
    counts = np.bincount(truth, minlength=classes).astype(np.float64)
    prior = (counts + 1) / (counts.sum() + classes)
    rules = votes.shape[1]
    right = np.full((rules, classes), ASSUMED)
    for rule in range(rules):
        fired = votes[:, rule] >= 0
        said = votes[fired, rule].astype(np.int64)
        hit = said == truth[fired]
        # Of classes that it seldom votes for, the rule's own record over all classes tells more.
        overall = (hit.sum() + STRENGTH * ASSUMED) / (len(hit) + STRENGTH)
        hits = np.bincount(said[hit], minlength=classes)
        tries = np.bincount(said, minlength=classes)
        right[rule] = (hits + STRENGTH * overall) / (tries + STRENGTH)
    chance = 1.0 / classes
    return Fitted(prior, np.clip(right, chance / 2, MOST))
