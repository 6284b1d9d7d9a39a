"""Whether conditions hold, for many images at once."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import regex
from numpy.typing import NDArray

from curation.errors import InputError
from labeling.rules.definitions import NUMERIC, Condition, Rule
from labeling.rules.fields import Columns

Flags = NDArray[np.bool_]

PATTERN_SECONDS = 0.1
"""That a pattern may take on one text: some take longer than the universe is old."""


def holds(rule: Rule, columns: Columns) -> Flags:
    """(n,) where a rule's conditions hold.

    Raises:
        InputError: a pattern takes too long.
    """
    found = np.ones(len(columns["name"]), dtype=bool)
    for condition in rule.when:
        found &= _one(condition, columns, found, rule.name)
    for condition in rule.unless:
        found &= ~_one(condition, columns, found, rule.name)
    return found


def _one(condition: Condition, columns: Columns, among: Flags, rule: str) -> Flags:
    """(n,) where a condition holds; it is not looked at outside `among`."""
    values = columns[condition.field]
    if condition.operator in NUMERIC:
        numbers = values if values.dtype != object else _numbers(values)
        return np.asarray(_COMPARE[condition.operator](numbers, condition.value))
    if condition.operator == "matches":
        return _matches(condition, values, among, rule)
    test = _TEXTS[condition.operator]
    wanted = condition.value
    return _flags(test(str(value), wanted) for value in values)


def _numbers(values: NDArray[Any]) -> NDArray[np.float64]:
    """Texts as numbers; NaN where they are none."""
    found = np.full(len(values), np.nan)
    for at, value in enumerate(values):
        try:
            found[at] = float(value)
        except ValueError:
            continue
    return found


_COMPARE: dict[str, Callable[[NDArray[np.float64], Any], Flags]] = {
    "above": lambda values, limit: values > limit,
    "below": lambda values, limit: values < limit,
    "at-least": lambda values, limit: values >= limit,
    "at-most": lambda values, limit: values <= limit,
    "between": lambda values, ends: (values >= ends[0]) & (values <= ends[1]),
}

_TEXTS: dict[str, Callable[[str, Any], bool]] = {
    "is": lambda value, wanted: value == wanted,
    "in": lambda value, wanted: value in wanted,
    "contains": lambda value, wanted: wanted in value,
    "starts-with": lambda value, wanted: value.startswith(wanted),
    "ends-with": lambda value, wanted: value.endswith(wanted),
}


def _flags(values: Iterable[bool]) -> Flags:
    return np.fromiter(values, dtype=bool)


@lru_cache(maxsize=1024)
def _pattern(text: str) -> Any:
    return regex.compile(text)


def _matches(condition: Condition, values: NDArray[Any], among: Flags, rule: str) -> Flags:
    found = np.zeros(len(values), dtype=bool)
    pattern = _pattern(str(condition.value))
    for at in np.flatnonzero(among):
        try:
            found[at] = pattern.search(values[at], timeout=PATTERN_SECONDS) is not None
        except TimeoutError as error:
            raise InputError(
                f"Rule {rule!r}: the pattern {condition.value!r} takes more than "
                f"{PATTERN_SECONDS:g} s on {values[at]!r}. Write it without repeats inside "
                "repeats, or use contains, starts-with or ends-with."
            ) from error
    return found
