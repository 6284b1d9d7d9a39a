"""One training from the labels as they are to a registered run, which can be interrupted anywhere.

A run is entered in the catalog as `running` before it begins. What it learns from, its settings and
its seed are written first; then the model is fitted, calibrated on validation, judged on test and
described. Asked for again with the same words, a run that was interrupted goes on.
"""

import logging
import time
from pathlib import Path
from typing import Any

from curation import balance, features, files
from curation.catalog import runs as run_rows
from curation.errors import (
    BackboneError,
    InputError,
    Interrupted,
    LabelloopError,
    NotFound,
    TrainingError,
    UnreadableImage,
)
from curation.progress import Report, silent
from curation.workspace import Project
from training import auto, begun, examples, fitting, model_card, results, runs
from training import material as materials
from training.asked import Asked, absolute
from training.finetuning import probe
from training.material import Material
from training.settings import AUGMENTATIONS, FineTuneSettings, Settings, from_json
from training.suggestions import Preferred

_log = logging.getLogger(__name__)


def train(
    project: Project,
    asked: Asked | None = None,
    *,
    fresh: bool | str = False,
    report: Report = silent,
) -> str:
    """Trains a model, or goes on with the training that was interrupted; returns the run's id.

    Args:
        project: whose labels are learned from.
        asked: all automatic if None.
        fresh: begin anew even if the same training was interrupted, and measure anew how fast this
            machine trains. With the id of a run, what was begun after it is gone on with: a job
            that is done again after a crash does not begin anew each time.
        report: told of the progress.

    Raises:
        TrainingError: labels or settings allow no model; the run is kept as `failed`.
        Interrupted: one of several processes ended badly; the same call goes on.
        InputError: a setting that does not exist.
        BackboneError: weights that cannot be had.
        UnreadableImage: a file is gone or cannot be decoded; the same call goes on once it is there
            again, and begins anew once it is excluded.
        Cancelled: asked to stop; the same call goes on.
    """
    # What cannot be used is refused before anything is written.
    asked = (asked or Asked()).checked()
    run_id, note = _begin(project, asked, fresh=fresh)
    with runs.alone(project, run_id):
        return _train(project, run_id, asked, report, note=note)


def prepare(
    project: Project,
    asked: Asked | None = None,
    *,
    fresh: bool | str = False,
    report: Report = silent,
) -> str:
    """Writes what a training learns from and how, and no more: several machines may then fit it.

    `train` with the same words goes on from there.

    Args:
        project: whose labels are learned from.
        asked: all automatic if None.
        fresh: as for `train`.
        report: told of the progress.

    Raises:
        TrainingError, LabelloopError, Cancelled: as `train`.
    """
    asked = (asked or Asked()).checked()
    run_id, note = _begin(project, asked, fresh=fresh)
    with runs.alone(project, run_id):
        if note:
            report(0, 0, note)
        _prepare(project, run_id, asked, report)
    return run_id


def repeat(project: Project, run_id: str, *, report: Report = silent) -> tuple[str, bool]:
    """Trains again from a run's rows, settings and seed.

    Returns:
        The new run's id, and whether its weights are the same, bit for bit.

    Raises:
        NotFound: there is no such run.
        TrainingError: it is a round's, not finished, or its files are damaged.
    """
    with project.catalog.read() as connection:
        row = run_rows.get(connection, run_id)
    about = row["about"]
    if row["state"] != "done" or "material" not in about:
        raise TrainingError(
            f"{run_id} is {row['state']} or belongs to a round. Only a finished `labelloop train` "
            "can be repeated."
        )
    if broken := runs.damaged(project, run_id, about["files"]):
        raise TrainingError(
            f"{', '.join(broken)} of {run_id} changed since it was trained. Restore the run from a "
            "backup."
        )
    asked = Asked(
        kind=row["kind"],
        settings={k: v for k, v in row["settings"].items() if k != "kind"},
        seed=row["seed"],
        processes=about.get("asked", {}).get("processes", 1),
        parents=(run_id,),
    )
    new_id, _ = _begin(project, asked, fresh=False)
    with runs.alone(project, new_id):
        home, old = runs.folder(project, new_id), runs.folder(project, run_id)
        if not (home / runs.FACTS).exists():
            files.write_bytes(home / runs.ROWS, (old / runs.ROWS).read_bytes())
            _write_plan(
                home,
                new_id,
                {
                    **runs.read(project, run_id, runs.FACTS),
                    "asked": asked.as_json(),
                    "parents": [run_id],
                },
                from_json(row["settings"]),
            )
        _train(project, new_id, asked, report)
    same = runs.hashes(project, new_id)[runs.MODEL] == about["files"][runs.MODEL]
    return new_id, same


def _begin(project: Project, asked: Asked, *, fresh: bool | str) -> tuple[str, str]:
    """The run to train, and what to tell of one that was begun before."""
    if fresh:
        probe.forget(_probes(project))
    return begun.find(project, asked, fresh=fresh)


def _train(project: Project, run_id: str, asked: Asked, report: Report, *, note: str = "") -> str:
    seconds: dict[str, float] = {}
    clock = time.monotonic()

    def lap(step: str) -> None:
        nonlocal clock
        seconds[step] = round(time.monotonic() - clock, 3)
        clock = time.monotonic()

    if note:
        report(0, 0, note)
    try:
        material, settings = _prepare(project, run_id, asked, report)
        if isinstance(settings, FineTuneSettings):
            examples.check_files(project, material)
        lap("prepare")
        settings = fitting.fit(project, run_id, report=report, processes=asked.processes)
        lap("fit")
        facts = {**runs.read(project, run_id, runs.FACTS), "asked": asked.as_json()}
        _register(project, run_id, facts, settings)
        found = results.judge(project, run_id, material, settings, facts, report=report)
        lap("judge")
    except (UnreadableImage, Interrupted):  # goes on, once the file is there again
        raise
    except (TrainingError, BackboneError, InputError, NotFound) as error:  # would fail again
        with project.catalog.write() as connection:
            about = run_rows.get(connection, run_id)["about"]
            run_rows.update_run(
                connection, run_id, state="failed", about={**about, "says": str(error)}
            )
        raise
    runs.save_metrics(project, run_id, found.metrics)
    about = {
        **facts,
        **found.about,
        "begun": note,
        "seconds": seconds,
        "files": runs.hashes(project, run_id),
    }
    with project.catalog.write() as connection:
        run_rows.update_run(connection, run_id, state="done", metrics=found.metrics, about=about)
    try:
        model_card.write(project, run_id, runs.folder(project, run_id))
    except (LabelloopError, OSError) as error:  # it can be written at any time
        _log.warning("%s is trained, but its card could not be written: %s", run_id, error)
    return run_id


def _prepare(
    project: Project, run_id: str, asked: Asked, report: Report
) -> tuple[Material, Settings]:
    """What is learned from and how, written before anything is learned."""
    home = runs.folder(project, run_id)
    if (home / runs.FACTS).exists():
        facts = runs.read(project, run_id, runs.FACTS)
        settings = from_json(runs.read(project, run_id, runs.SETTINGS))
        material = materials.load(home, facts["material"])
        _register(project, run_id, facts, settings)
        return material, settings
    prepared = features.prepare(project, report=report)
    material = materials.freeze(project, home, report=report)
    given = dict(asked.settings)
    if balance.sets_weights(material.plan):
        # Weights that the training chooses would undo the plan's.
        given.setdefault("class-weight", "none")
    report(0, 0, "choose settings")
    chosen = auto.choose(
        asked.kind,
        images=len(material.train),
        classes=len(material.classes),
        task=material.task,
        typical_side=material.side,
        validation=len(material.validation),
        minutes=asked.minutes,
        asked=given,
        preferred=_preferred(project, material, prepared.backbone),
        probes=_probes(project),
    )
    facts = {
        "asked": asked.as_json(),
        "material": material.as_json(),
        "snapshot": material.snapshot,
        "backbone": prepared.backbone,
        "fingerprint": prepared.fingerprint,
        "seed": project.record.seed if asked.seed is None else asked.seed,
        "labels": len(material.train),
        "reasons": list(chosen.reasons),
        "parents": list(asked.parents),
    }
    _write_plan(home, run_id, facts, chosen.settings)
    _register(project, run_id, facts, chosen.settings)
    return material, chosen.settings


def _probes(project: Project) -> Path:
    """How fast this machine trains, as it was measured once."""
    return project.workspace.path / "probes"


def _preferred(project: Project, material: Material, backbone: str) -> Preferred:
    """What the workspace's backbone and the balance plan ask of fine-tuning."""
    found: dict[str, tuple[Any, str]] = {}
    if backbone != FineTuneSettings().backbone:
        found["backbone"] = (backbone, "the workspace's")
    if material.plan.get("augmentation"):
        recipe = material.plan["recipe"]
        if recipe not in AUGMENTATIONS:
            own = project.workspace.path / "recipes" / f"{recipe}.toml"
            recipe = absolute("augmentation", recipe if recipe.endswith(".toml") else str(own))
        found["augmentation"] = (recipe, "the balance plan's recipe")
        # In the loss, the weights of copies would be taken back by those of the classes.
        found["sampling"] = ("weighted", "the balance plan's copies are further looks at an image")
        found["class-weight"] = ("none", "the balance plan's copies take its place")
    return found


def _write_plan(home: Path, run_id: str, facts: dict[str, Any], settings: Settings) -> None:
    """Settings first: a run whose facts are there is complete and goes on with them."""
    files.write_json(home / runs.SETTINGS, settings.as_json())
    runs.write_facts(home, run_id, facts)


def _register(project: Project, run_id: str, facts: dict[str, Any], settings: Settings) -> None:
    with project.catalog.write() as connection:
        run_rows.describe(
            connection,
            run_id,
            kind=settings.kind,
            snapshot_id=facts["snapshot"],
            settings=settings.as_json(),
            about=facts,
        )
