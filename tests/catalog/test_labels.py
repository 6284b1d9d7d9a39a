from curation.catalog import Catalog, images, labels, reserve
from tests.catalog.rows import add_images, add_label, add_project, hashes


def test_put__replaces(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        (key,) = add_images(connection, project, hashes(1))
        ok, bad = project.class_ids
        add_label(connection, project, key, ok, origin="import")
        add_label(connection, project, key, bad)
        found = labels.get(connection, [key, 99])
        assert {k: (v.classes, v.origin) for k, v in found.items()} == {key: ((bad,), "people")}
        assert labels.count(connection, project.id) == 1


def test_put__several_classes_and_none(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection, classes=("a", "b", "c"))
        ids = add_images(connection, project, hashes(2))
        add_label(connection, project, ids[0], project.class_ids[2], project.class_ids[0])
        add_label(connection, project, ids[1])
        found = labels.get(connection, ids)
        assert found[ids[0]].classes == (project.class_ids[0], project.class_ids[2])
        assert found[ids[1]].classes == ()
        assert labels.count_by_class(connection, project.id) == {"a": 1, "b": 0, "c": 1}
        assert labels.count(connection, project.id) == 2


def test_put__more_than_one_statement_holds(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(2500))
        rows: list[dict[str, object]] = [
            {
                "image_id": key,
                "classes": (project.class_ids[0],),
                "origin": "people",
                "confidence": 1.0,
                "answers": 1,
                "version_id": 0,
            }
            for key in ids
        ]
        labels.put(connection, project.id, rows)
        assert sorted(labels.get(connection, ids)) == ids
        labels.remove(connection, ids)
        assert labels.count(connection, project.id) == 0


def test_every__usable_images_only(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(3))
        for key in ids:
            add_label(connection, project, key, project.class_ids[0])
        images.set_state(connection, [ids[1]], "excluded", reason="dark")
        assert [row.image_id for row in labels.every(connection, project.id)] == [ids[0], ids[2]]
        assert labels.count(connection, project.id) == 2
        assert labels.count_by_class(connection, project.id) == {"ok": 2, "bad": 0}


def test_for_training__without_the_groups_of_the_reserve(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, [*hashes(20), *hashes(20)])
        for key in ids:
            add_label(connection, project, key, project.class_ids[0])
        reserve.freeze(connection, project.id)
        reserved = {row.image_id for row in reserve.rows(connection, project.id)}
        records = images.get_many(connection, ids)
        groups = {records[key].group_id for key in reserved}
        training = labels.for_training(connection, project.id)
    assert len(reserved) == 10
    assert {row.image_id for row in training} == {
        key for key in ids if records[key].group_id not in groups
    }
    assert len(training) == 20


def test_for_training__other_projects_stay_out(catalog: Catalog) -> None:
    with catalog.write() as connection:
        one, other = add_project(connection, "one"), add_project(connection, "other")
        (mine,), (yours,) = (add_images(connection, project, hashes(1)) for project in (one, other))
        add_label(connection, one, mine, one.class_ids[0])
        add_label(connection, other, yours, other.class_ids[0])
        assert [row.image_id for row in labels.for_training(connection, one.id)] == [mine]
        assert labels.count_by_class(connection, one.id) == {"ok": 1, "bad": 0}
