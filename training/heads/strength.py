"""How strongly a head may lean on its columns, found on labels that it is not trained on.

With a few hundred labels the default does as well as any value; with tens of thousands it costs up
to a point of accuracy. A strength is chosen from some thousand rows, judged by the others, and one
fit leads to the next, so that the search takes less time than the final fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.progress import Report, silent
from training import calibration, weights
from training.heads.head import Head, fit_head
from training.heads.logistic import MANY_ROWS
from training.settings import HeadSettings
from training.targets import THRESHOLD

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0)
FIRST = 3.0
"""From here upwards until it gets worse; downwards only where the first is the best of these."""

_LEARN, _JUDGE = 10_000, 20_000
"""Rows at most."""

_HELD = 0.2
"""Share of the rows that judge, at least."""

_TOLERANCE = 1e-5
"""Enough to rank strengths: losses within 0.002 of the least."""


@dataclass(frozen=True)
class Tried:
    """One strength.

    Attributes:
        strength: as `HeadSettings.strength`.
        log_loss: on the rows that judge, weighted as in training.
        accuracy: on them, without weights; multi-label: of single answers.
    """

    strength: float
    log_loss: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class Choice:
    """What was found.

    Attributes:
        strength: of the least loss.
        tried: in the order of strength; empty where there was nothing to choose by.
        head: with that strength, of the rows that it was tried on: where `fit_head` may begin.
        says: for people.
    """

    strength: float
    tried: tuple[Tried, ...]
    head: Head | None
    says: str


def choose(
    X: NDArray[Any],
    y: NDArray[np.integer[Any]],
    *,
    classes: Sequence[str],
    task: str = "single-label",
    settings: HeadSettings | None = None,
    sample_weight: NDArray[np.floating[Any]] | None = None,
    class_weight: NDArray[np.floating[Any]] | None = None,
    groups: NDArray[np.integer[Any]] | None = None,
    seed: int = 0,
    report: Report = silent,
) -> Choice:
    """The strength with the least log-loss on rows held back, by group.

    Args:
        X: (N, d) embeddings.
        y: (N,) class indices, or (N, C) of 0 and 1 for multi-label.
        classes: C names.
        task: `single-label` or `multi-label`.
        settings: all but the strength; its strength is kept where rows are few, or where their
            groups leave nothing to learn from or nothing to judge by.
        sample_weight: (N,) at least 0.
        class_weight: (C,) at least 0; replaces the settings' rule.
        groups: (N,) rows with the same number stay together; every row by itself if None.
        seed: decides which rows judge.
        report: told of the progress.

    Raises:
        TrainingError: as `fit_head`.
        Cancelled: asked to stop.
    """
    settings = settings or HeadSettings()
    if len(X) < MANY_ROWS:
        says = f"{len(X):,} labels are too few to choose a strength by: {settings.strength:g}."
        return Choice(settings.strength, (), None, says)
    row_weight = weights.of_rows(len(X), sample_weight)
    learn, judge = _divide(np.arange(len(X)) if groups is None else groups, seed=seed)
    kept = Choice(
        settings.strength,
        (),
        None,
        f"{len(X):,} labels cannot be divided by group into some to choose a strength on and some "
        f"to judge it by: {settings.strength:g}.",
    )
    if not (_tell_apart(y[learn], row_weight[learn]) and row_weight[judge].any()):
        return kept
    if task == "single-label":
        cells = weights.of_indices(
            y[judge],
            row_weight[judge],
            classes=len(classes),
            rule=settings.class_weight,
            given=class_weight,
        )
    else:
        cells = weights.of_cells(
            y[judge], row_weight[judge], rule=settings.class_weight, given=class_weight
        ).mean(axis=1)
    if not cells.sum() > 0:
        return kept
    loose = replace(settings, tolerance=max(settings.tolerance, _TOLERANCE))
    found: dict[float, tuple[Tried, Head]] = {}

    def attempt(strength: float, start: Head | None) -> tuple[Tried, Head]:
        report(len(found), 0, "choose strength")
        head = fit_head(
            X[learn],
            y[learn],
            classes=classes,
            task=task,
            settings=replace(loose, strength=strength),
            sample_weight=row_weight[learn],
            class_weight=class_weight,
            start=start,
        )
        p = head.probabilities(X[judge])
        loss = float(np.average(calibration.log_losses(p, y[judge]), weights=cells))
        called = p.argmax(axis=1) if task == "single-label" else p >= THRESHOLD
        right = called == y[judge]
        found[strength] = Tried(strength, loss, float(right.mean())), head
        return found[strength]

    upwards = [one for one in STRENGTHS if one >= FIRST]
    best, head = _follow(upwards, attempt, None)
    if best.strength == FIRST:
        downwards = [one for one in reversed(STRENGTHS) if one < FIRST]
        best, head = _follow(downwards, attempt, (best, head))
    tried = tuple(one for _, (one, _) in sorted(found.items()))
    says = (
        f"strength {best.strength:g}: the least log-loss ({best.log_loss:.3f}) of {len(tried)} "
        f"tried on {len(learn):,} labels and judged by {len(judge):,} others."
    )
    return Choice(best.strength, tried, head, says)


def _follow(strengths: Sequence[float], attempt: Any, best: Any) -> tuple[Tried, Head]:
    """One strength after the other for as long as the loss falls; each starts from the last."""
    for strength in strengths:
        one = attempt(strength, best[1] if best else None)
        if best and one[0].log_loss >= best[0].log_loss:
            break
        best = one
    found: tuple[Tried, Head] = best
    return found


def _tell_apart(y: NDArray[np.integer[Any]], row_weight: NDArray[np.float64]) -> bool:
    """Whether the rows that count hold two answers."""
    counted = y[row_weight > 0]
    return bool((counted != counted[:1]).any())


def _divide(
    groups: NDArray[np.integer[Any]], *, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows (ascending) to learn from and rows to judge by; groups stay whole."""
    _, number = np.unique(groups, return_inverse=True)
    place = np.random.default_rng([seed, 0x57]).permutation(number.max() + 1)[number]
    order = np.argsort(place, kind="stable")
    count = min(_LEARN, int(len(groups) * (1 - _HELD)))
    # The group that lies across the edge judges as a whole, unless nothing else would learn.
    edge = int(np.searchsorted(place[order], place[order[count]]))
    edge = edge or int(np.searchsorted(place[order], place[order[0]], side="right"))
    return np.sort(order[:edge]), np.sort(order[edge : edge + _JUDGE])
