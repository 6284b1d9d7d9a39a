"""PostgreSQL for a team: the catalog in one database, Label Studio in another beside it.

Passwords are kept out of the workspace.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from curation.catalog import Catalog, images, moving, projects, remote
from curation.errors import InputError
from curation.workspace import DATABASE_VARIABLE, Workspace
from labeling import databases, server

DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
CATALOG = "catalog.sqlite3"
MOVED = ".moved"

Tell = Callable[[str], None]


def use(workspace: Workspace, url: str, *, tell: Tell = lambda _: None) -> Workspace:
    """Keeps the catalog and Label Studio's data in PostgreSQL from now on.

    The address without the password goes into labelloop.toml. A password is passed on to this
    process and its children in LABELLOOP_DATABASE, and stored nowhere. A catalog in SQLite is
    copied into a database that is empty yet.

    Raises:
        InputError: it is no PostgreSQL address, it lacks the workspace's project or holds other
            ones, or Label Studio has people's work in SQLite.
        CatalogError: the database cannot be opened.
    """
    full = _known(normalized(url))
    before = workspace.path / CATALOG
    moves = before.exists() and not workspace.settings.catalog
    catalog = Catalog(full)
    former = Catalog(f"sqlite:///{before}") if moves else None
    try:
        _put_label_studio_aside(workspace, former or catalog, tell=tell)
        there = _holds(catalog)
        if former is not None and not there:
            copied = moving.copy(former, catalog)
            tell(
                f"The catalog was copied to {catalog.where} ({copied:,} rows); {before.name} stays "
                f"as {before.name}{MOVED}."
            )
        # The same, where a kill came between the copying and the rest.
        elif former is not None and any((ours := _holds(former)).values()) and ours != there:
            raise InputError(
                f"{catalog.where} holds projects already, and the catalog in {before} holds "
                "images; nothing was changed. Give a database that is empty: it is copied there."
            )
        wanted = workspace.settings.project
        if wanted and there and wanted not in [name for name, _ in there]:
            raise InputError(
                f"{catalog.where} has no project {wanted!r}. Make it there first: set "
                f"{DATABASE_VARIABLE} to the address and run `labelloop init`."
            )
    finally:
        catalog.close()
        if former is not None:
            former.close()
    workspace.catalog.close()
    os.environ[DATABASE_VARIABLE] = full
    workspace.change(catalog=without_password(full))
    if moves:
        _aside(before)
    return Workspace(workspace.path)


def of_label_studio(workspace: Workspace, *, tell: Tell) -> str | None:
    """The address of our Label Studio's database in PostgreSQL, made where it is missing.

    None for a workspace whose catalog is in SQLite, and where Label Studio's data was in SQLite
    before the catalog was in PostgreSQL.

    Raises:
        InputError: the database is missing and cannot be made.
        CatalogError: the catalog cannot be opened.
    """
    catalog = workspace.catalog
    if not is_postgresql(workspace):
        return None
    held = workspace.path / "label-studio" / server.SQLITE
    if held.exists():
        tell(
            f"Label Studio stays on SQLite, where its data is ({held}); see docs/how-to/server.md "
            "for the way to PostgreSQL."
        )
        return None
    url = databases.beside(catalog.url)
    if moving.make_beside(catalog, databases.parsed(url).name):
        tell(f"Made the database {databases.parsed(url).name} for Label Studio.")
    return url


def is_postgresql(workspace: Workspace) -> bool:
    """Whether the catalog is in PostgreSQL."""
    url = os.environ.get(DATABASE_VARIABLE) or workspace.settings.catalog
    return bool(url) and not url.startswith("sqlite")


def describe(workspace: Workspace) -> dict[str, str]:
    """Where the catalog's and our Label Studio's data are, without passwords.

    The latter is missing where the workspace uses an existing Label Studio.
    """
    if not is_postgresql(workspace):
        found = {"catalog": "sqlite", "label_studio": "sqlite"}
    else:
        url = without_password(os.environ.get(DATABASE_VARIABLE) or workspace.settings.catalog)
        held = workspace.path / "label-studio" / server.SQLITE
        beside = "sqlite" if held.exists() else databases.beside(url)
        found = {
            "catalog": urlunsplit(urlsplit(url)._replace(scheme="postgresql")),
            "label_studio": beside,
        }
    if workspace.settings.label_studio_url:
        del found["label_studio"]
    return found


def normalized(url: str) -> str:
    """The address as SQLAlchemy wants it.

    Raises:
        InputError: it is not the address of a PostgreSQL database.
    """
    parts = urlsplit(url)
    if parts.scheme not in DRIVERS or not parts.path.strip("/"):
        raise InputError(
            "That is not the address of a PostgreSQL database. Give for example "
            "postgresql://labelloop@db.example.org/labelloop, and the password in "
            f"{DATABASE_VARIABLE} or ~/.pgpass."
        )
    full = urlunsplit(parts._replace(scheme=DRIVERS[parts.scheme]))
    databases.parsed(databases.beside(full))
    return full


def without_password(url: str) -> str:
    """The same address, safe to be stored."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    name = user.split(":", 1)[0]
    said = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(key, value) for key, value in said if "password" not in key]
    query = parts.query if kept == said else urlencode(kept)
    return urlunsplit(parts._replace(netloc=f"{name}@{host}" if name else host, query=query))


def hide(url: str) -> None:
    """Begins this process anew where the address on its command line has a password.

    Everybody on the machine can read the command lines of all processes. The password goes on in
    LABELLOOP_DATABASE, where only its owner can read it.
    """
    safe = without_password(url)
    if safe == url or not any(url in word for word in sys.orig_argv):
        return
    os.environ[DATABASE_VARIABLE] = normalized(url)
    words = [word.replace(url, safe) for word in sys.orig_argv[1:]]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *words])


def _known(url: str) -> str:
    """The address with the password that LABELLOOP_DATABASE has for it."""
    set_already = os.environ.get(DATABASE_VARIABLE, "")
    if urlsplit(set_already).scheme not in DRIVERS:
        return url
    known = normalized(set_already)
    return known if without_password(known) == url else url


def _put_label_studio_aside(workspace: Workspace, catalog: Catalog, *, tell: Tell) -> None:
    """Lets our Label Studio begin anew in PostgreSQL, unless there is work in its SQLite file."""
    held = workspace.path / "label-studio" / server.SQLITE
    if not held.exists() or workspace.settings.label_studio_url:
        return
    with catalog.read() as connection:
        queues = [
            queue
            for found in projects.every(connection)
            for queue in remote.every(connection, found.id)
        ]
    if queues:
        raise InputError(
            f"Label Studio of this workspace has {len(queues)} projects in SQLite, which are not "
            "moved to PostgreSQL; nothing was changed. Fetch what was answered (`labelloop up`, "
            f"`labelloop label pull`, `labelloop down`), put {held} aside, run this again, and "
            "send what still waits with `labelloop label rebuild`."
        )
    _aside(held)
    tell(f"Label Studio begins anew in PostgreSQL; what it had stays as {held}{MOVED}.")


def _aside(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        found = path.with_name(path.name + end)
        if found.exists():
            found.rename(found.with_name(path.name + MOVED + end))


def _holds(catalog: Catalog) -> dict[tuple[str, int], int]:
    """How many images each project has, by its name and seed."""
    with catalog.read() as connection:
        return {
            (found.name, found.seed): sum(images.count_by_state(connection, found.id).values())
            for found in projects.every(connection)
        }
