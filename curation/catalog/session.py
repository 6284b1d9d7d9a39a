"""Opening the catalog: one engine, short transactions, migrations on the way in."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError

from curation.errors import CatalogBusy, CatalogDamaged, CatalogError

BUSY_TIMEOUT_SECONDS = 30
MIGRATIONS = Path(__file__).parent / "migrations"

# SQLite before this version can corrupt a database in WAL mode under concurrent checkpoints.
SAFE_SQLITE = (3, 51, 3)


def sqlite_module() -> ModuleType:
    """The SQLite driver: pysqlite3, which bundles a current SQLite, or else Python's own."""
    try:
        import pysqlite3

        return pysqlite3.dbapi2  # type: ignore[no-any-return]
    except ImportError:
        import sqlite3

        return sqlite3


class Catalog:
    """A handle on the catalog's database; cheap to keep, safe to share between threads.

    Raises:
        CatalogError: the database cannot be opened.
        CatalogDamaged: it fails SQLite's check, or a newer labelloop wrote it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self.engine = _engine(url)
        except ArgumentError as error:
            raise CatalogError(
                f"Not a database's address: {error}. Examples: sqlite:///catalog.sqlite3, "
                "postgresql://user@host/database."
            ) from error
        except ModuleNotFoundError as error:
            raise CatalogError(
                f"No driver for this catalog: {error}. Install labelloop[postgresql]."
            ) from error
        try:
            _bring_up_to_date(self.engine)
        except CatalogError:
            self.close()
            raise
        except DatabaseError as error:
            self.close()
            raise _explained(error, self.where) from error

    @property
    def where(self) -> str:
        """The database's address, without a password."""
        return self.engine.url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one consistent state and writes nothing."""
        with self._transaction(writes=False) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds SQLite's write lock from its start and commits at its end.

        Raises:
            CatalogBusy: another writer held the lock for longer than 30 seconds.
        """
        with self._transaction(writes=True) as connection:
            yield connection

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        try:
            with self.engine.connect() as opened:
                connection = opened.execution_options(labelloop_writes=writes)
                if not writes and self.engine.dialect.name == "postgresql":
                    connection = connection.execution_options(isolation_level="REPEATABLE READ")
                with connection.begin():
                    yield connection
        except DatabaseError as error:
            # SQLite reports a damaged file by the bare class; its other children are our mistakes.
            if isinstance(error, OperationalError) or type(error) is DatabaseError:
                raise _explained(error, self.where) from error
            raise

    def close(self) -> None:
        """Give the connections back; the handle opens new ones when it is used again."""
        self.engine.dispose()


def _engine(url: str) -> Engine:
    # A path may hold what would end it in an address: ? and the like.
    plain = "sqlite:///"
    path = url.removeprefix(plain)
    address = URL.create("sqlite", database=path) if url.startswith(plain) else make_url(url)
    if not address.drivername.startswith("sqlite"):
        if address.drivername in {"postgres", "postgresql"}:
            address = address.set(drivername="postgresql+psycopg")
        # CURRENT_TIMESTAMP follows the session's time zone; the catalog's times are UTC.
        utc = {"options": "-c timezone=utc"}
        return create_engine(address, connect_args=utc, pool_pre_ping=True)
    engine = create_engine(
        address, module=sqlite_module(), connect_args={"timeout": BUSY_TIMEOUT_SECONDS}
    )

    @event.listens_for(engine, "connect")
    def _configure(raw: Any, _record: object) -> None:
        raw.isolation_level = None  # the driver would otherwise begin transactions of its own
        _write_ahead(raw)
        for pragma in ("synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
            raw.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("labelloop_writes", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _write_ahead(raw: Any) -> None:
    # Several that switch a new database at once are refused at once: here SQLite does not wait.
    give_up = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            raw.execute("PRAGMA journal_mode=WAL")
        except sqlite_module().OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up:
                raise
            time.sleep(0.02)
        else:
            return


def _explained(error: DatabaseError, where: str) -> CatalogError:
    reason = str(error.orig)
    if "locked" in reason or "busy" in reason:
        return CatalogBusy(
            f"Another process has been writing to {where} for {BUSY_TIMEOUT_SECONDS} seconds. "
            "Wait for it to finish and run the same command again."
        )
    if "malformed" in reason or "not a database" in reason:
        return CatalogDamaged(
            f"{where} is damaged ({reason}). Restore the last backup with "
            "`labelloop restore-backup`."
        )
    if "disk is full" in reason:
        return CatalogError(f"No space left for {where}. Free some and run the command again.")
    if "readonly" in reason or "unable to open" in reason:
        return CatalogError(
            f"{where} cannot be written ({reason}). Check the folder's permissions."
        )
    return CatalogError(f"The catalog {where} refused: {reason}")


@cache
def newest_revision() -> str:
    """The id of the last migration, from the files' names (`0001_first.py`)."""
    return max(path.stem.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def revision(connection: Connection) -> str:
    """The migration that the database stands at; empty for a new database."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""


def _bring_up_to_date(engine: Engine) -> None:
    with engine.connect() as opened:
        # Only reading: whoever opens the catalog does not wait for a writer.
        connection = opened.execution_options(labelloop_writes=False)
        with connection.begin():
            found = revision(connection)
    if found == newest_revision():
        return
    if found > newest_revision():
        raise CatalogDamaged(
            f"The catalog is at version {found}, this labelloop knows {newest_revision()}. "
            "Install the newer labelloop that wrote it."
        )
    # One transaction for all of it: a kill leaves the old schema, whole.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with migrating(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def migrating(engine: Engine) -> Iterator[Connection]:
    """A transaction in which tables may be replaced that others refer to.

    Raises:
        CatalogDamaged: a row refers to one that is not there; nothing is changed then.
    """
    with engine.connect() as connection:
        if not engine.url.drivername.startswith("sqlite"):
            with connection.begin():
                connection.execute(text("SELECT pg_advisory_xact_lock(5137043)"))
                yield connection
            return
        raw: Any = connection.connection.driver_connection
        raw.execute("PRAGMA foreign_keys=OFF")  # within a transaction it would do nothing
        try:
            with connection.begin():
                yield connection
                broken = connection.execute(text("PRAGMA foreign_key_check")).first()
                if broken is not None:
                    raise CatalogDamaged(
                        f"A row of {broken[0]} refers to one of {broken[2]} that is gone. "
                        "Restore the last backup with `labelloop restore-backup`."
                    )
        finally:
            raw.execute("PRAGMA foreign_keys=ON")
