"""Longer examinations of models as the command line shows them.

Functions return what the commands print with `--json`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curation.errors import InputError
from curation.progress import Report, silent
from curation.workspace import Project


def robustness(
    project: Project, run: str, *, most: int = 1_000, report: Report = silent
) -> dict[str, Any]:
    """A run's model on its test part under named corruptions; kept with the run."""
    from training import registry
    from training.judging import examinations

    if most < 1:
        raise InputError(f"--images is {most}; give at least 1.")
    run_id = registry.find(project, run)["id"]
    return {
        "run": run_id,
        **examinations.robust(project, run_id, most=most, report=report).as_json(),
    }


def cross_validate(
    project: Project,
    *,
    kind: str = "auto",
    settings: Mapping[str, Any] | None = None,
    folds: int = 5,
    split: str = "",
    minutes: float | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """The labels judged by models that saw neither them nor a copy of them."""
    from training.judging import examinations

    given = dict(settings or {})
    named = given.pop("kind", kind)
    found = examinations.cross_validate(
        project,
        kind=named,
        asked=given,
        folds=folds,
        split=split,
        minutes=minutes,
        report=report,
    )
    return {
        "kind": found.settings.kind,
        "images": found.images,
        "settings": found.settings.as_json(),
        "reasons": list(found.reasons),
        **found.found.as_json(),
        "notes": list(found.notes),
    }


def forecast(
    project: Project,
    *,
    more: int = 100,
    target: float | None = None,
    metric: str = "accuracy",
    out: Path | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """What more labels would bring, with a picture where one is asked for."""
    from curation import files
    from training.judging import examinations
    from training.judging import forecast as forecasts

    if more < 1:
        raise InputError(f"--more is {more}; give at least 1.")
    if target is not None and not 0 < target <= 1:
        raise InputError(f"--target is {target}; give a value above 0 and up to 1.")
    if out is not None and out.suffix.lower() != ".png":
        raise InputError(
            f"--out is {out}: the curve is drawn as PNG. Give a file that ends in .png."
        )
    curve, found = examinations.foresee(
        project, more=more, target=target, metric=metric, report=report
    )
    if out is not None:
        title = f"Learning curve of heads, {project.record.name}"
        files.write_bytes(out, forecasts.draw(curve, found, title=title))
    return {
        "metric": metric,
        "labels": [int(size) for size in curve.sizes],
        "scores": curve.scores.mean(axis=0).tolist(),
        "now": found.now.as_json(),
        "more": found.more,
        "gain": found.gain.as_json(),
        "target": found.target,
        "needed": list(found.needed),
        "says": list(found.says),
        "notes": list(curve.notes),
        "out": None if out is None else str(out),
    }
