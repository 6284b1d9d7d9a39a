"""Images, pre-labels and answers as the JSON that Label Studio stores, and back again.

Pure functions, so that everything that crosses the wire can be tested without one.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from curation.errors import InputError
from curation.importers.boxes import fitted
from curation.importers.found import Drawn
from labeling.interfaces import COMMENT, DOUBT, REASON, STANDARD, UNSURE, Interface

LOCAL_FILES = "/data/local-files/"


LONGEST_COMMENT = 4_000


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A box around a thing of a class: pixels of the upright image, from its top left corner."""

    label: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Answer:
    """What one annotation says.

    Attributes:
        classes: chosen, or of the boxes, in the order given; empty for a skip, or for "none of
            them".
        skipped: the person passed the image on.
        accepted_prelabel: the answer is the model's, unchanged: weaker evidence than one given
            without a hint.
        ignored: why parts of the answer were left out, one sentence each.
        unsure: the person asks for a second opinion.
        comment: what the person wrote beside it.
        rectangles: what was drawn, where boxes are asked for.
    """

    classes: tuple[str, ...]
    skipped: bool
    accepted_prelabel: bool
    ignored: tuple[str, ...] = ()
    unsure: bool = False
    comment: str = ""
    rectangles: tuple[Rectangle, ...] = ()


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
        "value": {"choices": [interface.carried(name) for name in classes]},
    }
    if confidence is not None:
        part["score"] = float(confidence)
    return [part]


def drawn(
    rectangles: Sequence[Rectangle],
    *,
    size: tuple[int, int],
    confidence: float | None = None,
    interface: Interface = STANDARD,
) -> list[dict[str, Any]]:
    """The result part of an annotation or a prediction that holds boxes.

    Args:
        rectangles: in pixels.
        size: width and height of the upright image, which Label Studio shows.
        confidence: 0 to 1.
        interface: of the project that it is for.
    """
    width, height = size
    scored = {} if confidence is None else {"score": float(confidence)}
    return [
        {
            "id": f"box-{number}",
            "from_name": interface.control,
            "to_name": interface.image_tag,
            "type": "rectanglelabels",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "x": 100 * box.x / width,
                "y": 100 * box.y / height,
                "width": 100 * box.width / width,
                "height": 100 * box.height / height,
                "rotation": 0,
                "rectanglelabels": [interface.carried(box.label)],
            },
            **scored,
        }
        for number, box in enumerate(rectangles)
    ]


def doubting(*, unsure: bool, comment: str = "") -> list[dict[str, Any]]:
    """The result parts in which somebody says that they are unsure, or leaves a comment."""
    parts: list[dict[str, Any]] = []
    if unsure:
        parts.append(chosen([UNSURE])[0] | {"from_name": DOUBT})
    if comment:
        said = {"type": "textarea", "value": {"text": [comment]}}
        parts.append({"from_name": COMMENT, "to_name": STANDARD.image_tag, **said})
    return parts


def prediction(
    classes: Sequence[str],
    *,
    confidence: float | None,
    model_version: str,
    rank: int,
    size: int,
    task_id: int | None = None,
    boxes: Sequence[Mapping[str, Any]] = (),
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
        boxes: from `drawn`, in place of classes.
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
        "result": [dict(one) for one in boxes]
        or chosen(classes, confidence=confidence, interface=interface),
    }
    return made if task_id is None else {"task": task_id, **made}


def answer(
    result: Sequence[Mapping[str, Any]],
    *,
    was_cancelled: bool = False,
    parent_prediction: int | None = None,
    known_classes: Container[str] | None = None,
    size: tuple[int, int] | None = None,
    interface: Interface = STANDARD,
) -> Answer:
    """What an annotation says, whatever else somebody put into it.

    Args:
        result: as stored in Label Studio.
        was_cancelled: the annotation is a skip; what it says beside a comment does not count.
        parent_prediction: the prediction that it started from.
        known_classes: other classes are ignored with a reason; None accepts every class.
        size: width and height of the upright image, for boxes; what Label Studio says of it
            otherwise.
        interface: in which it was given.
    """
    comment = _comment(result)
    if was_cancelled:
        return Answer(classes=(), skipped=True, accepted_prelabel=False, comment=comment)
    classes: list[str] = []
    boxes: list[Rectangle] = []
    ignored: list[str] = []
    origins: set[str] = set()
    unsure = False
    for part in result:
        if part.get("from_name") == DOUBT and interface.control != DOUBT:
            unsure = unsure or UNSURE in _named(part, "choices")
            continue
        if part.get("from_name") == COMMENT and part.get("type") == "textarea":
            continue
        reason = _foreign(part, interface)
        if reason:
            ignored.append(reason)
            continue
        origins.add(str(part.get("origin") or "manual"))
        for name in _named(part, KINDS[interface.task]):
            if known_classes is not None and name not in known_classes:
                ignored.append(f"The class {name!r} is not one of the project's.")
                continue
            if interface.task == "boxes":
                box = _rectangle(part, name, size)
                if isinstance(box, str):
                    ignored.append(f"{box[0].upper()}{box[1:]}.")
                    continue
                boxes.append(box)
            if name not in classes:
                classes.append(name)
    accepted = parent_prediction is not None and origins == {"prediction"} and not ignored
    return Answer(
        tuple(classes),
        skipped=False,
        accepted_prelabel=accepted,
        ignored=tuple(ignored),
        unsure=unsure,
        comment=comment,
        rectangles=tuple(boxes),
    )


KINDS = {"single-label": "choices", "multi-label": "choices", "boxes": "rectanglelabels"}
"""What the parts of an answer are called, and the list of classes in each, by task."""


def _foreign(part: Mapping[str, Any], interface: Interface) -> str:
    """Why a part of a result is not an answer of ours; empty where it is one."""
    kind, name = part.get("type"), part.get("from_name")
    if kind != KINDS[interface.task] or name != interface.control:
        return f"{kind} of {name!r} is not asked for by this interface."
    value = part.get("value")
    choices = value.get(kind) if isinstance(value, Mapping) else None
    if not isinstance(choices, list) or not all(isinstance(one, str) for one in choices):
        return f"The choices of {name!r} are not a list of class names."
    return ""


def _named(part: Mapping[str, Any], kind: str) -> list[str]:
    value = part.get("value")
    names = value.get(kind) if isinstance(value, Mapping) else None
    return names if isinstance(names, list) else []


def _comment(result: Sequence[Mapping[str, Any]]) -> str:
    said: list[str] = []
    for part in result:
        if part.get("from_name") == COMMENT and part.get("type") == "textarea":
            value = part.get("value")
            text = value.get("text") if isinstance(value, Mapping) else None
            said += [text] if isinstance(text, str) else text if isinstance(text, list) else []
    lines = [line for one in said if isinstance(one, str) and (line := _plain(one))]
    return "\n".join(lines)[:LONGEST_COMMENT]


def _plain(text: str) -> str:
    """Without signs that a database cannot hold or a screen cannot show."""
    return "".join(sign for sign in text if sign.isprintable() or sign in "\n\t").strip()


def _rectangle(
    part: Mapping[str, Any], label: str, size: tuple[int, int] | None
) -> Rectangle | str:
    """A box in pixels, or why it cannot be one."""
    value = part["value"]
    try:
        x, y, width, height = (float(value[key]) / 100 for key in ("x", "y", "width", "height"))
        turned = float(value.get("rotation") or 0)
        across, down = size or (int(part["original_width"]), int(part["original_height"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return "a box whose place is not four numbers"
    if turned % 360:
        return f"a box turned by {turned:g} degrees"
    place = fitted(Drawn(label, x, y, width, height, "", relative=True), width=across, height=down)
    if isinstance(place, str):
        return place
    return Rectangle(label, *(round(float(number), DECIMALS) for number in place))


DECIMALS = 3
"""Of a pixel: percent of a side are cut off somewhere on the way there and back."""
