"""The ways to come from several answers to one label, and what each has to learn first.

A new method is one `Method`, and one line in `METHODS`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from curation.catalog.annotations import Given
from curation.errors import InputError
from curation.progress import Report, silent
from curation.records import ProjectRecord
from labeling import crowdlab, dawid_skene, matching, votes
from labeling.crowdlab import Opinions
from labeling.votes import Agreed

Numbers = NDArray[np.int64]

NOTHING = 0
"""The value of an answer that names no class; ids of classes begin at 1."""


class Rule(Protocol):
    """Agrees on the answers to one image, given any answers to other images."""

    def __call__(self, image_id: int, answers: Sequence[Given]) -> Agreed:
        """What at least one answer, oldest first, says."""


@dataclass(frozen=True, eq=False)
class Votes:
    """Answers of which something is learned; the last one of each person to each image.

    Attributes:
        images: (A,) ids.
        annotators: (A,) ids.
        classes: A tuples of class ids.
    """

    images: Numbers
    annotators: Numbers
    classes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, rows: Iterable[tuple[int, int, tuple[int, ...]]]) -> "Votes":
        """From (image, annotator, class ids), oldest first."""
        kept = {(image, annotator): classes for image, annotator, classes in rows}
        keys = np.array(list(kept), dtype=np.int64).reshape(-1, 2)
        return cls(keys[:, 0], keys[:, 1], tuple(kept.values()))

    def values(self) -> Numbers:
        """(A,) the one class of each answer."""
        return np.array([_value(classes) for classes in self.classes], dtype=np.int64)

    def naming(self, class_id: int) -> Numbers:
        """(A,) 1 where an answer names the class."""
        return np.array([class_id in classes for classes in self.classes], dtype=np.int64)


@dataclass(frozen=True)
class Method:
    """One way to agree.

    Attributes:
        says: what it does, for people.
        fit: learns from the answers; plain JSON values. Raises InputError where it cannot.
        rule: made of what was learned.
        needs_model: whether it asks a model.
    """

    says: str
    fit: Callable[[ProjectRecord, Votes, Opinions | None, Report], dict[str, Any]]
    rule: Callable[[ProjectRecord, Mapping[str, Any], Opinions | None], Rule]
    needs_model: bool = False


def _value(classes: Sequence[int]) -> int:
    return classes[0] if classes else NOTHING


def _last_ones(answers: Sequence[Given]) -> list[Given]:
    """The last answer of each person, in the order of the first ones."""
    return list({answer.annotator_id: answer for answer in answers}.values())


def _majority_fit(
    record: ProjectRecord, given: Votes, opinions: Opinions | None, report: Report
) -> dict[str, Any]:
    return {}


def _majority_rule(
    record: ProjectRecord, learned: Mapping[str, Any], opinions: Opinions | None
) -> Rule:
    def agree(image_id: int, answers: Sequence[Given]) -> Agreed:
        if record.task == "boxes":
            return matching.consensus([one.boxes for one in _last_ones(answers)])
        return votes.majority([one.classes for one in answers], task=record.task)

    return agree


def _questions(record: ProjectRecord, given: Votes) -> dict[str, tuple[Numbers, tuple[int, ...]]]:
    """What is learned by itself: values (A,) and those there are; of several labels each class."""
    if record.task == "single-label":
        return {"": (given.values(), record.class_ids)}
    named = {class_id for classes in given.classes for class_id in classes}
    return {
        str(class_id): (given.naming(class_id), (0, 1))
        for class_id in record.class_ids
        if class_id in named
    }


def check(record: ProjectRecord, given: Votes, method: str) -> None:
    """Whether a method can learn from these answers how people err.

    Raises:
        InputError: it cannot.
    """
    if record.task == "boxes":
        raise InputError(
            f"Boxes are agreed on by majority, not by {method}: choose --method majority."
        )
    if not dawid_skene.shared(given.images, given.annotators).any():
        raise InputError(
            f"{method} learns how people err from images that two or more of them answered, and "
            "there is none yet. Invite a second person with `labelloop annotators add NAME`, or "
            "bring answers in with `labelloop label import ANSWERS.csv`."
        )


def _dawid_skene_fit(
    record: ProjectRecord, given: Votes, opinions: Opinions | None, report: Report
) -> dict[str, Any]:
    check(record, given, "dawid-skene")
    questions = _questions(record, given)
    found = {}
    for done, (name, (values, known)) in enumerate(questions.items()):
        report(done, len(questions), "learn how people err")
        found[name] = dawid_skene.fit(
            given.images, given.annotators, values, known=known, seed=record.seed
        ).as_json()
    return {"questions": found}


def _dawid_skene_rule(
    record: ProjectRecord, learned: Mapping[str, Any], opinions: Opinions | None
) -> Rule:
    fitted = {
        name: dawid_skene.Fitted.of_json(stored) for name, stored in learned["questions"].items()
    }

    def chances(image_id: int, name: str, said: list[tuple[int, int]]) -> Any:
        return fitted[name].posterior(said) if name in fitted else None

    return _by_chances(record, {name: one.values for name, one in fitted.items()}, chances)


def _crowdlab_fit(
    record: ProjectRecord, given: Votes, opinions: Opinions | None, report: Report
) -> dict[str, Any]:
    check(record, given, "crowdlab")
    assert opinions is not None  # `needs_model`
    questions = _questions(record, given)
    found = {}
    for done, (name, (values, known)) in enumerate(questions.items()):
        report(done, len(questions), "weigh people and the model")
        weights = crowdlab.fit(
            given.images,
            given.annotators,
            values,
            opinions=_about(record, opinions, name),
            known=known,
            seed=record.seed,
        )
        if weights is None:
            raise InputError(
                "crowdlab weighs people and the model on images outside the reserve that two or "
                "more people answered, and there is none yet. Choose --method dawid-skene, which "
                "needs no model, or bring in more answers."
            )
        found[name] = weights.as_json()
    return {"questions": found, "classes": list(record.class_ids)}


def _about(record: ProjectRecord, opinions: Opinions, question: str) -> Opinions:
    """What the model says of one class: (N, 2) that it is not there, and that it is."""
    if not question:
        return opinions
    there = opinions.chances[:, record.class_ids.index(int(question))].astype(np.float64)
    return Opinions(opinions.ids, np.stack([1 - there, there], axis=1))


def _crowdlab_rule(
    record: ProjectRecord, learned: Mapping[str, Any], opinions: Opinions | None
) -> Rule:
    weights = {
        name: crowdlab.Weights.of_json(stored) for name, stored in learned["questions"].items()
    }

    def chances(image_id: int, name: str, said: list[tuple[int, int]]) -> Any:
        if name not in weights:
            return None
        opinion = opinions.of(image_id) if opinions is not None else None
        if opinion is not None and name:
            there = opinion[learned["classes"].index(int(name))]
            opinion = np.array([1 - there, there])
        return weights[name].posterior(said, opinion)

    return _by_chances(record, {name: one.values for name, one in weights.items()}, chances)


def _by_chances(
    record: ProjectRecord,
    values: Mapping[str, tuple[int, ...]],
    chances: Callable[[int, str, list[tuple[int, int]]], Any],
) -> Rule:
    """A rule from the probabilities of each value; by majority where nothing was learned."""

    single = values.get("", ())
    at = {value: number for number, value in enumerate(single)}
    # Values that no longer can be given: their class was merged into another one.
    there = np.isin(single, record.class_ids)

    def one(image_id: int, answers: Sequence[Given]) -> Agreed:
        said = [(answer.annotator_id, _value(answer.classes)) for answer in answers]
        if any(value not in at for _, value in said):  # a class that was added since
            return votes.majority([answer.classes for answer in answers], task=record.task)
        able = there.copy()
        able[[at[value] for _, value in said]] = True
        found = np.where(able, chances(image_id, "", said), 0.0)
        best = int(found.argmax())
        value = single[best]
        return Agreed(() if value == NOTHING else (value,), float(found[best] / found.sum()))

    def several(image_id: int, answers: Sequence[Given]) -> Agreed:
        likely: dict[int, float] = {}
        for class_id in sorted({key for answer in answers for key in answer.classes}):
            said = [(answer.annotator_id, int(class_id in answer.classes)) for answer in answers]
            found = chances(image_id, str(class_id), said)
            share = sum(there for _, there in said) / len(said)
            likely[class_id] = share if found is None else float(found[1])
        return votes.of_chances(likely)

    def agree(image_id: int, answers: Sequence[Given]) -> Agreed:
        return (one if record.task == "single-label" else several)(image_id, _last_ones(answers))

    return agree


METHODS: dict[str, Method] = {
    "majority": Method("what most people say", _majority_fit, _majority_rule),
    "dawid-skene": Method(
        "what is likeliest, given how each person errs", _dawid_skene_fit, _dawid_skene_rule
    ),
    "crowdlab": Method(
        "what people and a model say together, each weighed by how far they can be trusted",
        _crowdlab_fit,
        _crowdlab_rule,
        needs_model=True,
    ),
}
DEFAULT = "majority"


def find(name: str) -> Method:
    """The method of this name.

    Raises:
        InputError: there is none.
    """
    if name not in METHODS:
        raise InputError(f"--method {name!r} is none of the choices: {', '.join(METHODS)}.")
    return METHODS[name]


def fit(
    record: ProjectRecord,
    name: str,
    given: Votes,
    *,
    opinions: Opinions | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """What this method learns from these answers, as plain JSON values.

    Raises:
        InputError: it cannot learn from them.
    """
    return find(name).fit(record, given, opinions, report)
