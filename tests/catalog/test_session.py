import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from curation.catalog import Catalog, audit, projects, session
from curation.catalog.schema import metadata
from curation.errors import CatalogBusy, CatalogDamaged, CatalogError
from tests.catalog.rows import add_images, add_project, hashes

ROOT = Path(__file__).parents[2]


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    """Another process at work on the same catalog; its address is sys.argv[1]."""
    lines = f"import os, signal, sys, time\nfrom curation.catalog import *\n{script}"
    return subprocess.Popen(
        [sys.executable, "-c", lines, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, problem = process.communicate(timeout=100)
    assert process.returncode == 0, problem
    return out


def tables(catalog: Catalog) -> set[str]:
    with catalog.engine.connect() as connection:
        sqlite = "SELECT name FROM sqlite_master WHERE type = 'table'"
        postgresql = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        sql = sqlite if catalog.engine.dialect.name == "sqlite" else postgresql
        return {name for name in connection.scalars(text(sql)) if not name.startswith("sqlite_")}


def test_catalog__migration_equals_schema(catalog: Catalog) -> None:
    with catalog.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert tables(catalog) == {*metadata.tables, "alembic_version"}


def test_catalog__opened_again(new_url: str) -> None:
    first = Catalog(new_url)
    with first.write() as connection:
        made = add_project(connection)
    first.close()
    second = Catalog(new_url)
    with second.read() as connection:
        assert projects.get(connection, made.id) == made
    second.close()


def test_catalog__of_a_newer_labelloop(new_url: str) -> None:
    catalog = Catalog(new_url)
    with catalog.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    catalog.close()
    with pytest.raises(CatalogDamaged, match=r"version 9999.*knows 0.*Install the newer"):
        Catalog(new_url)


def test_catalog__not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    path.write_bytes(b"<html>not found</html>" * 1000)
    with pytest.raises(CatalogDamaged, match="labelloop restore-backup"):
        Catalog(f"sqlite:///{path}")
    assert path.read_bytes().startswith(b"<html>")


def test_catalog__damaged_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    catalog = Catalog(f"sqlite:///{path}")
    with catalog.write() as connection:
        project = add_project(connection)
        add_images(connection, project, hashes(2000))
    catalog.close()
    content = bytearray(path.read_bytes())
    half = len(content) // 8192 * 4096
    content[half:] = b"\xa5" * (len(content) - half)
    path.write_bytes(content)
    catalog = Catalog(f"sqlite:///{path}")
    with pytest.raises(CatalogDamaged, match="restore-backup"), catalog.read() as connection:
        connection.execute(text("SELECT * FROM images")).all()
    catalog.close()


def test_catalog__no_folder(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="cannot be written"):
        Catalog(f"sqlite:///{tmp_path / 'missing' / 'catalog.sqlite3'}")


def test_catalog__not_an_address() -> None:
    with pytest.raises(CatalogError, match=r"Not a database's address.*Examples"):
        Catalog("catalog.sqlite3")
    with pytest.raises(CatalogError, match="Not a database's address"):
        Catalog("nonsense://host/name")


def test_catalog__nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(CatalogError) as caught:
        Catalog(f"postgresql://user:secret@/name?host={tmp_path}")
    assert "secret" not in str(caught.value)


def test_catalog__waits_for_no_writer_when_opened(catalog: Catalog) -> None:
    with catalog.write() as connection:
        add_project(connection)
        begun = time.monotonic()
        other = Catalog(catalog.url)
        with other.read() as reading:
            assert projects.every(reading) == []
        other.close()
        assert time.monotonic() - begun < 10


def test_catalog__opened_by_several_at_once(new_url: str) -> None:
    script = """
while time.time() < float(sys.argv[2]):
    pass
catalog = Catalog(sys.argv[1])
from curation.catalog import projects
with catalog.write() as connection:
    projects.create(connection, f"project {os.getpid()}", class_names=["a", "b"])
"""
    at = str(time.time() + 3)
    openers = [start(script, new_url, at) for _ in range(6)]
    problems = [opener.communicate(timeout=100)[1] for opener in openers]
    assert [opener.returncode for opener in openers] == [0] * 6, problems
    catalog = Catalog(new_url)
    with catalog.read() as connection:
        assert len(projects.every(connection)) == 6
        assert list(audit.broken(connection)) == []
    catalog.close()


def test_read__one_consistent_state(catalog: Catalog) -> None:
    with catalog.read() as reading:
        assert projects.every(reading) == []
        with catalog.write() as writing:
            add_project(writing)
        assert projects.every(reading) == []
    with catalog.read() as reading:
        assert len(projects.every(reading)) == 1


def test_write__an_error_takes_everything_back(catalog: Catalog) -> None:
    with pytest.raises(RuntimeError), catalog.write() as connection:
        add_project(connection)
        raise RuntimeError
    with catalog.read() as connection:
        assert projects.every(connection) == []


def test_write__our_own_mistakes_keep_their_name(catalog: Catalog) -> None:
    with pytest.raises(IntegrityError), catalog.write() as connection:
        connection.execute(text("INSERT INTO rounds (project_id) VALUES (1)"))


def test_write__two_writers_both_get_through(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
    script = """
from curation.catalog import audit
catalog = Catalog(sys.argv[1])
for number in range(40):
    with catalog.write() as connection:
        audit.append(connection, int(sys.argv[2]), act="count", subject={"number": number})
"""
    for process in [start(script, catalog.url, str(project.id)) for _ in range(3)]:
        finish(process)
    with catalog.read() as connection:
        found = audit.entries(connection, project.id, newest=1000)
        assert [row["act"] for row in found].count("count") == 120
        assert list(audit.broken(connection)) == []


def test_write__the_second_writer_waits(tmp_path: Path) -> None:
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite3'}")
    holder = start(
        """
catalog = Catalog(sys.argv[1])
with catalog.write() as connection:
    print("holding", flush=True)
    time.sleep(2)
""",
        catalog.url,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "holding\n"
    begun = time.monotonic()
    with catalog.write() as connection:
        add_project(connection)
    assert time.monotonic() - begun > 1
    finish(holder)
    catalog.close()


def test_write__says_when_the_wait_was_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "BUSY_TIMEOUT_SECONDS", 1)
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite3'}")
    impatient = Catalog(catalog.url)
    with (
        catalog.write(),
        pytest.raises(CatalogBusy, match="Another process has been writing"),
        impatient.write(),
    ):
        pass
    catalog.close()
    impatient.close()


def test_write__killed_in_the_middle(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        before = add_images(connection, project, hashes(10))
    victim = start(
        """
from curation.catalog import audit, images
catalog = Catalog(sys.argv[1])
with catalog.write() as connection:
    images.set_state(connection, list(range(1, 11)), "excluded", reason="all")
    audit.append(connection, 1, act="exclude", subject={})
    print("written", flush=True)
    time.sleep(60)
""",
        catalog.url,
    )
    assert victim.stdout is not None
    assert victim.stdout.readline() == "written\n"
    victim.kill()
    victim.communicate()
    assert victim.returncode == -signal.SIGKILL
    with catalog.write() as connection:
        states = connection.execute(text("SELECT DISTINCT state FROM images")).scalars().all()
        assert states == ["ok"]
        assert [row["act"] for row in audit.entries(connection, project.id)] == ["create-project"]
        assert len(before) == 10


@pytest.mark.parametrize("statement", [1, 7, 25])
def test_catalog__killed_in_the_middle_of_the_migration(new_url: str, statement: int) -> None:
    victim = start(
        """
from sqlalchemy import Engine, event
done = 0
@event.listens_for(Engine, "after_cursor_execute")
def count(connection, cursor, statement, *rest):
    global done
    if "CREATE TABLE" in statement or "CREATE INDEX" in statement:
        done += 1
        if done == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
Catalog(sys.argv[1])
""",
        new_url,
        str(statement),
    )
    victim.communicate(timeout=60)
    assert victim.returncode == -signal.SIGKILL
    untouched = Catalog.__new__(Catalog)
    untouched.engine = session._engine(new_url)
    assert tables(untouched) == set()
    untouched.close()
    catalog = Catalog(new_url)
    assert tables(catalog) == {*metadata.tables, "alembic_version"}
    catalog.close()


def test_where__hides_the_password(tmp_path: Path) -> None:
    with pytest.raises(CatalogError) as caught:
        Catalog(f"postgresql+psycopg://user:secret@/name?host={tmp_path}")
    assert "user:***@" in str(caught.value)


def test_sqlite_module__is_safe_in_wal_mode() -> None:
    module = session.sqlite_module()
    version = tuple(int(part) for part in module.sqlite_version.split("."))
    assert version >= session.SAFE_SQLITE or "pysqlite3" not in sys.modules
    assert os.environ.get("LABELLOOP_DATABASE") is None
