"""How often one person says the same as the others, and as the labels that follow from them."""

from collections import Counter
from collections.abc import Iterable, Sequence

Said = Sequence[tuple[str, tuple[int, ...]]]
"""Of one image: who says what, as class ids in ascending order, each person once."""


def agreeing(images: Iterable[Said], *, single: bool) -> dict[str, tuple[int, int]]:
    """By person on how many images they say what most of the others say, and of how many.

    An image on which the others are divided into equal parts counts for nobody whom they would
    judge. With several classes for each image the others name a class where more than half of them
    do.

    Args:
        images: that two people or more answered.
        single: whether an answer is one class; otherwise any number of them.

    >>> agreeing([[("a", (1,)), ("b", (1,)), ("c", (2,))]], single=True)
    {'c': (0, 1)}
    >>> agreeing([[("a", (1,)), ("b", (1,)), ("c", (1, 2))]], single=False)
    {'c': (0, 1)}
    """
    same: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    for said in images:
        if len({classes for _, classes in said}) == 1:
            # Most images, and told faster.
            everybody = [who for who, _ in said]
            counted.update(everybody)
            same.update(everybody)
            continue
        for at, (who, mine) in enumerate(said):
            others = [classes for place, (_, classes) in enumerate(said) if place != at]
            most = _most(others) if single else _by_class(others)
            if most is not None:
                counted[who] += 1
                same[who] += mine == most
    return {who: (same[who], n) for who, n in counted.items()}


def _most(answers: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
    """What most say; None for a tie."""
    if len(answers) == 1:
        return answers[0]
    ranked = Counter(answers).most_common(2)
    return None if len(ranked) > 1 and ranked[0][1] == ranked[1][1] else ranked[0][0]


def _by_class(answers: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
    """The classes that more than half name; None where exactly half name one."""
    named = Counter(class_id for classes in answers for class_id in classes)
    if any(2 * count == len(answers) for count in named.values()):
        return None
    return tuple(sorted(key for key, count in named.items() if 2 * count > len(answers)))


def found_again(
    rows: Iterable[tuple[Sequence[int], Sequence[int]]],
) -> dict[int, tuple[int, int]]:
    """By class of how many labels a person named it, and of how many labels.

    Args:
        rows: what the person said and what the label is, as class ids.

    >>> found_again([((1,), (1,)), ((2,), (1,)), ((2,), (2,))])
    {1: (1, 2), 2: (1, 1)}
    """
    named: Counter[int] = Counter()
    counted: Counter[int] = Counter()
    for said, label in rows:
        for class_id in label:
            counted[class_id] += 1
            named[class_id] += class_id in said
    return {class_id: (named[class_id], n) for class_id, n in counted.items()}
