"""The classes of a project and what happens when they change.

Everything that rests on a class follows at once; Label Studio's projects are brought up to date at
the next connection. What is written down for good (snapshots, runs, what people said in the past)
keeps the names of its time, which stay known.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation.balance.plan import BALANCE, LABELING_QUOTA
from curation.catalog import Connection, plans, projects, rounds
from curation.catalog import classes as rows
from curation.errors import InputError
from curation.workspace import Project

Settle = Callable[[Connection, Project, Sequence[int]], None]
"""Makes the labels of these images follow from the answers as they stand."""

_BY_CLASS = (
    "counts",
    "class_weights",
    "class_repeats",
    "left_out_by_class",
    "augmentation",
    "short",
)
"""What a balance plan says of each class by its name."""


@dataclass(frozen=True)
class Outcome:
    """What a merge came to.

    Attributes:
        project: with the classes that are left.
        labels: how many labels name another class now.
        annotations: how many answers do.
        plans: kinds of plans that were taken back, since they counted on the merged classes.
    """

    project: Project
    labels: int
    annotations: int
    plans: tuple[str, ...]


def add(project: Project, names: Sequence[str], *, none_of_these: str = "") -> Project:
    """Adds classes behind those there are; those known already are left as they are.

    Args:
        project: that gets them.
        names: of the classes.
        none_of_these: of the class that stands for none of the others; empty for none such.

    Raises:
        InputError: a name cannot be used; nothing is changed then.
    """
    with project.catalog.write() as connection:
        _begin(connection, project)
        added = projects.add_classes(connection, project.id, names, none_of_these=none_of_these)
    return Project(project.workspace, added)


def rename(project: Project, old: str, new: str) -> Project:
    """Gives a class another name; the former one goes on meaning it.

    Raises:
        InputError: there is no such class, or the name cannot be used; nothing is changed then.
    """
    with project.catalog.write() as connection:
        _begin(connection, project)
        before = projects.get(connection, project.id)
        after = rows.rename(connection, project.id, old, new)
        names = dict(zip(before.classes, after.classes, strict=True))
        changed = {name for name, now in names.items() if name != now}
        for kind, plan in _plans(connection, project, changed):
            plans.put(connection, project.id, kind, _renamed(plan, names))
    return Project(project.workspace, after)


def move(project: Project, name: str, place: int) -> Project:
    """Puts a class at another place of the order, counted from 1.

    Raises:
        InputError: there is no such class or place.
    """
    with project.catalog.write() as connection:
        _begin(connection, project)
        moved = rows.move(connection, project.id, name, place)
    return Project(project.workspace, moved)


def merge(project: Project, names: Sequence[str], *, into: str, settle: Settle) -> Outcome:
    """Makes several classes one, in one transaction; it cannot be undone.

    Args:
        project: whose classes they are.
        names: the classes that go.
        into: the class that stays.
        settle: for images with several answers, which may agree now.

    Raises:
        InputError: a class is unknown, or fewer than two would be left; nothing is changed then.
    """
    with project.catalog.write() as connection:
        _begin(connection, project)
        void = [kind for kind, _ in _plans(connection, project, {*names, into})]
        done = rows.merge(connection, project.id, names, into=into)
        for kind in void:
            plans.clear(connection, project.id, kind)
        merged = Project(project.workspace, done.record)
        settle(connection, merged, done.several)
    return Outcome(merged, done.labels, done.annotations, tuple(void))


def _begin(connection: Connection, project: Project) -> None:
    """Holds the classes; raises InputError while a round counts on them as they are."""
    projects.hold_classes(connection, project.id, to_change=True)
    latest = rounds.latest(connection, project.id)
    if latest is not None and latest.state == "running":
        command = "label send" if project.record.task == "boxes" else "round"
        raise InputError(
            f"Round {latest.number} is under way and counts on the classes as they are. Let it "
            f"finish (`labelloop {command}` goes on with it), then change them."
        )


def _plans(
    connection: Connection, project: Project, names: set[str]
) -> list[tuple[str, dict[str, Any]]]:
    """The plans in force that say something of one of these classes, by kind."""
    found = plans.in_force(connection, project.id)
    return [
        (kind, {key: value for key, value in plan.items() if key != "id"})
        for kind, plan in found.items()
        if kind in (BALANCE, LABELING_QUOTA) and names & _classes_in(plan)
    ]


def _classes_in(plan: Mapping[str, Any]) -> set[str]:
    tables = [plan.get(key) or {} for key in _tables(plan)]
    return {name for table in tables for name in table} | {
        cell["label"] for cell in plan.get("cells") or ()
    }


def _tables(plan: Mapping[str, Any]) -> tuple[str, ...]:
    # The quota of a column is one of its values.
    return _BY_CLASS if plan.get("column") else (*_BY_CLASS, "quota")


def _renamed(plan: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    changed = dict(plan)
    for key in _tables(plan):
        if table := plan.get(key):
            changed[key] = {names.get(name, name): value for name, value in table.items()}
    if cells := plan.get("cells"):
        changed["cells"] = [
            {**cell, "label": names.get(cell["label"], cell["label"])} for cell in cells
        ]
    return changed
