"""The command that says whom a dataset and its model fail, and what can be done about it."""

from typing import Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption

_SHOWN_SMALL = 5


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    app.command("audit")(audit)


def audit(
    by: Annotated[
        str,
        typer.Option(metavar="COLUMN[,COLUMN2]", help="A metadata column; two are also crossed."),
    ] = "",
    discover: Annotated[
        bool,
        typer.Option("--discover", help="Also look for places that no column names."),
    ] = False,
    remedy: Annotated[
        str,
        typer.Option(metavar="R", help="Show the plan of reweigh, group-balanced or quota."),
    ] = "",
    budget: Annotated[
        int | None, typer.Option(help="Quota: images of the next batch (default 50).")
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Put it in force for the next rounds.")
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Test whom the dataset and its model fail, slice by slice, and plan a remedy.

    Example: labelloop audit --by studio
    """
    from curation.errors import InputError
    from ui import auditing

    columns = auditing.split_columns(by)
    if not remedy and (apply or budget is not None):
        raise InputError(
            "--apply and --budget need a remedy: labelloop audit --by COLUMN --remedy quota"
        )
    if remedy and discover:
        raise InputError("--discover finds slices and --remedy plans; ask for one at a time.")
    if budget is not None and remedy != "quota":
        raise InputError("--budget is the size of a batch; it goes with --remedy quota.")
    project = session.project(workspace)
    with session.progress() as report:
        if remedy:
            result = auditing.plan(
                project,
                columns,
                remedy,
                budget=50 if budget is None else budget,
                apply=apply,
                report=report,
            )
        else:
            result = auditing.audit(project, columns, discover=discover, report=report)
    lines = _plan(result) if remedy else _findings(result)
    session.show(result, as_json=as_json, lines=lines)


def _findings(result: dict[str, Any]) -> list[str]:
    """Findings, then the slices, then what cannot be judged."""
    lines = []
    for number, one in enumerate(result["findings"], start=1):
        lines.append(f"{number}. {one['kind']}: {one['says']}")
        if one.get("images"):
            lines.append(f"   such as {', '.join(one['images'])}")
    if not result["findings"]:
        lines.append(f"Nothing found that is more than chance ({result['tested']} tests).")
    rows = [row for row in result["slices"] if len(row["slice"]) == 1]
    if rows:
        lines.append("Slices:")
    for row in rows:
        name = _name(row["slice"])
        right = f", accuracy {session.percent(row['accuracy'])}" if "accuracy" in row else ""
        lines.append(f"  {name}: {row['images']:,} images, {row['labeled']:,} labeled{right}")
    for gap in (gap for gap in result["largest_gaps"] if len(gap["columns"]) == 1):
        figure = session.percent(gap["gap"])
        lines.append(f"Widest gap: {_name(gap['worst'])} to {_name(gap['best'])}, {figure}")
    lines += [one["says"] for one in result["too_small"][:_SHOWN_SMALL]]
    if more := len(result["too_small"]) - _SHOWN_SMALL:
        lines += [f"{more} more slices are too small to judge: --json"] if more > 0 else []
    lines += result["notes"]
    if result["findings"] and result["by"]:
        lines.append(
            f"What can be done: labelloop audit --by {','.join(result['by'])} --remedy quota"
        )
    return lines


def _plan(result: dict[str, Any]) -> list[str]:
    """What a remedy would change."""
    lines = [f"{result['remedy']}: {result['does']}"]
    if result["remedy"] != "quota":
        lines.append("Labels of a slice and class, how much each counts, and their share:")
        lines += [
            f"  {_name(cell['slice'])}, {cell['label']}: {cell['n']:,} x {cell['weight']:.2f}, "
            f"{100 * cell['before']:.1f} % to {100 * cell['after']:.1f} %"
            for cell in result["cells"]
        ]
    else:
        lines.append(f"Of the next {result['budget']:,} images, and the gap that would show after:")
        lines += [
            f"  {_name(row['slice'])}: {row['given']:,} (labels {row['before']:,} to "
            f"{row['after']:,}, {row['needed']:,} needed; {100 * row['gap_before']:.0f} to "
            f"{100 * row['gap_after']:.0f} points)"
            for row in result["slices"]
        ]
    if result["applied"]:
        lines.append(f"In force as plan {result['plan']}. Take it back: labelloop balance --clear")
    elif result["remedy"] != "quota" or len(result["by"]) == 1:
        lines.append("Put it in force for the next rounds: the same with --apply")
    return lines


def _name(slice: dict[str, str]) -> str:
    return ", ".join(
        f"{column} {value}" if value else f"no {column}" for column, value in slice.items()
    )
