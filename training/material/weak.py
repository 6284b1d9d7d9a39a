"""Labels that no person gave: machines' that somebody accepted, and what the rules in force say.

They are learned from beside people's labels, and neither steer nor judge. An image of which rules
say 70 % this and 30 % that is two rows with these weights, which is the same as a soft target.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curation import files, weak_labels
from curation.catalog import labels
from curation.errors import InputError, TrainingError
from curation.records import LabelRow
from curation.workspace import Project
from training.material.records import NOTHING_WEAK, Weak

NAME = "weak.parquet"
MOST = 5_000
"""Images of rules that are learned from; of more a random share."""

_LEAST = 0.05
"""Probabilities below this are left out, and the others scaled up."""


def gather(
    project: Project,
    *,
    rules: bool | None,
    judging: Sequence[int],
    machine: Sequence[LabelRow] | None = None,
) -> Weak:
    """What machines and rules say of images that nobody labeled, as it is now.

    Args:
        project: whose images they are.
        rules: whether to take what rules say; as the rules' plan says for rounds if None.
        judging: images that steer or judge the model.
        machine: labels that were accepted; those of now if None.

    Raises:
        InputError: no rules are in force, what they said cannot be read, or they looked at labels
            that are to judge the model. Rounds go on without the rules then.
    """
    if project.record.task != "single-label":
        return NOTHING_WEAK
    with project.catalog.read() as connection:
        accepted = labels.of_machines(connection, project.id) if machine is None else machine
        plan = weak_labels.in_force(connection, project)
    if rules and plan is None:
        raise InputError(
            "No rules are in force to learn from. Apply some with `labelloop rules apply FILE`."
        )
    index = {key: number for number, key in enumerate(project.record.class_ids)}
    accepted = [row for row in accepted if len(row.classes) == 1]
    soft = None
    if plan is not None and (plan.get("in_rounds", False) if rules is None else rules):
        soft = weak_labels.soft(project, most=MOST)
    if soft is not None and (seen := int(np.isin(soft.learned, judging).sum())):
        if rules:
            raise InputError(
                f"The rules looked at {seen:,} labels that are to judge the model, so its figures "
                "would be too good. Hold a part out with `labelloop split` (or answer the reserve "
                "in rounds), give `labelloop rules apply` again, and then train."
            )
        soft = None
    ids = [np.array([row.image_id for row in accepted], dtype=np.int64)]
    targets = [np.array([index[row.classes[0]] for row in accepted], dtype=np.int64)]
    groups = [np.array([row.group_id for row in accepted], dtype=np.int64)]
    weights = [np.array([row.confidence for row in accepted], dtype=np.float64)]
    if soft is not None:
        chances = np.where(soft.chances < _LEAST, 0.0, soft.chances)
        chances /= np.maximum(chances.sum(axis=1, keepdims=True), 1e-12)
        places, classes = np.nonzero(chances)
        ids.append(soft.ids[places])
        targets.append(classes.astype(np.int64))
        groups.append(soft.groups[places])
        weights.append((soft.weight or 1.0) * chances[places, classes])
    return Weak(
        np.concatenate(ids),
        np.concatenate(targets),
        np.concatenate(groups),
        np.concatenate(weights),
        np.arange(sum(map(len, ids))) >= len(accepted),
        machine=len(accepted),
        rules=0 if soft is None else len(soft.ids),
        plan=None if soft is None else soft.plan,
        undecided=soft is not None and soft.weight is None and len(soft.ids) > 0,
    )


def says(found: Weak) -> list[str]:
    """What should be known about it, in sentences."""
    told = []
    if found.machine:
        told.append(f"{found.machine:,} labels that were accepted from machines")
    if found.rules:
        told.append(f"{found.rules:,} images that rules label")
    lines = [found.says] if found.says else []
    if told:
        lines.append(
            f"{' and '.join(told)} are learned from as well; no figure is measured on them."
        )
    return lines


def write(path: Path, found: Weak) -> None:
    """Writes what `load` reads, all or nothing; no file where there is nothing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not len(found):
        path.unlink(missing_ok=True)
        return
    table = pa.table(
        {
            "image_id": pa.array(found.ids, pa.int64()),
            "class": pa.array(found.targets, pa.int64()),
            "group_id": pa.array(found.groups, pa.int64()),
            "weight": pa.array(found.weights, pa.float64()),
            "of_rules": pa.array(found.of_rules, pa.bool_()),
        }
    )
    with files.replacing(path) as file:
        pq.write_table(table, file, compression="zstd")  # type: ignore[no-untyped-call]


def load(path: Path, about: Mapping[str, Any]) -> Weak:
    """What `write` wrote.

    Args:
        path: of the file.
        about: `Weak.as_json()` of then; empty for runs of before there was any.

    Raises:
        TrainingError: the file is missing or broken.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not about.get("machine") and not about.get("rules"):
        return NOTHING_WEAK
    try:
        table = pq.read_table(path)  # type: ignore[no-untyped-call]
        columns = [
            table[name].to_numpy()
            for name in ("image_id", "class", "group_id", "weight", "of_rules")
        ]
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise TrainingError(
            f"{path} cannot be read ({type(error).__name__}). Restore it from a backup."
        ) from error
    return Weak(*columns, **about)
