"""The labels that a round learns from and is judged by, as they stood when it began.

People go on answering while a round runs, and their answers are pulled; what comes in after its
snapshot belongs to the next one. The file stands beside the run's others, so that a round that was
interrupted for a day goes on with the same labels.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from curation import files
from curation.catalog import annotations, labels, reserve
from curation.errors import RoundError
from curation.records import LabelRow
from curation.workspace import Project

Part = Literal["train", "calibration", "holdout", "machine", "known"]

NAME = "labels.json"


@dataclass(frozen=True)
class Frozen:
    """All labels of usable images, by what they may be used for.

    Attributes:
        version: the newest answer that they rest on.
        train: of groups without a reserve member.
        calibration, holdout: confirmed by people, in the settled prefix of the reserve's order.
        known: all of them, these and others: what need not be chosen again.
        machine: given by machines and accepted, to learn from and never to judge by.
    """

    version: int
    train: tuple[LabelRow, ...]
    calibration: tuple[LabelRow, ...]
    holdout: tuple[LabelRow, ...]
    known: tuple[LabelRow, ...]
    machine: tuple[LabelRow, ...] = ()


def take(project: Project) -> Frozen:
    """The labels as they are now, in one consistent look."""
    with project.catalog.read() as connection:
        version = annotations.newest_version(connection, project.id)
        known = labels.every(connection, project.id)
        train = labels.for_training(connection, project.id)
        machine = labels.of_machines(connection, project.id)
        settled = reserve.settled_prefix(reserve.rows(connection, project.id))
    by_id = {row.image_id: row for row in known}
    # An imported label of the reserve counts once people have confirmed it, not because somebody
    # skipped the image.
    halves = [
        (row.half, by_id[row.image_id])
        for row in settled
        if row.image_id in by_id and by_id[row.image_id].origin == "people"
    ]
    return Frozen(
        version=version,
        train=tuple(train),
        calibration=tuple(row for half, row in halves if half == "calibration"),
        holdout=tuple(row for half, row in halves if half == "holdout"),
        known=tuple(known),
        machine=tuple(machine),
    )


def save(folder: Path, frozen: Frozen) -> None:
    """Writes them into a run's folder."""
    part_of: dict[int, Part] = {row.image_id: "train" for row in frozen.train}
    part_of |= {row.image_id: "calibration" for row in frozen.calibration}
    part_of |= {row.image_id: "holdout" for row in frozen.holdout}
    part_of |= {row.image_id: "machine" for row in frozen.machine}
    content = {
        "version": frozen.version,
        "columns": [*LabelRow.__dataclass_fields__, "part"],
        "labels": [
            [*vars(row).values(), part_of.get(row.image_id, "known")] for row in frozen.known
        ],
    }
    files.write_bytes(folder / NAME, json.dumps(content, separators=(",", ":")).encode())


def load(folder: Path) -> Frozen:
    """Reads what `save` wrote.

    Raises:
        RoundError: the file is missing or broken.
    """
    try:
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
        rows = [
            (LabelRow(image_id, group_id, tuple(classes), origin, confidence), part)
            for image_id, group_id, classes, origin, confidence, part in content["labels"]
        ]
        version = int(content["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RoundError(
            f"The labels of this round cannot be read from {folder / NAME} "
            f"({type(error).__name__}). Restore the file from a backup."
        ) from error
    return Frozen(
        version=version,
        train=tuple(row for row, part in rows if part == "train"),
        calibration=tuple(row for row, part in rows if part == "calibration"),
        holdout=tuple(row for row, part in rows if part == "holdout"),
        known=tuple(row for row, _ in rows),
        machine=tuple(row for row, part in rows if part == "machine"),
    )
