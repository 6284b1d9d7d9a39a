"""What the counts would be if the pool were labeled: the newest model's answers, set right.

A model's answers are biased: it gives rare classes away to frequent ones, or the other way round.
The settled part of the reserve, drawn at random and never trained on, says how often each answer
stands for each class, and the pool is counted anew by that (post-stratification). What people
choose by this are the plans' numbers, never a figure of a model's quality, so both halves serve.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.balance import census
from curation.catalog import Connection, counts, labels, reserve, runs
from curation.intervals import LEVEL
from curation.workspace import Project

FEWEST = 30
DRAWS = 4_000
_SEED = 0  # of the draws: the same counts give the same interval


@dataclass(frozen=True, eq=False)
class Estimate:
    """Counts of C classes in a pool, with 95 % intervals.

    Attributes:
        value: (C,) means.
        draws: (D, C) possible counts, each row of which adds up to the pool.
    """

    value: NDArray[np.float64]
    draws: NDArray[np.float64]


def estimate(
    predicted: NDArray[np.integer[Any]],
    confusion: NDArray[np.integer[Any]],
    *,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Estimate:
    """How many of the pool are of each class, given what the model calls them.

    For each answer, the share of each class is drawn from its posterior given the reserve (a
    Dirichlet whose prior weighs as much as one image, spread evenly: Perks 1947), and the pool's
    images of that answer from the shares.

    Args:
        predicted: (C,) images of the pool by the model's answer.
        confusion: (C, C) images of the reserve by true class and the model's answer.
        rng: the draws.
        draws: how many.
    """
    classes = len(predicted)
    found = np.zeros((draws, classes))
    mean = np.zeros(classes)
    for answer, n in enumerate(predicted):
        if not n:
            continue
        alpha = confusion[:, answer] + 1.0 / classes
        shares = rng.dirichlet(alpha, size=draws)
        # A share that is a hair too large for the sum of 1 would be refused.
        shares /= shares.sum(axis=1, keepdims=True)
        found += rng.multinomial(int(n), shares)
        mean += n * alpha / alpha.sum()
    return Estimate(mean, found)


def change(connection: Connection, project: Project, now: dict[str, int]) -> dict[str, Any]:
    """The counts of now beside those that labeling the whole pool would give.

    Args:
        connection: to the catalog.
        project: single-label, with a model that has predicted the pool.
        now: labels by class.

    Returns:
        `says` in any case; with predictions also run, pool, n (images of the reserve behind the
        correction), and classes, imbalance_ratio and effective_classes with `now` and `expected`.
    """
    record = project.record
    if record.task != "single-label":
        return {
            "says": "A prediction names one class an image, so it cannot tell what labels of "
            "several classes would come to."
        }
    by_class = {key: n for (key, _), n in counts.predicted(connection, project.id).items()}
    predicted = np.array([by_class.get(key, 0) for key in record.class_ids])
    if not predicted.sum():
        return {
            "says": "There is no model's prediction for the pool yet: `labelloop round` trains one "
            "and predicts."
        }
    confusion = _confusion(connection, project)
    n = int(confusion.sum())
    after = {name: now[name] + int(k) for name, k in zip(record.classes, predicted, strict=True)}
    found = (
        estimate(predicted, confusion, rng=np.random.default_rng(_SEED)) if n >= FEWEST else None
    )
    totals = None if found is None else found.draws + np.array(list(now.values()))
    per_class: dict[str, dict[str, Any]] = {}
    for row, name in enumerate(record.classes):
        expected: dict[str, Any] = {"value": float(after[name]), "n": n, "ci": None}
        if found is not None and totals is not None:
            expected |= {"value": now[name] + float(found.value[row]), "ci": _ci(totals[:, row])}
        per_class[name] = {"now": now[name], "predicted": after[name], "expected": expected}
    if totals is None:
        says = (
            f"As the model predicts the pool, uncorrected: {n} images of the reserve have an "
            f"answer and a prediction, and {FEWEST} are needed to know how it errs. Have more of "
            "the reserve labeled: `labelloop round`."
        )
    else:
        says = (
            f"The model's predictions, corrected by how it erred on {n} images of the reserve; "
            "95 % intervals."
        )
    return {
        "says": says,
        "run": counts.predicting_run(connection, project.id),
        "pool": int(predicted.sum()),
        "n": n,
        "classes": per_class,
        "imbalance_ratio": {
            "now": census.imbalance_ratio(now),
            "expected": _figure(census.imbalance_ratio(after), _ratios, totals, n),
        },
        "effective_classes": {
            "now": census.effective_classes(now),
            "expected": _figure(census.effective_classes(after), _effective, totals, n),
        },
    }


def _figure(
    plain: float | None,
    of: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    totals: NDArray[np.float64] | None,
    n: int,
) -> dict[str, Any]:
    """A figure of the corrected counts (its median, as a ratio is skewed), or the plain one."""
    if totals is None:
        return {"value": plain, "n": n, "ci": None}
    draws = of(totals)
    return {"value": float(np.median(draws)), "n": n, "ci": _ci(draws)}


def _confusion(connection: Connection, project: Project) -> NDArray[np.int64]:
    """(C, C) settled images of the reserve by people's label and the model's answer."""
    settled = reserve.settled_prefix(reserve.rows(connection, project.id))
    ids = [row.image_id for row in settled]
    labeled = labels.get(connection, ids)
    answers = runs.predictions_of(connection, ids)
    index = {key: row for row, key in enumerate(project.record.class_ids)}
    table = np.zeros((len(index), len(index)), np.int64)
    for key in ids:
        # An imported label of the reserve counts once people have confirmed it.
        if key in labeled and key in answers and labeled[key].origin == "people":
            table[index[labeled[key].classes[0]], index[answers[key]["class_id"]]] += 1
    return table


def _ratios(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    held = np.where(totals > 0, totals, np.inf)
    return np.asarray(totals.max(axis=1) / held.min(axis=1))


def _effective(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = totals / totals.sum(axis=1, keepdims=True)
    logs = np.log(shares, where=shares > 0, out=np.zeros_like(shares))
    return np.asarray(np.exp(-(shares * logs).sum(axis=1)))


def _ci(draws: NDArray[np.float64]) -> list[float]:
    low, high = np.quantile(draws, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return [float(low), float(high)]
