"""The catalog's tests run on both databases: one empty catalog each, migrated as users' are."""

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from curation.catalog import Catalog
from curation.catalog.schema import metadata
from tests.fixtures_postgresql import address, order

_numbers = itertools.count()


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_socket: str) -> Iterator[str]:
    """The address of a migrated database, which each test leaves empty."""
    with _database(postgresql_socket) as url:
        Catalog(url).close()
        yield url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy from."""
    path = tmp_path_factory.mktemp("catalog") / "catalog.sqlite3"
    Catalog(f"sqlite:///{path}").close()
    return path


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database, without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'catalog.sqlite3'}"
        return
    with _database(request.getfixturevalue("postgresql_socket")) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    """An empty, migrated catalog."""
    if request.param == "sqlite":
        path = tmp_path / "catalog.sqlite3"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        opened = Catalog(f"sqlite:///{path}")
        yield opened
        opened.close()
        return
    url = request.getfixturevalue("migrated_postgresql")
    opened = Catalog(url)
    yield opened
    with opened.write() as connection:
        tables = ", ".join(metadata.tables)
        connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
    opened.close()


@contextmanager
def _database(socket: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    order(socket, f"CREATE DATABASE {name}")
    yield address(socket, name)
    order(socket, f"DROP DATABASE {name} WITH (FORCE)")
