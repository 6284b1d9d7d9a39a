"""The catalog's database for a team: PostgreSQL by URL, the password kept out of the workspace."""

import os
from urllib.parse import urlsplit, urlunsplit

from curation.catalog import Catalog, projects
from curation.errors import InputError
from curation.workspace import DATABASE_VARIABLE, Workspace

DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


def use(workspace: Workspace, url: str) -> Workspace:
    """Keeps the catalog in this database from now on.

    The address without the password goes into labelloop.toml. A password is passed on to this
    process and its children in LABELLOOP_DATABASE, and stored nowhere.

    Raises:
        InputError: it is no PostgreSQL address, or it lacks the workspace's project.
        CatalogError: the database cannot be opened.
    """
    full = normalized(url)
    catalog = Catalog(full)
    try:
        with catalog.read() as connection:
            names = [found.name for found in projects.every(connection)]
    finally:
        catalog.close()
    wanted = workspace.settings.project
    if wanted and wanted not in names:
        raise InputError(
            f"{catalog.where} has no project {wanted!r}. Make it there first: set "
            f"{DATABASE_VARIABLE} to the address and run `labelloop init`."
        )
    os.environ[DATABASE_VARIABLE] = full
    workspace.change(catalog=without_password(full))
    return Workspace(workspace.path)


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
    return urlunsplit(parts._replace(scheme=DRIVERS[parts.scheme]))


def without_password(url: str) -> str:
    """The same address, safe to be stored."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    name = user.split(":", 1)[0]
    return urlunsplit(parts._replace(netloc=f"{name}@{host}" if name else host))
