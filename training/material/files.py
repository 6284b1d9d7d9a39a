"""The material of a run in its folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curation import files
from curation.errors import TrainingError
from curation.workspace import Project
from training.material import weak
from training.material.records import PARTS, Material, Part, Row
from training.targets import to_targets

NAME = "rows.parquet"
_READ = ["image_id", "group_id", "part", "classes", "weight"]


def load(folder: Path, about: Mapping[str, Any]) -> Material:
    """The material that `freeze` wrote.

    Args:
        folder: of the run.
        about: `Material.as_json()` of then.

    Raises:
        TrainingError: the file is missing or broken.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / NAME
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
    targets = to_targets(indices, range(len(classes)), task=task)
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
        weak=weak.load(folder / weak.NAME, about.get("weak", {})),
    )


def write(path: Path, rows: Sequence[Row], made: Material, project: Project) -> None:
    """Writes the rows that `load` reads, all or nothing."""
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
            "weight": pa.array(
                [weight.get(row.label.image_id, 1.0 if row.part else 0.0) for row in rows],
                pa.float64(),
            ),
        }
    )
    with files.replacing(path) as file:
        pq.write_table(table, file, compression="zstd")  # type: ignore[no-untyped-call]
