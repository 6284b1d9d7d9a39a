"""What is asked of a training, in the user's words."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from curation.errors import InputError
from training import auto

HIGHEST_SEED = 2**32 - 1
"""scikit-learn takes none above."""

MOST_MINUTES = 1_000_000


@dataclass(frozen=True)
class Asked:
    """What the user wants of a training.

    Attributes:
        kind: `auto`, or of `settings.KINDS`.
        settings: in kebab-case, those that are not to be chosen automatically.
        minutes: that fine-tuning may take; chosen automatically if None.
        seed: of all randomness; the project's if None.
        processes: on this machine that train together.
        parents: ids of runs that this one was made from.
        rules: learn from what the rules in force say as well.
    """

    kind: str = "auto"
    settings: Mapping[str, Any] = field(default_factory=dict)
    minutes: float | None = None
    seed: int | None = None
    processes: int = 1
    parents: tuple[str, ...] = ()
    rules: bool = False

    def as_json(self) -> dict[str, Any]:
        """As the run keeps it."""
        return {
            "kind": self.kind,
            "settings": dict(sorted(self.settings.items())),
            "minutes": self.minutes,
            "seed": self.seed,
            "processes": self.processes,
            "parents": list(self.parents),
            # Runs of before know no such word.
            **({"rules": True} if self.rules else {}),
        }

    def is_of(self, about: Mapping[str, Any]) -> bool:
        """Whether a run was asked for in these words; how many processes train it is its own."""
        kept = about.get("asked") or {}
        return {**kept, "processes": self.processes} == self.as_json()

    def checked(self) -> "Asked":
        """The same, with paths that hold in any folder.

        Raises:
            NotFound, InputError, TrainingError: no training could be done so.
        """
        if self.minutes is not None and not 0 < self.minutes <= MOST_MINUTES:
            raise InputError(
                f"--minutes is {self.minutes:g}; give a number above 0 up to {MOST_MINUTES:,}."
            )
        if self.seed is not None and not 0 <= self.seed <= HIGHEST_SEED:
            raise InputError(
                f"--seed is {self.seed}; give a whole number from 0 to {HIGHEST_SEED}."
            )
        if self.processes < 1:
            raise InputError(f"--processes is {self.processes}; give at least 1.")
        auto.check(self.kind, self.settings)
        return replace(self, settings={k: absolute(k, v) for k, v in self.settings.items()})


def absolute(name: str, value: Any) -> Any:
    """A setting that names a file, whatever folder the training goes on from."""
    is_path = name == "weights" or (name == "augmentation" and str(value).endswith(".toml"))
    return str(Path(value).expanduser().resolve()) if is_path and value else value
