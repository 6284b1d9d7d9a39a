"""Dividing components, which must stay whole, into parts that resemble each other.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label
Data", 2011), of components in place of single rows: the rarest stratum first, its largest
components first, each into the part that lacks the stratum most. What a stratum's numbers leave
over by rounding is carried on to the next one, so that many rare strata do not all end in the
largest part.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Parts = npt.NDArray[np.int16]

_NO_PART = -1


@dataclass(frozen=True)
class Components:
    """What is divided.

    Attributes:
        sizes: (K,) images of each component.
        counts: (K, S) sparse, how many images of each stratum are in each component; an image is in
            one stratum or, with several labels, in several.
    """

    sizes: Ints
    counts: Any


def divide(
    components: Components, shares: Floats, *, fixed: Parts, rng: np.random.Generator
) -> Parts:
    """Gives each component a part.

    No part that has a share stays empty, if there are as many free components as such parts.

    Args:
        components: K of them.
        shares: (P,) summing to 1.
        fixed: (K,) parts that are decided already, -1 where they are free.
        rng: breaks ties.

    Returns:
        (K,) numbers of parts.
    """
    part_of = fixed.copy()
    rows = components.counts.tocsr()
    wanted = _wanted(rows, shares, part_of)
    left = np.asarray(rows[part_of == _NO_PART].sum(axis=0), np.int64).ravel()
    alone = (components.sizes == 1) & (np.diff(rows.indptr) == 1)
    columns = rows.tocsc()
    carried: Floats = np.zeros(len(shares))
    while left.any():
        stratum = int(np.argmin(np.where(left > 0, left, np.iinfo(np.int64).max)))
        span = slice(columns.indptr[stratum], columns.indptr[stratum + 1])
        here, counts = columns.indices[span], columns.data[span]
        free = part_of[here] == _NO_PART
        here, counts = here[free], counts[free]
        quota = _quota(wanted[stratum], shares, int(left[stratum]))
        need = quota + carried
        shuffled = rng.permutation(len(here))
        here, counts = here[shuffled], counts[shuffled]
        single = alone[here]
        large = np.argsort(-counts[~single], kind="stable")
        for component, count in zip(
            here[~single][large].tolist(), counts[~single][large].tolist(), strict=True
        ):
            part = _neediest(need, quota, count)
            part_of[component] = part
            need[part] -= count
            own = slice(rows.indptr[component], rows.indptr[component + 1])
            wanted[rows.indices[own], part] -= rows.data[own]
            left[rows.indices[own]] -= rows.data[own]
        given = _dealt(need, quota, int(single.sum()))
        part_of[here[single]] = np.repeat(np.arange(len(shares)), given)
        need -= given
        carried = need
        left[stratum] = 0
    _fill_empty(part_of, components.sizes, shares, fixed)
    return part_of


def _wanted(rows: Any, shares: Floats, part_of: Parts) -> Floats:
    """(S, P) how many images of each stratum each part still lacks; negative where it has more."""
    totals = np.asarray(rows.sum(axis=0), np.float64).ravel()
    wanted = totals[:, None] * shares
    for part in range(len(shares)):
        wanted[:, part] -= np.asarray(rows[part_of == part].sum(axis=0)).ravel()
    return wanted


def _quota(wanted: Floats, shares: Floats, count: int) -> Floats:
    """(P,) how `count` images are to be shared out, which is not what is wanted if some have it."""
    lacking = np.where(shares > 0, wanted.clip(0), 0)
    if lacking.sum() <= 0:
        lacking = shares
    return np.asarray(lacking * count / lacking.sum(), np.float64)


def _neediest(need: Floats, quota: Floats, count: int) -> int:
    """The part to give a component to: rounded as Webster's method rounds seats."""
    weight = np.where(quota > 0, quota, 1.0)
    return int(np.argmax(np.where(quota > 0, (need - count / 2) / weight, -np.inf)))


def _dealt(need: Floats, quota: Floats, count: int) -> Ints:
    """(P,) how many of `count` single images each part gets."""
    lacking = np.where(quota > 0, need.clip(0), 0)
    exact = lacking * count / lacking.sum() if lacking.sum() > 0 else quota * count / quota.sum()
    given: Ints = np.floor(exact + 1e-9).astype(np.int64)
    for _ in range(count - int(given.sum())):
        given[np.argmax(np.where(quota > 0, need - given, -np.inf))] += 1
    return given


def _fill_empty(part_of: Parts, sizes: Ints, shares: Floats, fixed: Parts) -> None:
    """Gives every empty part the smallest free component of the part with most of them."""
    for part in np.flatnonzero(shares > 0):
        if (part_of == part).any():
            continue
        numbers = np.bincount(part_of[part_of >= 0], minlength=len(shares))
        for donor in np.argsort(-numbers, kind="stable"):
            free = np.flatnonzero((part_of == donor) & (fixed == _NO_PART))
            if numbers[donor] > 1 and len(free):
                part_of[free[np.argmin(sizes[free])]] = part
                break


def drawn(numbers: Ints, shares: Floats, *, seed: int, name: str) -> Parts:
    """(K,) parts of components that come later: by a hash that nothing else depends on.

    Args:
        numbers: (K,) the smallest random number of each component's groups.
        shares: (P,) summing to 1.
        seed: of the project.
        name: of the split.
    """
    limits = np.cumsum(shares)
    places = np.array([_uniform(f"{seed}:{name}:{number}") for number in numbers.tolist()])
    found = np.searchsorted(limits, places, side="right")
    last = np.flatnonzero(shares > 0)[-1]
    return np.asarray(np.minimum(found, last), np.int16)


def _uniform(text: str) -> float:
    """A number in [0, 1)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48
