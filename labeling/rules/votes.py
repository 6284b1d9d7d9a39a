"""What every rule says of every image: one small number each, -1 where it abstains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.catalog import images as image_rows
from curation.catalog.bulk import batched
from curation.errors import InputError
from curation.progress import Report, silent
from curation.workspace import Project
from labeling.rules import conditions, fields
from labeling.rules.definitions import Function, Rule, Rules, check_names
from labeling.rules.fields import Columns

ABSTAIN = -1
_BATCH = 4_096
_WIDE = 127
"""Classes from which on a vote takes two bytes."""


@dataclass(frozen=True, eq=False)
class Votes:
    """Rules against images.

    Attributes:
        rules: R names.
        classes: C names.
        ids: (N,) of images, ascending.
        table: (N, R) index of the class that a rule votes for, or ABSTAIN.
    """

    rules: tuple[str, ...]
    classes: tuple[str, ...]
    ids: NDArray[np.int64]
    table: NDArray[Any]

    def of(self, ids: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Places among `ids` of those images that are there."""
        return np.searchsorted(self.ids, np.asarray(ids, dtype=np.int64))


def cast(project: Project, rules: Rules, *, report: Report = silent) -> Votes:
    """Asks every rule about every usable image.

    Args:
        project: whose images they are; its task is `single-label`.
        rules: of files and functions.
        report: told of the progress.

    Raises:
        InputError: the task, a field, a pattern or a function cannot be used.
        Cancelled: asked to stop.
    """
    if project.record.task != "single-label":
        raise InputError(
            f"{project.record.name!r} is a {project.record.task} project; rules vote for one class "
            "an image."
        )
    check_names(rules)
    wanted = frozenset(field for rule in rules for field in rule.fields)
    source = fields.open(project, wanted, report=report)
    with project.catalog.read() as connection:
        ids = np.fromiter(
            (key for key, _ in image_rows.usable(connection, project.id)), dtype=np.int64
        )
    classes = project.record.classes
    kind = np.int8 if len(classes) <= _WIDE else np.int16
    table = np.full((len(ids), len(rules)), ABSTAIN, dtype=kind)
    index = {
        name: project.record.class_ids.index(class_id)
        for name, class_id in project.record.ids_by_name.items()
    }
    done = 0
    for batch in batched(ids.tolist(), _BATCH):
        report(done, len(ids), "ask the rules")
        with project.catalog.read() as connection:
            columns = source.read(connection, batch)
        for number, rule in enumerate(rules):
            here = slice(done, done + len(batch))
            table[here, number] = _ask(rule, columns, index)
        done += len(batch)
    report(len(ids), len(ids), "ask the rules")
    return Votes(tuple(rule.name for rule in rules), classes, ids, table)


def _ask(rule: Rule | Function, columns: Columns, index: Mapping[str, int]) -> NDArray[np.int64]:
    """(n,) index of the class, or ABSTAIN."""
    if isinstance(rule, Function):
        return _call(rule, columns, index)
    held = conditions.holds(rule, columns)
    if not rule.class_from:
        return np.where(held, index[rule.class_name], ABSTAIN)
    said = [index.get(str(value), ABSTAIN) for value in columns[rule.class_from]]
    return np.where(held, np.array(said, dtype=np.int64), ABSTAIN)


def _call(rule: Function, columns: Columns, index: Mapping[str, int]) -> NDArray[np.int64]:
    names = columns["name"]
    shown = [field for field in columns if field in rule.fields]
    found = np.full(len(names), ABSTAIN, dtype=np.int64)
    for at in range(len(names)):
        row = {field: columns[field][at] for field in shown}
        try:
            said = rule.call(row)
        except Exception as error:  # whatever a user's function raises, the message names it
            raise InputError(
                f"The rule {rule.name} failed on {names[at]}: {type(error).__name__}: {error}. "
                "Nothing was written."
            ) from error
        if said is None:
            continue
        if said not in index:
            raise InputError(
                f"The rule {rule.name} says {said!r} of {names[at]}, which is no class of the "
                f"project: {', '.join(index)}. Return one of them, or None to abstain."
            )
        found[at] = index[said]
    return found
