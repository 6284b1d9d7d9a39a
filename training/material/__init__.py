"""What one training learns from, steers by and is judged by, frozen in its run's folder.

Labels come from a snapshot, so that answers that arrive during a training belong to the next one,
and so that the same rows can be trained on again. Who may see which: shared by all trainings.

- train: the part `train` of the split `default`; without one everything outside the reserve.
- validation: the part `validation`, else the reserve's calibration half. It steers: early stopping,
  temperature, tuning.
- test: the part `test`, else the reserve's holdout half. It is reported and steers nothing.

Where there is neither, 15 % of the training part are drawn by group: the same groups each time.
"""

from collections.abc import Sequence
from pathlib import Path

from curation.catalog import images as image_rows
from curation.errors import NotFound
from curation.progress import Report, silent
from curation.workspace import Project
from training.material import files, gathering, weak
from training.material.files import load
from training.material.parts import LEAST_GROUPS
from training.material.records import PARTS, Material, Part, Weak, joined

__all__ = [
    "LEAST_GROUPS",
    "PARTS",
    "Material",
    "Part",
    "Weak",
    "freeze",
    "gather",
    "joined",
    "load",
    "paths",
]


def gather(project: Project, *, report: Report = silent) -> Material:
    """The material as it is now, from a snapshot that is made of it.

    Raises:
        TrainingError: the project holds boxes, or nothing to learn from.
        Cancelled: asked to stop.
    """
    return gathering.gather(project, report)[0]


def freeze(
    project: Project, folder: Path, *, rules: bool = False, report: Report = silent
) -> Material:
    """Gathers the material and writes its rows into a run's folder.

    Args:
        project: whose labels they are.
        folder: of the run.
        rules: whether to learn from what the rules in force say as well.
        report: told of the progress.

    Raises:
        TrainingError: as `gather`.
        InputError: no rules are in force.
    """
    made, rows = gathering.gather(project, report, rules=rules)
    weak.write(folder / weak.NAME, made.weak)
    files.write(folder / files.NAME, rows, made, project)
    return made


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
