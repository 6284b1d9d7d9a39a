"""The command that checks what labelloop needs of this machine."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from ui.doctor import Check


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    app.command("doctor")(doctor)


def doctor(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Check versions, disk, network and ports, and say what to do. Works without a workspace.

    Example: labelloop doctor
    """
    from curation.errors import WorkspaceError
    from curation.workspace import SETTINGS
    from ui import doctor as checks

    folder = session.chosen(workspace) or Path.cwd()
    found = None
    try:
        found = session.workspace(workspace)
    except WorkspaceError:
        if (folder / SETTINGS).exists():  # there is one, and it cannot be read
            raise
    results = checks.run(found.path if found else folder, found)
    failed = [check for check in results if check.needed and not check.ok]
    lines = [f"{_mark(check)} {check.name}: {check.says}" for check in results]
    lines.append(
        f"{len(failed)} of {len(results)} checks need you." if failed else "Everything is ready."
    )
    session.show({"checks": [vars(check) for check in results]}, as_json=as_json, lines=lines)
    if failed:
        raise typer.Exit(1)


def _mark(check: "Check") -> str:
    if check.ok:
        return "ok  "
    return "FAIL" if check.needed else "note"
