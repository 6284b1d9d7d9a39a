"""A real PostgreSQL for one test session, and a Label Studio on it.

Label Studio's first start there migrates for more than a minute, so the migrated database is kept
in pytest's cache folder as a dump, keyed by Label Studio's version.
"""

import importlib.metadata
import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from labeling import server
from labeling.connection import connect
from tests.catalog import postgresql
from tests.fixtures_label_studio import LabelStudio, free_port

KEPT = ("credentials.json", ".env")
DUMP = "dump.sql"

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgresql_socket() -> Iterator[str]:
    """The folder of a running server's socket; skips where PostgreSQL is not installed."""
    binaries = postgresql.find_binaries()
    if binaries is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed, and CI must test on it")
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    with postgresql.running(binaries) as folder:
        yield folder


@pytest.fixture
def new_postgresql(postgresql_socket: str) -> Iterator[str]:
    """The address of an empty database, which goes with what lies beside it."""
    name = f"empty_{next(_numbers)}"
    order(postgresql_socket, f"CREATE DATABASE {name}")
    yield address(postgresql_socket, name)
    for one in (name, f"{name}_label_studio"):
        order(postgresql_socket, f"DROP DATABASE IF EXISTS {one} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgresql_label_studio_folder(
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
    postgresql_socket: str,
) -> Callable[[str], Path]:
    """Fills a database of this name as Label Studio migrates it; gives the folder that fits it."""
    cache = pytestconfig.cache
    assert cache is not None, "run pytest with its cache"
    version = importlib.metadata.version("label-studio")
    kept = cache.mkdir(f"label-studio-{version}-postgresql") / "data"

    def fill(name: str) -> Path:
        order(postgresql_socket, f"CREATE DATABASE {name}")
        folder = tmp_path_factory.mktemp("label-studio") / "data"
        if kept.exists():
            folder.mkdir()
            for one in KEPT:
                shutil.copy2(kept / one, folder / one)
            _run("psql", postgresql_socket, name, "-q", "-f", str(kept / DUMP))
            return folder
        url = address(postgresql_socket, name)
        server.start(folder, log=folder / "log", port=free_port(), database_url=url).stop()
        making = kept.with_name(f"making-{os.getpid()}")
        making.mkdir()
        for one in KEPT:
            shutil.copy2(folder / one, making / one)
        _run("pg_dump", postgresql_socket, name, "-f", str(making / DUMP))
        making.rename(kept)
        return folder

    return fill


@pytest.fixture(scope="session")
def label_studio_on_postgresql(
    postgresql_socket: str, postgresql_label_studio_folder: Callable[[str], Path]
) -> Iterator[LabelStudio]:
    """The session's Label Studio under gunicorn."""
    name = f"session_{next(_numbers)}"
    folder = postgresql_label_studio_folder(name)
    url = address(postgresql_socket, name)
    running = server.start(folder, log=folder / "log", port=free_port(), database_url=url)
    credentials = server.credentials_in(folder)
    try:
        with connect(running.url, credentials.token) as connection:
            yield LabelStudio(running, connection, credentials)
    finally:
        running.stop()


def order(socket: str, sql: str) -> None:
    """Has the server do something that belongs into no transaction."""
    engine = create_engine(address(socket, "postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(sql))
    engine.dispose()


def address(socket: str, database: str) -> str:
    """Of a database of this server."""
    return f"postgresql+psycopg://labelloop@/{database}?host={socket}"


def _run(program: str, socket: str, database: str, *words: str) -> None:
    binaries = postgresql.find_binaries()
    assert binaries is not None
    command = [str(binaries / program), "-h", socket, "-U", "labelloop", "-d", database, *words]
    subprocess.run(command, check=True, capture_output=True)
