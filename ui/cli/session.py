"""What every command shares: which workspace, how results are printed, how progress is shown."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curation.progress import step_of

if TYPE_CHECKING:
    from curation.progress import Report
    from curation.workspace import Project, Workspace

WORKSPACE_VARIABLE = "LABELLOOP_WORKSPACE"

# What --workspace said before the command.
named_first: ContextVar[Path | None] = ContextVar("named_first", default=None)

WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        metavar="DIR",
        envvar=WORKSPACE_VARIABLE,
        help="The workspace; otherwise the nearest one from the current folder upwards.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")
]


def chosen(workspace: Path | None) -> Path | None:
    """The workspace named after the command, or before it, or in the environment."""
    return workspace or named_first.get()


def workspace(named: Path | None) -> "Workspace":
    """The opened workspace that the command works on."""
    from curation import workspace as workspaces

    folder = chosen(named)
    return workspaces.open(folder) if folder else workspaces.find(Path.cwd())


def project(named: Path | None) -> "Project":
    """The current project of the workspace that the command works on."""
    from curation import workspace as workspaces

    return workspaces.project(workspace(named))


def show(result: dict[str, Any], *, as_json: bool, lines: list[str]) -> None:
    """Prints the result: as one JSON object, or as lines for people."""
    if as_json:
        sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
    else:
        for line in lines:
            typer.echo(line)


def tell(line: str) -> None:
    """A line for people while a command works; on stderr, so that stdout stays the result's."""
    typer.echo(line, err=True)


@contextmanager
def progress() -> Iterator["Report"]:
    """A report that draws a bar with rate and time left on stderr, or sparse lines in a log."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, tuple[Any, float]] = {}

        def report(done: int, total: int, says: str) -> None:
            step = step_of(says)
            if step not in tasks:
                begun = time.monotonic()
                tasks[step] = bars.add_task(says, total=total or None, rate=""), begun
            task, begun = tasks[step]
            seconds = time.monotonic() - begun
            rate = f"{done / seconds:,.0f}/s" if seconds > 0.5 else ""
            bars.update(task, completed=done, total=total or None, rate=rate, description=says)

        yield report


class _Lines:
    """Progress for a log: a line when a step begins, every ten seconds, and when it is done."""

    def __init__(self) -> None:
        self.told = 0.0
        self.step = ""
        self.begun = 0.0
        self.last = -1

    def __call__(self, done: int, total: int, says: str) -> None:
        now = time.monotonic()
        if step_of(says) != self.step:
            self.step, self.begun, self.told, self.last = step_of(says), now, 0.0, -1
        if (now - self.told < 10 and done != total) or done == self.last:
            return
        self.told, self.last = now, done
        left = ""
        if 0 < done < total and now - self.begun > 2:
            left = f", {(total - done) * (now - self.begun) / done:,.0f} s left"
        tell(f"{says}: {done:,} of {total:,}{left}" if total else f"{says} ...")


def percent(figure: dict[str, Any] | None) -> str:
    """A figure of quality for people: `81.3 % (75.0 to 86.4, n = 150)`."""
    if not figure or figure.get("value") is None:
        return "no figure yet"
    low, high = figure["ci"]
    return (
        f"{100 * figure['value']:.1f} % ({100 * low:.1f} to {100 * high:.1f}, n = {figure['n']:,})"
    )
