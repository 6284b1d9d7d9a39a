"""How many labels each class has: the numbers that the report and every remedy begin with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from curation.catalog import Connection, counts
from curation.catalog import images as image_rows
from curation.errors import InputError
from curation.workspace import Project

MOST_SLICES = 50
NO_VALUE = "(no value)"


@dataclass(frozen=True)
class Census:
    """Labels of usable images by class, in the project's order of classes.

    An image of several classes counts in each of them.

    Attributes:
        counts: all labels.
        training: those that a model may learn from: outside the reserve, not propagated.
        origins: by origin (people, import, propagated) and class.
        slices: by value of the column that was asked for and class; empty without one.
    """

    counts: dict[str, int]
    training: dict[str, int]
    origins: dict[str, dict[str, int]]
    slices: dict[str, dict[str, int]]


def take(connection: Connection, project: Project, *, column: str = "") -> Census:
    """Counts the labels.

    Raises:
        InputError: there is no label yet.
    """
    names = dict(zip(project.record.class_ids, project.record.classes, strict=True))
    none = dict.fromkeys(project.record.classes, 0)
    found = Census(dict(none), dict(none), {}, {})
    if column:
        for value in counts.usable(connection, project.id, column=column):
            found.slices[value or NO_VALUE] = dict(none)
    for row in counts.labeled(connection, project.id, column=column):
        if row.class_id is None:
            continue
        name = names[row.class_id]
        found.counts[name] += row.n
        found.origins.setdefault(row.origin, dict(none))[name] += row.n
        if row.for_training:
            found.training[name] += row.n
        if column:
            found.slices[row.slice or NO_VALUE][name] += row.n
    if not any(found.counts.values()):
        raise InputError(
            f"None of the images of {project.record.name!r} has a label yet, so there is nothing "
            "to balance. Import labels with `labelloop import SRC --labels CSV`, or have images "
            "labeled: `labelloop round`."
        )
    return found


def check_column(connection: Connection, project: Project, column: str) -> None:
    """Refuses a column that does not divide the images into slices.

    Raises:
        InputError: it is unknown, has one value only, or one for nearly every image.
    """
    columns = image_rows.metadata_values(connection, project.id, most=MOST_SLICES + 1)
    if column not in columns:
        known = ", ".join(sorted(columns)) or "none; import them as columns of a CSV"
        raise InputError(f"No image has a column {column!r}. Columns there are: {known}.")
    values = columns[column]
    useful = [name for name, found in columns.items() if 1 < len(found) <= MOST_SLICES]
    instead = f" Try one of: {', '.join(sorted(useful))}." if useful else ""
    if len(values) < 2:
        raise InputError(
            f"Column {column!r} has one value only ({values[0]!r}), so it makes no slices.{instead}"
        )
    if len(values) > MOST_SLICES:
        raise InputError(
            f"Column {column!r} has more than {MOST_SLICES} values, too many for slices that can "
            f"be compared.{instead}"
        )


def imbalance_ratio(counts_of: Mapping[str, float]) -> float | None:
    """Largest count / smallest, of the classes that have any; None where none has."""
    held = [n for n in counts_of.values() if n > 0]
    return max(held) / min(held) if held else None


def effective_classes(counts_of: Mapping[str, float]) -> float:
    """exp(entropy) of the shares: C where all C classes are equally frequent, 1 for one class.

    >>> round(effective_classes({"a": 50, "b": 50}), 6), effective_classes({"a": 9, "b": 0})
    (2.0, 1.0)
    """
    total = sum(counts_of.values())
    shares = [n / total for n in counts_of.values() if n > 0]
    return math.exp(-sum(share * math.log(share) for share in shares))
