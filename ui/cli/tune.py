"""The command that searches for settings."""

from typing import Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption

_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    app.command("tune")(tune)


def tune(
    kind: Annotated[
        str, typer.Option(help="head, mlp, fine-tune; auto (the default) for what suits.")
    ] = "",
    sampler: Annotated[str, typer.Option(help="tpe (the default), random or grid.")] = "",
    metric: Annotated[
        str,
        typer.Option(help="balanced-accuracy (the default), accuracy, macro-f1 or log-loss."),
    ] = "",
    trials: Annotated[
        int | None, typer.Option(help="So many more; 20 if no minutes are given, 0 to only look.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="So long, from now on.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that try at the same time.")] = 1,
    study: Annotated[
        str, typer.Option(metavar="NAME", help="Begin or go on with this one; the kind's name.")
    ] = "",
    backbones: Annotated[
        str, typer.Option(metavar="A,B", help="timm models that fine-tuning may start from.")
    ] = "",
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of all randomness; the project's.")
    ] = None,
    storage: Annotated[
        str,
        typer.Option(metavar="URL", help="Database for trials; tuning.sqlite3 of the workspace."),
    ] = "",
    open_test: Annotated[
        bool, typer.Option("--open-test", help="Judge the best on the test part; is recorded.")
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search for the settings that do best on validation: Optuna's trials, hopeless ones pruned.

    First heads and small networks on embeddings, then a few fine-tunings. The same command goes on
    with the same study, also after a kill. The best settings are written for `labelloop train
    --settings`.

    Example: labelloop tune --kind mlp --trials 30
    """
    from ui import tuning

    project = session.project(workspace)
    with session.progress() as report:
        result = tuning.tune(
            project,
            kind=kind,
            sampler=sampler,
            metric=metric,
            trials=trials,
            minutes=minutes,
            workers=workers,
            study=study,
            backbones=[name.strip() for name in backbones.split(",") if name.strip()],
            seed=seed,
            storage=storage,
            open_test=open_test,
            report=report,
        )
    session.show(result, as_json=as_json, lines=_lines(result))


def _lines(result: dict[str, Any]) -> list[str]:
    counts = ", ".join(f"{n:,} {state}" for state, n in result["trials"].items() if n)
    lines = [
        f"Study {result['study']} ({result['sampler']}, {', '.join(result['kinds'])}): "
        f"{counts or 'no trials yet'}."
    ]
    best = result["best"]
    if best:
        name = result["metric"].replace("-", " ")
        figure = result["validation"].get(result["metric"].replace("-", "_"))
        value = (
            session.percent(figure) if result["metric"] != "log-loss" else f"{best['value']:.4f}"
        )
        lines.append(f"  best: {best['kind']} {best['trial']}, {name} on validation {value}")
    least = result["metric"] == "log-loss"
    ended = [row for row in result["history"] if row["state"] == "done"]
    ended.sort(key=lambda row: row["value"] if least else -row["value"])
    for row in ended[:_SHOWN]:
        varied = ", ".join(f"{key} {_short(value)}" for key, value in row["settings"].items())
        lines.append(f"    {row['value']:.4f}  {row['kind']} {row['trial']}: {varied}")
    for kind, shares in result["importance"].items():
        told = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
        lines.append(f"  what mattered in {kind}: {told}")
    if result["test"]:
        accuracy = session.percent(result["test"]["metrics"]["accuracy"])
        lines.append(f"  on the test part: accuracy {accuracy}")
    lines += [f"  {note}" for note in result["notes"]]
    lines.append(f"  pictures: {result['files']['history']}, {result['files']['importance']}")
    return [*lines, f"Train with the best: {result['next']}"] if result["next"] else lines


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
