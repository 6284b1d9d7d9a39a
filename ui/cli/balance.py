"""The command that says how labels are spread over the classes, and what can be done about it."""

from typing import Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption

_SHOWN_MISSING = 12


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    app.command("balance")(balance)


def balance(
    by: Annotated[
        str,
        typer.Option(metavar="COLUMN", help="A metadata column: the class x slice table."),
    ] = "",
    remedy: Annotated[
        str,
        typer.Option(
            metavar="R",
            help="Show the plan of class-weights, oversampling, undersampling, augmentation or "
            "labeling-quota.",
        ),
    ] = "",
    apply: Annotated[bool, typer.Option("--apply", help="Put the remedy's plan in force.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Take back the plans in force.")] = False,
    kind: Annotated[
        str, typer.Option(metavar="K", help="With --clear: only balance or labeling-quota.")
    ] = "",
    rule: Annotated[
        str | None, typer.Option(help="Class weights: inverse (default) or effective-number.")
    ] = None,
    beta: Annotated[
        float | None, typer.Option(help="Effective number: 0 to below 1 (default 0.999).")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Oversampling: repeat classes of a smaller share of the images."),
    ] = None,
    target: Annotated[
        int | None,
        typer.Option(help="Undersampling: keep at most so many; augmentation: fill up to so many."),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Augmentation: its recipe (default standard).")
    ] = None,
    share: Annotated[
        float | None, typer.Option(help="Labeling quota: part of each batch (default 0.5).")
    ] = None,
    budget: Annotated[
        int | None, typer.Option(help="Labeling quota: images of a batch (default 50).")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count labels per class and slice, say what is missing, and plan a remedy.

    A remedy is shown first; with --apply it is put in force, and --clear takes it back.

    Example: labelloop balance --by studio
    """
    from curation.balance import Options
    from curation.errors import InputError
    from ui import balancing

    given: dict[str, Any] = {
        "rule": rule,
        "beta": beta,
        "threshold": threshold,
        "target": target,
        "recipe": recipe,
        "share": share,
        "budget": budget,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if clear:
        if remedy or apply or by or given:
            raise InputError("--clear takes no remedy; it takes back the plans in force.")
        result = balancing.clear(session.project(workspace), kind=kind)
        lines = [f"Taken back: {', '.join(result['cleared'])}."]
    elif kind:
        raise InputError("--kind says which plan to take back; use it with --clear.")
    elif remedy:
        with session.progress() as report:
            result = balancing.plan_remedy(
                session.project(workspace),
                remedy,
                Options(by=by, **given),
                apply=apply,
                report=report,
            )
        lines = _plan(result)
    elif apply or given:
        named = "--apply" if apply else f"--{next(iter(given))}"
        raise InputError(f"{named} needs a remedy: labelloop balance --remedy class-weights")
    else:
        result = balancing.describe(session.project(workspace), by=by)
        lines = _report(result)
    session.show(result, as_json=as_json, lines=lines)


def _plan(result: dict[str, Any]) -> list[str]:
    width = max(len(name) for name in result["before"])
    quota = result["kind"] == "labeling-quota"
    columns = "labels now, and after a batch" if quota else "labels, and what they count for"
    lines = [f"{result['remedy']}: {columns}"]
    lines += [
        f"  {name:{width}}  {n:>9,.0f} {result['after'][name]:>11,.1f}"
        for name, n in result["before"].items()
    ]
    lines.append(result["says"])
    if result["applied"]:
        lines.append(f"In force as plan {result['plan']}. Take it back: labelloop balance --clear")
    else:
        lines.append("Nothing is changed yet. Put it in force: the same command with --apply")
    return lines


def _report(result: dict[str, Any]) -> list[str]:
    lines = [*_table(result), ""]
    lines += _figures(result)
    missing = result["missing"]
    if missing:
        lines.append("Missing:")
        lines += [f"  {row['says']}" for row in missing[:_SHOWN_MISSING]]
        if len(missing) > _SHOWN_MISSING:
            lines.append(f"  and {len(missing) - _SHOWN_MISSING:,} more: --json")
    lines.append(_expected(result["expected"]))
    for kind, plan in result["in_force"].items():
        aged = ""
        if "labels_now" in plan:
            aged = f" It was made for {plan['labels']:,} labels, now there are "
            aged += f"{plan['labels_now']:,}: make it anew."
        lines.append(f"In force: plan {plan['id']} ({plan.get('remedy', kind)}).{aged}")
    lines.append("Plan a remedy: labelloop balance --remedy class-weights")
    return lines


def _table(result: dict[str, Any]) -> list[str]:
    """Classes with their labels, and how they lie in the slices."""
    slices = result["slices"]
    change = result["expected"].get("classes", {})
    names = ["labels", "training", *([f"{result['by']} {value}" for value in slices])]
    names += ["pool labeled"] if change else []
    rows = []
    for name, n in result["classes"].items():
        cells = [f"{n:,}", f"{result['training']['classes'][name]:,}"]
        cells += [f"{row[name]:,}" for row in slices.values()]
        if change:
            cells.append(_estimate(change[name]["expected"]))
        rows.append([name, *cells])
    head = ["class", *names]
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    return [
        "  ".join(
            f"{cell:<{width}}" if at == 0 else f"{cell:>{width}}"
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [head, *rows]
    ]


def _figures(result: dict[str, Any]) -> list[str]:
    ratio, training = result["imbalance_ratio"], result["training"]
    of_training = training["imbalance_ratio"]
    lines = [
        f"Largest class / smallest: {ratio:,.1f}"
        + (f" (in training {of_training:,.1f})." if of_training else " (none for training yet)."),
        f"Effective number of classes: {result['effective_classes']:.1f} of "
        f"{len(result['classes'])} (exp of the entropy of their shares).",
    ]
    origins = {name: sum(row.values()) for name, row in result["origins"].items()}
    lines.append("Labels by origin: " + ", ".join(f"{k} {n:,}" for k, n in origins.items()) + ".")
    return lines


def _expected(change: dict[str, Any]) -> str:
    if "classes" not in change:
        return f"If the pool were labeled: {change['says']}"
    ratio, classes = change["imbalance_ratio"], change["effective_classes"]
    return (
        f"If the pool of {change['pool']:,} were labeled: largest / smallest "
        f"{_estimate(ratio['expected'], digits=1)}, effective classes "
        f"{_estimate(classes['expected'], digits=1)}. {change['says']}"
    )


def _estimate(figure: dict[str, Any], *, digits: int = 0) -> str:
    if figure["ci"] is None:
        return f"{figure['value']:,.{digits}f}"
    low, high = figure["ci"]
    return f"{figure['value']:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"
