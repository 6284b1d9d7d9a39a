"""The labels as they are now, from a snapshot that is made of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from curation import balance, snapshots
from curation.catalog import images as image_rows
from curation.catalog import reserve
from curation.catalog.bulk import batched
from curation.catalog.labels import MACHINE
from curation.errors import TrainingError
from curation.progress import Report
from curation.records import LabelRow
from curation.workspace import Project
from training.material import parts as dividing
from training.material import weak
from training.material.parts import DRAWN, LEAST_GROUPS, STEERS
from training.material.records import PARTS, Material, Part, Row
from training.targets import to_targets


def gather(project: Project, report: Report, *, rules: bool = False) -> tuple[Material, list[Row]]:
    """The material as it is now, and its rows; see `material.gather`."""
    record = project.record
    if record.task == "boxes":
        raise TrainingError(
            f"{record.name!r} holds boxes, and models of whole images are trained here. Make a "
            "project with --task single-label or multi-label for them."
        )
    snapshot, rows, sides, notes = _consistent(project, report)
    origins, rows = dividing.divide(rows, seed=project.record.seed)
    rows = [row for row in rows if row.part]
    by_part: dict[str, list[Row]] = {name: [] for name in PARTS}
    for row in rows:
        by_part[row.part].append(row)
    if not by_part["train"]:
        raise TrainingError(
            "There is no label to learn from outside the reserve. Label some images first: "
            "`labelloop round` chooses them, `labelloop import --labels` brings labels in. What "
            "machines and rules say is learned from beside people's labels only."
        )
    judging = [row.label.image_id for part in STEERS for row in by_part[part]]
    found = weak.gather(project, rules=rules, judging=judging)
    plan = balance.in_force(project).get("balance", {})
    train = [row.label for row in by_part["train"]]
    counted = np.array([row.confidence for row in train])
    counted *= balance.weights(project, train, plan=plan)
    if not counted.any():
        raise TrainingError(
            "The balance plan in force leaves no label to learn from. `labelloop balance --clear` "
            "takes it back."
        )
    out = {row.image_id for row, weight in zip(train, counted, strict=True) if not weight}
    if out:
        rows = [replace(row, part="") if row.label.image_id in out else row for row in rows]
        by_part["train"] = [row for row in by_part["train"] if row.label.image_id not in out]
        notes = (*notes, f"{len(out):,} labels count nothing under the balance plan: left out.")
    parts = {
        name: _part([row.label for row in held], record.class_ids, record.task)
        for name, held in by_part.items()
    }
    parts["train"] = replace(parts["train"], weights=counted[counted > 0])
    made = Material(
        snapshot=snapshot,
        task=record.task,
        classes=record.classes,
        **parts,
        origins=origins,
        class_weight=balance.class_weights(project, plan) if plan else None,
        plan=plan,
        side=int(np.median(sides)) if sides else 0,
        notes=(*notes, *_notes(record.classes, parts, origins)),
        weak=found,
    )
    return made, rows


def _consistent(
    project: Project, report: Report
) -> tuple[str, list[Row], list[int], tuple[str, ...]]:
    """A snapshot and its labeled images, with their part in the snapshot's own words."""
    made = snapshots.create(project, report=report)
    with project.catalog.read() as connection:
        ordered = reserve.rows(connection, project.id)
        settled = {row.image_id for row in reserve.settled_prefix(ordered)}
    rows: list[Row] = []
    sides: list[int] = []
    empty = 0
    single = project.record.task == "single-label"
    for batch in batched(snapshots.entries(project, made), 5_000):
        held = [entry for entry in batch if entry.state == "ok" and entry.classes is not None]
        with project.catalog.read() as connection:
            ids = image_rows.ids_by_name(connection, project.id, [entry.name for entry in held])
            groups = image_rows.groups_of(connection, list(ids.values()))
        for entry in held:
            key = ids[entry.name]
            if entry.origin == MACHINE:  # learned from apart, and never judged by
                continue
            if single and not entry.classes:
                empty += 1
                continue
            part = dividing.usable(entry, is_settled=key in settled)
            rows.append(
                Row(
                    LabelRow(
                        key,
                        groups[key],
                        project.record.ids_of(entry.classes or ()),
                        entry.origin,
                        entry.confidence,
                    ),
                    entry.name,
                    entry.sha256,
                    entry.group,
                    part,
                )
            )
            if entry.width and entry.height:
                sides.append(min(entry.width, entry.height))
    note = f"{empty:,} images are labeled as none of the classes and left out."
    return made.id, rows, sides, (note,) if empty else ()


def _part(rows: Sequence[LabelRow], class_ids: Sequence[int], task: str) -> Part:
    width = (0,) if task == "single-label" else (0, len(class_ids))
    return Part(
        ids=np.array([row.image_id for row in rows], dtype=np.int64),
        targets=to_targets([row.classes for row in rows], class_ids, task=task)
        if rows
        else np.zeros(width, dtype=np.int64),
        groups=np.array([row.group_id for row in rows], dtype=np.int64),
        weights=np.ones(len(rows)),
    )


def _notes(
    classes: Sequence[str], parts: Mapping[str, Part], origins: Mapping[str, str]
) -> list[str]:
    notes = []
    drawn = [part for part in STEERS if origins[part] == "drawn"]
    if drawn:
        notes.append(
            f"There is no {' and no '.join(drawn)} part yet: {100 * DRAWN:.0f} % of the labels "
            "were drawn for each, alike in every training. `labelloop split` makes them lasting."
        )
    missing = [part for part in STEERS if origins[part] == "none"]
    if missing:
        notes.append(
            f"Fewer than {LEAST_GROUPS} labeled groups, where an image and its near-duplicates "
            f"are one: all are learned from, and there is no {' and no '.join(missing)} part."
        )
    for part in PARTS:
        targets = parts[part].targets
        if not len(targets):
            continue
        flat = np.unique(targets) if targets.ndim == 1 else np.flatnonzero(targets.any(axis=0))
        absent = [name for number, name in enumerate(classes) if number not in set(flat.tolist())]
        if absent:
            shown = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" * (len(absent) > 5))
            notes.append(f"No image of {part} is labeled {shown}.")
    return notes
