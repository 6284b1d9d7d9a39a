"""What a model says of image files, any number of them, in bounded memory."""

import time
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from curation import inference, sources, tables
from curation.errors import InputError, TrainingError, UnreadableImage
from curation.images import usable_cores
from curation.progress import Report, silent
from curation.sources import Candidate
from curation.tables import Row, Table
from training.serving import answer_files
from training.serving.answer_files import Owner
from training.serving.answer_rows import Answer, Form
from training.serving.classifier import Classifier

Input = TypeVar("Input")
Output = TypeVar("Output")


@dataclass(frozen=True)
class Source:
    """Where images are: a folder, a table that lists them, or one file.

    Attributes:
        path: as given, absolute.
        table: that names them, relative to its own folder or absolute.
        count: images at most.
    """

    path: Path
    table: Table | None
    count: int

    def images(self) -> Iterator[Candidate]:
        """In an order that stays the same."""
        if self.table is not None:
            yield from (_listed(self.table, row) for row in self.table.rows())
        elif self.path.is_dir():
            yield from (found for found in sources.walk(self.path) if found is not None)
        else:
            folder = self.path.parent
            yield sources.candidate(self.path, folder, folder.resolve(), may_leave=False)


@dataclass(frozen=True)
class Predicted:
    """What one call of `predict` did.

    Attributes:
        images: rows in the file now.
        already: of them, from an earlier call.
        rejected: of them, images that cannot be read.
        retried: images that an earlier call had rejected and this one tried again.
        seconds: that this call took.
        images_per_second: of this call.
    """

    images: int
    already: int
    rejected: int
    retried: int
    seconds: float
    images_per_second: float


def understand(path: Path) -> Source:
    """Looks at what the user named.

    Raises:
        InputError: it does not exist, or holds no image.
    """
    path = path.absolute()
    if path.is_dir():
        count = sum(1 for found in sources.walk(path) if found is not None)
        if not count:
            raise InputError(f"No images in {path}: no file there has an image's name ending.")
        return Source(path, None, count)
    if not path.exists():
        raise InputError(
            f"{path} does not exist. Name a folder of images, an image, or a CSV with a column of "
            "paths."
        )
    if path.suffix.lower().lstrip(".") in sources.IMAGE_SUFFIXES:
        return Source(path, None, 1)
    table = tables.open_table(path)
    return Source(path, table, sum(1 for _ in table.rows()))


def _listed(table: Table, row: Row | tuple[int, str]) -> Candidate:
    if not isinstance(row, Row):
        line, reason = row
        return Candidate(table.path, f"line {line}", reason)
    path = table.path.parent / row.image
    # A table is often typed where names are composed, for files stored decomposed.
    spellings = (path, table.path.parent / unicodedata.normalize("NFD", row.image))
    return Candidate(next((p for p in spellings if sources.is_file(p)), path), row.image)


def predict(
    classifier: Classifier,
    source: Source,
    out: Path,
    *,
    top: int = 0,
    probabilities: bool = False,
    retry_rejected: bool = False,
    report: Report = silent,
) -> Predicted:
    """Writes the model's answer about every image; an interrupted call is gone on with.

    Images that are in the file already are passed over, so that later ones can be added.

    Args:
        classifier: the model.
        source: of `understand`.
        out: ends in .csv, .jsonl or .parquet.
        top: also the so many likeliest classes.
        probabilities: also those of all classes.
        retry_rejected: looks again at images that an earlier call could not read; what is said of
            them stands at the end then.
        report: told of the progress.

    Raises:
        InputError: the file is of another model, engine or source, or has other columns.
        TrainingError: the model answers with NaN.
        Cancelled: asked to stop; the same call goes on.
    """
    if not 0 <= top <= len(classifier.classes):
        raise InputError(
            f"--top {top}: give 0 to {len(classifier.classes)}, the number of classes."
        )
    form = Form(classifier.classes, classifier.task, top, probabilities)
    owner = Owner(classifier.run, classifier.identity, classifier.engine, str(source.path), form)
    begun = time.monotonic()
    with answer_files.opened(out, owner, retry_rejected=retry_rejected) as file:
        already = file.rows
        fresh = (found for found in source.images() if file.seen.add(found.name))
        for answers in _in_order(
            _batches(fresh, classifier.batch), lambda batch: _answer(batch, classifier)
        ):
            file.add(answers)
            report(file.rows, max(source.count, file.rows), "predict")
    seconds = time.monotonic() - begun
    done = file.rows - already
    return Predicted(
        images=file.rows,
        already=already,
        rejected=file.rejected,
        retried=file.retried,
        seconds=seconds,
        images_per_second=done / max(seconds, 1e-9),
    )


def probabilities(
    classifier: Classifier, paths: Sequence[Path], *, report: Report = silent
) -> NDArray[np.float64]:
    """(N, C), calibrated; a row of NaN for a file that cannot be read."""
    found = np.full((len(paths), len(classifier.classes)), np.nan)
    images = (Candidate(path, str(row)) for row, path in enumerate(paths))
    for answers in _in_order(
        _batches(images, classifier.batch), lambda batch: _answer(batch, classifier)
    ):
        for answer in answers:
            if answer.probabilities is not None:
                found[int(answer.image)] = answer.probabilities
        report(int(answers[-1].image) + 1, len(paths), "predict")
    return found


def _answer(batch: Sequence[Candidate], classifier: Classifier) -> list[Answer]:
    """The rows of a batch, in its order; decoding and inferring in one thread."""
    reasons: dict[int, str] = {}
    pixels = []
    for number, image in enumerate(batch):
        reasons[number] = image.reason
        if not image.reason:
            try:
                pixels.append(inference.prepare(image.path, classifier.preprocessing))
            except UnreadableImage as error:
                reasons[number] = error.reason
    rows = iter(classifier.probabilities_of(np.stack(pixels)) if pixels else ())
    answers = [
        Answer(image.name, None if reasons[number] else next(rows), reasons[number])
        for number, image in enumerate(batch)
    ]
    for answer in answers:
        if answer.probabilities is not None and not np.isfinite(answer.probabilities).all():
            raise TrainingError(
                f"{classifier.run} answers about {answer.image} with NaN. Use another run, or "
                "train again with `labelloop train`."
            )
    return answers


def _batches(images: Iterable[Candidate], size: int) -> Iterator[list[Candidate]]:
    source = iter(images)
    while batch := list(islice(source, size)):
        yield batch


def _in_order(items: Iterable[Input], work: Callable[[Input], Output]) -> Iterator[Output]:
    """Results in the order of the items, whose work threads do; a few of them are under way.

    Each thread decodes and infers: while one waits for the disk or infers, another decodes, and
    there is no queue between them to fill or to starve.
    """
    count = usable_cores() + 1
    window: deque[Future[Output]] = deque()
    with ThreadPoolExecutor(count, thread_name_prefix="predict") as pool:
        try:
            for item in items:
                window.append(pool.submit(work, item))
                if len(window) >= 2 * count:
                    yield window.popleft().result()
            while window:
                yield window.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
