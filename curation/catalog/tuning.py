"""Where the search for settings keeps its trials: beside the catalog, in a schema of its own.

Its tables hold an `alembic_version` that would clash with the catalog's.
"""

from pathlib import Path

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from curation.catalog.session import BUSY_TIMEOUT_SECONDS
from curation.errors import CatalogError

SCHEMA = "labelloop_tuning"


def address(workspace: Path, url: str = "") -> str:
    """The address of the database for trials; a PostgreSQL schema is made where it is missing.

    Args:
        workspace: whose `tuning.sqlite3` it is if no other is named.
        url: of a PostgreSQL database, as the catalog's; or of another SQLite file.

    Raises:
        CatalogError: not an address, no driver for it, or it refuses.
    """
    if not url:
        url = f"sqlite:///{workspace / 'tuning.sqlite3'}"
    try:
        given = make_url(url)
    except ArgumentError as error:
        raise CatalogError(
            f"Not a database's address: {error}. Example: postgresql://user@host/database."
        ) from error
    if given.drivername.startswith("sqlite"):
        return url
    if given.drivername in {"postgres", "postgresql"}:
        given = given.set(drivername="postgresql+psycopg")
    try:
        engine = create_engine(given)
        try:
            with engine.begin() as connection:
                connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        finally:
            engine.dispose()
    except ModuleNotFoundError as error:
        raise CatalogError(
            f"No driver for this database: {error}. Install labelloop[postgresql]."
        ) from error
    except SQLAlchemyError as error:
        where = given.render_as_string(hide_password=True)
        raise CatalogError(f"{where} cannot be used for trials: {error}.") from error
    found = given.update_query_dict({"options": f"-csearch_path={SCHEMA}"})
    return found.render_as_string(hide_password=False)


def kept(url: str) -> str:
    """The same address as it may stand in a file: without its password, and whole.

    PostgreSQL's own ~/.pgpass or PGPASSWORD give the password where an address has none.
    """
    try:
        given = make_url(url) if url else None
    except ArgumentError:  # said by `address`
        return url
    if given is None:
        return ""
    if given.drivername.startswith("sqlite") and given.database:
        given = given.set(database=str(Path(given.database).absolute()))
    return given.set(password=None).render_as_string(hide_password=False)


def options(url: str) -> dict[str, object]:
    """How long a writer waits for another one, as SQLAlchemy's engine takes it."""
    if not url.startswith("sqlite"):
        return {"pool_pre_ping": True}
    return {"connect_args": {"timeout": BUSY_TIMEOUT_SECONDS}}
