"""Recipes: which transforms, how strong and how often; shipped ones and people's own TOML files.

name = "gentle"
version = 1
description = "Small turns."
mirrors = false            # a promise: no step may mirror

[[steps]]
transform = "Affine"
p = 0.8
rotate = [-5, 5]
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.augmentation.transforms import TRANSFORMS
from curation.errors import InputError, NotFound

SHIPPED = Path(__file__).with_name("shipped")
MOST_STEPS = 30
_KEYS = ("name", "version", "description", "mirrors", "steps")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,60}")
_LARGEST_FILE = 100_000


@dataclass(frozen=True)
class Step:
    """One transform.

    Attributes:
        transform: albumentations' name.
        p: how probably it is applied to an image, 0 to 1.
        parameters: as the file has them; the rest keep albumentations' defaults.
    """

    transform: str
    p: float
    parameters: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """As a row of `steps` in the file."""
        return {"transform": self.transform, "p": self.p, **self.parameters}


@dataclass(frozen=True)
class Recipe:
    """A named, versioned list of steps, applied in this order.

    Attributes:
        version: 1 or more; another one whenever a step changes.
        mirrors: whether an image may come out mirrored. Where it is false, no step can do so.
        origin: `shipped`, or the file.
    """

    name: str
    version: int
    description: str
    mirrors: bool
    steps: tuple[Step, ...]
    origin: str

    def as_json(self) -> dict[str, Any]:
        """What the file says."""
        return {
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "mirrors": self.mirrors,
            "steps": [step.as_json() for step in self.steps],
        }

    @property
    def digest(self) -> str:
        """12 hex digits over all that decides how images come out."""
        steps = [step.as_json() for step in self.steps]
        content = json.dumps([self.name, self.version, steps], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def too_small(self, width: int, height: int) -> str:
        """Why an image of this size cannot be cropped as the recipe wants; empty if it can."""
        for step in self.steps:
            if step.transform == "RandomResizedCrop":
                height, width = step.parameters["size"]
            if step.transform == "RandomCrop":
                high, wide = step.parameters["height"], step.parameters["width"]
                if width < wide or height < high:
                    return f"smaller than the crop of {wide} x {high} pixels"
                width, height = wide, high
        return ""


def shipped() -> tuple[str, ...]:
    """The names of the recipes that come with labelloop, the mildest general one first."""
    order = ("light", "standard", "strong")
    found = {path.stem for path in SHIPPED.glob("*.toml")}
    return (*order, *sorted(found.difference(order)))


def find(name: str, *, folder: Path | None = None) -> Recipe:
    """The recipe of this name, or in this file.

    Args:
        name: of a shipped recipe or of one in the folder; or the path of a `.toml` file.
        folder: with people's own recipes, `NAME.toml` each.

    Raises:
        NotFound: there is none of that name.
        InputError: the file cannot be read, or says what cannot be done.
    """
    if name.endswith(".toml"):
        return _read(Path(name).expanduser())
    own = folder / f"{name}.toml" if folder and _NAME.fullmatch(name) else None
    if name in shipped():
        if own is not None and own.exists():
            raise InputError(
                f"{own} has the name of a recipe that comes with labelloop, so that nobody could "
                "tell which was used. Rename the file and the name in it."
            )
        return _read(SHIPPED / f"{name}.toml", origin="shipped")
    if own is not None and own.exists():
        return _read(own)
    choices = [*shipped(), *_own_names(folder)]
    raise NotFound(
        f"No recipe {name!r}. Choose one of: {', '.join(choices)}; or give the path of a .toml "
        "file in the form that `labelloop augment --show light` prints."
    )


def every(folder: Path | None = None) -> Iterator[Recipe]:
    """All recipes: the shipped ones, then those in the folder.

    Raises:
        InputError: as `find`.
    """
    for name in (*shipped(), *_own_names(folder)):
        yield find(name, folder=folder)


def text(recipe: Recipe) -> str:
    """The recipe's file."""
    path = SHIPPED / f"{recipe.name}.toml" if recipe.origin == "shipped" else Path(recipe.origin)
    return path.read_text(encoding="utf-8")


def parse(content: str, *, origin: str) -> Recipe:
    """Understand a recipe and check every value in it.

    Args:
        content: TOML.
        origin: the file, for messages.

    Raises:
        InputError: naming the file, the step, the value and the choices.
    """
    try:
        values = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{origin} is not valid TOML: {error}. Mend that line.") from error
    unknown = sorted(set(values) - set(_KEYS))
    if unknown:
        raise InputError(f"{origin}: unknown {', '.join(unknown)}. Known: {', '.join(_KEYS)}.")
    name, version, mirrors = values.get("name"), values.get("version"), values.get("mirrors", True)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(
            f"{origin}: name is {name!r}; give small letters, digits, dots and dashes."
        )
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError(f"{origin}: version is {version!r}; give a whole number from 1 on.")
    if not isinstance(mirrors, bool):
        raise InputError(f"{origin}: mirrors is {mirrors!r}; give true or false.")
    description = values.get("description", "")
    if not isinstance(description, str):
        raise InputError(f"{origin}: description is {description!r}; give a text in quotes.")
    steps = values.get("steps")
    if not isinstance(steps, list) or not 1 <= len(steps) <= MOST_STEPS:
        raise InputError(
            f"{origin} has no list of 1 to {MOST_STEPS} steps. Begin each with a line [[steps]]."
        )
    return Recipe(
        name=name,
        version=version,
        description=description,
        mirrors=mirrors,
        steps=tuple(
            _step(step, mirrors=mirrors, where=f"{origin}, step {number}")
            for number, step in enumerate(steps, start=1)
        ),
        origin=origin,
    )


def _own_names(folder: Path | None) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.toml")) if folder else []


def _read(path: Path, *, origin: str = "") -> Recipe:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise InputError(f"{path} is too large for a recipe. Name a TOML file with steps.")
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text. Save the recipe as UTF-8.") from error
    except OSError as error:
        raise InputError(f"Cannot read the recipe {path}: {error.strerror}.") from error
    found = parse(content, origin=origin or str(path))
    if not origin and found.name in shipped():
        raise InputError(
            f"{path}: the name {found.name!r} is that of a recipe that comes with labelloop. "
            "Choose another, so that copies say which one made them."
        )
    return found


def _step(values: Any, *, mirrors: bool, where: str) -> Step:
    if not isinstance(values, dict):
        raise InputError(f"{where} is {values!r}; give a table with transform and p.")
    name = values.get("transform")
    if name not in TRANSFORMS:
        raise InputError(
            f"{where}: no transform {name!r} may be used. Choose from: {', '.join(TRANSFORMS)}."
        )
    p = values.get("p")
    if not isinstance(p, int | float) or isinstance(p, bool) or not 0 <= p <= 1:
        raise InputError(f"{where} ({name}): p is {p!r}; give a number from 0 to 1.")
    known = TRANSFORMS[name]
    if known.mirrors and not mirrors:
        raise InputError(
            f"{where}: {name} mirrors, and the recipe promises not to (mirrors = false). Take the "
            "step out, or set mirrors = true."
        )
    given = {key: value for key, value in values.items() if key not in {"transform", "p"}}
    for key, value in given.items():
        if key not in known.parameters:
            choices = ", ".join(known.parameters) or "none besides p"
            raise InputError(f"{where}: {name} has no parameter {key!r} here. Known: {choices}.")
        if fault := known.parameters[key].fault(value):
            raise InputError(f"{where} ({name}): {key} is {value!r}; give {fault}.")
    missing = [key for key in known.required if key not in given]
    if missing:
        raise InputError(f"{where}: {name} needs {' and '.join(missing)}.")
    return Step(name, float(p), given)
