"""Slices that no column names: places in embedding space where the model is worse than elsewhere.

As in Domino (Eyuboglu et al. 2022) images are clustered by what they look like and by how wrong the
model is on them. Any dataset has such clusters by chance, so they are made from one half of the
groups and tested on the other, whose images join the nearest cluster by their looks alone. Worse
means worse than on other images of the same classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.bias import gaps, quality, shuffles
from curation.bias.evidence import Answers
from curation.bias.slices import Slices
from curation.bias.table import Tested

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]

FEWEST_LABELS = 100
DIRECTIONS = 32
PER_CLUSTER = 15
"""Images of a half that a cluster has on average."""

MOST_CLUSTERS = 20
TRIED = 3
"""Clusters, the worst of the first half, that are tested on the second."""

FEWEST = 8
"""Images that a cluster must have in either half."""

EXAMPLES = 5
_ERROR_WEIGHT = 1.0
_MANY_MORE = 0.2


def test(
    given: Answers,
    X: NDArray[np.float32],
    *,
    ids: NDArray[np.int64],
    classes: tuple[str, ...],
    groups: Codes,
    strata: Codes,
    named: Sequence[tuple[Slices, Codes]],
    rng: np.random.Generator,
    times: int,
) -> list[Tested]:
    """Whether the worst clusters of one half are worse in the other half, too.

    Args:
        given: the model's m answers.
        X: (m, d) embeddings.
        ids: (m,) of the images.
        classes: C names.
        groups: (m,) of copies, which lie in one half.
        strata: (m,) number of the label.
        named: slices with names, and those (m,) of the images: to describe what is found.
        rng: the halves, clusters and shuffles.
        times: how many shuffles.
    """
    if len(X) < FEWEST_LABELS:
        return []
    whole, members = np.unique(groups, return_inverse=True)
    first = (rng.permutation(len(whole)) % 2 == 0)[members.reshape(-1)]
    wrong = -shuffles.residuals(given.sure, strata)
    cluster, nearness = _cluster(X, wrong, first, rng=rng)
    tested: list[Tested] = []
    for code in _worst(cluster, wrong, first):
        inside = cluster == code
        second = ~first
        p = shuffles.p_lower(
            given.sure[second],
            inside[second].astype(np.int64),
            groups=groups[second],
            strata=strata[second],
            count=2,
            rng=rng,
            times=times,
        )[1]
        gap = gaps.measure(
            given.right[second], inside[second], strata=strata[second], groups=groups[second]
        )
        if gap is None:
            continue
        nearest = np.flatnonzero(inside)[np.argsort(-nearness[inside], kind="stable")][:EXAMPLES]
        looks = _describe(given.truth, inside, classes, named)
        tested.append(
            Tested(
                kind="discovered",
                slice={"cluster": str(len(tested) + 1)},
                metric="accuracy",
                gap=gap.value,
                ci=gap.ci,
                p=float(p),
                n=gap.n,
                says=quality.say(f"images that look alike ({looks})", gap, single=given.single),
                worth=gap.value > 0,
                examples=tuple(ids[nearest].tolist()),
            )
        )
    return tested


def _cluster(
    X: NDArray[np.float32], wrong: Floats, first: NDArray[np.bool_], *, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Floats]:
    """The cluster (m,) of each image, made by the first half, and how near it lies (m,)."""
    from sklearn.cluster import KMeans

    centre = X[first].mean(axis=0)
    # The table of d x d is small however many images there are.
    _, axes = np.linalg.eigh(np.cov(X[first].T))
    places = (X - centre) @ axes[:, ::-1][:, :DIRECTIONS]
    places /= max(float(np.sqrt((places[first] ** 2).sum(axis=1).mean())), 1e-12)
    errors = _ERROR_WEIGHT * wrong / max(float(wrong[first].std()), 1e-12)
    count = min(max(int(first.sum()) // PER_CLUSTER, 2), MOST_CLUSTERS)
    means = KMeans(count, n_init=5, random_state=int(rng.integers(2**31))).fit(
        np.column_stack([places, errors])[first]
    )
    centres = means.cluster_centers_[:, :-1]
    apart = (centres**2).sum(axis=1) - 2 * places @ centres.T + (places**2).sum(axis=1)[:, None]
    return apart.argmin(axis=1), -apart.min(axis=1)


def _worst(cluster: NDArray[np.int64], wrong: Floats, first: NDArray[np.bool_]) -> list[int]:
    """The clusters on which the model errs most in the first half, where both halves have some."""
    count = int(cluster.max()) + 1
    sizes = [np.bincount(cluster[half], minlength=count) for half in (first, ~first)]
    errors = np.bincount(cluster[first], wrong[first], count) / np.maximum(sizes[0], 1)
    large = np.flatnonzero((np.minimum(*sizes) >= FEWEST) & (errors > 0))
    worst: list[int] = large[np.argsort(-errors[large], kind="stable")][:TRIED].tolist()
    return worst


def _describe(
    truth: NDArray[np.int64],
    inside: NDArray[np.bool_],
    classes: tuple[str, ...],
    named: Sequence[tuple[Slices, Codes]],
) -> str:
    """As "most often shirt, 60%; of studio c, 45%"."""
    shares = truth[inside].mean(axis=0)
    top = int(shares.argmax())
    found = f"most often {classes[top]}, {shares[top]:.0%}"
    for slices, codes in named:
        count = len(slices.values)
        here = np.bincount(codes[inside], minlength=count) / inside.sum()
        more = here - np.bincount(codes, minlength=count) / len(codes)
        if more.max() >= _MANY_MORE:
            code = int(more.argmax())
            found += f"; of {slices.says(code)}, {here[code]:.0%}"
    return found
