"""Trained models as the command line and the app show them: which there are, what becomes of them.

Functions return what the commands print with `--json`. A run is named by its id, with or without
the project's part (`train-3`), by a tag, or by `champion` or `newest`.
"""

from pathlib import Path
from typing import Any

from curation.errors import InputError
from curation.progress import Report, silent
from curation.workspace import Project

FIGURES = ("accuracy", "balanced_accuracy", "macro_f1")
"""Of all metrics, those that a list shows."""

FORMATS = ("onnx", "safetensors")


def every(project: Project) -> dict[str, Any]:
    """All runs, oldest first."""
    from curation.catalog import runs as run_rows

    with project.catalog.read() as connection:
        rows = run_rows.brief(
            connection, project.id, metrics=FIGURES, about=("labels", "judged_on", "imported")
        )
    return {"models": [_listed(row) for row in rows]}


def _listed(row: dict[str, Any]) -> dict[str, Any]:
    about = row["about"]
    return {
        "run": row["id"],
        "kind": row["kind"],
        "state": row["state"],
        "champion": row["champion"],
        "tags": row["tags"],
        "labels": about.get("labels"),
        "snapshot": row["snapshot_id"],
        "judged_on": about.get("judged_on", ""),
        "metrics": row["metrics"],
        "imported": "imported" in about,
        "created_at": f"{row['created_at']:%Y-%m-%d %H:%M}",
    }


def show(project: Project, run: str) -> dict[str, Any]:
    """One run with all that is known about it, and whether its files are as they were written."""
    from curation.catalog import runs as run_rows
    from training import registry
    from ui import training

    row = registry.find(project, run)
    with project.catalog.read() as connection:
        others = run_rows.brief(connection, project.id, about=("parents",))
    return {
        **training.show(project, row["id"]),
        "children": [one["id"] for one in others if row["id"] in one["about"].get("parents", [])],
        "imported": row["about"].get("imported"),
        "damaged": registry.damage(project, row),
    }


def compare(
    project: Project,
    first: str,
    second: str,
    *,
    metric: str = "accuracy",
    report: Report = silent,
) -> dict[str, Any]:
    """Two runs on the labeled images that neither has learned from."""
    from training import registry
    from training.judging import pairing

    ids = [registry.find(project, word)["id"] for word in (first, second)]
    if ids[0] == ids[1]:
        raise InputError(f"{first} and {second} are the same run. Name two.")
    found = pairing.compare(project, ids[0], ids[1], metric=metric, report=report)
    return {
        **found.comparison.as_json(),
        "origin": found.origin,
        "left_out": found.left_out,
        "settings": {name: list(both) for name, both in found.settings.items()},
        "notes": list(found.notes),
    }


def tag(project: Project, run: str, word: str, *, remove: bool = False) -> dict[str, Any]:
    """Gives a run a tag, or takes it away."""
    from training import registry

    run_id = registry.find(project, run)["id"]
    return {"run": run_id, "tags": registry.tag(project, run_id, word, remove=remove)}


def promote(project: Project, run: str) -> dict[str, Any]:
    """Makes a run the project's only champion."""
    from training import registry

    run_id = registry.find(project, run)["id"]
    return {"champion": run_id, "before": registry.promote(project, run_id)}


def delete(project: Project, run: str, *, yes: bool = False) -> dict[str, Any]:
    """Deletes a run's files; its row stays as history."""
    from training import registry

    run_id = registry.find(project, run)["id"]
    return {"deleted": run_id, "bytes": registry.delete(project, run_id, yes=yes)}


def export(
    project: Project, run: str, to: Path, *, format: str = "onnx", report: Report = silent
) -> dict[str, Any]:
    """Writes a run's model for use elsewhere.

    Raises:
        InputError: no such format.
        TrainingError: the run has no model, or its ONNX form answers differently.
    """
    from training import registry

    if format not in FORMATS:
        raise InputError(f"--format {format}: choose from {', '.join(FORMATS)}.")
    run_id = registry.find(project, run)["id"]
    said = {"run": run_id, "format": format, "folder": str(to)}
    if format == "safetensors":
        from training.serving import model_files

        return {**said, "files": [path.name for path in model_files.write(project, run_id, to)]}
    from training.serving import onnx_export

    made = onnx_export.export(project, run_id, to, report=report)
    return {
        **said,
        "files": [path.name for path in made.files],
        "bytes": made.bytes,
        "images": made.images,
        "own_images": made.own,
        "largest_difference": made.difference,
        "largest_difference_to_predict": made.to_predict,
        "same_answers_as_predict": made.same_answers,
    }


def card(project: Project, run: str, to: Path, *, about: Path | None = None) -> dict[str, Any]:
    """Writes the card of a run, with the user's own words on its purpose.

    Raises:
        InputError: these words cannot be read, or `to` holds something else.
        TrainingError: the run is not finished.
    """
    from training import model_card, registry

    try:
        words = about.expanduser().read_text(encoding="utf-8") if about else ""
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read {about}: {error}.") from error
    run_id = registry.find(project, run)["id"]
    written = model_card.write(project, run_id, to, about=words)
    return {"run": run_id, "files": [str(path) for path in written]}


def reproduce(project: Project, run: str, *, report: Report = silent) -> dict[str, Any]:
    """Trains a run again from its stored rows and settings, and says whether it got the same."""
    from curation.catalog import runs as run_rows
    from training import experiments, registry, runs

    run_id = registry.find(project, run)["id"]
    new_id, same = experiments.repeat(project, run_id, report=report)
    with project.catalog.read() as connection:
        one, other = (run_rows.get(connection, key)["metrics"] for key in (run_id, new_id))
    then, now = (
        runs.read(project, key, runs.FACTS).get("environment", {}) for key in (run_id, new_id)
    )
    changed = {
        name: [then.get(name), now.get(name)]
        for name in dict.fromkeys((*then, *now))
        if name != "packages" and then.get(name) != now.get(name)
    } | {
        name: [then.get("packages", {}).get(name), value]
        for name, value in now.get("packages", {}).items()
        if then.get("packages", {}).get(name) != value
    }
    return {
        "run": new_id,
        "of": run_id,
        "same": same,
        "metrics": {
            name: {"then": one[name], "now": other[name]}
            for name in FIGURES
            if name in one and name in other
        },
        "changed": changed,
        "says": _reproduced(run_id, same=same, changed=bool(changed)),
    }


def _reproduced(run_id: str, *, same: bool, changed: bool) -> str:
    if same:
        return f"The same weights as {run_id}, bit for bit."
    why = (
        "the machine or its packages are others than then"
        if changed
        else "on the same packages; the number of cores in use, or a GPU, can make that difference"
    )
    return f"Not the same weights as {run_id}: {why}."


def bring(project: Project, path: Path, *, report: Report = silent) -> dict[str, Any]:
    """Makes a model from elsewhere a run, judged on this project's own test part."""
    from training.serving import model_files

    return show(project, model_files.bring(project, path, report=report))


def predict(
    project: Project,
    source: Path,
    out: Path,
    *,
    run: str = "",
    top: int = 0,
    probabilities: bool = False,
    exact: bool = False,
    retry_rejected: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Writes a model's answers about image files; an interrupted call is gone on with.

    Args:
        project: whose model answers.
        source: a folder, an image, or a CSV with a column of paths.
        out: ends in .csv, .jsonl or .parquet.
        run: the champion if empty, else the newest run.
        top: also the so many likeliest classes.
        probabilities: also those of all classes.
        exact: in fp32 torch, whatever is faster.
        retry_rejected: looks again at images that an earlier call could not read.
        report: told of the progress.

    Raises:
        InputError: the source holds no image, or `out` holds something else.
        NotFound: there is no such run, or none at all.
    """
    from training import registry
    from training.serving import classifier, prediction

    report(0, 0, "look for images")
    found = prediction.understand(source)
    row = registry.find(project, run) if run else None
    chosen = registry.Chosen(row, f"{row['id']}.") if row else registry.choose(project)
    report(0, 0, "load the model")
    model = classifier.open(project, chosen.run["id"], exact=exact)
    done = prediction.predict(
        model,
        found,
        out,
        top=top,
        probabilities=probabilities,
        retry_rejected=retry_rejected,
        report=report,
    )
    return {
        "out": str(out),
        "run": model.run,
        "says": chosen.says,
        "engine": model.engine,
        "images": done.images,
        "predicted": done.images - done.already,
        "already": done.already,
        "rejected": done.rejected,
        "retried": done.retried,
        "seconds": round(done.seconds, 3),
        "images_per_second": round(done.images_per_second, 1),
    }
