"""Trainings as the command line and the app show them.

Functions return what `labelloop train --json` prints.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.catalog import runs as run_rows
from curation.errors import InputError
from curation.progress import Report, silent
from curation.workspace import Project

if TYPE_CHECKING:
    from training.asked import Asked


def train(
    project: Project,
    *,
    kind: str = "auto",
    settings: Mapping[str, Any] | None = None,
    minutes: float | None = None,
    seed: int | None = None,
    processes: int = 1,
    rules: bool = False,
    fresh: bool | str = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Trains a model on the labels as they are, or goes on with what was interrupted.

    Whoever gets the answer says so by `answered`; until then, the same words get the same run.
    """
    from training import experiments

    asked = _asked(kind, settings, minutes, seed, processes, rules=rules)
    return show(project, experiments.train(project, asked, fresh=fresh, report=report))


def answered(project: Project, run_id: str) -> None:
    """Notes that whoever asked for a run was told of it: the same words now train anew."""
    from training import begun

    with project.catalog.write() as connection:
        begun.answered(connection, run_id)


def prepare(
    project: Project,
    *,
    kind: str = "auto",
    settings: Mapping[str, Any] | None = None,
    minutes: float | None = None,
    seed: int | None = None,
    processes: int = 1,
    rules: bool = False,
    fresh: bool | str = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Writes what a training learns from and how, for several machines to fit."""
    from training import experiments

    asked = _asked(kind, settings, minutes, seed, processes, rules=rules)
    run_id = experiments.prepare(project, asked, fresh=fresh, report=report)
    command = ("torchrun", "-m", "training.worker", str(project.workspace.path))
    return {
        **show(project, run_id),
        "command": shlex.join([*command, project.record.name, run_id]),
    }


def _asked(
    kind: str,
    settings: Mapping[str, Any] | None,
    minutes: float | None,
    seed: int | None,
    processes: int,
    *,
    rules: bool,
) -> "Asked":
    from training.asked import Asked

    given = dict(settings or {})
    named = given.pop("kind", kind)
    if kind not in {"auto", named}:
        raise InputError(f"--kind {kind} does not fit settings of kind {named!r}.")
    return Asked(
        kind=named,
        settings=given,
        minutes=minutes,
        seed=seed,
        processes=processes,
        rules=rules,
    )


def show(project: Project, run_id: str) -> dict[str, Any]:
    """One run with all that is known about it."""
    with project.catalog.read() as connection:
        row = run_rows.get(connection, run_id)
    about = row["about"]
    material = about.get("material", {})
    return {
        "run": row["id"],
        "state": row["state"],
        "kind": row["kind"],
        "champion": row["champion"],
        "tags": row["tags"],
        "created_at": f"{row['created_at']:%Y-%m-%d %H:%M}",
        "snapshot": row["snapshot_id"],
        "labels": about.get("labels"),
        "images": material.get("images", {}),
        "origins": material.get("origins", {}),
        "settings": row["settings"],
        "reasons": about.get("reasons", []),
        "seed": row["seed"],
        "epochs": about.get("epochs", 0),
        "judged_on": about.get("judged_on", ""),
        "metrics": row["metrics"],
        "validation": about.get("validation", {}),
        "slices": about.get("slices", []),
        "temperature": about.get("temperature"),
        "diagnosis": about.get("diagnosis", []),
        "notes": _kept(
            [about.get("begun", ""), *material.get("notes", []), about.get("calibration", "")]
        ),
        "says": about.get("says", ""),
        "parents": about.get("parents", []),
        "seconds": about.get("seconds", {}),
        "files": about.get("files", {}),
        "folder": str(project.workspace.folder("runs") / row["id"]),
    }


def _kept(lines: list[str]) -> list[str]:
    return [line for line in lines if line]


def read_settings(path: Path | None, given: list[str]) -> dict[str, Any]:
    """Settings of a TOML file and of `name=value` words, which win.

    Raises:
        InputError: the file cannot be read, or a word is no `name=value`.
    """
    import tomllib

    from training import settings

    found = settings.read(path) if path else {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or not name.strip():
            raise InputError(f"--set {word!r}: write it as NAME=VALUE, as in --set epochs=5.")
        try:
            found[name.strip()] = tomllib.loads(f"value = {value.strip()}")["value"]
        except tomllib.TOMLDecodeError:
            found[name.strip()] = value.strip()  # a word without quotes
    return found
