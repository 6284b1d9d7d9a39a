"""What one training learns from, steers by and is judged by, frozen in its run's folder.

Labels come from a snapshot, so that answers that arrive during a training belong to the next one,
and so that the same rows can be trained on again. Who may see which: shared by all trainings.

- train: the part `train` of the split `default`; without one everything outside the reserve.
- validation: the part `validation`, else the reserve's calibration half. It steers: early stopping,
  temperature, tuning.
- test: the part `test`, else the reserve's holdout half. It is reported and steers nothing.

Where there is neither, 15 % of the training part are drawn by group: the same groups each time.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation import balance, files, snapshots
from curation.catalog import images as image_rows
from curation.catalog import reserve
from curation.catalog.bulk import batched
from curation.errors import NotFound, TrainingError
from curation.manifest import Entry
from curation.progress import Report, silent
from curation.records import LabelRow
from curation.workspace import Project
from training import learner

PARTS = ("train", "validation", "test")
DRAWN = 0.15
"""Share of the groups that a part gets where nobody has drawn it before."""

LEAST_GROUPS = 20
"""Fewer labeled groups are all learned from: parts of three images tell nothing."""

_STEERS = {"validation": "calibration", "test": "holdout"}
_ENOUGH = 5
"""Groups of a class in training, of which one may go into a part that lacks the class."""

_DRAWN = ("test", "validation")
"""In the order of a group's place, which does not depend on what else is drawn."""
_READ = ["image_id", "group_id", "part", "classes", "weight"]


@dataclass(frozen=True, eq=False)
class Part:
    """Labeled images.

    Attributes:
        ids: (N,) of the catalog.
        targets: (N,) class indices, or (N, C) of 0 and 1 for multi-label.
        groups: (N,) images with the same number belong together.
        weights: (N,) how much each counts; at least 0.
    """

    ids: NDArray[np.int64]
    targets: NDArray[np.int64]
    groups: NDArray[np.int64]
    weights: NDArray[np.float64]

    def __len__(self) -> int:
        """Its images."""
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Material:
    """All that a training sees of a project.

    Attributes:
        snapshot: id of the dataset as it stood.
        task: `single-label` or `multi-label`.
        classes: C names.
        train: to learn from.
        validation: to steer by; may be empty.
        test: to report; may be empty.
        origins: where validation and test come from: `split`, `reserve`, `drawn` or `none`.
        class_weight: (C,) of the balance plan, or none.
        plan: settings of the balance plan in force; empty for none.
        side: pixels of the typical shorter side.
        notes: what should be known about it, in sentences.
    """

    snapshot: str
    task: str
    classes: tuple[str, ...]
    train: Part
    validation: Part
    test: Part
    origins: dict[str, str]
    class_weight: NDArray[np.float64] | None
    plan: dict[str, Any]
    side: int
    notes: tuple[str, ...]

    def part(self, name: str) -> Part:
        """One of `PARTS`."""
        found: Part = getattr(self, name)
        return found

    def as_json(self) -> dict[str, Any]:
        """All but the rows."""
        return {
            "snapshot": self.snapshot,
            "task": self.task,
            "classes": list(self.classes),
            "images": {name: len(self.part(name)) for name in PARTS},
            "origins": self.origins,
            "class_weight": None if self.class_weight is None else self.class_weight.tolist(),
            "plan": self.plan,
            "side": self.side,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class _Row:
    """One labeled image of the snapshot and what it may be used for."""

    label: LabelRow
    name: str
    sha256: str
    group: str
    part: str


def gather(project: Project, *, report: Report = silent) -> Material:
    """The material as it is now, from a snapshot that is made of it.

    Raises:
        TrainingError: the project holds boxes, or nothing to learn from.
        Cancelled: asked to stop.
    """
    return _gather(project, report)[0]


def freeze(project: Project, folder: Path, *, report: Report = silent) -> Material:
    """Gathers the material and writes its rows into a run's folder.

    Raises:
        TrainingError: as `gather`.
    """
    made, rows = _gather(project, report)
    _write(folder / "rows.parquet", rows, made, project)
    return made


def load(project: Project, folder: Path, about: Mapping[str, Any]) -> Material:
    """The material that `freeze` wrote.

    Args:
        project: whose images they are.
        folder: of the run.
        about: `Material.as_json()` of then.

    Raises:
        TrainingError: the file is missing or broken, or a class has gone.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "rows.parquet"
    try:
        table = pq.read_table(path, columns=_READ)  # type: ignore[no-untyped-call]
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise TrainingError(
            f"{path} cannot be read ({type(error).__name__}). Restore it from a backup."
        ) from error
    classes = tuple(about["classes"])
    task = str(about["task"])
    numbers = {name: number for number, name in enumerate(classes)}
    part_of = np.asarray(table["part"].to_pylist())
    indices = [tuple(numbers[name] for name in names) for names in table["classes"].to_pylist()]
    targets = learner.targets(indices, range(len(classes)), task=task)
    ids, groups, weights = (
        table[column].to_numpy() for column in ("image_id", "group_id", "weight")
    )
    parts = {
        name: Part(ids[held], targets[held], groups[held], weights[held])
        for name in PARTS
        for held in [part_of == name]
    }
    weight = about.get("class_weight")
    return Material(
        snapshot=about["snapshot"],
        task=task,
        classes=classes,
        **parts,
        origins=dict(about["origins"]),
        class_weight=None if weight is None else np.array(weight, dtype=np.float64),
        plan=dict(about.get("plan", {})),
        side=int(about["side"]),
        notes=tuple(about.get("notes", ())),
    )


def joined(parts: Sequence[Part]) -> Part:
    """Several parts, one after the other."""
    return Part(
        *(
            np.concatenate([getattr(part, column) for part in parts])
            for column in ("ids", "targets", "groups", "weights")
        )
    )


def paths(project: Project, ids: Sequence[int]) -> list[Path]:
    """Where these images lie, in their order.

    Raises:
        NotFound: one of them is no longer in the catalog.
    """
    with project.catalog.read() as connection:
        places = image_rows.places(connection, [int(key) for key in ids])
    try:
        return [Path(places[int(key)].location) for key in ids]
    except KeyError as error:
        raise NotFound(f"Image {error} is no longer in the catalog. Train again.") from error


def _gather(project: Project, report: Report) -> tuple[Material, list[_Row]]:
    record = project.record
    if record.task == "boxes":
        raise TrainingError(
            f"{record.name!r} holds boxes, and models of whole images are trained here. Make a "
            "project with --task single-label or multi-label for them."
        )
    snapshot, rows, sides, notes = _consistent(project, report)
    origins, rows = _divide(rows, project)
    rows = [row for row in rows if row.part]
    by_part: dict[str, list[_Row]] = {name: [] for name in PARTS}
    for row in rows:
        by_part[row.part].append(row)
    if not by_part["train"]:
        raise TrainingError(
            "There is no label to learn from outside the reserve. Label some images first: "
            "`labelloop round` chooses them, `labelloop import --labels` brings labels in."
        )
    plan = balance.in_force(project).get("balance", {})
    train = [row.label for row in by_part["train"]]
    counted = np.array([row.confidence for row in train])
    counted *= balance.weights(project, train, plan=plan)
    if not counted.any():
        raise TrainingError(
            "The balance plan in force leaves no label to learn from. `labelloop balance --clear` "
            "takes it back."
        )
    parts = {
        name: _part([row.label for row in held], record.class_ids, record.task)
        for name, held in by_part.items()
    }
    parts["train"] = Part(
        parts["train"].ids, parts["train"].targets, parts["train"].groups, counted
    )
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
    )
    return made, rows


def _consistent(
    project: Project, report: Report
) -> tuple[str, list[_Row], list[int], tuple[str, ...]]:
    """A snapshot and its labeled images, with their part in the snapshot's own words."""
    made = snapshots.create(project, report=report)
    with project.catalog.read() as connection:
        ordered = reserve.rows(connection, project.id)
        settled = {row.image_id for row in reserve.settled_prefix(ordered)}
    rows: list[_Row] = []
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
            if single and not entry.classes:
                empty += 1
                continue
            part = _usable(entry, is_settled=key in settled)
            rows.append(
                _Row(
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


def _usable(entry: Entry, *, is_settled: bool) -> str:
    """The part of an image as the snapshot names it; empty where its label may not be used."""
    if entry.split in _STEERS.values():
        # An imported label of the reserve counts once people have confirmed it, and only the
        # reserve's settled beginning is a random sample.
        return entry.split if is_settled and entry.origin == "people" else ""
    if entry.split.startswith("fold-"):
        return "train"
    return entry.split if entry.split in PARTS else ""


def _divide(rows: list[_Row], project: Project) -> tuple[dict[str, str], list[_Row]]:
    """Gives each row its final part, drawing those that are missing."""
    held = Counter(row.part for row in rows)
    origins = {}
    renamed = {}
    drawn: list[str] = []
    groups = {row.label.group_id for row in rows if row.part == "train"}
    for part, half in _STEERS.items():
        if held[part]:
            origins[part], renamed[half] = "split", ""
        elif held[half]:
            origins[part], renamed[half] = "reserve", part
        else:
            enough = len(groups) >= LEAST_GROUPS
            origins[part] = "drawn" if enough else "none"
            drawn += [part] if enough else []
    chosen = _draw(rows, drawn, seed=project.record.seed)
    return origins, [
        _with_part(row, chosen.get(row.group, renamed.get(row.part, row.part))) if row.part else row
        for row in rows
    ]


def _with_part(row: _Row, part: str) -> _Row:
    return row if row.part == part else _Row(row.label, row.name, row.sha256, row.group, part)


def _draw(rows: Iterable[_Row], parts: Sequence[str], *, seed: int) -> dict[str, str]:
    """The part of the training groups that are drawn for one.

    Every class stays in training, and comes into each part if it has groups enough.
    """
    found: dict[str, str] = {}
    of_class: dict[int, set[str]] = {}
    for row in rows:
        if row.part == "train" and parts:
            number = int(_place(row.group, seed) / DRAWN)
            if number < len(_DRAWN) and _DRAWN[number] in parts:
                found[row.group] = _DRAWN[number]
            for key in row.label.classes:
                of_class.setdefault(key, set()).add(row.group)
    for groups in of_class.values():
        held = sorted(groups, key=lambda group: _place(group, seed))
        if all(group in found for group in held):
            del found[held[-1]]
        for part in parts:
            left = [group for group in held if group not in found]
            if len(left) >= _ENOUGH and part not in {found.get(group) for group in held}:
                found[left[0]] = part
    return found


def _place(group: str, seed: int) -> float:
    """From 0 to below 1, the same for a group in every training of a project."""
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56


def _part(rows: Sequence[LabelRow], class_ids: Sequence[int], task: str) -> Part:
    width = (0,) if task == "single-label" else (0, len(class_ids))
    return Part(
        ids=np.array([row.image_id for row in rows], dtype=np.int64),
        targets=learner.targets([row.classes for row in rows], class_ids, task=task)
        if rows
        else np.zeros(width, dtype=np.int64),
        groups=np.array([row.group_id for row in rows], dtype=np.int64),
        weights=np.ones(len(rows)),
    )


def _notes(
    classes: Sequence[str], parts: Mapping[str, Part], origins: Mapping[str, str]
) -> list[str]:
    notes = []
    drawn = [part for part in _STEERS if origins[part] == "drawn"]
    if drawn:
        notes.append(
            f"There is no {' and no '.join(drawn)} part yet: {100 * DRAWN:.0f} % of the labels "
            "were drawn for each, alike in every training. `labelloop split` makes them lasting."
        )
    missing = [part for part in _STEERS if origins[part] == "none"]
    if missing:
        notes.append(
            f"Fewer than {LEAST_GROUPS} labels: all are learned from, and there is no "
            f"{' and no '.join(missing)} part."
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


def _write(path: Path, rows: Sequence[_Row], made: Material, project: Project) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    weight = dict(zip(made.train.ids.tolist(), made.train.weights.tolist(), strict=True))
    names = dict(zip(project.record.class_ids, project.record.classes, strict=True))
    table = pa.table(
        {
            "image_id": pa.array([row.label.image_id for row in rows], pa.int64()),
            "name": pa.array([row.name for row in rows], pa.string()),
            "sha256": pa.array([row.sha256 for row in rows], pa.string()),
            "group": pa.array([row.group for row in rows], pa.string()),
            "group_id": pa.array([row.label.group_id for row in rows], pa.int64()),
            "part": pa.array([row.part for row in rows], pa.string()),
            "classes": pa.array(
                [[names[key] for key in row.label.classes] for row in rows],
                pa.list_(pa.string()),
            ),
            "weight": pa.array([weight.get(row.label.image_id, 1.0) for row in rows], pa.float64()),
        }
    )
    with files.replacing(path) as file:
        pq.write_table(table, file, compression="zstd")  # type: ignore[no-untyped-call]
