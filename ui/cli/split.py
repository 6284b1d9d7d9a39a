"""The command that divides a dataset into parts, and checks how it is divided."""

from typing import Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption

_SHOWN = 10
_CLASSES_SHOWN = 12


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    app.command("split")(split)


def split(
    shares: Annotated[
        str,
        typer.Option(metavar="T/V/T", help="Shares of train/validation/test; 70/15/15 at first."),
    ] = "",
    train: Annotated[float | None, typer.Option(help="The same, one by one: 0 to 1.")] = None,
    validation: Annotated[float | None, typer.Option(help="Share of validation.")] = None,
    test: Annotated[float | None, typer.Option(help="Share of test.")] = None,
    folds: Annotated[int | None, typer.Option(help="So many folds of equal size instead.")] = None,
    with_reserve: Annotated[
        bool, typer.Option("--with-reserve", help="Put the rounds' reserve into the folds, too.")
    ] = False,
    by: Annotated[
        str | None,
        typer.Option(metavar="COLUMN,...", help="Keep images with the same value together."),
    ] = None,
    stratify: Annotated[
        str | None,
        typer.Option(metavar="label|COLUMN|none", help="What the parts resemble each other in."),
    ] = None,
    name: Annotated[str, typer.Option(help="The split's name; rounds follow `default`.")] = (
        "default"
    ),
    from_imported: Annotated[
        bool, typer.Option("--from-imported", help="Adopt the split the images came with.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing: sizes, classes, leaks.")
    ] = False,
    remove: Annotated[str, typer.Option(metavar="NAME", help="Remove this split.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before removing.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Divide the images into train, validation and test, or folds, that do not leak.

    Copies stay together, and images with the same value of the columns of --by. Images keep their
    part; run it again, without options, to let new images join.

    Example: labelloop split --shares 70/15/15 --by patient
    """
    from curation.errors import InputError
    from ui import splitting

    project = session.project(workspace)
    if remove and not yes:
        raise InputError(
            f"Removing the split {remove!r} sets all its images free, those of its test part too. "
            f"If that is meant: labelloop split --remove {remove} --yes"
        )
    if remove:
        session.show(
            splitting.remove(project, remove),
            as_json=as_json,
            lines=[f"Removed the split {remove}; its images stay in the project."],
        )
        return
    columns = None if by is None else [word.strip() for word in by.split(",") if word.strip()]
    if check:
        with session.progress() as report:
            result = splitting.check(
                project, name=name, by=columns, from_imported=from_imported, report=report
            )
    else:
        with session.progress() as report:
            result = splitting.split(
                project,
                shares=_shares(shares, train, validation, test),
                folds=folds,
                by=columns,
                stratify=stratify,
                name=name,
                from_imported=from_imported,
                with_reserve=with_reserve,
                dry_run=dry_run,
                report=report,
            )
    session.show(result, as_json=as_json, lines=_lines(result))


def _shares(
    text: str, train: float | None, validation: float | None, test: float | None
) -> dict[str, float] | None:
    """The shares that were asked for in either way; none if they were left open."""
    from curation.errors import InputError
    from curation.splits import parse_shares

    single = {"train": train, "validation": validation, "test": test}
    given = {part: share for part, share in single.items() if share is not None}
    if text and given:
        raise InputError("Give --shares, or --train, --validation and --test, not both.")
    return parse_shares(text) if text else given or None


def _lines(result: dict[str, Any]) -> list[str]:
    """Parts with their size and classes, then what should be known."""
    images = f"{result['images']:,} images"
    if result.get("dry_run"):
        lines = [f"Would divide {images} ({result['joined']:,} of them new):"]
    elif "dry_run" in result:
        lines = [f"Split {result['split']}: {images}, {result['joined']:,} of them joined now."]
    else:
        lines = [f"Split {result['split']}: {images}."]
    for part, count in result["parts"].items():
        classes = _classes(result["class_shares"][part], result["labeled"][part])
        lines.append(f"  {part:12} {count:>9,}  {100 * result['shares'][part]:5.1f} %{classes}")
    findings = result["findings"]
    lines += [f"{row['says']}{_named(row['images'])}" for row in findings[:_SHOWN]]
    if len(findings) > _SHOWN:
        lines.append(f"And {len(findings) - _SHOWN:,} more: --json")
    if not result["leaks"]:
        lines.append("Nothing that belongs together lies in two parts.")
    return lines


def _classes(shares: dict[str, float], labeled: int) -> str:
    if not labeled:
        return ""
    if len(shares) > _CLASSES_SHOWN:
        return f"  {labeled:,} labeled"
    said = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
    return f"  {labeled:,} labeled: {said}"


def _named(images: list[str]) -> str:
    return f" ({', '.join(images)})" if images else ""
