"""Commands that look at models for longer: robustness, cross-validation, forecast."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption


def register(noun: typer.Typer) -> None:
    """Adds these commands to `labelloop models`."""
    noun.command("robustness")(robustness)
    noun.command("cross-validate")(cross_validate)
    noun.command("forecast")(forecast)


def robustness(
    run: Annotated[str, typer.Argument(help="A run, a tag, champion or newest.")] = "champion",
    images: Annotated[int, typer.Option(help="Images of the test part, at most.")] = 1_000,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Blur, dim, tilt and compress the test images, and say how much the model loses on each.

    Example: labelloop models robustness champion
    """
    from ui import judging

    project = session.project(workspace)
    with session.progress() as report:
        result = judging.robustness(project, run, most=images, report=report)
    lines = [
        f"Run {result['run']} on {result['n']:,} images: {session.percent(result['clean'])} clean, "
        f"{session.percent(result['mean'])} on average over all changes"
    ]
    kinds: dict[str, list[dict[str, Any]]] = {}
    for one in result["corrupted"]:
        kinds.setdefault(one["kind"], []).append(one)
    for kind, found in kinds.items():
        drops = ", ".join(
            f"{100 * one['drop']['value']:.1f} ({100 * one['drop']['ci'][0]:.1f} to "
            f"{100 * one['drop']['ci'][1]:.1f})"
            for one in found
        )
        lines.append(f"  {kind:<16} loses {drops} points when mild, medium, strong")
    session.show(result, as_json=as_json, lines=[*lines, *(f"  {s}" for s in result["says"])])


def cross_validate(
    kind: Annotated[str, typer.Option(help="head, mlp, fine-tune or auto.")] = "auto",
    settings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings in TOML; the rest is automatic.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="One setting; can be repeated."),
    ] = None,
    folds: Annotated[int, typer.Option(help="How many; copies stay in one fold.")] = 5,
    split: Annotated[str, typer.Option(help="A split made of folds, in place of --folds.")] = "",
    minutes: Annotated[
        float | None, typer.Option(help="That fine-tuning all folds may take.")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge each label by a model that saw neither it nor a copy of it.

    Nothing is registered: it tells how good such models are, not which one to use. The test part
    stays out, unless a split of folds is named. A network is stopped by labels of the other folds
    that it does not learn from. The same command goes on after a kill.

    Example: labelloop models cross-validate --kind head --folds 10
    """
    from ui import judging, training

    project = session.project(workspace)
    with session.progress() as report:
        result = judging.cross_validate(
            project,
            kind=kind,
            settings=training.read_settings(settings, set_ or []),
            folds=folds,
            split=split,
            minutes=minutes,
            report=report,
        )
    lines = [f"{result['kind']} on {result['images']:,} labels, {len(result['folds'])} folds"]
    lines += [
        f"  {name.replace('_', ' ')} {session.percent(result['metrics'][name])}"
        for name in ("accuracy", "balanced_accuracy", "macro_f1")
    ]
    lines += [
        f"    {one['fold']:<10} learned from {one['trained']:,}{_stopped_by(one['steered'])}: "
        f"accuracy {session.percent(one['accuracy'])}"
        for one in result["folds"]
    ]
    lines += [f"  {note}" for note in result["notes"]]
    session.show(result, as_json=as_json, lines=lines)


def _stopped_by(count: int) -> str:
    return f", stopped by {count:,}" if count else ""


def forecast(
    more: Annotated[int, typer.Option(help="How many more labels.")] = 100,
    target: Annotated[
        float | None, typer.Option(help="Score to reach, 0 to 1; the project's goal otherwise.")
    ] = None,
    metric: Annotated[str, typer.Option(help="accuracy or balanced-accuracy.")] = "accuracy",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the curve into this file.")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what more labels would bring, from models on growing parts of those there are.

    Judged on the validation part; the test part is not looked at.

    Example: labelloop models forecast --more 200 --target 0.95 --out curve.png
    """
    from ui import judging

    project = session.project(workspace)
    with session.progress() as report:
        result = judging.forecast(
            project, more=more, target=target, metric=metric, out=out, report=report
        )
    lines = [
        f"{result['labels'][-1]:,} labels: {result['metric']} {session.percent(result['now'])}"
    ]
    lines += [f"  {line}" for line in (*result["says"], *result["notes"])]
    session.show(result, as_json=as_json, lines=lines + ([f"  {out}"] if out else []))
