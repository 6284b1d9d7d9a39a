"""One training from the labels as they are to a registered run, which can be interrupted anywhere.

A run is entered in the catalog as `running` before it begins. What it learns from, its settings and
its seed are written first; then the model is fitted, calibrated on validation, judged on test and
described. Asked for again with the same words, a run that was interrupted goes on; one that was
finished is the answer until whoever asked for it has it (`begun.answered`).
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curation import features, files
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
from training import begun, choices, examples, fitting, model_card, results, runs, weighing
from training import material as materials
from training.asked import Asked
from training.finetuning import probe
from training.material import Material
from training.settings import FineTuneSettings, Settings, from_json

_log = logging.getLogger(__name__)


def train(
    project: Project,
    asked: Asked | None = None,
    *,
    fresh: bool | str = False,
    report: Report = silent,
) -> str:
    """Trains a model, or goes on with the training that was interrupted; returns the run's id.

    Until `begun.answered` is told of the run, the same words get the same run again.

    Args:
        project: whose labels are learned from.
        asked: all automatic if None.
        fresh: begin anew even if the same training was interrupted, and measure anew how fast this
            machine trains. With the id of a run, what was begun after it is gone on with: a job
            that is done again after a crash does not begin anew each time.
        report: told of the progress.

    Raises:
        TrainingError: labels or settings allow no model, and the run is kept as `failed`; or it was
            deleted meanwhile, and nothing of it is kept.
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
    with _held(project, run_id):
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
    run_id, note = _begin(project, asked, fresh=fresh, finished=False)
    with _held(project, run_id):
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
        rules=about.get("asked", {}).get("rules", False),
    )
    new_id, _ = _begin(project, asked, fresh=False)
    with _held(project, new_id):
        home, old = runs.folder(project, new_id), runs.folder(project, run_id)
        if not (home / runs.FACTS).exists():
            for name in (runs.ROWS, runs.WEAK):
                if (old / name).exists():
                    files.write_bytes(home / name, (old / name).read_bytes())
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
    with project.catalog.write() as connection:
        begun.answered(connection, new_id)
    same = runs.hashes(project, new_id)[runs.MODEL] == about["files"][runs.MODEL]
    return new_id, same


def _begin(
    project: Project, asked: Asked, *, fresh: bool | str, finished: bool = True
) -> tuple[str, str]:
    """The run to train, and what to tell of one that was begun before."""
    if fresh:
        probe.forget(choices.probes(project))
    return begun.find(project, asked, fresh=fresh, finished=finished)


@contextmanager
def _held(project: Project, run_id: str) -> Iterator[None]:
    """Nobody else trains the run or deletes it meanwhile."""
    with runs.alone(project, run_id):
        if _state(project, run_id) == "deleted":
            raise _deleted(project, run_id)
        yield


def _state(project: Project, run_id: str) -> str:
    with project.catalog.read() as connection:
        return str(run_rows.get(connection, run_id)["state"])


def _deleted(project: Project, run_id: str) -> TrainingError:
    """What to say of a run that is gone; what was written for it goes as well."""
    if runs.folder(project, run_id).exists():
        runs.remove(project, run_id)
    return TrainingError(
        f"{run_id} was deleted before it was trained, so no model was kept. Give the same command "
        "again to train anew."
    )


def _train(project: Project, run_id: str, asked: Asked, report: Report, *, note: str = "") -> str:
    seconds: dict[str, float] = {}
    clock = time.monotonic()

    def lap(step: str) -> None:
        nonlocal clock
        seconds[step] = round(time.monotonic() - clock, 3)
        clock = time.monotonic()

    if note:
        report(0, 0, note)
    if _state(project, run_id) == "done":  # all that is missing is the answer
        with project.catalog.write() as connection:
            about = run_rows.get(connection, run_id)["about"]
            run_rows.update_run(connection, run_id, about={**about, "begun": note})
        _describe(project, run_id)
        return run_id
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
            is_there = run_rows.update_run(
                connection, run_id, state="failed", about={**about, "says": str(error)}
            )
        if not is_there:  # its files went while they were needed
            raise _deleted(project, run_id) from error
        raise
    runs.save_metrics(project, run_id, found.metrics)
    about = {
        **facts,
        **found.about,
        "begun": note,
        "seconds": seconds,
        "files": runs.hashes(project, run_id),
        begun.UNANSWERED: True,
    }
    with project.catalog.write() as connection:
        is_there = run_rows.update_run(
            connection, run_id, state="done", metrics=found.metrics, about=about
        )
    if not is_there:
        raise _deleted(project, run_id)
    _describe(project, run_id)
    return run_id


def _describe(project: Project, run_id: str) -> None:
    try:
        model_card.write(project, run_id, runs.folder(project, run_id))
    except (LabelloopError, OSError) as error:  # it can be written at any time
        _log.warning("%s is trained, but its card could not be written: %s", run_id, error)


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
    material = materials.freeze(project, home, rules=asked.rules, report=report)
    material = weighing.settle(project, home, material, prepared, report=report)
    report(0, 0, "choose settings")
    chosen = choices.choose(
        project,
        material,
        asked.kind,
        asked=asked.settings,
        backbone=prepared.backbone,
        minutes=asked.minutes,
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
