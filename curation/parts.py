"""The parts of a split, as folders, files and settings of the usual formats name them."""

import re

COLUMN = "split"
"""The metadata column that keeps an imported split."""

UNSPLIT = "all"
"""The folder of images that belong to no part, beside or instead of those of parts."""

_PART = re.compile(
    r"(?P<train>train(ing)?|trn)|(?P<validation>val(id|idation)?|dev)|(?P<test>test(ing)?|tst)"
    r"|fold[-_ ]?(?P<fold>\d{1,2})|(?P<calibration>calibration)|(?P<holdout>hold[-_ ]?out)"
    r"|(?P<left>left-out)"
)
_DECORATION = re.compile(r"[-_ ]?(set|split|data|images?|imgs?|\d{4})$")


def part(name: str) -> str:
    """The part that a folder or key means, in our words; empty for none.

    >>> part("val2017"), part("Train"), part("shirts")
    ('validation', 'train', '')
    """
    found = _PART.fullmatch(_DECORATION.sub("", name.strip().lower()))
    if found is None:
        return ""
    if found["fold"]:
        return f"fold-{int(found['fold'])}"
    return "left-out" if found.lastgroup == "left" else str(found.lastgroup)


def part_in(name: str) -> str:
    """The part that a file's name speaks of, such as `instances_train2017`; empty for none.

    >>> part_in("instances_val2017"), part_in("annotations")
    ('validation', '')
    """
    if whole := part(name):
        return whole
    return next((found for word in re.split(r"[^0-9A-Za-z]+", name) if (found := part(word))), "")
