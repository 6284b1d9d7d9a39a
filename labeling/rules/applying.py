"""Putting rules in force: what they say of every image is written down, and training may use it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation import weak_labels
from curation.catalog import audit, plans
from curation.catalog import images as image_rows
from curation.catalog import pool as pool_rows
from curation.errors import InputError
from curation.intervals import Figure, unknown, wilson
from curation.progress import Report as Progress
from curation.progress import silent
from curation.weak_labels import WeakLabels
from curation.workspace import Project
from labeling.rules import label_model, report
from labeling.rules.definitions import Rules
from labeling.rules.report import Known, Report
from labeling.rules.votes import ABSTAIN, cast


@dataclass(frozen=True)
class Applied:
    """What rules came to.

    Attributes:
        report: how good they are.
        labeled: images of the pool that they make probable labels for.
        accuracy: of the likeliest class, on the reserve's calibration half where rules vote; what
            rules' errors were learned from is not judged by.
        plan: its id; none if nothing was written.
    """

    report: Report
    labeled: int
    accuracy: Figure
    plan: int | None = None


def check(project: Project, rules: Rules, *, progress: Progress = silent) -> Applied:
    """Says how good rules are; writes nothing but embeddings and scans.

    Raises:
        InputError: a rule cannot be used.
        Cancelled: asked to stop.
    """
    return _learn(project, rules, progress)[0]


def apply(
    project: Project,
    rules: Rules,
    *,
    weight: float | None = None,
    in_rounds: bool = False,
    actor: str = "",
    progress: Progress = silent,
) -> Applied:
    """Puts rules in force, in place of those before, with one entry of the audit log.

    Args:
        project: whose images they are.
        rules: of a file, of Python functions, or of both.
        weight: how much one of their labels counts beside one of a person; each training measures
            by itself what helps if None.
        in_rounds: whether rounds learn from them as well; `labelloop train --rules` always does.
        actor: who does it, for the audit log.
        progress: told of the progress.

    Raises:
        InputError: a rule or the weight cannot be used, or no rule votes on any image.
        Cancelled: asked to stop; the rules before stay in force.
    """
    if weight is not None and not 0 < weight <= 1:
        raise InputError(f"--weight {weight:g} must be above 0 and at most 1.")
    found, held = _learn(project, rules, progress)
    if not found.report.covered:
        raise InputError(
            f"None of the {len(rules)} rules votes on any of {found.report.images:,} images, so "
            "there is nothing to apply. `labelloop rules check` says more."
        )
    name = weak_labels.write(project, held)
    with project.catalog.write() as connection:
        settings = {"folder": name, "weight": weight, "in_rounds": in_rounds}
        plan = plans.put(connection, project.id, weak_labels.PLAN, settings)
        subject = {"plan": plan, "rules": [rule.name for rule in rules], **settings}
        audit.append(connection, project.id, act="rules", subject=subject, actor=actor)
    weak_labels.tidy(project, keep=name)
    return Applied(found.report, found.labeled, found.accuracy, plan)


def clear(project: Project, *, actor: str = "") -> int:
    """Takes the rules out of force; returns how many plans that were."""
    with project.catalog.write() as connection:
        count = plans.clear(connection, project.id, weak_labels.PLAN)
        if count:
            audit.append(
                connection, project.id, act="rules", subject={"cleared": count}, actor=actor
            )
    weak_labels.tidy(project, keep="")
    return count


def show(project: Project, name: str) -> dict[str, Any]:
    """Which rules voted for an image, and what they make of it together.

    Raises:
        NotFound: there is no image of this name.
        InputError: no rules are in force, or they were applied before the image was there.
    """
    with project.catalog.read() as connection:
        record = image_rows.find(connection, project.id, name)
        plan = weak_labels.in_force(connection, project)
    if plan is None:
        raise InputError("No rules are in force. Apply some with `labelloop rules apply FILE`.")
    found = weak_labels.of_image(project, plan["folder"], record.id)
    if found is None:
        raise InputError(
            f"{name} was not there, or not usable, when the rules were applied. Apply them again."
        )
    return {
        "image": name,
        "plan": plan["id"],
        "votes": [{"rule": rule, "class": said} for rule, said in found.votes],
        "probabilities": (
            {one: round(p, 4) for one, p in found.chances.items()} if found.votes else {}
        ),
    }


def _learn(project: Project, rules: Rules, progress: Progress) -> tuple[Applied, WeakLabels]:
    votes = cast(project, rules, report=progress)
    with project.catalog.read() as connection:
        given = report.known(connection, project, votes)
        pool = np.fromiter(connection.scalars(pool_rows.ids(project.id)), dtype=np.int64)
    told = report.report(votes, rules, given)
    patterns, pattern = _patterns(votes.table)
    learned = ~given.unseen
    fitted = label_model.fit(
        votes.table[given.places[learned]], given.truth[learned], classes=len(votes.classes)
    )
    chances = fitted.chances(patterns).astype(np.float32)
    voted = (votes.table != ABSTAIN).any(axis=1)
    labeled = int((voted & np.isin(votes.ids, pool)).sum())
    accuracy = _accuracy(given, voted, chances[pattern[given.places]])
    held = WeakLabels(
        tuple(rule.as_json() for rule in rules),
        votes.classes,
        votes.ids,
        votes.table,
        pattern,
        chances,
        votes.ids[given.places[learned]],
    )
    return Applied(told, labeled, accuracy), held


def _accuracy(given: Known, voted: NDArray[np.bool_], chances: NDArray[np.float32]) -> Figure:
    judged = given.unseen & voted[given.places]
    n = int(judged.sum())
    hits = int((chances[judged].argmax(axis=1) == given.truth[judged]).sum())
    return Figure(hits / n, n, wilson(hits, n)) if n else unknown()


def _patterns(table: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """The different rows of votes, and the number of each image's."""
    # Rows as single values, which sort far faster than rows of columns.
    packed = np.ascontiguousarray(table).view(np.dtype((np.void, table.itemsize * table.shape[1])))
    _, first, pattern = np.unique(packed.ravel(), return_index=True, return_inverse=True)
    return table[first], pattern.astype(np.int32)
