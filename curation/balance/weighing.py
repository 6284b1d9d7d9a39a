"""How much each label counts in training under the plan in force."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.balance.plan import BALANCE
from curation.catalog import images as image_rows
from curation.catalog import plans
from curation.records import LabelRow
from curation.workspace import Project

Settings = Mapping[str, Any]


def in_force(project: Project) -> dict[str, dict[str, Any]]:
    """The settings of the plans in force, by kind; `id` names the plan."""
    with project.catalog.read() as connection:
        return plans.in_force(connection, project.id)


def weights(
    project: Project, rows: Sequence[LabelRow], *, plan: Settings | None = None
) -> NDArray[np.float64]:
    """How much each label counts: (N,), 1 without a plan and 0 for those left out.

    Class weights of images with several classes are not here but in `class_weights`: they belong to
    each class's own question.

    Args:
        project: whose labels they are.
        rows: the labels.
        plan: settings of a `balance` plan; those in force if not given.
    """
    if plan is None:
        plan = in_force(project).get(BALANCE, {})
    names = dict(zip(project.record.class_ids, project.record.classes, strict=True))
    found = np.ones(len(rows))
    if (table := plan.get("class_weights")) and project.record.task == "single-label":
        rarest = max(table.values())
        found *= [table.get(names[row.classes[0]], rarest) for row in rows]
    if table := plan.get("class_repeats"):
        most = max(table.values())
        found *= [
            max((table.get(names[key], most) for key in row.classes), default=1.0) for row in rows
        ]
    if left_out := plan.get("left_out"):
        with project.catalog.read() as connection:
            ids = set(image_rows.ids_by_name(connection, project.id, left_out).values())
        found *= [row.image_id not in ids for row in rows]
    if cells := plan.get("cells"):
        found *= _by_slice(project, rows, plan["by"], cells)
    return found


def _by_slice(
    project: Project, rows: Sequence[LabelRow], by: Sequence[str], cells: Sequence[Settings]
) -> NDArray[np.float64]:
    """The weight of each label's slice and class; 1 where a plan does not know the two together."""
    table = {
        (*(cell["slice"][column] for column in by), cell["label"]): cell["weight"] for cell in cells
    }
    names = dict(zip(project.record.class_ids, project.record.classes, strict=True))
    with project.catalog.read() as connection:
        values = image_rows.metadata_of_many(connection, [row.image_id for row in rows])
    found = []
    for row in rows:
        of = values.get(row.image_id, {})
        label = names[row.classes[0]] if row.classes else ""
        found.append(table.get((*(of.get(column, "") for column in by), label), 1.0))
    return np.array(found)


def sets_weights(plan: Settings | None) -> bool:
    """Whether a plan takes the place of the class weights that training chooses by itself."""
    return plan is not None and (
        "class_weights" in plan or "class_repeats" in plan or plan.get("remedy") == "group-balanced"
    )


def class_weights(project: Project, plan: Settings) -> NDArray[np.float64] | None:
    """(C,) how often an image with a class counts as one without counts once, or none.

    Only for images with several classes, where one weight an image cannot serve all of them.
    """
    table = plan.get("class_weights")
    if not table or project.record.task == "single-label":
        return None
    rarest = max(table.values())
    return np.array([table.get(name, rarest) for name in project.record.classes])
