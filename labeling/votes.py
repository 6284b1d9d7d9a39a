"""What a few answers to one image agree on, by counting them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from curation.records import Box


@dataclass(frozen=True)
class Agreed:
    """What the answers agree on.

    Attributes:
        classes: ids, ascending.
        confidence: how likely it is right, 0 to 1; by majority the share of answers that agree.
        boxes: none where the task is not `boxes`.
    """

    classes: tuple[int, ...]
    confidence: float
    boxes: tuple[Box, ...] = ()


def majority(answers: Sequence[tuple[int, ...]], *, task: str) -> Agreed:
    """The answer most people gave; of answers given equally often the earliest.

    Multi-label: each class by itself, present where more than half say so, and the confidence is
    that of the least certain class that anybody named.

    Args:
        answers: class ids of each answer, oldest first; at least one.
        task: `single-label` or `multi-label`.

    >>> majority([(1,), (2,), (2,)], task="single-label")
    Agreed(classes=(2,), confidence=0.6666666666666666, boxes=())
    >>> majority([(1,), (2,)], task="single-label")
    Agreed(classes=(1,), confidence=0.5, boxes=())
    """
    if task == "single-label":
        classes, count = Counter(answers).most_common(1)[0]
        return Agreed(classes, count / len(answers))
    named = Counter(class_id for answer in answers for class_id in answer)
    return of_chances({class_id: count / len(answers) for class_id, count in named.items()})


def of_chances(chances: dict[int, float]) -> Agreed:
    """Several classes, each by itself: present where that is likelier than not.

    Args:
        chances: of the classes that anybody named, how likely each is there, 0 to 1.

    Returns:
        The confidence is that of the least certain class; 1 where nobody named any.
    """
    agreed = tuple(sorted(class_id for class_id, chance in chances.items() if chance > 0.5))
    sure = min((max(chance, 1 - chance) for chance in chances.values()), default=1.0)
    return Agreed(agreed, sure)


def decision(reviews: Sequence[tuple[int, ...]]) -> Agreed:
    """What the reviewer said who was asked last; the confidence is the share that says the same.

    Args:
        reviews: class ids of each reviewer's answer, the last one given last; at least one.

    >>> decision([(1,), (2,)])
    Agreed(classes=(2,), confidence=0.5, boxes=())
    """
    said = [tuple(sorted(classes)) for classes in reviews]
    return Agreed(said[-1], said.count(said[-1]) / len(said))
