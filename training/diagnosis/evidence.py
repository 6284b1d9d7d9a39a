"""What a diagnosis looks at; never the test part, since it says what to do next and so steers."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation import images
from curation.catalog import images as image_rows
from curation.catalog import provenance
from curation.errors import UnreadableImage
from curation.intervals import wilson
from curation.progress import Report, silent
from curation.workspace import Project
from training.calibration import to_probabilities
from training.material import Material
from training.settings import HeadSettings, Settings
from training.targets import THRESHOLD

MOST_ROWS = 1_000
"""Training images whose answers are looked at."""

MOST_PICTURES = 200
"""Training images that are decoded and looked at themselves."""

FLAT = 2.0
"""Standard deviation in grey levels below which a picture shows nothing."""

_SIDE = 32


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model said of labeled images.

    Attributes:
        probabilities: (N, C), calibrated.
        targets: (N,) class indices, or (N, C) of 0 and 1.
    """

    probabilities: NDArray[np.float64]
    targets: NDArray[np.int64]

    @property
    def truth(self) -> NDArray[np.bool_]:
        """(N, C) what people said."""
        if self.targets.ndim == 2:
            return np.asarray(self.targets == 1)
        return np.asarray(self.targets[:, None] == np.arange(self.probabilities.shape[1]))

    @property
    def called(self) -> NDArray[np.bool_]:
        """(N, C) what the model said."""
        if self.targets.ndim == 2:
            return np.asarray(self.probabilities >= THRESHOLD)
        best = self.probabilities.argmax(axis=1)
        return np.asarray(best[:, None] == np.arange(self.probabilities.shape[1]))

    @property
    def score(self) -> "Share":
        """Right ones: of the images, or, for multi-label, of all labels that either side gave."""
        truth, called = self.truth, self.called
        if self.targets.ndim == 1:
            return Share(int((truth & called).sum()), len(truth))
        return Share(int((truth & called).sum()), int((truth | called).sum()))


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    hits: int
    n: int

    @property
    def value(self) -> float:
        """From 0 to 1; 0 of nothing."""
        return self.hits / self.n if self.n else 0.0

    @property
    def ci(self) -> tuple[float, float]:
        """Its 95 % interval (Wilson 1927)."""
        return wilson(self.hits, self.n)

    def __str__(self) -> str:
        """For people: `81.3 % (75.0 to 86.4, n = 150)`."""
        low, high = (f"{100 * end:.1f}" for end in self.ci)
        return f"{100 * self.value:.1f} % ({low} to {high}, n = {self.n:,})"


@dataclass(frozen=True)
class Pictures:
    """What training images look like.

    Attributes:
        n: looked at.
        flat: of one colour all over.
        repeated: how often the most frequent one occurs.
        unreadable: that can no longer be decoded.
    """

    n: int
    flat: int
    repeated: int
    unreadable: int


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of one training.

    Attributes:
        classes: C names.
        settings: it was trained with.
        targets: (N,) or (N, C) of all training images.
        train: the finished model on some training images, as they are, or none.
        held_out: on images that it did not learn from, or none.
        steered: whether there was a validation part.
        epochs: as in `metrics.jsonl`; none for a head.
        pictures: how training images look, or none.
        agreement: of images with two or more answers, those with only equal ones.
    """

    classes: tuple[str, ...]
    settings: Settings
    targets: NDArray[np.int64]
    train: Answers | None = None
    held_out: Answers | None = None
    steered: bool = True
    epochs: Sequence[Mapping[str, Any]] = ()
    pictures: Pictures | None = None
    agreement: Share = Share(0, 0)

    @property
    def single(self) -> bool:
        """Whether every image has one class."""
        return self.targets.ndim == 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """(C,) labels of each class that were learned from."""
        if not self.single:
            return np.asarray(self.targets.sum(axis=0), dtype=np.int64)
        return np.bincount(self.targets, minlength=len(self.classes)).astype(np.int64)


def gather(
    project: Project,
    material: Material,
    model: Any,
    settings: Settings,
    facts: Mapping[str, Any],
    *,
    held_out: NDArray[np.float64] | None,
    epochs: Sequence[Mapping[str, Any]] = (),
    report: Report = silent,
) -> Evidence:
    """What a finished training left to look at.

    Args:
        project: whose run it is.
        material: that was learned from.
        model: calibrated.
        settings: of the run.
        facts: of its run.json.
        held_out: calibrated probabilities of the validation part, in its order; or, where there is
            none, of the training part by models that had not seen the image; or none.
        epochs: of its metrics.jsonl.
        report: told of the progress.

    Raises:
        UnreadableImage: fine-tuning reads the files, and one cannot be decoded.
    """
    from training import fitting

    train, validation = material.train, material.validation
    rng = np.random.default_rng([int(facts["seed"]), 0xD1A6])
    some = np.sort(rng.permutation(len(train))[:MOST_ROWS])
    logits = fitting.logits(project, model, settings, dict(facts), train.ids[some], report=report)
    p = to_probabilities(logits, task=material.task, temperature=model.temperature)
    held = validation.targets if len(validation) else train.targets
    with project.catalog.read() as connection:
        agreed = provenance.agreement(connection, project.id)
    return Evidence(
        classes=material.classes,
        settings=settings,
        targets=train.targets,
        train=Answers(p, train.targets[some]),
        held_out=None if held_out is None else Answers(held_out, held),
        # A head has nothing to be steered by but its temperature.
        steered=len(validation) > 0 or isinstance(settings, HeadSettings),
        epochs=tuple(epochs),
        pictures=look(project, train.ids[some[:: max(1, len(some) // MOST_PICTURES)]]),
        agreement=Share(agreed.unanimous, agreed.images),
    )


def look(project: Project, ids: NDArray[np.int64]) -> Pictures:
    """What images of the catalog look like, at the size of a thumbnail."""
    with project.catalog.read() as connection:
        places = image_rows.places(connection, ids.tolist())
    return look_at([Path(places[key].location) for key in ids.tolist() if key in places])


def look_at(paths: Sequence[Path]) -> Pictures:
    """What pictures look like, at the size of a thumbnail."""
    seen: Counter[bytes] = Counter()
    flat = unreadable = 0
    for path in paths:
        try:
            picture = images.decode(path, at_least=_SIDE).convert("RGB").resize((_SIDE, _SIDE))
        except UnreadableImage:
            unreadable += 1
            continue
        pixels = np.asarray(picture)
        flat += bool(pixels.std(axis=(0, 1)).max() < FLAT)
        seen[hashlib.sha256(pixels.tobytes()).digest()] += 1
    return Pictures(len(paths), flat, max(seen.values(), default=0), unreadable)
