"""What a split is asked for: its parts with their shares, and what must stay together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from curation.catalog.splits import PARTS
from curation.errors import InputError

SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}
BY_LABEL, BY_NOTHING = "label", "none"
MOST_FOLDS = 100
_LONGEST_NAME = 80


@dataclass(frozen=True)
class Settings:
    """How a split was made, which is how later images join it.

    Attributes:
        shares: by part, summing to 1.
        folds: how many; 0 where the parts are train, validation and test.
        by: metadata columns whose values stay whole; near-duplicates always do.
        stratify: `label`, `none` or a metadata column.
        imported: whether the parts were adopted from the import.
        with_reserve: whether the reserve's images are in the folds.
        reserve_first: whether the reserve had been drawn before, so that the split followed it.
    """

    shares: dict[str, float]
    folds: int = 0
    by: tuple[str, ...] = ()
    stratify: str = BY_LABEL
    imported: bool = False
    with_reserve: bool = False
    reserve_first: bool = False


@dataclass(frozen=True)
class Asked:
    """What the user asked for; none for what was left open."""

    shares: Mapping[str, float] | None = None
    folds: int | None = None
    by: Sequence[str] | None = None
    stratify: str | None = None
    imported: bool = False
    with_reserve: bool = False

    def settings(self) -> Settings:
        """The settings of a new split.

        Raises:
            InputError: shares or folds cannot be used.
        """
        if self.imported and (self.shares is not None or self.folds is not None):
            raise InputError(
                "An imported split has its own parts. Leave out shares and folds, or "
                "--from-imported."
            )
        if self.shares is not None and self.folds is not None:
            raise InputError("A split has either shares or folds. Leave out one of them.")
        if self.with_reserve and self.folds is None:
            raise InputError(
                "--with-reserve belongs to --folds: validation and test always hold the reserve."
            )
        if self.folds is not None:
            check_folds(self.folds)
            parts = {f"fold-{number}": 1 / self.folds for number in range(1, self.folds + 1)}
        else:
            parts = check_shares(SHARES if self.shares is None else self.shares)
        return Settings(
            shares={} if self.imported else parts,
            folds=self.folds or 0,
            by=_columns(self.by or ()),
            stratify=self.stratify or BY_LABEL,
            imported=self.imported,
            with_reserve=self.with_reserve,
        )

    def check_against(self, settings: Settings, name: str) -> None:
        """Compares with a split that is there.

        Raises:
            InputError: something else was asked for than it was made with.
        """
        asked: dict[str, tuple[object, object]] = {}
        if self.shares is not None:
            asked["shares"] = check_shares(self.shares), settings.shares
        if self.folds is not None:
            asked["folds"] = self.folds, settings.folds
        if self.by is not None:
            asked["by"] = _columns(self.by), settings.by
        if self.stratify is not None:
            asked["stratify"] = self.stratify, settings.stratify
        if self.imported:
            asked["from-imported"] = True, settings.imported
        if self.with_reserve:
            asked["with-reserve"] = True, settings.with_reserve
        for option, (wanted, there) in asked.items():
            if wanted != there:
                raise InputError(
                    f"The split {name!r} was made with {option}: {_said(there)}; asked for is "
                    f"{_said(wanted)}. Its images stay where they are, so make another one with "
                    f"--name, or remove this one with `labelloop split --remove {name} --yes`."
                )


def as_json(settings: Settings) -> dict[str, Any]:
    """The settings as the catalog holds them."""
    return asdict(settings) | {"by": list(settings.by)}


def from_json(values: Mapping[str, Any]) -> Settings:
    """What `as_json` gave."""
    known = {key: values[key] for key in Settings.__dataclass_fields__ if key in values}
    return Settings(**{**known, "by": tuple(values.get("by", ()))})


def parse_shares(text: str) -> dict[str, float]:
    """The shares in `70/15/15`, `0.7/0.15/0.15`, or `80/20` for train and test.

    Raises:
        InputError: these are not two or three numbers that sum to 1 or 100.
    """
    words = [word.strip().removesuffix("%").strip() for word in text.split("/")]
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3):
        raise InputError(
            f"Cannot read the shares {text!r}. Give train/validation/test, as in 70/15/15, or "
            "train/test, as in 80/20."
        )
    if len(numbers) == 2:
        numbers.insert(1, 0.0)
    if math.fsum(numbers) > 1.5:  # percent
        if abs(math.fsum(numbers) - 100) > 0.01:
            raise InputError(
                f"The shares {text} sum to {math.fsum(numbers):g}, not to 100. Mend one of them."
            )
        numbers = [number / 100 for number in numbers]
    return check_shares(dict(zip(PARTS, numbers, strict=True)))


def check_shares(shares: Mapping[str, float]) -> dict[str, float]:
    """The shares of train, validation and test, those left out being 0.

    Raises:
        InputError: an unknown part, a number outside 0 to 1, a sum that is not 1, or one part only.
    """
    unknown = [part for part in shares if part not in PARTS]
    if unknown:
        raise InputError(f"No part {unknown[0]!r}. The parts are {', '.join(PARTS)}.")
    full = {part: float(shares.get(part, 0.0)) for part in PARTS}
    said = ", ".join(f"{part} {share:g}" for part, share in full.items())
    if not all(0 <= share <= 1 for share in full.values()):
        raise InputError(f"A share is between 0 and 1; these are {said}.")
    if abs(math.fsum(full.values()) - 1) > 1e-4:
        raise InputError(
            f"The shares sum to {math.fsum(full.values()):g}, not to 1: {said}. Mend one of them."
        )
    if not full["train"] or sum(share > 0 for share in full.values()) < 2:
        raise InputError(f"A split needs train and one part more; the shares are {said}.")
    return full


def check_folds(folds: int) -> None:
    """Whether so many folds can be made.

    Raises:
        InputError: fewer than 2 or more than 100.
    """
    if not 2 <= folds <= MOST_FOLDS:
        raise InputError(f"{folds} folds cannot be made. Ask for 2 to {MOST_FOLDS}.")


def check_name(name: str) -> None:
    """Whether a split may have this name.

    Raises:
        InputError: it is empty, too long or not printable.
    """
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InputError(
            f"Not a usable name of a split: {name!r}. Use 1 to {_LONGEST_NAME} visible characters."
        )


def _columns(by: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(dict.fromkeys(by)))


def _said(value: object) -> str:
    if isinstance(value, dict):
        return "/".join(f"{100 * share:g}" for share in value.values()) or "none"
    if isinstance(value, tuple):
        return ",".join(value) or "no column"
    return (
        {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else f"{value}"
    )
