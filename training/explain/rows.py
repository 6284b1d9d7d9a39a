"""The labeled images of a run, of `labelloop train` and of rounds alike."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.errors import InputError, TrainingError
from curation.workspace import Project
from training import frozen, runs
from training import material as materials

PARTS = ("train", "validation", "test")
_HALVES = {"validation": "calibration", "test": "holdout"}


@dataclass(frozen=True, eq=False)
class Labeled:
    """Images and what people say of them.

    Attributes:
        ids: (N,) of the catalog.
        labels: N tuples of class names.
    """

    ids: NDArray[np.int64]
    labels: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        """Its images."""
        return len(self.ids)


def of(project: Project, run_id: str, part: str) -> Labeled:
    """The images of one of `PARTS`; maybe none.

    Raises:
        InputError: there is no such part.
        TrainingError: what the run learned from is not known here.
    """
    if part not in PARTS:
        raise InputError(f"There is no part {part!r}. Choose one of: {', '.join(PARTS)}.")
    home = runs.folder(project, run_id)
    if (home / frozen.NAME).exists():
        rows = getattr(frozen.load(home), _HALVES.get(part, part))
        names = tuple(project.record.class_names(row.classes) for row in rows)
        return Labeled(np.array([row.image_id for row in rows], dtype=np.int64), names)
    if not (home / runs.ROWS).exists():
        raise TrainingError(
            f"{run_id} was trained elsewhere: its labeled images are not known here. Name a run of "
            "this project; `labelloop models list` shows them."
        )
    facts = runs.read(project, run_id, runs.FACTS)
    material = materials.load(project, home, facts["material"])
    held = material.part(part)
    classes = material.classes
    targets = np.eye(len(classes))[held.targets] if held.targets.ndim == 1 else held.targets
    names = tuple(tuple(classes[n] for n in np.flatnonzero(row)) for row in targets)
    return Labeled(held.ids, names)
