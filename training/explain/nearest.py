"""Explanation by example: the training images that a model holds for most like a picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curation.catalog import images as image_rows
from curation.catalog.bulk import batched
from curation.embeddings import EmbeddingStore, embed
from curation.inference import Pixels, TorchEngine
from curation.progress import Report, silent
from curation.workspace import Project
from training import examples, runs
from training.explain.rows import Labeled
from training.finetuning.finetuned import FineTuned
from training.serving.classifier import Stored

FOLDER = "features"
"""Of a run: what its fine-tuned network sees of its training images, made when it is asked for."""

BLOCK = 8_192
"""Embeddings that are read at a time."""


@dataclass(frozen=True)
class Neighbour:
    """A training image.

    Attributes:
        image_id: of the catalog.
        labels: class names.
        similarity: cosine in the space that the classifier looks at, at most 1.
    """

    image_id: int
    labels: tuple[str, ...]
    similarity: float


def find(
    project: Project,
    stored: Stored,
    engine: TorchEngine,
    pixels: Pixels,
    train: Labeled,
    *,
    count: int,
    leave_out: int | None = None,
    report: Report = silent,
) -> list[Neighbour]:
    """The training images most like a picture, the nearest first.

    A head looks at the stored embeddings. What a fine-tuned network sees of its training images is
    computed the first time, and kept in the run's folder.

    Args:
        project: whose run it is.
        stored: the run's model.
        engine: of `eyes.engine`.
        pixels: (S, S, 3), the picture.
        train: what the run learned from.
        count: how many.
        leave_out: an image that is no neighbour, such as the picture itself.
        report: told of the progress.

    Raises:
        Cancelled: asked to stop; what was computed stays.
    """
    store = _store(project, stored, engine, train, report)
    query = engine.embed(pixels[None])[0]
    kept = ~np.isin(train.ids, [*store.missing(train.ids.tolist()), leave_out or -1])
    places = np.flatnonzero(kept)
    best: list[tuple[float, int]] = []
    for start in range(0, len(places), BLOCK):
        block = places[start : start + BLOCK]
        similar = store.read(train.ids[block]) @ query
        near = np.argsort(-similar, kind="stable")[:count]
        best += [(float(similar[place]), int(block[place])) for place in near]
        best = sorted(best, key=lambda one: (-one[0], one[1]))[:count]
    return [
        Neighbour(int(train.ids[row]), train.names(row), min(1.0, similarity))
        for similarity, row in best
    ]


def _store(
    project: Project, stored: Stored, engine: TorchEngine, train: Labeled, report: Report
) -> EmbeddingStore:
    if not isinstance(stored.model, FineTuned):
        return examples.store_of(project, stored.facts)
    store = EmbeddingStore(runs.folder(project, stored.run) / FOLDER, stored.identity)
    missing = store.missing(train.ids.tolist())
    if missing:
        embed(
            _located(project, missing),
            store,
            engine,
            progress=lambda done, _seconds: report(done, len(missing), "look at what it learned"),
        )
    return store


def _located(project: Project, ids: Sequence[int]) -> Iterator[tuple[int, Path]]:
    """Where images lie; those that have gone from the catalog are left out."""
    for batch in batched(ids):
        with project.catalog.read() as connection:
            places = image_rows.places(connection, batch)
        yield from ((key, Path(places[key].location)) for key in batch if key in places)
