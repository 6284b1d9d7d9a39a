"""Writing and reading many rows without a statement that grows with the dataset."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")
ROWS = 1000  # well below SQLite's 32,766 variables a statement


def batched(items: Iterable[T], size: int = ROWS) -> Iterator[list[T]]:
    """The items in lists of at most `size`, in order."""
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Inserts the rows, passing over those whose key is taken."""
    if rows:
        connection.execute(_insert(connection, table).on_conflict_do_nothing(), rows)


def insert_or_update(
    connection: Connection, table: Table, rows: Sequence[dict[str, Any]], *, changing: str
) -> None:
    """Inserts the rows; where a primary key is taken, its column `changing` gets the new value."""
    if rows:
        insert = _insert(connection, table)
        change = {changing: insert.excluded[changing]}
        keys = list(table.primary_key.columns)
        connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=change), rows)


def insert_one(connection: Connection, table: Table, values: dict[str, Any]) -> int:
    """Inserts one row and returns its id."""
    key = connection.execute(table.insert().values(**values)).inserted_primary_key
    assert key is not None  # every table that comes here counts its ids up
    return int(key[0])


def _insert(connection: Connection, table: Table) -> Any:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table)
