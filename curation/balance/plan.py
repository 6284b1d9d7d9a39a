"""A plan: a remedy worked out for a project, before and after it is put in force."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curation.balance import census
from curation.errors import InputError
from curation.workspace import Project

BALANCE = "balance"
LABELING_QUOTA = "labeling-quota"
MOST_COPIES = 10
"""Augmented copies of one image; more of the same teach a model the image, not the class."""


@dataclass(frozen=True)
class Options:
    """What a remedy may be told; what it does not use must be left as it is.

    Attributes:
        rule: of class-weights: inverse or effective-number.
        beta: of the effective number, 0 to below 1; towards 1 it becomes the inverse.
        threshold: of oversampling: classes that are a smaller share of the images are repeated;
            one image in C classes where left out.
        target: labels of a class: undersampling keeps at most so many, augmentation fills up to so
            many; by default 10 times the smallest class, and the largest class.
        recipe: of augmentation.
        by: of the labeling quota: a metadata column; the predicted class if empty.
        share: of the labeling quota: the part of a batch that is chosen by it, above 0 to 1.
        budget: of the labeling quota: images of the batch that it is worked out for.
    """

    rule: str = "inverse"
    beta: float = 0.999
    threshold: float | None = None
    target: int | None = None
    recipe: str = "standard"
    by: str = ""
    share: float = 0.5
    budget: int = 50


@dataclass(frozen=True)
class Plan:
    """A remedy worked out for a project.

    Attributes:
        kind: `balance` or `labeling-quota`; one of each can be in force.
        settings: JSON that whoever follows it reads; `remedy` is its name.
        before: what it changes, by class or slice: labels now.
        after: the same as the plan leaves it: labels as they count in training, or as they would be
            after the batch.
        says: what it does, in sentences.
        id: of the plan once it is in force.
    """

    kind: str
    settings: dict[str, Any]
    before: dict[str, float]
    after: dict[str, float]
    says: tuple[str, ...]
    id: int | None = None


def training_counts(project: Project) -> dict[str, int]:
    """Labels by class that training sees.

    Raises:
        InputError: they are of fewer than two classes.
    """
    with project.catalog.read() as connection:
        found = census.take(connection, project).training
    held = [name for name, n in found.items() if n]
    if not held:
        raise InputError(
            "Every label is of the reserve, which no model learns from, so there is nothing to "
            "balance yet. Have a batch labeled: `labelloop round`."
        )
    if len(held) == 1:
        raise InputError(
            f"All {found[held[0]]} labels outside the reserve are {held[0]}; with one class there "
            "is nothing to balance. Label images of other classes first: `labelloop round`."
        )
    return found


def for_training(
    remedy: str,
    settings: dict[str, Any],
    now: Mapping[str, int],
    after: Mapping[str, float],
    says: tuple[str, ...],
) -> Plan:
    """A plan of kind `balance`, which says for how many labels it was made."""
    settings = {"remedy": remedy, "counts": dict(now), **settings}
    before = {name: float(n) for name, n in now.items()}
    return Plan(BALANCE, settings, before, dict(after), says)
