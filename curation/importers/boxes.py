"""Whether a box fits its image, and what an answer comes to in the project's own terms."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

from curation.importers.found import Asked, Drawn, Found, Said
from curation.records import Box

MOST_OVER = 1.0
"""Pixels that a box may reach over its image's edge: tools differ in where they count from."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in the catalog's terms.

    Attributes:
        classes: ids, ascending; empty where there is nothing to be seen, or for a skip.
        boxes: none where the task is not boxes.
    """

    annotator: str
    classes: tuple[int, ...]
    boxes: tuple[Box, ...] | None
    skipped: bool = False


def answers(
    found: Found, asked: Asked, *, width: int, height: int
) -> Iterator[Answer | tuple[str, str]]:
    """What was said of an image: answers, and (place, reason) for what cannot be taken.

    Where only some boxes fit, the answer holds those; where none does, there is no answer.

    Args:
        found: the image with what was said of it.
        asked: what the project can take.
        width: pixels, upright.
        height: pixels, upright.
    """
    for said in found.said:
        if said.skipped:
            yield Answer(said.annotator, (), None, skipped=True)
        elif said.boxes:
            yield from _of_boxes(found, said, asked, width=width, height=height)
        elif said.labels and asked.task == "boxes":
            yield "", f"the class {said.labels[0]!r} has no box, in a project of boxes"
        elif reason := asked.refusal(said.labels):
            yield "", reason
        elif said.labels or asked.task != "single-label":
            classes = tuple(sorted({asked.classes[name] for name in said.labels}))
            yield Answer(said.annotator, classes, () if asked.task == "boxes" else None)


def _of_boxes(
    found: Found, said: Said, asked: Asked, *, width: int, height: int
) -> Iterator[Answer | tuple[str, str]]:
    if found.size is not None and found.size != (width, height):
        claimed = f"{found.size[0]}x{found.size[1]}"
        yield "", f"the boxes are for an image of {claimed}, and this one is {width}x{height}"
        return
    kept: list[Box] = []
    for drawn in said.boxes or ():
        if drawn.label not in asked.classes:
            yield drawn.where, asked.refusal([drawn.label])
            continue
        placed = fitted(drawn, width=width, height=height)
        if isinstance(placed, str):
            yield drawn.where, placed
        else:
            kept.append(Box(asked.classes[drawn.label], *placed))
    if not kept:
        return
    beside = () if asked.task == "boxes" else said.labels
    if reason := asked.refusal(beside):
        yield "", reason
        return
    ids = {box.class_id for box in kept} | {asked.classes[name] for name in beside}
    classes = tuple(sorted(ids))
    if asked.task == "single-label" and len(classes) > 1:
        yield "", f"{len(classes)} labels in a single-label project"
        return
    yield Answer(said.annotator, classes, tuple(kept) if asked.task == "boxes" else None)


def fitted(drawn: Drawn, *, width: int, height: int) -> tuple[float, float, float, float] | str:
    """The box as (x, y, width, height) in pixels within its image, or why it does not fit.

    >>> fitted(Drawn("a", 0.5, 0, 0.5, 1, "", relative=True), width=10, height=4)
    (5.0, 0, 5.0, 4)
    >>> fitted(Drawn("a", 9.5, 0, 1, 4, ""), width=10, height=4)
    (9.5, 0, 0.5, 4)
    """
    across, down = (width, height) if drawn.relative else (1, 1)
    x, y = drawn.x * across, drawn.y * down
    box_width, box_height = drawn.width * across, drawn.height * down
    told = f"{_told(x)}, {_told(y)}, {_told(box_width)} x {_told(box_height)}"
    right, bottom = x + box_width, y + box_height
    over = max(-x, -y, right - width, bottom - height)
    if not all(map(isfinite, (x, y, right, bottom))):
        reason = "with a coordinate that is no number or out of all bounds"
    elif box_width <= 0 or box_height <= 0:
        reason = "without a size"
    elif x >= width or y >= height or right <= 0 or bottom <= 0:
        reason = f"outside its image of {width}x{height}"
    elif over > MOST_OVER:
        reason = f"{_told(over)} px over the edge of its image of {width}x{height}"
    else:
        reason = ""
    if reason:
        return f"a box {reason} ({told})"
    if over <= 0:
        return x, y, box_width, box_height
    left, top = max(x, 0), max(y, 0)
    return left, top, min(right, width) - left, min(bottom, height) - top


def _told(number: float) -> str:
    return f"{number:.6g}"
