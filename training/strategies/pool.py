"""What a strategy is given, and what it hands back."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import NeedsModel, PoolTooSmall, SelectionError

_BLOCK_ROWS = 8192


@dataclass(frozen=True, eq=False)
class Pool:
    """The images that may be chosen, and what is known about them.

    Attributes:
        ids: (N,) integers or strings, all different.
        embeddings: (N, d) unit-norm rows, float16 or float32; may be memory-mapped, since only the
            rows that a strategy looks at are read.
        groups: (N,) integers; near-duplicates share one and at most one of them is picked.
        probabilities: (N, C) calibrated class probabilities, or None while there is no model.
        labeled_embeddings: (L, d) of the images that have a label already, or None for none.
        labeled_classes: (L,) class indices of those, or None.
        eligible: (N,) False for rows that may not be picked, or None when all may.
        multi_label: whether the columns of `probabilities` are independent of each other.
        predict: the model itself: (M, d) float32 embeddings to (M, C) probabilities, or None.
    """

    ids: NDArray[Any]
    embeddings: NDArray[Any]
    groups: NDArray[np.integer[Any]]
    probabilities: NDArray[np.floating[Any]] | None = None
    labeled_embeddings: NDArray[Any] | None = None
    labeled_classes: NDArray[np.integer[Any]] | None = None
    eligible: NDArray[np.bool_] | None = None
    multi_label: bool = False
    predict: Callable[[NDArray[np.float32]], NDArray[np.float64]] | None = None

    def __post_init__(self) -> None:
        """Refuse columns of different lengths, with SelectionError."""
        if self.ids.ndim != 1 or self.ids.dtype.kind not in "iuUS":
            raise SelectionError(
                f"Pool ids must be one row of integers or strings; got {self.ids.dtype} of shape "
                f"{self.ids.shape}."
            )
        rows = len(self.ids)
        for name in ("embeddings", "groups", "probabilities", "eligible"):
            column = getattr(self, name)
            if column is not None and len(column) != rows:
                raise SelectionError(
                    f"The pool has {rows} ids but {len(column)} rows of {name}: pass one for each."
                )
        labeled = self.labeled_embeddings
        if labeled is not None and len(labeled) and labeled.shape[1] != self.embeddings.shape[1]:
            raise SelectionError(
                f"Labeled embeddings have {labeled.shape[1]} columns, the pool's have "
                f"{self.embeddings.shape[1]}: embed both with the same backbone."
            )

    @cached_property
    def rows(self) -> NDArray[np.intp]:
        """(M,) eligible rows by ascending id, one for each group (its smallest id).

        Every strategy chooses among these, so that neither duplicates nor the order in which the
        rows arrive can change the choice.
        """
        order = np.argsort(self.ids, kind="stable")
        if len(order) and np.any(self.ids[order][1:] == self.ids[order][:-1]):
            raise SelectionError("Pool ids repeat: pass each image once.")
        if self.eligible is not None:
            order = order[self.eligible[order]]
        _, first = np.unique(self.groups[order], return_index=True)
        return np.asarray(order[np.sort(first)])

    def features(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """(len(rows), d) embeddings as float32, read from wherever they lie."""
        return np.asarray(self.embeddings[rows], dtype=np.float32)

    def known_features(self) -> NDArray[np.float32]:
        """(L, d) embeddings of the labeled images; L may be 0."""
        if self.labeled_embeddings is None:
            return np.empty((0, self.embeddings.shape[1]), dtype=np.float32)
        return np.asarray(self.labeled_embeddings, dtype=np.float32)

    @property
    def is_binary(self) -> bool:
        """Whether each column of the probabilities is a yes or no of its own."""
        return self.multi_label or (
            self.probabilities is not None and self.probabilities.shape[1] == 1
        )

    def chances(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """(len(rows), C) probabilities.

        Raises:
            NeedsModel: there is no model yet.
        """
        if self.probabilities is None:
            raise NeedsModel(
                "This strategy needs class probabilities and there is no model yet. Use "
                "max-herding for the first round."
            )
        return np.asarray(self.probabilities[rows], dtype=np.float64)

    def margins(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """(len(rows),) how sure the model is, from 0 (cannot tell) to 1.

        Single-label: largest minus second largest probability. Multi-label: the smallest
        |2p - 1| over the classes, the class that is hardest to decide.
        """
        p = self.chances(rows)
        if self.is_binary:
            return np.asarray(np.abs(2 * p - 1).min(axis=1))
        top = np.partition(p, -2, axis=1)[:, -2:]
        return np.asarray(top[:, 1] - top[:, 0])


@dataclass(frozen=True, eq=False)
class Selection:
    """What was chosen, in the order in which people should see it.

    Attributes:
        ids: (count,) of the pool's ids.
        scores: (count,) higher is more useful; comparable within one selection only.
        reasons: one line for each row.
        probabilities: (count,) for stochastic strategies, the probability with which the row's
            group was drawn at its turn given the turns before; None for the others.
        strategy: the name of the strategy that chose, in the end.
        rule: the rule of `auto` that fired, or None.
    """

    ids: NDArray[Any]
    scores: NDArray[np.float64]
    reasons: tuple[str, ...]
    probabilities: NDArray[np.float64] | None = None
    strategy: str = ""
    rule: str | None = None


@dataclass(frozen=True)
class Strategy:
    """One entry of the registry.

    Attributes:
        name: kebab-case, the same in the command line, the pages and the docs.
        function: `(pool, count, rng) -> Selection`.
        needs_model: whether it needs `Pool.probabilities`.
        description: one line.
        source: where the method comes from.
    """

    name: str
    function: Callable[[Pool, int, np.random.Generator], Selection]
    needs_model: bool
    description: str
    source: str


def check(pool: Pool, count: int, *, strategy: Strategy) -> None:
    """Refuse what no strategy may work on.

    Raises:
        NeedsModel: the strategy needs probabilities and the pool has none.
        PoolTooSmall: fewer groups than images asked for.
        SelectionError: count below 1, or a value that is NaN or infinite.
    """
    if count < 1:
        raise SelectionError(f"Asked for {count} images; ask for at least 1.")
    if strategy.needs_model and pool.probabilities is None:
        raise NeedsModel(
            f"Strategy {strategy.name!r} needs a trained model and there is none yet. Use "
            "'max-herding' for the first round."
        )
    left = len(pool.rows)
    if count > left:
        raise PoolTooSmall(
            f"Asked for {count} images; {left} distinct ones are left in the pool "
            f"({len(pool.ids)} rows, near-duplicates counted once). Lower --budget or import more."
        )
    columns = {
        "embeddings": pool.embeddings,
        "probabilities": pool.probabilities,
        "labeled embeddings": pool.labeled_embeddings,
    }
    for name, values in columns.items():
        if values is not None:
            _refuse_non_finite(values, name=name)


def _refuse_non_finite(values: NDArray[Any], *, name: str) -> None:
    for start in range(0, len(values), _BLOCK_ROWS):
        block = values[start : start + _BLOCK_ROWS]
        # A sum is non-finite whenever a member is, and is several times faster than testing
        # each value; float32 cannot overflow on the unit-norm rows that belong here.
        if not np.isfinite(block.sum(dtype=np.float32)) and not np.isfinite(block).all():
            row = start + int(np.argmin(np.isfinite(block).all(axis=1)))
            raise SelectionError(
                f"The pool's {name} hold NaN or infinity, first in row {row}. Embed these images "
                "again and train the model again."
            )
