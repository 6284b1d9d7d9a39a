"""What a dataset is made of, and what it lacks."""

from dataclasses import dataclass
from typing import Any

from curation.balance import census, expected
from curation.balance.census import NO_VALUE, Census
from curation.catalog import Connection, counts, plans
from curation.workspace import Project

ENOUGH = 30
"""Labels of a class; with fewer, a recall of 0.8 is not known to within 14 points either way."""

ENOUGH_IN_CELL = 10
"""Labels of a class in a slice, below which the slice's errors on it cannot be seen."""


@dataclass(frozen=True)
class _Pool:
    """Predicted images of the pool by class, and by slice and class; empty without a model."""

    classes: dict[str, int]
    cells: dict[tuple[str, str], int]
    predicted: bool


def describe(project: Project, *, by: str = "") -> dict[str, Any]:
    """Counts, imbalance, what is missing, and what labeling the pool would change.

    Args:
        project: whose labels they are.
        by: a metadata column, whose values are the slices of the class x slice table.

    Returns:
        What `labelloop balance --json` prints. `in_force` holds the plans; one that was made for
        other labels than there are now also has `labels` (then) and `labels_now`.

    Raises:
        InputError: there is no label, or the column makes no slices.
    """
    with project.catalog.read() as connection:
        if by:
            census.check_column(connection, project, by)
        found = census.take(connection, project, column=by)
        pool = _pool(connection, project, by)
        change = expected.change(connection, project, found.counts)
        in_force = plans.in_force(connection, project.id)
    missing = [*_few_in_classes(found, pool), *_few_in_cells(found, pool, by)]
    return {
        "task": project.record.task,
        "classes": found.counts,
        **_figures(found.counts),
        "effective_classes_are": "exp of the entropy of the class shares",
        "training": {"classes": found.training, **_figures(found.training)},
        "origins": found.origins,
        "by": by or None,
        "slices": found.slices,
        "missing": missing,
        "expected": change,
        "in_force": {kind: _aged(plan, found) for kind, plan in in_force.items()},
    }


def _aged(plan: dict[str, Any], found: Census) -> dict[str, Any]:
    """The plan, and how many labels it was made for if they have changed since."""
    if plan.get("counts", found.training) == found.training:
        return plan
    then, now = sum(plan["counts"].values()), sum(found.training.values())
    return {**plan, "labels": then, "labels_now": now}


def _figures(counts_of: dict[str, int]) -> dict[str, Any]:
    """Over the classes that have labels; those without are listed as missing."""
    return {
        "imbalance_ratio": census.imbalance_ratio(counts_of),
        "effective_classes": census.effective_classes(counts_of) if any(counts_of.values()) else 0,
    }


def _pool(connection: Connection, project: Project, by: str) -> _Pool:
    names = dict(zip(project.record.class_ids, project.record.classes, strict=True))
    found = _Pool(dict.fromkeys(names.values(), 0), {}, predicted=False)
    seen = counts.predicted(connection, project.id, column=by)
    for (class_id, value), n in seen.items():
        found.classes[names[class_id]] += n
        found.cells[value or NO_VALUE, names[class_id]] = n
    return _Pool(found.classes, found.cells, bool(seen))


def _few_in_classes(found: Census, pool: _Pool) -> list[dict[str, Any]]:
    """Classes with fewer than `ENOUGH` labels, the emptiest first."""
    rows = []
    total = sum(found.counts.values())
    in_pool = sum(pool.classes.values())
    for name, n in sorted(found.counts.items(), key=lambda pair: pair[1]):
        if n >= ENOUGH:
            continue
        more = ENOUGH - n
        share = pool.classes[name] / in_pool if in_pool else n / total
        at_random = round(more / share) if share else None
        takes = f", which takes about {at_random:,} images labeled at random" if at_random else ""
        count = f"{n or 'no'} label{'' if n == 1 else 's'}"
        clauses = [f"{name} has {count}: about {more} more{takes}"]
        if pool.predicted:
            clauses.append(f"the pool holds {pool.classes[name]:,} predicted to be {name}")
        rows.append(
            {
                "kind": "few-labels" if n else "no-labels",
                "class": name,
                "slice": None,
                "n": n,
                "more": more,
                "at_random": at_random,
                "in_pool": pool.classes[name] if pool.predicted else None,
                "says": "; ".join(clauses) + ".",
            }
        )
    return rows


def _few_in_cells(found: Census, pool: _Pool, by: str) -> list[dict[str, Any]]:
    """Cells of the class x slice table with fewer than `ENOUGH_IN_CELL` labels, empty ones first.

    Classes that have no label at all are said to be so already.
    """
    rows = []
    for value, row in found.slices.items():
        for name, n in row.items():
            if n >= ENOUGH_IN_CELL or not found.counts[name]:
                continue
            more = ENOUGH_IN_CELL - n
            left = pool.cells.get((value, name), 0) if pool.predicted else None
            tail = ""
            if left is not None:
                tail = f"; the pool holds {left:,} predicted there"
                tail += "" if left else ", so collect more such images"
            rows.append(
                {
                    "kind": "few-in-cell" if n else "empty-cell",
                    "class": name,
                    "slice": {by: value},
                    "n": n,
                    "more": more,
                    "at_random": None,
                    "in_pool": left,
                    "says": f"{name} in {by} {value} has {n or 'no'} "
                    f"label{'' if n == 1 else 's'}: about {more} more{tail}.",
                }
            )
    return sorted(rows, key=lambda one: int(str(one["n"])))
