"""The classes of a project: shown and changed.

Functions return what the command line prints with `--json`, as those of `ui/wiring.py` do.
"""

from collections.abc import Sequence
from typing import Any

from curation import classes
from curation.catalog import classes as rows
from curation.catalog import projects
from curation.errors import InputError
from curation.workspace import Project
from labeling import consensus, interfaces

NONE_OF_THESE = "none of these"
"""What the class that stands for none of the others is called where nobody says otherwise."""


def show(project: Project) -> dict[str, Any]:
    """The classes in their order, with how many labels name each, and those that were merged."""
    with project.catalog.read() as connection:
        record = projects.get(connection, project.id)
        counts = rows.count_labels(connection, project.id)
    return {
        "classes": [
            {
                "class": name,
                "kind": "none" if key == record.none_of_these else "class",
                "labels": counts.get(key, 0),
                "former_names": [former for former, now in record.former_names if now == key],
            }
            for key, name in zip(record.class_ids, record.classes, strict=True)
        ],
        "merged": [
            {"class": name, "into": record.current_names((name,))[0]} for _, name in record.merged
        ],
    }


def add(project: Project, names: Sequence[str], *, none: bool = False) -> dict[str, Any]:
    """Adds classes.

    Args:
        project: that gets them.
        names: of the classes; those known already are left as they are.
        none: the one name (`NONE_OF_THESE` if there is none) is of the class that stands for none
            of the others.

    Raises:
        InputError: a name cannot be used; nothing is changed then.
    """
    if none and len(names) > 1:
        raise InputError(
            f"--none takes one name, got {len(names)}: {', '.join(names)}. Add the other classes "
            "without it first."
        )
    if not none and not names:
        raise InputError("Name one or more classes, as in `labelloop classes add dent`.")
    before = _now(project)
    named = list(names) or [NONE_OF_THESE]
    interfaces.check_classes(list(dict.fromkeys([*before, *named])))
    if none:
        added = classes.add(project, [], none_of_these=named[0])
    else:
        added = classes.add(project, named)
    return {
        "added": [name for name in added.record.classes if name not in before],
        "already": [name for name in named if name in before],
        "classes": list(added.record.classes),
    }


def rename(project: Project, old: str, new: str) -> dict[str, Any]:
    """Gives a class another name; its labels and all answers to it stay.

    Raises:
        InputError: there is no such class, or the name cannot be used; nothing is changed then.
    """
    interfaces.check_classes([new])
    renamed = classes.rename(project, old, new)
    return {"renamed": old, "to": new, "classes": list(renamed.record.classes)}


def merge(project: Project, names: Sequence[str], *, into: str) -> dict[str, Any]:
    """Makes several classes one: labels and answers follow, history keeps the names of its time.

    Raises:
        InputError: a class is unknown, or fewer than two would be left; nothing is changed then.
    """
    done = classes.merge(project, names, into=into, settle=consensus.settle)
    return {
        "merged": list(names),
        "into": into,
        "labels": done.labels,
        "annotations": done.annotations,
        "plans_taken_back": list(done.plans),
        "classes": list(done.project.record.classes),
    }


def move(project: Project, name: str, place: int) -> dict[str, Any]:
    """Puts a class at another place of the order, counted from 1.

    Raises:
        InputError: there is no such class or place.
    """
    moved = classes.move(project, name, place)
    return {"moved": name, "place": place, "classes": list(moved.record.classes)}


def _now(project: Project) -> tuple[str, ...]:
    with project.catalog.read() as connection:
        return projects.get(connection, project.id).classes
