"""A catalog copied into PostgreSQL says the same as before, and counts on from there."""

from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select, update

from curation import ingest, sources, workspace
from curation.catalog import Catalog, annotations, moving, projects
from curation.catalog import images as image_rows
from curation.catalog.schema import classes, metadata
from curation.errors import InputError
from curation.records import RemoteAnswer
from tests.bench import write_images
from tests.fixtures_postgresql import address, order

pytestmark = pytest.mark.postgresql


def rows(catalog: Catalog) -> dict[str, list[tuple[object, ...]]]:
    """All that a catalog holds."""
    with catalog.read() as reading:
        return {
            table.name: [
                tuple(row)
                for row in reading.execute(select(table).order_by(*table.primary_key.columns))
            ]
            for table in metadata.sorted_tables
        }


def test_copy__everything_with_its_ids(tmp_path: Path, new_postgresql: str) -> None:
    project = workspace.create_project(tmp_path / "w", name="shop", class_names=["a", "b", "c"])
    write_images(tmp_path / "photos", 5)
    ingest.run(project, sources.understand(tmp_path / "photos", known_classes=("a", "b", "c")))
    with project.catalog.write() as writing:
        first, *_, last = project.record.ids_of(project.record.classes)
        # A row that refers to a later one.
        writing.execute(update(classes).where(classes.c.id == first).values(merged_into_id=last))
        image_id = next(iter(image_rows.usable(writing, project.id)))[0]
        said = RemoteAnswer(
            remote_id=3,
            image_id=image_id,
            remote_user_id=1,
            state="answered",
            classes=(last,),
            seconds=1.5,
            prelabel="none",
            model_version="",
            updated_at="2026-01-01T00:00:00+00:00",
            queue="batch",
            boxes=None,
            comment="Grüße",
        )
        people = {1: annotations.annotator_of_user(writing, project.id, 1, name="Anna")}
        annotations.put_remote(writing, project.id, [said], annotator_ids=people)
    with closing(project.catalog), closing(Catalog(new_postgresql)) as target:
        assert moving.copy(project.catalog, target) == sum(map(len, rows(target).values()))
        assert rows(target) == rows(project.catalog)
        with target.write() as writing:
            added = projects.create(writing, "next", class_names=["x", "y"])
        assert added.id == project.id + 1


def test_make_beside__once_and_where_it_may_not(new_postgresql: str) -> None:
    socket = new_postgresql.rpartition("host=")[2]
    name = "made_beside"
    with closing(Catalog(new_postgresql)) as catalog:
        assert moving.make_beside(catalog, name)
        assert not moving.make_beside(catalog, name)
    order(socket, f"DROP DATABASE {name}")
    order(socket, "CREATE ROLE guest LOGIN IN ROLE pg_read_all_data")
    database = new_postgresql.partition("?")[0].rpartition("/")[2]
    try:
        url = address(socket, database).replace("labelloop@", "guest@")
        with (
            closing(Catalog(url)) as catalog,
            pytest.raises(InputError, match=f"CREATE DATABASE {name} OWNER guest;"),
        ):
            moving.make_beside(catalog, name)
    finally:
        order(socket, "DROP ROLE guest")
