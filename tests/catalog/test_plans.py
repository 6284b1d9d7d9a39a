"""Plans in force, and the counts that they are made from."""

from curation.catalog import Catalog, counts, plans, reserve, runs
from curation.catalog import images as image_rows
from tests.catalog import rows


def test_in_force__the_newest_active_plan_of_each_kind(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project, other = rows.add_project(connection), rows.add_project(connection, "other")
        plans.put(connection, project.id, "balance", {"remedy": "oversampling"})
        newer = plans.put(connection, project.id, "balance", {"remedy": "class-weights"})
        quota = plans.put(connection, project.id, "labeling-quota", {"quota": {"bad": 0.5}})
        plans.put(connection, other.id, "balance", {"remedy": "undersampling"})
    with catalog.read() as connection:
        assert plans.in_force(connection, project.id) == {
            "balance": {"remedy": "class-weights", "id": newer},
            "labeling-quota": {"quota": {"bad": 0.5}, "id": quota},
        }


def test_clear__brings_no_older_plan_back(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = rows.add_project(connection)
        plans.put(connection, project.id, "balance", {"remedy": "oversampling"})
        plans.put(connection, project.id, "balance", {"remedy": "class-weights"})
        quota = plans.put(connection, project.id, "labeling-quota", {})
        assert plans.clear(connection, project.id, "balance") == 2
    with catalog.read() as connection:
        assert plans.in_force(connection, project.id) == {"labeling-quota": {"id": quota}}
        assert [row.active for row in plans.latest(connection, project.id)] == [True, False, False]


def test_counts__by_class_slice_and_use(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = rows.add_project(connection)
        ok, bad = project.class_ids
        studios = {0: {"studio": "a"}, 1: {"studio": "a"}, 2: {"studio": "b"}, 4: {"studio": "b"}}
        ids = rows.add_images(connection, project, rows.hashes(6), metadata=studios)
        rows.add_label(connection, project, ids[0], ok)
        rows.add_label(connection, project, ids[1], bad, origin="import")
        rows.add_label(connection, project, ids[2], ok)
        rows.add_label(connection, project, ids[3], ok, bad)
        image_rows.set_state(connection, [ids[2]], "excluded")
        found = counts.labeled(connection, project.id, column="studio")
        assert {(row.class_id, row.slice, row.origin): row.n for row in found} == {
            (ok, "a", "people"): 1,
            (bad, "a", "import"): 1,
            (ok, "", "people"): 1,
            (bad, "", "people"): 1,
        }
        assert counts.in_slices(connection, project.id, column="studio") == {"": 1, "a": 2}
        assert counts.usable(connection, project.id, column="studio") == {"": 2, "a": 2, "b": 1}
        assert counts.pool_slices(connection, project.id, column="studio") == {"": 1, "b": 1}

        run = {"kind": "head", "snapshot_id": None, "seed": 0, "settings": {}, "metrics": {}}
        runs.add(connection, project.id, "r", **run)  # type: ignore[arg-type]
        runs.put_predictions(connection, project.id, "r", [(key, bad, 0.9, 0.8) for key in ids])
        assert counts.predicted(connection, project.id, column="studio") == {
            (bad, ""): 1,
            (bad, "b"): 1,
        }, "of the pool only"

        reserve.freeze(connection, project.id)
        here = {row.image_id for row in reserve.rows(connection, project.id)}
        training = sum(row.n for row in counts.labeled(connection, project.id) if row.for_training)
        classes = {ids[0]: 1, ids[1]: 1, ids[3]: 2}
        assert training == sum(n for key, n in classes.items() if key not in here)
