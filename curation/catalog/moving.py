"""A catalog copied from SQLite into PostgreSQL, and databases made beside one."""

from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Table,
    Text,
    bindparam,
    cast,
    func,
    insert,
    select,
    text,
    type_coerce,
    update,
)
from sqlalchemy.exc import ProgrammingError

from curation.catalog.bulk import ROWS, batched
from curation.catalog.schema import metadata
from curation.catalog.session import Catalog
from curation.errors import InputError


def copy(source: Catalog, target: Catalog) -> int:
    """Copies everything, ids included, into a migrated catalog in PostgreSQL that is empty.

    One transaction: a kill leaves the target empty.

    Returns:
        How many rows there were.
    """
    copied = 0
    with source.read() as reading, target.write() as writing:
        for table in metadata.sorted_tables:
            copied += _copy_table(reading, writing, table)
    return copied


def _copy_table(reading: Connection, writing: Connection, table: Table) -> int:
    # JSON goes over as it was written: read and written anew, "nothing" and "null" are one.
    columns = [
        type_coerce(column, Text).label(column.name) if isinstance(column.type, JSON) else column
        for column in table.columns
    ]
    # A row may refer to one that comes after it.
    later = [key.parent.name for key in table.foreign_keys if key.column.table is table]
    adding = insert(table).values({column.name: _bound(column) for column in table.columns})
    count = 0
    rows = reading.execute(select(*columns), execution_options={"yield_per": ROWS}).mappings()
    referring: list[dict[str, Any]] = []
    for batch in batched(rows):
        given = [dict(row) for row in batch]
        referring += [row for row in given if any(row[name] is not None for name in later)]
        writing.execute(adding, [row | dict.fromkeys(later) for row in given])
        count += len(given)
    for row in referring:
        change = update(table).where(table.c.id == row["id"])
        writing.execute(change.values({name: row[name] for name in later}))
    if "id" in table.columns and count:
        sequence = func.pg_get_serial_sequence(table.name, "id")
        writing.execute(
            select(func.setval(sequence, select(func.max(table.c.id)).scalar_subquery()))
        )
    return count


def _bound(column: Column[Any]) -> Any:
    if isinstance(column.type, JSON):
        return cast(bindparam(column.name, type_=Text), JSON)
    return bindparam(column.name, type_=column.type)


def make_beside(catalog: Catalog, name: str) -> bool:
    """Makes a database of this name on the catalog's server, where there is none.

    Returns:
        Whether it was made.

    Raises:
        InputError: the role may not make databases.
    """
    engine = catalog.engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        known = text("SELECT 1 FROM pg_database WHERE datname = :name")
        if connection.scalar(known, {"name": name}):
            return False
        quoted = connection.dialect.identifier_preparer.quote(name)
        try:
            connection.execute(text(f"CREATE DATABASE {quoted}"))
        except ProgrammingError as error:
            state = getattr(error.orig, "sqlstate", "")
            if state == "42P04":  # somebody else was quicker
                return False
            if state != "42501":
                raise
            role = connection.scalar(text("SELECT current_user"))
            owner = connection.dialect.identifier_preparer.quote(str(role))
            raise InputError(
                f"Label Studio needs a database of its own, {name}, and {role} may not make one. "
                f"Have an administrator run: CREATE DATABASE {quoted} OWNER {owner};"
            ) from error
    return True
