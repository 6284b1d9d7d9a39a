"""What a model learns from: embeddings or files, what is asked of each, how much it counts.

Both follow the project's balance plan: copies of a class that it asks for are learned from here.
"""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curation.balance.plan import MOST_COPIES
from curation.embeddings import EmbeddingStore
from curation.errors import UnreadableImage
from curation.progress import Report, silent
from curation.records import LabelRow
from curation.workspace import Project
from training import material as materials
from training.material import Material, Part

if TYPE_CHECKING:
    from training.finetuning import trainer

_SHOWN = 3
"""Files that a message names."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """What a classifier on embeddings learns from.

    Attributes:
        X: (N, d) embeddings.
        y: (N,) class indices, or (N, C) of 0 and 1.
        weight: (N,) at least 0.
        groups: (N,) what must not be divided among folds.
    """

    X: NDArray[np.float32]
    y: NDArray[np.int64]
    weight: NDArray[np.float64]
    groups: NDArray[np.int64]


def store_of(project: Project, facts: dict[str, Any]) -> EmbeddingStore:
    """The embeddings that a run's classifier looks at."""
    home = project.workspace.folder("embeddings")
    return EmbeddingStore(home / facts["fingerprint"][:16], facts["fingerprint"])


def embedded(
    project: Project, material: Material, facts: dict[str, Any], *, report: Report = silent
) -> Embedded:
    """The embeddings to learn from, with the copies that the plan asks for.

    Args:
        project: whose images they are.
        material: of the run.
        facts: of the run, with `fingerprint` and `backbone`.
        report: told of the copies embedded.
    """
    train = material.train
    X = store_of(project, facts).read(train.ids.tolist())
    if not material.plan.get("augmentation"):
        return Embedded(X, train.targets, train.weights, train.groups)
    from curation.balance import copies

    of, more = copies.embed(
        project,
        _labels(project, material),
        material.plan,
        backbone=facts["backbone"],
        report=report,
    )
    return Embedded(
        np.concatenate([X, more]),
        np.concatenate([train.targets, train.targets[of]]),
        np.concatenate([train.weights, train.weights[of]]),
        np.concatenate([train.groups, train.groups[of]]),
    )


def with_weak(
    project: Project, material: Material, facts: dict[str, Any], rows: Embedded
) -> Embedded:
    """The same and what machines and rules say of other images, as far as these are embedded."""
    weak = material.weak
    if not len(weak):
        return rows
    store = store_of(project, facts)
    held = np.isin(weak.ids, store.ids())
    return Embedded(
        np.concatenate([rows.X, store.read(weak.ids[held])]),
        np.concatenate([rows.y, weak.targets[held]]),
        np.concatenate([rows.weight, weak.weights[held]]),
        np.concatenate([rows.groups, weak.groups[held]]),
    )


def photos(project: Project, material: Material) -> "trainer.Rows":
    """The files to learn from; an image counts once more for each copy that the plan asks for."""
    part, weight = material.train, material.train.weights * _repeats(material)
    if len(material.weak):
        weak = material.weak
        more = Part(weak.ids, weak.targets, weak.groups, weak.weights)
        part, weight = materials.joined([part, more]), np.concatenate([weight, weak.weights])
    return of_part(project, part, weight)


def of_part(
    project: Project, part: Part, weight: NDArray[np.float64] | None = None
) -> "trainer.Rows":
    """The files of a part."""
    from training.finetuning import trainer

    return trainer.Rows(materials.paths(project, part.ids.tolist()), part.targets, weight)


def check_files(project: Project, material: Material) -> None:
    """Refuses images to judge by that are gone before hours are spent on a model.

    Those to learn from and to steer by are decoded first of all anyway.

    Raises:
        UnreadableImage: naming the first of the files, and their number.
        NotFound: an image is no longer in the catalog.
    """
    judging = materials.joined([material.validation, material.test])
    paths = materials.paths(project, judging.ids.tolist())
    gone = [path for path in paths if not os.access(path, os.R_OK)]
    if gone:
        shown = ", ".join(map(str, gone[:_SHOWN]))
        more = f" and {len(gone) - _SHOWN:,} more" if len(gone) > _SHOWN else ""
        raise UnreadableImage(
            f"{len(gone):,} of {len(paths):,} images of validation and test cannot be read "
            f"({shown}{more}). Put the files back, or leave them out with `labelloop exclude`, "
            "then run the command again."
        )


def _labels(project: Project, material: Material) -> list[LabelRow]:
    class_ids = project.record.ids_of(material.classes)
    train = material.train
    held = [
        np.atleast_1d(target if train.targets.ndim == 1 else np.flatnonzero(target))
        for target in train.targets
    ]
    return [
        LabelRow(int(key), int(group), tuple(class_ids[n] for n in numbers), "people", 1.0)
        for key, group, numbers in zip(train.ids, train.groups, held, strict=True)
    ]


def _repeats(material: Material) -> NDArray[np.float64]:
    """(N,) how often each image counts where the plan asks for augmented copies of its class.

    Fine-tuning changes every image anew in each epoch, so that a copy is one more look at it.
    """
    asked = material.plan.get("augmentation")
    y = material.train.targets
    if not asked:
        return np.ones(len(y))
    truth = np.eye(len(material.classes))[y] if y.ndim == 1 else y
    held = truth.sum(axis=0)
    more = np.array([asked.get(name, 0) for name in material.classes])
    each = np.divide(more, held, out=np.zeros(len(held)), where=held > 0)
    repeats = 1 + np.minimum(each, MOST_COPIES)
    return np.asarray((truth * repeats).max(axis=1))
