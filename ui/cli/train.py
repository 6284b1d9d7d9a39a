"""The command that trains a model."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption

_CLASSES_SHOWN = 12


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    app.command("train")(train)


def train(
    kind: Annotated[
        str,
        typer.Option(
            help="head (seconds), mlp, fine-tune (best, slower); auto takes what suits the labels."
        ),
    ] = "auto",
    settings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings in TOML; the rest is automatic.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="One setting; can be repeated."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="How long fine-tuning may take; chosen if left out.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of all randomness; the project's.")] = None,
    processes: Annotated[
        int, typer.Option(help="Processes, or GPUs, that fine-tune together.")
    ] = 1,
    rules: Annotated[
        bool,
        typer.Option("--rules", help="Learn from what the rules in force say as well."),
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Do not go on with a training that was interrupted.")
    ] = False,
    prepare: Annotated[
        bool,
        typer.Option("--prepare", help="Only write the run, for torchrun on several machines."),
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model on the labels, calibrate it, judge it on the test part, and say what is wrong.

    Settings are chosen from the data and the machine, printed and kept. A training that was
    interrupted goes on when the same command is given again, and ends with the same model.

    Example: labelloop train --kind fine-tune --set epochs=10
    """
    from ui import training

    project = session.project(workspace)
    given = training.read_settings(settings, set_ or [])
    with session.progress() as report:
        result = (training.prepare if prepare else training.train)(
            project,
            kind=kind,
            settings=given,
            minutes=minutes,
            seed=seed,
            processes=processes,
            rules=rules,
            fresh=fresh,
            report=report,
        )
    found = lines(result)
    if prepare:
        each = f"--nproc-per-node {max(2, processes)}"
        found += [
            "Train it with torchrun on every machine, for instance",
            f"  {result['command'].replace('torchrun', f'torchrun {each}', 1)}",
            "and then give this command again without --prepare.",
        ]
    session.show(result, as_json=as_json, lines=found)
    training.answered(project, result["run"])


def lines(result: dict[str, Any]) -> list[str]:
    """One run for people: what it learned from, how good it is, what to do next."""
    champion = ", champion" if result["champion"] else ""
    found = [f"Run {result['run']} ({result['kind']}, {result['state']}{champion})"]
    if result["says"]:
        found.append(f"  {result['says']}")
    images = result["images"]
    if images:
        found.append(
            f"  learned from {images['train']:,} labels, steered by {images['validation']:,}, "
            f"tested on {images['test']:,} (snapshot {result['snapshot']})"
        )
    found += [f"  {reason}" for reason in result["reasons"]]
    metrics = result["metrics"]
    if metrics:
        found.append(f"  Judged on {_JUDGED.get(result['judged_on'], result['judged_on'])}:")
        found += [
            f"    {name.replace('_', ' ')} {session.percent(metrics[name])}"
            for name in ("accuracy", "balanced_accuracy", "macro_f1")
            if metrics.get(name)
        ]
        per_class = metrics.get("per_class", [])
        worst = sorted(
            (one for one in per_class if one["recall"]["value"] is not None),
            key=lambda one: one["recall"]["value"],
        )[:_CLASSES_SHOWN]
        found += [
            f"      {one['class']:<16} recall {session.percent(one['recall'])}" for one in worst
        ]
    found += [f"  {note}" for note in result["notes"]]
    found += [f"  {one['says']} {one['next_step']}" for one in result["diagnosis"]]
    seconds = ", ".join(f"{name} {value:,.1f}" for name, value in result["seconds"].items())
    if seconds:
        found.append(f"  seconds: {seconds}")
    return found


_JUDGED = {
    "split": "the test part of the split",
    "reserve": "the reserve's holdout",
    "drawn": "a test part drawn for trainings",
    "cross-validation": "labels that the judging model had not seen (cross-validation)",
    "validation": "the validation part, which steered it: too kind a figure",
}
