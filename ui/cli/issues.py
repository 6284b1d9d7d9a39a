"""The command that looks for what is wrong in a dataset."""

from typing import Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption

_SHOWN_EACH = 3


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    app.command("issues")(issues)


def issues(
    kind: Annotated[
        str, typer.Option(metavar="K,...", help="Only these kinds; all if left out.")
    ] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Also list the score of every innocent image.")
    ] = False,
    last: Annotated[
        bool, typer.Option("--last", help="Show what was found last time; look at nothing.")
    ] = False,
    to_label_studio: Annotated[
        bool,
        typer.Option(
            "--to-label-studio", help="Put likely wrong labels before people, the worst first."
        ),
    ] = False,
    most: Annotated[
        int | None, typer.Option(help="With --to-label-studio: so many may wait at most.")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for copies, bad images, outliers, wrong labels and leaks.

    Kinds: exact-duplicate, near-duplicate, group-conflict, dark, bright, low-contrast, blurry,
    low-information, odd-size, odd-aspect, odd-colour, odd-exif, outlier, atypical, wrong-label,
    leak.

    Example: labelloop issues --kind near-duplicate,blurry
    """
    from curation.errors import InputError
    from ui import findings

    kinds = findings.split_kinds(kind)
    if to_label_studio and "wrong-label" not in (kinds or ["wrong-label"]):
        raise InputError(
            "Only wrong labels can be sent to people: "
            "labelloop issues --kind wrong-label --to-label-studio"
        )
    project = session.project(workspace)
    if last:
        result = findings.list_issues(project, kinds, everything=everything)
    else:
        with session.progress() as report:
            result = findings.find_issues(project, kinds, everything=everything, report=report)
    lines = _lines(result)
    if to_label_studio:
        with session.progress() as report:
            sent = findings.review_wrong_labels(project, most=most, report=report)
        result["review"] = sent
        lines += _sent(sent)
    session.show(result, as_json=as_json, lines=lines)


def _lines(result: dict[str, Any]) -> list[str]:
    """Kinds with their number, and the worst of each."""
    found = {kind: n for kind, n in result["counts"].items() if n}
    looked = f" in {result['images']:,} images" if "images" in result else ""
    if not found:
        return [f"Nothing found{looked}."]
    lines = [f"Found{looked}:"]
    for kind, n in found.items():
        lines.append(f"  {kind:16} {n:,}")
        worst = [row for row in result["issues"] if row["kind"] == kind and row["is_issue"]]
        lines += [f"    {row['image']}: {row['reason']}{_hint(row)}" for row in worst[:_SHOWN_EACH]]
    confusions = [
        f"{row['count']} of {row['of']:,} {row['label']} ({row['suggested_label']})"
        for row in result.get("confusions", [])[:_SHOWN_EACH]
    ]
    if confusions:
        lines.append(f"Labels that look wrong most often: {', '.join(confusions)}.")
    lines.append("All of them: --json. Take some out: labelloop exclude --kind K --dry-run")
    if "wrong-label" in found:
        lines.append("Ask people again: labelloop issues --kind wrong-label --to-label-studio")
    return lines


def _sent(sent: dict[str, Any]) -> list[str]:
    """What became of the labels that look wrong."""
    lines = [f"Sent {sent['offered']:,} labels to review; {sent['waiting']:,} wait in all."]
    if sent["left_out"]:
        lines.append(
            f"Left out {sent['left_out']:,}: of the reserve, whose images people answer without a "
            "hint, or labeled otherwise by now."
        )
    if sent["waiting"]:
        lines.append(f"Review them at {sent['url']}, then: labelloop label pull")
    return lines


def _hint(row: dict[str, Any]) -> str:
    """What the label should be, where the reason does not say so."""
    if row["kind"] == "wrong-label" or not row["suggested_label"]:
        return ""
    return f"; perhaps {row['suggested_label']}"
