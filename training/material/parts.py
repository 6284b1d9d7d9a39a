"""Which label goes into which part, where somebody has said so and where nobody has."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

from curation.manifest import Entry
from training.material.records import PARTS, Row

DRAWN = 0.15
"""Share of the groups that a part gets where nobody has drawn it before."""

LEAST_GROUPS = 20
"""Fewer labeled groups are all learned from: parts of three images tell nothing."""

STEERS = {"validation": "calibration", "test": "holdout"}
"""The half of the reserve that stands in for a part."""

_ENOUGH = 5
"""Groups of a class in training, of which one may go into a part that lacks the class."""

_DRAWN = ("test", "validation")
"""In the order of a group's place, which does not depend on what else is drawn."""


def usable(entry: Entry, *, is_settled: bool) -> str:
    """The part of an image as the snapshot names it; empty where its label may not be used."""
    if entry.split in STEERS.values():
        # An imported label of the reserve counts once people have confirmed it, and only the
        # reserve's settled beginning is a random sample.
        return entry.split if is_settled and entry.origin == "people" else ""
    if entry.split.startswith("fold-"):
        return "train"
    return entry.split if entry.split in PARTS else ""


def divide(rows: list[Row], *, seed: int) -> tuple[dict[str, str], list[Row]]:
    """Gives each row its final part, drawing those that are missing."""
    held = Counter(row.part for row in rows)
    origins = {}
    renamed = {}
    drawn: list[str] = []
    groups = {row.label.group_id for row in rows if row.part == "train"}
    for part, half in STEERS.items():
        if held[part]:
            origins[part], renamed[half] = "split", ""
        elif held[half]:
            origins[part], renamed[half] = "reserve", part
        else:
            enough = len(groups) >= LEAST_GROUPS
            origins[part] = "drawn" if enough else "none"
            drawn += [part] if enough else []
    chosen = _draw(rows, drawn, seed=seed)
    return origins, [
        _with_part(row, chosen.get(row.group, renamed.get(row.part, row.part))) if row.part else row
        for row in rows
    ]


def _with_part(row: Row, part: str) -> Row:
    return row if row.part == part else Row(row.label, row.name, row.sha256, row.group, part)


def _draw(rows: Iterable[Row], parts: Sequence[str], *, seed: int) -> dict[str, str]:
    """The part of the training groups that are drawn for one.

    Every class stays in training, and comes into each part if it has groups enough.
    """
    found: dict[str, str] = {}
    of_class: dict[int, set[str]] = {}
    classes: dict[str, set[int]] = {}
    for row in rows:
        if row.part == "train" and parts:
            number = int(_place(row.group, seed) / DRAWN)
            if number < len(_DRAWN) and _DRAWN[number] in parts:
                found[row.group] = _DRAWN[number]
            for key in row.label.classes:
                of_class.setdefault(key, set()).add(row.group)
                classes.setdefault(row.group, set()).add(key)
    ordered = [sorted(held, key=lambda group: _place(group, seed)) for held in of_class.values()]
    for held in ordered:
        if all(group in found for group in held):
            del found[held[-1]]
    learns = Counter(key for group in classes.keys() - found for key in classes[group])
    for held in ordered:
        for part in parts:
            left = [group for group in held if group not in found]
            if len(left) < _ENOUGH or part in {found.get(group) for group in held}:
                continue
            # A group may hold other classes as well, and be the last one of them.
            spare = (group for group in left if all(learns[key] > 1 for key in classes[group]))
            if (group := next(spare, None)) is not None:
                found[group] = part
                learns.subtract(classes[group])
    return found


def _place(group: str, seed: int) -> float:
    """From 0 to below 1, the same for a group in every training of a project."""
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56
