"""What a check looks at: labeled images, one of each group, and what each step makes of them."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import numpy.typing as npt
from PIL import Image

from curation import images, inference
from curation.augmentation import pipeline
from curation.augmentation.pipeline import Pipeline
from curation.augmentation.recipes import Recipe
from curation.catalog import images as image_rows
from curation.embeddings import EmbeddingStore
from curation.errors import InputError, UnreadableImage
from curation.inference import Engine
from curation.progress import Report
from curation.records import LabelRow
from curation.workspace import Project

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

MOST_COMPARED = 20_000
"""Labeled images that a judge learns from and distances are measured to."""
LAYOUT = 16
"""Pixels of a side of the grey thumbnail that tells a judge where things are."""


@dataclass(frozen=True, eq=False)
class Labeled:
    """Labeled images with their embeddings, in memory: at most `MOST_COMPARED`.

    Attributes:
        truth: (N, C) of 0 and 1.
        kinds: (N,) equal where the labels are equal.
    """

    ids: Rows
    groups: Rows
    X: Vectors
    truth: Rows
    kinds: Rows
    classes: tuple[str, ...]
    single: bool

    @classmethod
    def read(
        cls,
        project: Project,
        store: EmbeddingStore,
        rows: Sequence[LabelRow],
        *,
        rng: np.random.Generator,
    ) -> "Labeled":
        """Those of the rows that have an embedding; a random part if they are too many."""
        missing = set(store.missing([row.image_id for row in rows]))
        there = [row for row in rows if row.image_id not in missing]
        if len(there) > MOST_COMPARED:
            drawn = np.sort(rng.choice(len(there), MOST_COMPARED, replace=False))
            there = [there[place] for place in drawn]
        if not there:
            raise InputError("No labeled image has an embedding. Run `labelloop embed` first.")
        column = {key: at for at, key in enumerate(project.record.class_ids)}
        truth = np.zeros((len(there), len(column)), dtype=np.int64)
        for place, row in enumerate(there):
            truth[place, [column[key] for key in row.classes]] = 1
        ids = np.array([row.image_id for row in there], dtype=np.int64)
        return cls(
            ids=ids,
            groups=np.array([row.group_id for row in there], dtype=np.int64),
            X=store.read(ids),
            truth=truth,
            kinds=np.unique(truth, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64),
            classes=project.record.classes,
            single=project.record.task == "single-label",
        )


def sample(labeled: Labeled, count: int) -> Rows:
    """Rows to look at: one of each group, of each kind of label by turns; more than `count`.

    The order is that of the ids within a kind, hashed, so that a larger count only adds rows.
    """
    order = np.argsort([pipeline.seed_of(0, int(key), 0) for key in labeled.ids], kind="stable")
    _, first = np.unique(labeled.groups[order], return_index=True)
    kept = order[np.sort(first)]
    turns = np.empty(len(kept), dtype=np.int64)
    taken: Counter[int] = Counter()
    for place, row in enumerate(kept):
        kind = int(labeled.kinds[row])
        turns[place] = taken[kind]
        taken[kind] += 1
    return np.asarray(kept[np.argsort(turns, kind="stable")][:count], dtype=np.int64)


class Looker:
    """Decodes an image once, makes every view of it and embeds them together."""

    def __init__(
        self, project: Project, recipes: Sequence[Recipe], engine: Engine, *, seed: int
    ) -> None:
        self._project = project
        self._engine = engine
        self._seed = seed
        self._sets: SimpleQueue[list[Pipeline]] = SimpleQueue()
        for _ in range(images.usable_cores()):
            self._sets.put([Pipeline(recipe) for recipe in recipes])

    def look(
        self, labeled: Labeled, wanted: Rows, *, report: Report
    ) -> tuple[Rows, Vectors, dict[str, int]]:
        """Looks at these rows, in parallel.

        Memory holds 6 KB for each view and a few decoded images.

        Returns:
            Rows (M,) that could be read; of each its views (M, V + 1, d + LAYOUT**2), the original
            first, embedding and layout side by side; and why the others could not, counted.
        """
        with self._project.catalog.read() as connection:
            records = image_rows.get_many(connection, labeled.ids[wanted].tolist())
        seen, found = [], []
        left_out: Counter[str] = Counter()
        places = [(int(row), records[int(labeled.ids[row])]) for row in wanted]
        located = ((row, record.id, record.location) for row, record in places)
        for done, (row, result) in enumerate(self._in_order(located)):
            report(done, len(places), "check")
            if isinstance(result, str):
                left_out[result] += 1
            else:
                seen.append(row)
                found.append(result)
        report(len(places), len(places), "check")
        views = np.stack(found) if found else np.empty((0, 0, 0), np.float32)
        return np.array(seen, dtype=np.int64), views, dict(left_out)

    def _in_order(
        self, rows: Iterator[tuple[int, int, str]]
    ) -> Iterator[tuple[int, Vectors | str]]:
        cores = images.usable_cores()
        window: deque[tuple[int, Future[Vectors | str]]] = deque()
        with ThreadPoolExecutor(cores, thread_name_prefix="check") as pool:
            try:
                for row, image_id, location in rows:
                    window.append((row, pool.submit(self._one, image_id, Path(location))))
                    if len(window) >= 2 * cores:
                        first, result = window.popleft()
                        yield first, result.result()
                while window:
                    first, result = window.popleft()
                    yield first, result.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _one(self, image_id: int, path: Path) -> Vectors | str:
        """Embeddings and layouts of an image and its views; or why there are none."""
        try:
            pixels = np.asarray(images.decode(path))
        except UnreadableImage as error:
            return error.reason
        ready = self._sets.get()
        try:
            made = self._views(pixels, ready, seed=pipeline.seed_of(self._seed, image_id, 1))
        finally:
            self._sets.put(ready)
        return made

    def _views(self, pixels: pipeline.Pixels, ready: list[Pipeline], *, seed: int) -> Vectors | str:
        pictures = [pixels]
        for one in ready:
            if fault := one.recipe.too_small(pixels.shape[1], pixels.shape[0]):
                return fault
            pictures.append(one.apply(pixels, seed=seed).pixels)
        how = self._engine.preprocessing
        fitted = [inference.fit(Image.fromarray(picture), how) for picture in pictures]
        embeddings = self._engine.embed(np.stack(fitted))
        return np.concatenate([embeddings, np.stack([_layout(one) for one in fitted])], axis=1)


def _layout(pixels: pipeline.Pixels) -> npt.NDArray[np.float32]:
    """Where light and dark are (LAYOUT**2,), of unit norm; zeros for a picture of one grey."""
    grey = Image.fromarray(pixels).convert("L").resize((LAYOUT, LAYOUT), Image.Resampling.BOX)
    values = np.asarray(grey, dtype=np.float32).ravel()
    values -= values.mean()
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-6), dtype=np.float32)
