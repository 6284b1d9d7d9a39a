"""Labels that are probably wrong: where a model and the nearest images agree on something else.

Confident learning (Northcutt, Jiang, Chuang 2021, as `cleanlab` has it) on the product of two
opinions that never saw the image's own group: the out-of-fold probabilities of a linear head, and a
vote of the nearest labeled images. The two err differently, so that their product ranks better than
either; a suspect is ranked by how much surer it is of another class than of the given one.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.catalog import corrections
from curation.catalog.labels import NOBODYS
from curation.issues.evidence import Evidence
from curation.issues.outliers import choose_reference, find_space
from curation.issues.table import Detector, Issue

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

FEWEST_LABELS = 20
DIRECTIONS = 64
NEAREST = 40
SHOWN = 10
"""How many of the nearest are counted in a reason."""
SHARPNESS = 10.0
"""How fast a vote loses weight: by the factor e for each 1 / 10 of cosine."""
LIKELY = 2 / 3
"""A label is an issue only where another class is at least twice as likely."""
SURE = 0.9
"""And always where another is nine times as likely: on classes that are told apart easily,
confident learning counts too few."""
MOST_COPIES = 50
"""Images of one group that are skipped over in search of others."""
EXACT_BELOW = 100_000
BLOCK = 4_096

_FLOOR = 1e-6
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Votes:
    """What the nearest labeled images of other groups say.

    Attributes:
        shares: (N, C) weighted by nearness and smoothed towards how frequent a class is.
        counts: (N, C) how many of the nearest `SHOWN` have each class.
    """

    shares: NDArray[np.float64]
    counts: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Judgement:
    """What was found of N labels.

    Attributes:
        score: (N,) 0 to 1; above 0.5 another class is likelier than the given one.
        is_issue: (N,) whether the label is held for wrong.
        suggested: (N,) the likeliest other class.
        probabilities: (N, C) the two opinions together.
    """

    score: NDArray[np.float64]
    is_issue: NDArray[np.bool_]
    suggested: NDArray[np.int64]
    probabilities: NDArray[np.float64]


def vote(X: Floats, truth: NDArray[np.int64], groups: Ids, *, nearest: int = NEAREST) -> Votes:
    """Ask the nearest labeled images of other groups.

    Args:
        X: (N, d) embeddings.
        truth: (N, C) of 0 and 1.
        groups: (N,); images of one group do not vote for each other.
        nearest: how many are asked.
    """
    space = find_space(X[choose_reference(groups)], directions=DIRECTIONS)
    rows = space.place(X)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12))
    copies = min(int(np.unique(groups, return_counts=True)[1].max()), MOST_COPIES)
    index = _index(rows)
    prior = truth.mean(axis=0)
    shares = np.repeat(prior[None], len(rows), axis=0)
    counts = np.zeros(truth.shape, dtype=np.int64)
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        cosines, found = index.search(rows[part], min(nearest + copies, len(rows)))
        counted = (found >= 0) & (groups[found] != groups[part, None])
        place = counted.cumsum(axis=1)
        counted &= place <= nearest
        weights = np.where(counted, np.exp(SHARPNESS * (cosines.astype(np.float64) - 1.0)), 0.0)
        weights /= np.maximum(weights.max(axis=1, keepdims=True), 1e-300)
        # One neighbour of each row at a time: all at once would take a table of N x k x C.
        for at in range(found.shape[1]):
            said = truth[found[:, at]]
            shares[part] += weights[:, at, None] * said
            counts[part] += (counted & (place <= SHOWN))[:, at, None] * said
        shares[part] /= weights.sum(axis=1, keepdims=True) + 1.0
    return Votes(shares, counts)


def combine(model: NDArray[np.float64], votes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The normalised geometric mean (N, C) of two opinions (N, C)."""
    product = np.sqrt(np.maximum(model, _FLOOR) * np.maximum(votes, _FLOOR))
    return np.asarray(product / product.sum(axis=1, keepdims=True))


def judge(y: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Judgement:
    """Which single labels are wrong: confident learning says how many, the score which.

    Args:
        y: (N,) class indices; every class occurs.
        probabilities: (N, C) by a judge that did not see the row, C at least 2.
    """
    from cleanlab.count import num_label_issues

    rows = np.arange(len(y))
    others = probabilities.copy()
    others[rows, y] = -1.0
    suggested = others.argmax(axis=1)
    given, rival = probabilities[rows, y], probabilities[rows, suggested]
    score = rival / (given + rival)
    count = int(num_label_issues(y, probabilities))
    is_issue = score > SURE
    worst = np.argsort(-score, kind="stable")[:count]
    is_issue[worst] = score[worst] > LIKELY
    return Judgement(score, is_issue, suggested, probabilities)


def judge_sets(truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Judgement:
    """Which sets of labels are wrong, in a multi-label task.

    Args:
        truth: (N, C) of 0 and 1.
        probabilities: (N, C) of each class on its own.

    Returns:
        The suggestion is the class most in doubt: missing, or there without cause.
    """
    from cleanlab.multilabel_classification import get_label_quality_scores
    from cleanlab.multilabel_classification.filter import find_label_issues

    sets = [np.flatnonzero(row).tolist() for row in truth]
    quality = get_label_quality_scores(sets, probabilities)
    flagged = np.asarray(find_label_issues(sets, probabilities, n_jobs=1))
    doubt = np.where(truth == 1, 1.0 - probabilities, probabilities)
    is_issue = flagged & (doubt.max(axis=1) > 0.5)
    return Judgement(1.0 - np.asarray(quality), is_issue, doubt.argmax(axis=1), probabilities)


def find(evidence: Evidence) -> Iterator[Issue]:
    """Every labeled image of a class that has labels in two groups or more.

    Labels that were propagated are judged where they come from, those of machines by their audit
    sample, and what a reviewer said of a label outranks the verdict on it.
    """
    if evidence.embeddings is None or evidence.out_of_fold is None:
        return
    own = {key for key, row in evidence.labels.items() if row.origin not in NOBODYS}
    labeled = np.array([key in own for key in evidence.ids.tolist()], dtype=bool)
    ids, groups = evidence.ids[labeled], evidence.groups[labeled]
    keys = evidence.project.record.class_ids
    truth = _truth([evidence.labels[i].classes for i in ids.tolist()], keys)
    single = evidence.project.record.task == "single-label"
    judgeable, columns = _judgeable(truth, groups, single=single)
    if len(columns) < 2 or judgeable.sum() < FEWEST_LABELS:
        _log.info(
            "wrong labels are looked for from %d labels of two classes on; there are %d of %d",
            FEWEST_LABELS,
            judgeable.sum(),
            len(columns),
        )
        return
    ids, groups, truth = ids[judgeable], groups[judgeable], truth[judgeable][:, columns]
    evidence.report(0, len(ids), "wrong labels")
    X = evidence.embeddings.read(ids)
    votes = vote(X, truth, groups)
    y = truth.argmax(axis=1) if single else truth
    model = evidence.out_of_fold(X, y, groups, classes=len(columns))
    evidence.report(len(ids), len(ids), "wrong labels")
    keys = tuple(keys[column] for column in columns)
    names = evidence.project.record.class_names(keys)
    if single:
        judgement = judge(y, combine(model, votes.shares))
    else:
        judgement = judge_sets(truth, (model + votes.shares) / 2)
    say = _reason if single else _set_reason
    with evidence.project.catalog.read() as connection:
        reviewed = corrections.reviewed(connection, evidence.project.id)
    for row, image_id in enumerate(ids.tolist()):
        suggested = int(judgement.suggested[row])
        is_issue = bool(judgement.is_issue[row]) and image_id not in reviewed
        missing = not truth[row, suggested]
        yield Issue(
            image_id=image_id,
            kind="wrong-label",
            score=float(judgement.score[row]),
            is_issue=is_issue,
            reason=say(names, truth[row], suggested, votes.counts[row], model[row]),
            suggested_class_id=keys[suggested] if is_issue and missing else None,
        )


def _truth(labels: Sequence[tuple[int, ...]], keys: tuple[int, ...]) -> NDArray[np.int64]:
    """(N, C) of 0 and 1."""
    column = {key: at for at, key in enumerate(keys)}
    truth = np.zeros((len(labels), len(keys)), dtype=np.int64)
    for row, classes in enumerate(labels):
        truth[row, [column[key] for key in classes]] = 1
    return truth


def _judgeable(
    truth: NDArray[np.int64], groups: Ids, *, single: bool
) -> tuple[NDArray[np.bool_], Ids]:
    """Rows and columns of the classes that at least two groups have: one cannot be compared."""
    columns = np.array(
        [c for c in range(truth.shape[1]) if len(np.unique(groups[truth[:, c] == 1])) > 1],
        dtype=np.int64,
    )
    if single:
        return truth[:, columns].sum(axis=1) == 1, columns
    return np.ones(len(truth), dtype=bool), columns


def _index(rows: Floats) -> Any:
    """A faiss index of unit rows (N, r) by cosine: exact, or by inverted lists if many."""
    import faiss

    index: Any
    if len(rows) < EXACT_BELOW:
        index = faiss.IndexFlatIP(rows.shape[1])
    else:
        lists = int(4 * np.sqrt(len(rows)))
        index = faiss.index_factory(rows.shape[1], f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
        index.train(rows[:: max(1, len(rows) // (40 * lists))])
        index.nprobe = max(8, lists // 50)
    index.add(rows)
    return index


def _reason(
    names: tuple[str, ...],
    truth: NDArray[np.int64],
    suggested: int,
    counts: NDArray[np.int64],
    model: NDArray[np.float64],
) -> str:
    """As "labeled shirt; 9 of 10 nearest labeled images and the model (0.97) say coat"."""
    given, asked = int(truth.argmax()), int(counts.sum())
    if model[given] >= model[suggested] and counts[given] >= counts[suggested]:
        return (
            f"labeled {names[given]}, as {counts[given]} of {asked} nearest labeled images and the "
            f"model ({model[given]:.2f}) say"
        )
    return (
        f"labeled {names[given]}; {counts[suggested]} of {asked} nearest labeled images and the "
        f"model ({model[suggested]:.2f}) say {names[suggested]}"
    )


def _set_reason(
    names: tuple[str, ...],
    truth: NDArray[np.int64],
    suggested: int,
    counts: NDArray[np.int64],
    model: NDArray[np.float64],
) -> str:
    """As "labeled cat, dog; the model gives bird 0.97, as 8 of the nearest labeled images do"."""
    labels = ", ".join(names[c] for c in np.flatnonzero(truth)) or "nothing"
    return (
        f"labeled {labels}; the model gives {names[suggested]} {model[suggested]:.2f}, and "
        f"{counts[suggested]} of the {SHOWN} nearest labeled images have it"
    )


DETECTOR = Detector(kinds=("wrong-label",), needs_embeddings=True, find=find, needs_copies=True)
