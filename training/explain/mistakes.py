"""Where a model is most sure and wrong, class by class."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curation.catalog import images as image_rows
from curation.errors import NotFound, TrainingError
from curation.progress import Report, silent
from curation.workspace import Project
from training import examples
from training.explain import rows
from training.explain.rows import Labeled
from training.finetuning.finetuned import FineTuned
from training.serving import classifier, prediction
from training.serving.classifier import Stored
from training.targets import THRESHOLD

MOST = 100
"""Of each class, at most: who looked at so many and mended them trains again first."""


@dataclass(frozen=True)
class Mistake:
    """One image that the model is wrong about.

    Attributes:
        image_id: of the catalog.
        of: the class whose mistake it is: the label that was missed, or, in a multi-label task, one
            that was missed or given without cause.
        labels: what people say.
        predicted: what the model says.
        confidence: of the model in what is wrong, 0 to 1.
    """

    image_id: int
    of: str
    labels: tuple[str, ...]
    predicted: tuple[str, ...]
    confidence: float


@dataclass(frozen=True)
class Found:
    """The mistakes of a run on one part.

    Attributes:
        images: of the part that could be read.
        wrong: of them, images with a mistake.
        of_class: by class, how many mistakes there are and how many labels.
        worst: of each class, the surest first.
    """

    images: int
    wrong: int
    of_class: dict[str, tuple[int, int]]
    worst: tuple[Mistake, ...]


def find(
    project: Project,
    run_id: str,
    *,
    part: str = "validation",
    of: str = "",
    count: int = 12,
    report: Report = silent,
) -> Found:
    """The most confident mistakes of each class.

    Args:
        project: whose run it is.
        run_id: of a finished run.
        part: `validation`; or `test`, and who mends what is found there steers by the test part.
        of: only this class.
        count: of each class, at most.
        report: told of the progress.

    Raises:
        NotFound: there is no such run or class.
        TrainingError: the part is empty, or the run's labels are not known.
    """
    stored = classifier.read(project, run_id)
    classes = stored.model.classes
    if of and of not in classes:
        raise NotFound(f"{run_id} knows no class {of!r}. Its classes: {', '.join(classes)}.")
    labeled = rows.of(project, run_id, part)
    if not len(labeled):
        raise TrainingError(
            f"{run_id} has no {part} part to be wrong about. Make one with `labelloop split` and "
            "train again, or name another --part."
        )
    p, read = _probabilities(project, stored, labeled, report)
    truth = labeled.bear(classes)
    single = stored.model.task == "single-label"
    called = p.argmax(axis=1)[:, None] == np.arange(len(classes)) if single else p >= THRESHOLD
    wrong = (truth != called) & read[:, None]
    missed = wrong & truth if single else wrong
    sureness = np.repeat(p.max(axis=1)[:, None], len(classes), axis=1)
    sureness = sureness if single else np.where(called, p, 1 - p)
    chosen = [number for number, name in enumerate(classes) if of in ("", name)]
    worst = [
        _mistake(labeled, classes, called[row], row, number, float(sureness[row, number]))
        for number in chosen
        for row in _surest(missed[:, number], sureness[:, number], count)
    ]
    return Found(
        images=int(read.sum()),
        wrong=int(wrong.any(axis=1).sum()),
        of_class={
            classes[n]: (int(missed[:, n].sum()), int((truth[:, n] & read).sum())) for n in chosen
        },
        worst=tuple(worst),
    )


def _probabilities(
    project: Project, stored: Stored, labeled: Labeled, report: Report
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(N, C), and (N,) which images could be looked at."""
    model, ids = stored.model, labeled.ids.tolist()
    if isinstance(model, FineTuned):
        with project.catalog.read() as connection:
            places = image_rows.places(connection, ids)
        here = np.array([key in places for key in ids], dtype=bool)
        paths = [Path(places[key].location) for key in ids if key in places]
        ready = classifier.open(project, stored.run)
        some = prediction.probabilities(ready, paths, report=report)
        seen = here.copy()
        seen[here] = np.isfinite(some).all(axis=1)
        answers = some[np.isfinite(some).all(axis=1)]
    else:
        store = examples.store_of(project, stored.facts)
        seen = ~np.isin(labeled.ids, store.missing(ids))
        answers = model.probabilities(store.read(labeled.ids[seen]))
    found = np.zeros((len(ids), len(model.classes)))
    found[seen] = answers
    return found, seen


def _surest(
    wrong: NDArray[np.bool_], sureness: NDArray[np.float64], count: int
) -> NDArray[np.int64]:
    places = np.flatnonzero(wrong)
    return places[np.argsort(-sureness[places], kind="stable")][:count]


def _mistake(
    labeled: Labeled,
    classes: Sequence[str],
    called: NDArray[np.bool_],
    row: int,
    number: int,
    confidence: float,
) -> Mistake:
    return Mistake(
        image_id=int(labeled.ids[row]),
        of=classes[number],
        labels=labeled.names(row),
        predicted=tuple(classes[n] for n in np.flatnonzero(called)),
        confidence=confidence,
    )
