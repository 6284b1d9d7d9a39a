import pytest
from sqlalchemy import delete, text, update

from curation.catalog import Catalog, Connection, audit
from curation.catalog.schema import audit as table
from tests.catalog.rows import add_project


def write_three(connection: Connection) -> list[int]:
    project = add_project(connection)
    first = audit.entries(connection, project.id)[0]["id"]
    return [
        first,
        audit.append(
            connection, project.id, act="exclude", subject={"n": 3, "kind": "é"}, actor="Ada"
        ),
        audit.append(connection, project.id, act="restore", subject={"share": 0.1, "ids": (1, 2)}),
        audit.append(connection, None, act="backup", subject={}),
    ]


def test_append__a_chain(catalog: Catalog) -> None:
    with catalog.write() as connection:
        ids = write_three(connection)
    with catalog.read() as connection:
        assert list(audit.broken(connection)) == []
        rows = connection.execute(text("SELECT previous_hash, hash FROM audit ORDER BY id")).all()
        entries = audit.entries(connection, 1, newest=2)
    assert ids == sorted(ids)
    assert rows[0].previous_hash == "0" * 64
    assert [row.previous_hash for row in rows[1:]] == [row.hash for row in rows[:-1]]
    assert [(entry["act"], entry["actor"]) for entry in entries] == [
        ("restore", "labelloop"),
        ("exclude", "Ada"),
    ]


@pytest.mark.parametrize(
    "change", [{"act": "nothing"}, {"subject": {"n": 4}}, {"actor": "Eve"}, {"at": "2020-01-01"}]
)
def test_broken__a_changed_row(catalog: Catalog, change: dict[str, object]) -> None:
    with catalog.write() as connection:
        ids = write_three(connection)
        connection.execute(update(table).where(table.c.id == ids[1]).values(**change))
        assert list(audit.broken(connection)) == [ids[1]]


def test_broken__a_removed_row(catalog: Catalog) -> None:
    with catalog.write() as connection:
        ids = write_three(connection)
        connection.execute(delete(table).where(table.c.id == ids[1]))
        assert list(audit.broken(connection)) == [ids[2]]


def test_broken__a_row_rewritten_with_its_hash(catalog: Catalog) -> None:
    with catalog.write() as connection:
        ids = write_three(connection)
        row = connection.execute(table.select().where(table.c.id == ids[1])).one()
        forged = {key: row._mapping[key] for key in ("project_id", "subject", "at")}
        forged |= {"actor": "Eve", "act": "exclude", "previous_hash": row.previous_hash}
        connection.execute(
            update(table).where(table.c.id == ids[1]).values(actor="Eve", hash=audit._hash(forged))
        )
        assert list(audit.broken(connection)) == [ids[2]]


def test_count__of_one_act_in_one_project(catalog: Catalog) -> None:
    with catalog.write() as connection:
        write_three(connection)
        other = add_project(connection, "other")
        audit.append(connection, other.id, act="exclude", subject={})
        found = [audit.count(connection, 1, act) for act in ("exclude", "restore", "nothing")]
    assert found == [1, 1, 0]
