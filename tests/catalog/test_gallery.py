import pytest

from curation.catalog import Catalog, gallery, images, reserve, runs
from curation.records import ProjectRecord
from tests.catalog.rows import add_images, add_label, add_project, hashes


@pytest.fixture
def filled(catalog: Catalog) -> tuple[Catalog, ProjectRecord, list[int]]:
    """Ten images with a label, a prediction, a reserve member and metadata among them."""
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(
            connection,
            project,
            hashes(10),
            metadata={
                **{n: {"studio": "a", "season": "summer"} for n in range(4)},
                **{n: {"studio": "b"} for n in range(4, 8)},
                8: {"studio": ""},
            },
        )
        ok, bad = project.class_ids
        add_label(connection, project, ids[0], ok)
        add_label(connection, project, ids[1], bad)
        add_label(connection, project, ids[5], bad)
        images.set_state(connection, [ids[2]], "excluded", reason="dark")
        images.set_state(connection, [ids[3]], "quarantined", reason="truncated")
        runs.add(
            connection,
            project.id,
            "run-1",
            kind="head",
            snapshot_id=None,
            seed=0,
            settings={},
            metrics={},
        )
        runs.put_predictions(
            connection, project.id, "run-1", [(ids[6], ok, 0.9, 0.8), (ids[7], bad, 0.6, 0.2)]
        )
    return catalog, project, ids


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, range(10)),
        ({"status": "labeled"}, [0, 1, 5]),
        ({"status": "pool"}, [4, 6, 7, 8, 9]),
        ({"status": "reserve"}, []),
        ({"status": "quarantined"}, [3]),
        ({"status": "excluded"}, [2]),
        ({"class": 1}, [1, 5]),
        ({"predicted": 0}, [6]),
        ({"slices": {"studio": "a"}}, [0, 1, 2, 3]),
        ({"slices": {"studio": ""}}, [8, 9]),
        ({"slices": {"season": ""}}, [4, 5, 6, 7, 8, 9]),
        ({"slices": {"studio": "b", "season": ""}, "status": "labeled"}, [5]),
        ({"slices": {"studio": "a", "season": ""}}, []),
        ({"name_contains": "0003"}, [3]),
        ({"name_contains": "PHOTOS"}, range(10)),
        ({"name_contains": "%"}, []),
        ({"name_contains": "_"}, []),
        ({"class": 1, "slices": {"studio": "b"}, "name_contains": "5"}, [5]),
    ],
)
def test_page__filters(
    filled: tuple[Catalog, ProjectRecord, list[int]],
    filters: dict[str, object],
    expected: list[int],
) -> None:
    catalog, project, ids = filled
    wanted: dict[str, object] = {
        {"class": "class_id", "predicted": "predicted_id"}.get(key, key): (
            project.class_ids[value] if isinstance(value, int) else value
        )
        for key, value in filters.items()
    }
    with catalog.read() as connection:
        found = gallery.page(connection, project.id, **wanted)  # type: ignore[arg-type]
        counted = gallery.count(connection, project.id, **wanted)  # type: ignore[arg-type]
    assert [row.id for row in found] == [ids[place] for place in expected]
    assert counted == len(expected)


def test_page__by_key(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(25))
        seen: list[int] = []
        after = 0
        while page := gallery.page(connection, project.id, after=after, size=10):
            seen += [row.id for row in page]
            after = page[-1].id
            # What comes in between moves no page.
            add_images(connection, project, hashes(1, start=100 + after), folder=f"new-{after}")
            if len(seen) >= 25:
                break
    assert seen[:25] == ids


def test_page__reserve(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        add_images(connection, project, hashes(10))
        reserve.freeze(connection, project.id)
        expected = sorted(row.image_id for row in reserve.rows(connection, project.id))
        found = gallery.page(connection, project.id, status="reserve")
    assert len(expected) == 5
    assert [row.id for row in found] == expected
