"""Prompt-based labeling: classes described in words, and how well each image fits the words.

A CLIP model compares the embedding of an image with that of each class: the mean of its prompts'
embeddings, since several ways to say a thing tell more than one (Radford et al. 2021, "Learning
Transferable Visual Models From Natural Language Supervision"). Its probabilities are raw until a
temperature was fitted to people's answers in the reserve's calibration half.
"""

import heapq
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from curation import text_search
from curation.catalog import audit, images, plans, reserve
from curation.catalog import pool as pool_rows
from curation.errors import InputError
from curation.intervals import Figure, unknown, wilson
from curation.progress import Report, silent
from curation.text_search import Clip
from curation.workspace import Project
from labeling.accepting import Candidate

Floats = NDArray[np.float64]

PLAN = "zero-shot"
DEFAULT_PROMPT = "a photo of a {class}"
FEWEST = 30
"""People's answers in the calibration half, from which on a temperature is fitted."""
SHOWN = 5
_BLOCK = 8_192
_MOST_PROMPTS = 100
_LONGEST = 500


class Calibrate(Protocol):
    """Fits a temperature; `ui` fills it with the one that models are calibrated by."""

    def __call__(self, logits: Floats, labels: NDArray[np.int64]) -> float:
        """What logits (N, C) are to be divided by, given class indices (N,)."""


@dataclass(frozen=True)
class Prompts:
    """The classes in words.

    Attributes:
        class_ids: of the C classes that are told apart.
        texts: of each class, its prompts in full.
    """

    class_ids: tuple[int, ...]
    texts: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Scored:
    """What the words say of the images of the pool.

    Attributes:
        ids: (N,) of images.
        best: (N,) index of the likeliest class among the prompts'.
        confidence: (N,) its probability.
        temperature: that logits were divided by.
        calibration: people's answers that the temperature and the figure rest on.
        sure: (n,) confidence in those images.
        right: (n,) whether the likeliest class is people's.
    """

    ids: NDArray[np.int64]
    best: NDArray[np.int32]
    confidence: NDArray[np.float32]
    temperature: float
    calibration: int
    sure: Floats
    right: NDArray[np.bool_]

    @property
    def is_calibrated(self) -> bool:
        """Whether there were answers enough to fit a temperature."""
        return self.calibration >= FEWEST

    def accuracy(self, *, above: float) -> Figure:
        """Of people's answers in the calibration half, on those that would be accepted."""
        held = self.right[self.sure >= above]
        n = len(held)
        return Figure(float(held.mean()), n, wilson(held.sum(), n)) if n else unknown()


@dataclass(frozen=True)
class Preview:
    """What would be accepted of one class.

    Attributes:
        count: images.
        least_sure: names of those that are nearest to the threshold, to be looked at.
    """

    count: int
    least_sure: tuple[str, ...] = ()


def read(path: Path) -> dict[str, list[str]]:
    """Prompts by class from a TOML file: `shirt = ["a photo of a shirt", "a shirt on a hanger"]`.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"Cannot read the prompts in {path}: {error}.") from error
    prompts: dict[str, list[str]] = {}
    for name, said in found.items():
        texts = [said] if isinstance(said, str) else said
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise InputError(
                f"{path}: {name} is {said!r}. Give each class one text or a list of texts, as in "
                f'{name} = ["a photo of a {name}"].'
            )
        prompts[name] = texts
    return prompts


def describe(project: Project, given: Mapping[str, Sequence[str]]) -> Prompts:
    """All classes in words: as given, as the project remembers them, or by the default prompt.

    The class that stands for none of the others takes part only if it is described.

    Args:
        project: whose classes they are.
        given: prompts by class; `{class}` in them stands for the class's name.

    Raises:
        InputError: the task has no single class an image, a class is unknown, a prompt is empty,
            or fewer than two classes are described.
    """
    record = project.record
    if record.task != "single-label":
        raise InputError(
            f"{record.name!r} is a {record.task} project; words are compared with images where "
            "each image has one class."
        )
    known = record.ids_by_name
    for name, texts in given.items():
        if name not in known:
            raise InputError(
                f"No class {name!r} to describe. The project's: {', '.join(record.classes)}."
            )
        if not texts or len(texts) > _MOST_PROMPTS:
            raise InputError(f"{name} has {len(texts)} prompts; give 1 to {_MOST_PROMPTS}.")
        for text in texts:
            if not text.strip() or len(text) > _LONGEST:
                raise InputError(
                    f"A prompt of {name} has {len(text):,} characters; give 1 to {_LONGEST}."
                )
    with project.catalog.read() as connection:
        before = plans.in_force(connection, project.id).get(PLAN, {}).get("prompts", {})
    texts_of = {int(key): tuple(texts) for key, texts in before.items()}
    texts_of |= {known[name]: tuple(texts) for name, texts in given.items()}
    class_ids: list[int] = []
    described: list[tuple[str, ...]] = []
    for name, class_id in zip(record.classes, record.class_ids, strict=True):
        if class_id == record.none_of_these and class_id not in texts_of:
            continue
        class_ids.append(class_id)
        said = texts_of.get(class_id, (DEFAULT_PROMPT,))
        described.append(tuple(text.replace("{class}", name) for text in said))
    if len(class_ids) < 2:
        raise InputError("Words tell two classes or more apart; describe another one.")
    return Prompts(tuple(class_ids), tuple(described))


def remember(
    project: Project, given: Mapping[str, Sequence[str]], *, actor: str = ""
) -> int | None:
    """Keeps prompts in the project, in place of those of the same classes; returns the plan."""
    if not given:
        return None
    known = project.record.ids_by_name
    with project.catalog.write() as connection:
        before = plans.in_force(connection, project.id).get(PLAN, {}).get("prompts", {})
        now = {**before, **{str(known[name]): list(texts) for name, texts in given.items()}}
        plan = plans.put(connection, project.id, PLAN, {"prompts": now})
        subject = {"plan": plan, "classes": list(given)}
        audit.append(connection, project.id, act=PLAN, subject=subject, actor=actor)
    return plan


def embed_prompts(clip: Clip, prompts: Prompts) -> Floats:
    """(C, d) unit-norm embeddings: of each class the mean of its prompts'."""
    means = [
        np.concatenate([clip.embed_text(text) for text in texts]).mean(axis=0, dtype=np.float64)
        for texts in prompts.texts
    ]
    found = np.stack(means)
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12))


def score(
    project: Project,
    clip: Clip,
    prompts: Prompts,
    *,
    calibrate: Calibrate,
    report: Report = silent,
) -> Scored:
    """Compares the pool with the words; images are embedded by CLIP first.

    Args:
        project: whose images they are.
        clip: the model.
        prompts: the classes in words.
        calibrate: fits the temperature, where people have answered enough.
        report: told of the progress.

    Raises:
        Cancelled: asked to stop; what was embedded stays.
    """
    store = text_search.embedded(project, clip, report=report)
    words = embed_prompts(clip, prompts)
    with project.catalog.read() as connection:
        people = reserve.answered(connection, project.id, "calibration")
        ids = np.array(sorted(connection.scalars(pool_rows.ids(project.id))), dtype=np.int64)
    ids = np.intersect1d(ids, store.ids(), assume_unique=True)
    index = {class_id: number for number, class_id in enumerate(prompts.class_ids)}
    asked = [row for row in people if len(row.classes) == 1 and not store.missing([row.image_id])]
    # Classes that are not described are answers that no threshold makes right.
    truth = np.array([index.get(row.classes[0], -1) for row in asked], dtype=np.int64)
    logits = clip.scale * store.read([row.image_id for row in asked]) @ words.T if asked else None
    described = truth >= 0
    temperature = 1.0
    if logits is not None and described.sum() >= FEWEST:
        temperature = calibrate(logits[described], truth[described])
    chances = softmax(logits / temperature, axis=1) if logits is not None else np.zeros((0, 2))
    best = np.zeros(len(ids), dtype=np.int32)
    confidence = np.zeros(len(ids), dtype=np.float32)
    for start in range(0, len(ids), _BLOCK):
        report(start, len(ids), "compare with the words")
        here = slice(start, start + _BLOCK)
        likely = softmax(clip.scale * store.read(ids[here]) @ words.T / temperature, axis=1)
        best[here], confidence[here] = likely.argmax(axis=1), likely.max(axis=1)
    return Scored(
        ids,
        best,
        confidence,
        temperature,
        calibration=int(described.sum()),
        sure=chances.max(axis=1) if len(chances) else np.zeros(0),
        right=chances.argmax(axis=1) == truth if len(chances) else np.zeros(0, dtype=bool),
    )


def candidates(scored: Scored, prompts: Prompts, *, above: float) -> Iterator[Candidate]:
    """What may be accepted."""
    for place in np.flatnonzero(scored.confidence >= above).tolist():
        yield Candidate(
            int(scored.ids[place]),
            prompts.class_ids[int(scored.best[place])],
            float(scored.confidence[place]),
        )


def preview(
    project: Project, rows: Sequence[Candidate], *, shown: int = SHOWN
) -> dict[str, Preview]:
    """By class what would be accepted, with the images that are nearest to the threshold."""
    by_class: dict[int, list[Candidate]] = {key: [] for key in project.record.class_ids}
    for row in rows:
        by_class[row.class_id].append(row)
    found: dict[str, Preview] = {}
    with project.catalog.read() as connection:
        for name, class_id in zip(project.record.classes, project.record.class_ids, strict=True):
            mine = by_class[class_id]
            nearest = heapq.nsmallest(shown, mine, key=lambda row: row.confidence)
            names = images.names_by_id(connection, [row.image_id for row in nearest])
            found[name] = Preview(len(mine), tuple(names[row.image_id] for row in nearest))
    return found
