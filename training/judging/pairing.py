"""Two runs on the images that neither of them has learned from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.catalog import images as image_rows
from curation.catalog import runs as run_rows
from curation.errors import TrainingError
from curation.progress import Report, silent
from curation.workspace import Project
from training import frozen, material, runs
from training.judging import comparison
from training.judging.comparison import Comparison
from training.serving import classifier, prediction

_STREAM = (0xC0, 0x3B)
_FEWEST = 2


@dataclass(frozen=True)
class Pairing:
    """What `compare` found.

    Attributes:
        comparison: on images of today's test part.
        origin: where that part comes from, as in `Material.origins`.
        left_out: images of it of groups that one of the two has learned from or was steered by.
        settings: those that differ, with both values; none where a run does not have it.
        notes: what should be known, in sentences.
    """

    comparison: Comparison
    origin: str
    left_out: int
    settings: dict[str, tuple[Any, Any]]
    notes: tuple[str, ...]


def compare(
    project: Project,
    first: str,
    second: str,
    *,
    metric: str = "accuracy",
    report: Report = silent,
) -> Pairing:
    """Lets two runs answer today's test part, as far as neither has seen it or a copy of it.

    Args:
        project: whose runs they are.
        first: id of the one that is compared with.
        second: id of the other.
        metric: of `comparison.METRICS`, for the sentence.
        report: told of the progress.

    Raises:
        NotFound: there is no such run.
        TrainingError: one has no model, or no labeled image is left to compare on.
    """
    models = [classifier.open(project, run_id) for run_id in (first, second)]
    held = material.gather(project, report=report)
    test = held.test
    known = [seen(project, run_id) for run_id in (first, second)]
    spoiled = _groups(project, set[int]().union(*(ids or () for ids in known)))
    kept = ~np.isin(test.groups, spoiled)
    notes = [
        f"What {run_id} learned from elsewhere is not known here."
        for run_id, ids in zip((first, second), known, strict=True)
        if ids is None
    ]
    paths = material.paths(project, test.ids[kept].tolist())
    answers = [
        _by_class(
            prediction.probabilities(model, paths, report=report),
            replace(model, classes=project.record.current_names(model.classes)),
            held.classes,
        )
        for model in models
    ]
    readable = np.isfinite(answers[0]).all(axis=1) & np.isfinite(answers[1]).all(axis=1)
    if not readable.all():
        notes.append(f"{int((~readable).sum()):,} images cannot be read and are left out.")
    if readable.sum() < _FEWEST:
        raise TrainingError(
            f"{int(readable.sum())} labeled images are left that neither {first} nor {second} has "
            f"learned from, nor from a copy (the test part holds {len(test):,}). Label more of the "
            "reserve, or make a test part with `labelloop split`, then train both again."
        )
    found = comparison.compare(
        answers[0][readable],
        answers[1][readable],
        test.targets[kept][readable],
        held.classes,
        rng=np.random.default_rng([project.record.seed, *_STREAM]),
        groups=test.groups[kept][readable],
        metric=metric,
        names=(first, second),
    )
    return Pairing(
        comparison=found,
        origin=held.origins["test"],
        left_out=int((~kept).sum()),
        settings=differing(project, first, second),
        notes=tuple(notes),
    )


def seen(project: Project, run_id: str) -> set[int] | None:
    """The images that a run learned from or was steered by; None where that is not known."""
    home = runs.folder(project, run_id)
    if (home / frozen.NAME).exists():
        labels = frozen.load(home)
        return {row.image_id for row in (*labels.train, *labels.calibration)}
    if not (home / runs.ROWS).exists():
        return None
    facts = runs.read(project, run_id, runs.FACTS)
    held = material.load(home, facts["material"])
    return set(np.concatenate([held.train.ids, held.validation.ids]).tolist())


def _groups(project: Project, ids: set[int]) -> list[int]:
    """The groups of these images as they are today; what is quarantined has none."""
    with project.catalog.read() as connection:
        found = image_rows.groups_of(connection, sorted(ids))
    return sorted({group for group in found.values() if group is not None})


def differing(project: Project, first: str, second: str) -> dict[str, tuple[Any, Any]]:
    """The settings of two runs that are not the same, in the order of the first's."""
    with project.catalog.read() as connection:
        one, other = (
            {"snapshot": row["snapshot_id"], "seed": row["seed"], **row["settings"]}
            for row in (run_rows.get(connection, run_id) for run_id in (first, second))
        )
    return {
        name: (one.get(name), other.get(name))
        for name in dict.fromkeys((*one, *other))
        if one.get(name) != other.get(name)
    }


def _by_class(
    probabilities: NDArray[np.float64], model: classifier.Classifier, classes: Sequence[str]
) -> NDArray[np.float64]:
    """(N, C) in the order of today's classes; 0 for those that the model does not know.

    Of classes that were merged since, any one of them counts as what they are now.
    """
    if tuple(classes) == model.classes:
        return probabilities
    if not set(classes) & set(model.classes):
        raise TrainingError(f"{model.run} knows none of the classes {', '.join(classes)}.")
    together = np.add if model.task == "single-label" else np.maximum
    found = np.zeros((len(probabilities), len(classes)))
    for name, scores in zip(model.classes, probabilities.T, strict=True):
        if name in classes:
            column = classes.index(name)
            found[:, column] = together(found[:, column], scores)
    return found
