"""Images, pre-labels and answers as the JSON that Label Studio stores, and back again.

Pure functions, so that everything that crosses the wire can be tested without one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from curation.errors import InputError
from labeling.interfaces import REASON, STANDARD, Interface

LOCAL_FILES = "/data/local-files/"


@dataclass(frozen=True)
class Answer:
    """What one annotation says.

    Attributes:
        classes: chosen, in the order given; empty for a skip, or for "none of them".
        skipped: the person passed the image on.
        accepted_prelabel: the answer is the model's, unchanged: weaker evidence than one given
            without a hint.
        ignored: why parts of the answer were left out, one sentence each.
    """

    classes: tuple[str, ...]
    skipped: bool
    accepted_prelabel: bool
    ignored: tuple[str, ...] = ()


def image_url(served: str, relative_path: str) -> str:
    """The address of an image below a served folder, for a task's data.

    >>> image_url("photos", "shelf 1/a#b.jpg")
    '/data/local-files/?d=photos/shelf%201/a%23b.jpg'
    """
    return f"{LOCAL_FILES}?d={quote(served)}/{quote(relative_path)}"


def served_path(url: str) -> tuple[str, str] | None:
    """The inverse of `image_url`: (served, relative path), or None for any other address."""
    parts = urlsplit(url)
    if not parts.path.endswith(LOCAL_FILES):
        return None
    places = parse_qs(parts.query, errors="surrogateescape").get("d", [])
    served, _, relative_path = (places[0] if places else "").partition("/")
    return (served, relative_path) if relative_path else None


def mark(seed: int, image_id: int) -> str:
    """An image's id as tasks carry it, with the project's seed: other projects count alike.

    >>> mark(255, 17)
    'ff-17'
    """
    return f"{seed:x}-{image_id}"


def marked(mark: str | None, seed: int) -> int | None:
    """The inverse of `mark`; None for a task of another project, or one that bears no mark.

    >>> marked("ff-17", 255), marked("ff-17", 254), marked("17", 255)
    (17, None, None)
    """
    whose, _, number = (mark or "").partition("-")
    return int(number) if whose == f"{seed:x}" and number.isdecimal() else None


def task(
    image_id: str,
    *,
    name: str,
    url: str,
    predictions: Sequence[Mapping[str, Any]] = (),
    reason: str = "",
    interface: Interface = STANDARD,
) -> dict[str, Any]:
    """An image as a task.

    Args:
        image_id: from `mark`; it comes back with every task, so that a lost reply can be
            reconciled.
        name: what annotators see in lists.
        url: from `image_url`, or any address that the annotator's browser can open.
        predictions: pre-labels to store with it.
        reason: why it is asked about, for interfaces that show it.
        interface: of the project that it is for.
    """
    data = {interface.image_field: url, "labelloop_image": image_id, "name": name}
    if reason:
        data[REASON] = reason
    made: dict[str, Any] = {"data": data}
    if predictions:
        made["predictions"] = [dict(one) for one in predictions]
    return made


def chosen(
    classes: Sequence[str],
    *,
    confidence: float | None = None,
    interface: Interface = STANDARD,
) -> list[dict[str, Any]]:
    """The result part of an annotation or a prediction; no class gives an empty one."""
    if not classes:
        return []
    part: dict[str, Any] = {
        "from_name": interface.control,
        "to_name": interface.image_tag,
        "type": "choices",
        "value": {"choices": list(classes)},
    }
    if confidence is not None:
        part["score"] = float(confidence)
    return [part]


def prediction(
    classes: Sequence[str],
    *,
    confidence: float | None,
    model_version: str,
    rank: int,
    size: int,
    task_id: int | None = None,
    interface: Interface = STANDARD,
) -> dict[str, Any]:
    """A pre-label that also says when its image is to be shown.

    Label Studio serves the lowest score first, so ``score`` is the place in the batch and the
    model's confidence goes into the result. Without classes it only orders, and shows nothing.

    Args:
        classes: what the model says.
        confidence: 0 to 1.
        model_version: one per round; only the project's current one is shown and ordered by.
        rank: place in the batch, 0 first.
        size: how many images the batch has.
        task_id: for a task that exists already.
        interface: of the project that it is for.

    Raises:
        InputError: the rank is not within the batch.

    >>> prediction(["ok"], confidence=0.9, model_version="round-1", rank=1, size=4)["score"]
    0.25
    """
    if not 0 <= rank < size:
        raise InputError(f"Rank {rank} is not within a batch of {size}. Count from 0.")
    made: dict[str, Any] = {
        "model_version": model_version,
        "score": rank / size,
        "result": chosen(classes, confidence=confidence, interface=interface),
    }
    return made if task_id is None else {"task": task_id, **made}


def answer(
    result: Sequence[Mapping[str, Any]],
    *,
    was_cancelled: bool = False,
    parent_prediction: int | None = None,
    known_classes: Sequence[str] | None = None,
    interface: Interface = STANDARD,
) -> Answer:
    """What an annotation says, whatever else somebody put into it.

    Args:
        result: as stored in Label Studio.
        was_cancelled: the annotation is a skip; its result does not count.
        parent_prediction: the prediction that it started from.
        known_classes: other classes are ignored with a reason; None accepts every class.
        interface: in which it was given.
    """
    if was_cancelled:
        return Answer(classes=(), skipped=True, accepted_prelabel=False)
    classes: list[str] = []
    ignored: list[str] = []
    origins: set[str] = set()
    for part in result:
        reason = _foreign(part, interface.control)
        if reason:
            ignored.append(reason)
            continue
        origins.add(str(part.get("origin") or "manual"))
        for name in part["value"]["choices"]:
            if known_classes is not None and name not in known_classes:
                ignored.append(f"The class {name!r} is not one of the project's.")
            elif name not in classes:
                classes.append(name)
    accepted = parent_prediction is not None and origins == {"prediction"} and not ignored
    return Answer(tuple(classes), skipped=False, accepted_prelabel=accepted, ignored=tuple(ignored))


def _foreign(part: Mapping[str, Any], control: str) -> str:
    """Why a part of a result is not an answer of ours; empty where it is one."""
    kind, name = part.get("type"), part.get("from_name")
    if kind != "choices" or name != control:
        return f"{kind} of {name!r} is not asked for by this interface."
    value = part.get("value")
    choices = value.get("choices") if isinstance(value, Mapping) else None
    if not isinstance(choices, list) or not all(isinstance(one, str) for one in choices):
        return f"The choices of {name!r} are not a list of class names."
    return ""
