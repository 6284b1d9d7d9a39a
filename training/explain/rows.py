"""The labeled images of a run, of `labelloop train` and of rounds alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.errors import InputError, TrainingError
from curation.workspace import Project
from training import frozen, runs
from training import material as materials
from training.targets import to_targets

PARTS = ("train", "validation", "test")
_HALVES = {"validation": "calibration", "test": "holdout"}


@dataclass(frozen=True, eq=False)
class Labeled:
    """Images and what people say of them.

    Attributes:
        ids: (N,) of the catalog.
        targets: (N,) class numbers, or (N, C) of 0 and 1.
        classes: C names.
    """

    ids: NDArray[np.int64]
    targets: NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        """Its images."""
        return len(self.ids)

    def bear(self, classes: Sequence[str]) -> NDArray[np.bool_]:
        """(N, K) which image bears which of these; a project may have more since a round."""
        found = np.zeros((len(self), len(classes)), dtype=bool)
        for column, name in enumerate(classes):
            if name in self.classes:
                number = self.classes.index(name)
                single = self.targets.ndim == 1
                found[:, column] = self.targets == number if single else self.targets[:, number]
        return found

    def names(self, row: int) -> tuple[str, ...]:
        """The classes of one image."""
        held = self.targets[row]
        numbers = [int(held)] if self.targets.ndim == 1 else np.flatnonzero(held).tolist()
        return tuple(self.classes[number] for number in numbers)


def of(project: Project, run_id: str, part: str) -> Labeled:
    """The images of one of `PARTS`; maybe none.

    Raises:
        InputError: there is no such part.
        TrainingError: what the run learned from is not known here.
    """
    if part not in PARTS:
        raise InputError(f"There is no part {part!r}. Choose one of: {', '.join(PARTS)}.")
    home = runs.folder(project, run_id)
    record = project.record
    if (home / frozen.NAME).exists():
        rows = getattr(frozen.load(home), _HALVES.get(part, part))
        labels = [row.classes for row in rows]
        # The round may have known classes that were merged since.
        class_ids = (*record.class_ids, *(key for key, _ in record.merged))
        return Labeled(
            np.array([row.image_id for row in rows], dtype=np.int64),
            to_targets(labels, class_ids, task=record.task),
            record.class_names(class_ids),
        )
    if not (home / runs.ROWS).exists():
        raise TrainingError(
            f"{run_id} was trained elsewhere: its labeled images are not known here. Name a run of "
            "this project; `labelloop models list` shows them."
        )
    facts = runs.read(project, run_id, runs.FACTS)
    material = materials.load(home, facts["material"])
    held = material.part(part)
    return Labeled(held.ids, held.targets, record.renamed(material.classes))
