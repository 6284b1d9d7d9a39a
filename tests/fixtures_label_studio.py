"""A real Label Studio for tests: one per session, one project per test.

Its first start migrates for up to a minute, so the migrated database is kept in pytest's cache
folder, keyed by Label Studio's version, and copied by later sessions, which start in three seconds.
"""

import importlib.metadata
import itertools
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from labeling import process, server
from labeling.connection import Connection, connect
from labeling.interfaces import labeling_xml
from labeling.server import Credentials, Server

CLASSES = ("ok", "scratch", "dent")
KEPT = ("credentials.json", ".env", "label_studio.sqlite3")

_numbers = itertools.count()


@dataclass(frozen=True)
class LabelStudio:
    """A running server and an open connection to it as its administrator."""

    server: Server
    connection: Connection
    credentials: Credentials

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def folder(self) -> Path:
        return self.server.folder

    def annotator(self) -> Connection:
        """A new person; close the connection."""
        email = f"annotator-{next(_numbers)}-{secrets.token_hex(4)}@example.org"
        return connect(self.url, self.connection.create_annotator(email, secrets.token_hex(8)))


def migrated(cache: pytest.Cache) -> Path:
    """A folder with the files of a Label Studio that has been started once."""
    version = importlib.metadata.version("label-studio")
    place = cache.mkdir(f"label-studio-{version}")
    made = place / "data"
    if not made.exists():
        making = place / f"making-{os.getpid()}"
        server.start(making, log=making / "log", port=free_port()).stop()
        # Another session may have been quicker; both are complete, so either will do.
        with suppress(OSError):
            making.rename(made)
        shutil.rmtree(making, ignore_errors=True)
    return made


def copy_migrated(cache: pytest.Cache, folder: Path) -> Path:
    """A data folder that Label Studio starts on in three seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        shutil.copy2(migrated(cache) / name, folder / name)
    return folder


def free_port() -> int:
    """A port that nobody uses now, away from where `server.start` looks by itself.

    Sessions that run side by side begin at different ones, or two would find the same one free.
    """
    first = 18080 + 20 * (os.getpid() % 50)
    return next(port for port in range(first, 20080) if process.is_free("127.0.0.1", port))


@pytest.fixture(scope="session")
def label_studio_folder(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Path]:
    """Makes data folders that are migrated already, each with the same credentials."""
    cache = pytestconfig.cache
    assert cache is not None, "run pytest with its cache"
    return lambda: copy_migrated(cache, tmp_path_factory.mktemp("label-studio") / "data")


@pytest.fixture(scope="session")
def label_studio(label_studio_folder: Callable[[], Path]) -> Iterator[LabelStudio]:
    """The session's server. Leave its settings alone; use `label_studio_project` for tasks."""
    folder = label_studio_folder()
    running = server.start(folder, log=folder / "log", port=free_port())
    credentials = server.credentials_in(folder)
    try:
        with connect(running.url, credentials.token) as connection:
            yield LabelStudio(running, connection, credentials)
    finally:
        running.stop()


@pytest.fixture
def label_studio_project(label_studio: LabelStudio) -> Iterator[int]:
    """An empty single-label project of ok, scratch and dent, deleted afterwards."""
    made = label_studio.connection.create_project(
        f"test {next(_numbers)}", labeling_xml("single-label", CLASSES)
    )
    yield made.id
    label_studio.connection.delete_project(made.id)
