"""Searches for settings on disk: what each was begun with, its trials, and the best of them.

A study has one Optuna study for each kind of training, `p<project>-<name>-<key>-<kind>`, its key
drawn anew so that several workspaces can use one database; and a folder
tuning/p<project>-<name>/ in the workspace:

study.json            what it was begun with
rows.parquet          the labels of then; labels that came later belong to another study
trials/               checkpoints of trials under way
<kind>.safetensors    the best model of a kind, and <kind>.json, which trial it is of
best.toml             the best settings, as `labelloop train --settings` takes them
history.png, importance.png
"""

import json
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curation import features, files
from curation.catalog import labels
from curation.catalog import tuning as databases
from curation.errors import InputError, NotFound, TrainingError
from curation.progress import Report, silent
from curation.workspace import Project
from training import auto, choices
from training import material as materials
from training.heads import targets as target_rows
from training.material import Material
from training.material.parts import LEAST_GROUPS
from training.settings import STEERING, FineTuneSettings, HeadSettings
from training.tuning.bench import Bench
from training.tuning.study import Study

KINDS = ("head", "mlp", "fine-tune")
"""In the order in which they are searched."""

SAMPLERS = ("tpe", "random", "grid")
DEFAULTS = {"kind": auto.AUTO, "sampler": SAMPLERS[0], "metric": "balanced-accuracy"}

_SAME_TIME = 4
"""Fine-tunings that the time for them should hold."""

_ABOUT = "study.json"


@dataclass(frozen=True)
class Asked:
    """What is searched; an empty word is what the study has, or the default.

    Attributes:
        kind: `auto` for all that suit the labels, or one of `KINDS`.
        sampler: of `SAMPLERS`.
        metric: of `settings.STEERING`, on validation.
        study: its name; the kind's if empty.
        backbones: that fine-tuning may start from.
        seed: the project's if None.
        storage: address of a database for trials; `tuning.sqlite3` of the workspace if empty.
        minutes: for the whole search, by which fine-tuning is cut out; chosen if None.
    """

    kind: str = ""
    sampler: str = ""
    metric: str = ""
    study: str = ""
    backbones: tuple[str, ...] = ()
    seed: int | None = None
    storage: str = ""
    minutes: float | None = None


def begin(project: Project, asked: Asked, *, report: Report = silent) -> Study:
    """The study of this name, or a new one of the labels as they are.

    Raises:
        InputError: an option that cannot be used, or that differs from what the study has.
        TrainingError: labels that allow no search.
        BackboneError: a backbone whose weights cannot be had.
    """
    _check(asked)
    kind = asked.kind or DEFAULTS["kind"]
    name = asked.study or kind
    home = _home(project, name)
    if (home / _ABOUT).exists():
        found = find(project, name, storage=asked.storage)
        _check_same(found, asked)
        return found
    url = databases.address(project.workspace.path, asked.storage)
    _check_backbones(asked.backbones, report)
    prepared = features.prepare(project, report=report)
    home.mkdir(parents=True, exist_ok=True)
    material = materials.freeze(project, home, report=report)
    _check_labels(material)
    enough = len(material.train) >= auto.LEAST_LABELS
    kinds = (kind,) if kind != auto.AUTO else KINDS if enough else KINDS[:2]
    report(0, 0, "choose settings")
    base, reasons = _base(project, material, kinds, asked, backbone=prepared.backbone)
    with project.catalog.read() as connection:
        count = labels.count(connection, project.id)
    facts = {
        "kind": kind,
        "kinds": list(kinds),
        "sampler": asked.sampler or DEFAULTS["sampler"],
        "metric": asked.metric or DEFAULTS["metric"],
        "seed": project.record.seed if asked.seed is None else asked.seed,
        "backbones": list(asked.backbones),
        "backbone": prepared.backbone,
        "fingerprint": prepared.fingerprint,
        "fixed": _fixed(project, material, backbone=prepared.backbone),
        "base": base,
        "reasons": reasons,
        "labels": count,
        "storage": databases.kept(asked.storage),
        "key": secrets.token_hex(8),
        "material": material.as_json(),
    }
    files.write_json(home / _ABOUT, facts)
    return _study(project, name, facts, material, url)


def find(project: Project, name: str, *, storage: str = "") -> Study:
    """A study that was begun.

    Args:
        project: whose it is.
        name: of the study.
        storage: the database's address with its password, which is not kept.

    Raises:
        NotFound: there is none of this name.
        TrainingError: its files are damaged.
    """
    path = _home(project, name) / _ABOUT
    if not path.exists():
        known = ", ".join(every(project)) or "none yet"
        raise NotFound(f"No study {name!r}. There are: {known}. `labelloop tune` begins one.")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{path} cannot be read ({type(error).__name__}). Restore it from a backup, or begin "
            "another study with --study NAME."
        ) from error
    url = databases.address(project.workspace.path, storage or facts["storage"])
    material = materials.load(path.parent, facts["material"])
    return _study(project, name, facts, material, url)


def every(project: Project) -> list[str]:
    """The names of a project's studies."""
    start = f"p{project.id}-"
    found = project.workspace.folder("tuning").glob(f"{start}*/{_ABOUT}")
    return sorted(path.parent.name.removeprefix(start) for path in found)


def _home(project: Project, name: str) -> Path:
    return project.workspace.folder("tuning") / f"p{project.id}-{name}"


def _study(
    project: Project, name: str, facts: dict[str, Any], material: Material, url: str
) -> Study:
    bench = Bench(
        project=project,
        material=material,
        backbone=facts["backbone"],
        fingerprint=facts["fingerprint"],
        metric=facts["metric"],
        seed=facts["seed"],
        home=_home(project, name),
    )
    return Study(name, facts, bench, url)


def _fixed(project: Project, material: Material, *, backbone: str) -> dict[str, Any]:
    """What the balance plan settles, so that no trial varies it; by its name alone, as kinds share
    none of these but the class weights.
    """
    wanted = choices.of_fine_tuning(project, material, backbone=backbone)
    recipe = {"augmentation": wanted["augmentation"][0]} if "augmentation" in wanted else {}
    return {**choices.of_weights(material), **recipe}


def _base(
    project: Project,
    material: Material,
    kinds: tuple[str, ...],
    asked: Asked,
    *,
    backbone: str,
) -> tuple[dict[str, Any], list[str]]:
    """Complete settings of each kind, which the search varies; and why they are so."""
    base: dict[str, Any] = {}
    reasons: list[str] = []
    minutes = auto.MINUTES if asked.minutes is None else asked.minutes
    for kind in kinds:
        own: dict[str, Any] = {}
        if kind == HeadSettings.kind:
            own["search"] = False  # the strength is what trials vary
        if kind == FineTuneSettings.kind:
            own["metric"] = asked.metric or DEFAULTS["metric"]
            own["backbone"] = asked.backbones[0] if asked.backbones else backbone
        chosen = choices.choose(
            project,
            material,
            kind,
            asked=own,
            backbone=backbone,
            minutes=minutes / _SAME_TIME,
        )
        base[kind] = chosen.settings.as_json()
        reasons += chosen.reasons
    return base, reasons


def _check(asked: Asked) -> None:
    choices = {
        "--kind": (asked.kind, (auto.AUTO, *KINDS)),
        "--sampler": (asked.sampler, SAMPLERS),
        "--metric": (asked.metric, STEERING),
    }
    for option, (value, known) in choices.items():
        if value and value not in known:
            raise InputError(f"{option} {value!r} is none of the choices: {', '.join(known)}.")
    if asked.study and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", asked.study):
        raise InputError(
            f"--study {asked.study!r}: a name has letters, digits, - and _, at most 64 of them."
        )
    if asked.minutes is not None and not asked.minutes > 0:
        raise InputError(f"--minutes is {asked.minutes}; give a number above 0.")


def _check_same(study: Study, asked: Asked) -> None:
    """A study keeps what it was begun with: its trials would not compare otherwise."""
    given = {
        "kind": asked.kind,
        "sampler": asked.sampler,
        "metric": asked.metric,
        "backbones": list(asked.backbones),
        "seed": asked.seed,
        "storage": databases.kept(asked.storage),
    }
    for name, value in given.items():
        if value not in ("", [], None) and value != study.facts[name]:
            raise InputError(
                f"The study {study.name!r} was begun with --{name} {study.facts[name]!r}, not "
                f"{value!r}. Leave it out to go on, or begin another with --study NAME."
            )


def _check_backbones(names: tuple[str, ...], report: Report) -> None:
    from curation import backbones

    for name in names:
        report(0, 0, "load backbone")
        backbones.load_model(name)


def _check_labels(material: Material) -> None:
    if not len(material.validation):
        raise TrainingError(
            f"{len(material.train):,} labels are too few to compare settings by: there is no "
            f"validation part. Label images of at least {LEAST_GROUPS} groups, or draw "
            "one with `labelloop split`."
        )
    target_rows.of(
        np.zeros((len(material.train), 1)),
        material.train.targets,
        classes=material.classes,
        task=material.task,
        rule="none",
        sample_weight=material.train.weights,
    )
