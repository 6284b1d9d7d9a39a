from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text

from curation.catalog import Catalog, images, labels, session

# A project with two labeled images, as the first catalog held them.
FIRST = """
INSERT INTO projects (id, name, task, seed, seconds_per_label)
VALUES (1, 'parts', 'multi-label', 7, 4);
INSERT INTO classes (id, project_id, name, position) VALUES (1, 1, 'ok', 0), (2, 1, 'bad', 1);
INSERT INTO sources (id, project_id, uri) VALUES (1, 1, '/photos');
INSERT INTO groups (id, project_id, key) VALUES (1, 1, 'a'), (2, 1, 'b');
INSERT INTO images (id, project_id, source_id, name, origin, location, pixel_hash, group_id)
VALUES (1, 1, 1, 'a', 'a', 'a', 'a', 1), (2, 1, 1, 'b', 'b', 'b', 'b', 2);
INSERT INTO labels (image_id, project_id, origin, confidence, answers, version_id)
VALUES (1, 1, 'people', 0.5, 2, 9), (2, 1, 'import', 1, 1, 3);
INSERT INTO label_classes (image_id, class_id, project_id)
VALUES (1, 1, 1), (1, 2, 1), (2, 2, 1)
"""


def migrate(engine: Engine, revision: str, *, down: bool = False) -> None:
    config = Config()
    config.set_main_option("script_location", str(session.MIGRATIONS))
    with session.migrating(engine) as connection:
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, revision)


@pytest.fixture
def first(new_url: str) -> str:
    """The address of a catalog at the first revision, with rows in it."""
    engine = session._engine(new_url)
    migrate(engine, "0001")
    with engine.begin() as connection:
        for statement in FIRST.split(";"):
            connection.execute(text(statement))
    engine.dispose()
    return new_url


def test_upgrade__keeps_labels_and_their_classes(first: str) -> None:
    catalog = Catalog(first)
    with catalog.write() as connection:
        found = labels.get(connection, [1, 2])
        assert {key: (row.classes, row.origin) for key, row in found.items()} == {
            1: ((1, 2), "people"),
            2: ((2,), "import"),
        }
        labels.propagate(connection, 1, {2: found[1]})
        assert labels.get(connection, [2])[2].origin == "propagated"
        # The classes still go with their label.
        connection.execute(text("DELETE FROM labels WHERE image_id = 1"))
        left = connection.execute(text("SELECT image_id FROM label_classes")).scalars().all()
        assert left == [2, 2]
    catalog.close()


def test_downgrade__and_up_again(first: str) -> None:
    catalog = Catalog(first)
    with catalog.write() as connection:
        labels.remove(connection, [2])
        labels.propagate(connection, 1, {2: labels.get(connection, [1])[1]})
    migrate(catalog.engine, "0001", down=True)
    with catalog.engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == "0001"
    catalog.close()
    again = Catalog(first)
    with again.read() as connection:
        assert {key: row.classes for key, row in labels.get(connection, [1, 2]).items()} == {
            1: (1, 2)
        }
        assert images.get(connection, 2).state == "ok"
    again.close()


def test_revisions__follow_each_other() -> None:
    names = sorted(path.name for path in (session.MIGRATIONS / "versions").glob("[0-9]*.py"))
    assert [name.split("_")[0] for name in names] == [f"{n + 1:04}" for n in range(len(names))]
    assert Path(session.MIGRATIONS / "env.py").is_file()
