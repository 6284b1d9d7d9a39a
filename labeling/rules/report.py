"""How good rules are: how much they cover, where they contradict each other, how often they err."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.catalog import Connection, labels, reserve
from curation.intervals import Figure, unknown, wilson
from curation.workspace import Project
from labeling.rules.definitions import Rules
from labeling.rules.fields import asks
from labeling.rules.votes import ABSTAIN, Votes

CONTRADICTS = 0.5
"""Share of the images that two rules both vote on, from which on they contradict each other."""

FEWEST = 5
"""Images that two rules both vote on, below which nothing is said of the pair."""


@dataclass(frozen=True, eq=False)
class Known:
    """What people said, to judge rules by.

    Attributes:
        places: (n,) rows of the votes.
        truth: (n,) index of the class.
        unseen: (n,) whether no model has learned from it: the reserve's calibration half.
    """

    places: NDArray[np.int64]
    truth: NDArray[np.int64]
    unseen: NDArray[np.bool_]


@dataclass(frozen=True)
class RuleReport:
    """One rule.

    Attributes:
        name: of the rule.
        fired: images that it votes on.
        coverage: share of all images.
        classes: how many votes by class.
        overlaps: share of its votes that other rules vote on as well.
        conflicts: share of its votes that another rule contradicts.
        accuracy: share of its votes that are people's label, of images that have one.
        says: what should be known about it; empty if nothing.
    """

    name: str
    fired: int
    coverage: float
    classes: dict[str, int]
    overlaps: float
    conflicts: float
    accuracy: Figure
    says: str


@dataclass(frozen=True)
class Report:
    """All rules.

    Attributes:
        images: N.
        covered: on which one rule or more votes.
        conflicting: on which rules disagree.
        rules: one report each.
        contradictions: pairs of rules that disagree on most of what they share.
    """

    images: int
    covered: int
    conflicting: int
    rules: tuple[RuleReport, ...]
    contradictions: tuple[dict[str, Any], ...] = field(default=())


def known(connection: Connection, project: Project, votes: Votes) -> Known:
    """The labels that rules are judged by: all that models learn from, and the calibration half.

    The holdout reports on models, and steers neither them nor rules.
    """
    learned = labels.for_training(connection, project.id)
    calibration = reserve.answered(connection, project.id, "calibration")
    index = {key: number for number, key in enumerate(project.record.class_ids)}
    rows = [
        (row.image_id, index[row.classes[0]], unseen)
        for held, unseen in ((learned, False), (calibration, True))
        for row in held
        if len(row.classes) == 1
    ]
    ids = np.array([row[0] for row in rows], dtype=np.int64)
    there = np.isin(ids, votes.ids)
    return Known(
        votes.of(ids[there]),
        np.array([row[1] for row in rows], dtype=np.int64)[there],
        np.array([row[2] for row in rows], dtype=bool)[there],
    )


def report(votes: Votes, rules: Rules, given: Known) -> Report:
    """What the votes come to."""
    table = votes.table
    fired = table != ABSTAIN
    many = fired.sum(axis=1)
    low = np.where(fired, table, np.iinfo(table.dtype).max).min(axis=1, initial=127)
    disagree = (many > 1) & (table.max(axis=1, initial=ABSTAIN) != low)
    found = tuple(
        _one(votes, number, rule.fields, many, given) for number, rule in enumerate(rules)
    )
    return Report(
        images=len(table),
        covered=int((many > 0).sum()),
        conflicting=int(disagree.sum()),
        rules=found,
        contradictions=tuple(_contradictions(votes)),
    )


def _one(
    votes: Votes,
    number: int,
    fields: frozenset[str],
    many: NDArray[np.int64],
    given: Known,
) -> RuleReport:
    own = votes.table[:, number]
    fires = own != ABSTAIN
    n = int(fires.sum())
    mine = own[fires]
    others = np.delete(votes.table[fires], number, axis=1)
    against = ((others != ABSTAIN) & (others != mine[:, None])).any(axis=1)
    counts = np.bincount(mine.astype(np.int64), minlength=len(votes.classes))
    # A model's answers to what it learned from say nothing about its errors.
    usable = given.unseen if asks(fields, "prediction") else np.ones(len(given.places), dtype=bool)
    said = own[given.places]
    judged = usable & (said != ABSTAIN)
    hits = int((said[judged] == given.truth[judged]).sum())
    tries = int(judged.sum())
    accuracy = Figure(hits / tries, tries, wilson(hits, tries)) if tries else unknown()
    return RuleReport(
        name=votes.rules[number],
        fired=n,
        coverage=n / len(own) if len(own) else 0.0,
        classes={name: int(k) for name, k in zip(votes.classes, counts, strict=True) if k},
        overlaps=float((many[fires] > 1).mean()) if n else 0.0,
        conflicts=float(against.mean()) if n else 0.0,
        accuracy=accuracy,
        says=_says(n, accuracy, len(votes.classes), asks(fields, "prediction")),
    )


def _says(fired: int, accuracy: Figure, classes: int, of_model: bool) -> str:
    if not fired:
        return "It never fires: check its conditions against `labelloop rules show IMAGE`."
    if not accuracy.n:
        where = "in the reserve's calibration half " if of_model else ""
        return f"Nobody has labeled an image {where}that it votes on, so nothing is known of it."
    if accuracy.ci[1] < 1 / classes:
        return "It is wrong more often than a guess would be: turn it round or leave it out."
    return ""


def _contradictions(votes: Votes) -> list[dict[str, Any]]:
    """Pairs of rules, those that disagree most first."""
    fired = (votes.table != ABSTAIN).astype(np.float32)
    both = fired.T @ fired
    found = []
    for first in range(len(votes.rules)):
        for second in range(first + 1, len(votes.rules)):
            if both[first, second] < FEWEST:
                continue
            a, b = votes.table[:, first], votes.table[:, second]
            shared = (a != ABSTAIN) & (b != ABSTAIN)
            differ = int((a[shared] != b[shared]).sum())
            if differ >= CONTRADICTS * both[first, second]:
                names = [votes.rules[first], votes.rules[second]]
                found.append({"rules": names, "images": differ, "of": int(both[first, second])})
    return sorted(found, key=lambda row: -row["images"])
