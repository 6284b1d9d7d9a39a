"""Commands that start and stop the servers, and show what they say."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from curation.workspace import Workspace

TOKEN_VARIABLE = "LABEL_STUDIO_API_KEY"
OWN = "none"


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    app.command("up")(up)
    app.command("down")(down)
    app.command("logs")(logs)


def up(
    detach: Annotated[
        bool, typer.Option("--detach", help="Run in the background; stop with labelloop down.")
    ] = False,
    app_port: Annotated[
        int | None, typer.Option(help="The app's port; otherwise the next free one from 8501.")
    ] = None,
    label_studio_port: Annotated[
        int | None, typer.Option(help="Label Studio's port; otherwise the next free from 8080.")
    ] = None,
    label_studio_url: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help=f"Use an existing Label Studio, with the token in {TOKEN_VARIABLE} or asked for. "
            f"Remembered; {OWN!r} goes back to one of our own.",
        ),
    ] = "",
    label_studio_root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The document root of that Label Studio, as mounted here; images lie below it.",
        ),
    ] = None,
    public_url: Annotated[
        str,
        typer.Option(metavar="URL", help="The address of the TLS proxy through which others come."),
    ] = "",
    database: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Keep the catalog in PostgreSQL, and Label Studio's data in a second database "
            "beside it, NAME_label_studio. Remembered without the password, which belongs into "
            "LABELLOOP_DATABASE or ~/.pgpass.",
        ),
    ] = "",
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start Label Studio, the job worker and the app, and watch over them until Ctrl-C.

    Example: labelloop up --detach
    """
    from ui import servers
    from ui.servers import background
    from ui.servers import database as databases

    if database:
        databases.hide(database)
    place = session.workspace(workspace)
    found = servers.up(place)
    if found is not None:
        show_up(place, found, as_json=as_json, first_line="Already up.")
        return
    if database:
        place = databases.use(place, database, tell=session.tell)
    if label_studio_url:
        _choose_label_studio(place, label_studio_url, label_studio_root)
    new = servers.log_in(place) is None
    options = servers.Options(
        app_port=app_port, label_studio_port=label_studio_port, public_url=public_url
    )
    if detach:
        session.tell("Starting the servers ...")
        found = servers.detach(place, options)
        show_up(place, found, as_json=as_json, first_line="Up.", new=new)
        return
    background.rotate(place)
    try:
        with (
            servers.interruptible(),
            servers.start(place, options, tell=session.tell) as running,
        ):
            found = servers.up(place)
            assert found is not None
            show_up(place, found, as_json=as_json, first_line="Up. Ctrl-C stops.", new=new)
            sys.stdout.flush()
            running.watch()
    except KeyboardInterrupt:
        session.tell("Stopped.")


def _choose_label_studio(place: "Workspace", url: str, root: Path | None) -> None:
    from curation.errors import InputError
    from ui.servers import external

    if url == OWN:
        external.forget(place)
        return
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token and sys.stdin.isatty():
        token = typer.prompt(f"Token for {url}", hide_input=True, err=True)
    if not token:
        raise InputError(
            f"A token is needed for {url}. Copy it from the account page there and set "
            f"{TOKEN_VARIABLE}."
        )
    external.remember(place, url, token, root=root)


def show_up(
    place: "Workspace", found: Any, *, as_json: bool, first_line: str, new: bool = False
) -> None:
    """Prints the addresses and the log-in; the password only when it was `new`ly made."""
    from ui import servers
    from ui.servers import database, state

    log_in = servers.log_in(place)
    path = place.path / "label-studio" / "credentials.json"
    result = {
        "workspace": str(place.path),
        **state.plain(found),
        "databases": database.describe(place),
        "log_in": log_in and {"email": log_in.email, "stored_in": str(path)},
    }
    lines = [first_line]
    if not found.ready:
        lines.append("  It is still starting; try again in a moment, or see labelloop logs.")
    else:
        lines += [f"  The app:       {found.app_url}", f"  Label Studio:  {found.label_studio_url}"]
    if log_in and new:
        lines.append(f"  Log in with:   {log_in.email}  {log_in.password}")
        lines.append(f"                 (shown once; it is stored in {path})")
    elif log_in:
        lines.append(f"  Log in with:   {log_in.email}, the password is in {path}")
    session.show(result, as_json=as_json, lines=lines)


def down(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Stop the servers of this workspace.

    Example: labelloop down
    """
    from ui import servers

    names = servers.down(session.workspace(workspace), tell=session.tell)
    line = f"Stopped {', '.join(names)}." if names else "Nothing was running."
    session.show({"stopped": names}, as_json=as_json, lines=[line])


def logs(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="supervisor, app, worker or label-studio.")
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option(min=1, help="How many lines of each.")] = 40,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the servers said.

    Example: labelloop logs worker --follow
    """
    from ui import servers

    place = session.workspace(workspace)
    names = [name] if name else list(servers.NAMES)
    found = {one: servers.tail(place, one, lines=lines) for one in names}
    shown = [_said(one, line) for one in names for line in found[one]]
    session.show(
        {"logs": found}, as_json=as_json, lines=shown or ["Nothing yet. Start with labelloop up."]
    )
    if follow and not as_json:
        for one, line in servers.follow(place, names):
            typer.echo(_said(one, line))


def _said(name: str, line: str) -> str:
    return f"{name:<12} | {line}"
