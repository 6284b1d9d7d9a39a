"""Rules: what somebody knows about images, as conditions on what is known of each.

A rule votes for a class where all of its conditions hold, and abstains elsewhere. Rules come from a
TOML file, of which nothing is ever run, or are Python functions:

    [[rule]]
    name = "panorama"
    class = "landscape"
    when = [{ field = "aspect", above = 2.5 }]

    [[rule]]
    name = "like its neighbours"
    class-from = "neighbour"
    when = [{ field = "neighbour.agreement", at-least = 0.8 }]
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import regex

from curation.errors import InputError
from curation.records import ProjectRecord
from labeling.rules.fields import CLASS_FIELDS, FIELDS, METADATA, NUMBER, TEXT

NUMERIC = ("above", "below", "at-least", "at-most", "between")
TEXTUAL = ("is", "in", "contains", "starts-with", "ends-with", "matches")
MOST_RULES = 500
MOST_CONDITIONS = 50
LONGEST_PATTERN = 500
_KEYS = {"name", "class", "class-from", "when", "unless"}

Value = str | float | tuple[str, ...] | tuple[float, float]


@dataclass(frozen=True)
class Condition:
    """One field, one comparison, one value; `regex.Pattern`s are compiled where they are used."""

    field: str
    operator: str
    value: Value

    def as_json(self) -> dict[str, Any]:
        """As the file has it."""
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        return {"field": self.field, self.operator: value}


@dataclass(frozen=True)
class Rule:
    """A class where all conditions of `when` hold and none of `unless`.

    Attributes:
        class_name: that it votes for; empty where the class is read from a field.
        class_from: the field whose value is the class; empty where the class is given.
        when, unless: conditions.
    """

    name: str
    class_name: str
    class_from: str
    when: tuple[Condition, ...]
    unless: tuple[Condition, ...] = ()

    @property
    def fields(self) -> frozenset[str]:
        """All that it looks at."""
        found = {one.field for one in (*self.when, *self.unless)}
        return frozenset(found | {self.class_from} if self.class_from else found)

    def as_json(self) -> dict[str, Any]:
        """As the file has it."""
        target = {"class-from": self.class_from} if self.class_from else {"class": self.class_name}
        found = {"name": self.name, **target, "when": [one.as_json() for one in self.when]}
        return found | ({"unless": [one.as_json() for one in self.unless]} if self.unless else {})


@dataclass(frozen=True)
class Function:
    """A rule in Python: from the fields of an image to the name of a class, or None to abstain."""

    name: str
    call: Callable[[Mapping[str, Any]], str | None]
    fields: frozenset[str]

    def as_json(self) -> dict[str, Any]:
        """Its name and fields; what it does stays in Python."""
        return {"name": self.name, "python": True, "fields": sorted(self.fields)}


Rules = Sequence[Rule | Function]


def read(path: Path, record: ProjectRecord) -> list[Rule]:
    """The rules of a TOML file.

    Raises:
        InputError: the file cannot be read, or a rule is none; the message names it.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"Cannot read the rules in {path}: {error}.") from error
    rows = found.pop("rule", [])
    if found or not isinstance(rows, list) or not rows:
        extra = f" It also holds {', '.join(map(repr, found))}." if found else ""
        raise InputError(
            f"{path} holds no list of rules: each begins with [[rule]].{extra} See "
            "docs/how-to/machine-labels.md."
        )
    if len(rows) > MOST_RULES:
        raise InputError(f"{path} holds {len(rows):,} rules; at most {MOST_RULES} are applied.")
    rules = [_rule(row, number, record, path) for number, row in enumerate(rows, start=1)]
    check_names(rules)
    return rules


def check_names(rules: Rules) -> None:
    """Raises InputError where two rules have one name."""
    names = [rule.name for rule in rules]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"Two rules are called {twice[0]!r}. Give each a name of its own.")


def of_functions(
    functions: Sequence[Callable[[Mapping[str, Any]], str | None]],
) -> list[Function]:
    """Rules of Python functions, called by their names.

    A function may say in its attribute `fields` what it looks at; otherwise it gets what is known
    without decoding an image or asking a model.
    """
    found = []
    for call in functions:
        name = getattr(call, "__name__", "")
        if not callable(call) or not name or name == "<lambda>":
            raise InputError(f"{call!r} is no function with a name. Define it with `def`.")
        fields = frozenset(getattr(call, "fields", CHEAP))
        for field in fields:
            _check_field(field, where=f"Function {name}")
        found.append(Function(name, call, fields))
    check_names(found)
    return found


CHEAP = frozenset(name for name, kind in FIELDS.items() if kind.is_cheap) | {METADATA}


def _rule(row: Any, number: int, record: ProjectRecord, path: Path) -> Rule:
    if not isinstance(row, dict) or not isinstance(row.get("name", ""), str):
        raise InputError(f"{path}: rule {number} is no table with a name.")
    name = row.get("name", "").strip()
    where = f"{path}: rule {name!r}" if name else f"{path}: rule {number}"
    if not name:
        raise InputError(f"{where} has no name. Write name = ... into it.")
    if unknown := set(row) - _KEYS:
        raise InputError(
            f"{where} has {', '.join(sorted(unknown))}, which mean nothing. Known: "
            f"{', '.join(sorted(_KEYS))}."
        )
    class_name, class_from = row.get("class", ""), row.get("class-from", "")
    if bool(class_name) == bool(class_from):
        raise InputError(f"{where} needs either class = ... or class-from = ...")
    if class_from and class_from not in CLASS_FIELDS and not _is_metadata(class_from):
        raise InputError(
            f"{where} reads its class from {class_from!r}. Classes can be read from "
            f"{', '.join(CLASS_FIELDS)} and metadata.COLUMN."
        )
    if class_name and class_name not in record.ids_by_name:
        raise InputError(
            f"{where} votes for {class_name!r}, which is no class of the project: "
            f"{', '.join(record.classes)}."
        )
    when = tuple(_condition(one, where) for one in _list(row.get("when", []), where))
    unless = tuple(_condition(one, where) for one in _list(row.get("unless", []), where))
    if not when and not unless and not class_from:
        raise InputError(f"{where} has no condition; it would vote for every image.")
    current = record.current_names([class_name])[0] if class_name else ""
    return Rule(name, current, class_from, when, unless)


def _list(value: Any, where: str) -> list[Any]:
    rows = [value] if isinstance(value, dict) else value
    if not isinstance(rows, list) or len(rows) > MOST_CONDITIONS:
        raise InputError(
            f"{where}: write its conditions as a list of at most {MOST_CONDITIONS}, as in when = "
            "[{ field = 'width', above = 100 }]."
        )
    return rows


def _condition(row: Any, where: str) -> Condition:
    if not isinstance(row, dict) or not isinstance(row.get("field"), str):
        raise InputError(f"{where} has the condition {row!r}, which names no field.")
    field = row["field"]
    kind = _check_field(field, where=where)
    operators = [key for key in row if key != "field"]
    # Metadata is text, and may hold numbers.
    known = {TEXT: TEXTUAL, NUMBER: NUMERIC}[kind] if field in FIELDS else TEXTUAL + NUMERIC
    if len(operators) != 1 or operators[0] not in known:
        raise InputError(
            f"{where}: the condition on {field} needs exactly one of {', '.join(known)}; it has "
            f"{', '.join(map(str, operators)) or 'none'}."
        )
    operator = operators[0]
    return Condition(field, operator, _value(row[operator], operator, f"{where}: {field}"))


def _value(value: Any, operator: str, where: str) -> Value:
    if operator == "between":
        if not isinstance(value, list) or len(value) != 2 or not all(map(_is_number, value)):
            raise InputError(f"{where} between {value!r}: give two numbers, as in [0.5, 2].")
        return float(value[0]), float(value[1])
    if operator in NUMERIC:
        if not _is_number(value):
            raise InputError(f"{where} {operator} {value!r}: give a number.")
        return float(value)
    if operator == "in":
        if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
            raise InputError(f"{where} in {value!r}: give a list of texts.")
        return tuple(value)
    if not isinstance(value, str):
        raise InputError(f"{where} {operator} {value!r}: give a text.")
    if operator == "matches":
        if len(value) > LONGEST_PATTERN:
            raise InputError(f"{where} matches a pattern of more than {LONGEST_PATTERN} letters.")
        try:
            regex.compile(value)
        except regex.error as error:
            raise InputError(f"{where} matches {value!r}, which is no pattern: {error}.") from error
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_metadata(field: str) -> bool:
    return field.startswith(f"{METADATA}.") and len(field) > len(METADATA) + 1


def _check_field(field: str, *, where: str) -> str:
    """Its kind.

    Raises:
        InputError: there is no such field.
    """
    if field in FIELDS:
        return FIELDS[field].kind
    if field == METADATA or _is_metadata(field):
        return TEXT
    close = get_close_matches(field, FIELDS, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise InputError(
        f"{where} looks at {field!r}, which is no field.{hint} Fields: {', '.join(FIELDS)}, "
        "metadata.COLUMN."
    )
