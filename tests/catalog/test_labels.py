from collections.abc import Sequence

from curation.catalog import Catalog, Connection, annotations, images, labels, reserve
from curation.records import ProjectRecord
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


# Propagated labels --------------------------------------------------------------------------------


def copies(catalog: Catalog, count: int = 4) -> tuple[ProjectRecord, list[int]]:
    """A project whose images are copies of each other, the first labeled with its first class."""
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, ["a"] * count)
        add_label(connection, project, ids[0], project.class_ids[0])
    return project, ids


def propagate(connection: Connection, project: ProjectRecord, targets: Sequence[int]) -> None:
    """What stands in the group of the first target, given to all of them."""
    group = images.get(connection, targets[0]).group_id
    assert group is not None
    source = labels.agreed(connection, [group])[group]
    assert source is not None
    labels.propagate(connection, project.id, dict.fromkeys(targets, source))


def state(connection: Connection, ids: Sequence[int]) -> list[tuple[tuple[int, ...], str] | None]:
    found = labels.get(connection, ids)
    return [(found[key].classes, found[key].origin) if key in found else None for key in ids]


def test_propagate__marked_and_not_an_answer(catalog: Catalog) -> None:
    project, ids = copies(catalog, 3)
    ok, _ = project.class_ids
    with catalog.write() as connection:
        propagate(connection, project, ids[1:])
        assert state(connection, ids) == [((ok,), "people"), *[((ok,), "propagated")] * 2]
        assert labels.count(connection, project.id) == 3
        assert labels.count_propagated(connection, project.id) == 2
        assert labels.count_by_class(connection, project.id) == {"ok": 3, "bad": 0}
        assert [row.image_id for row in labels.every(connection, project.id)] == ids
        # One answer counts once.
        assert [row.image_id for row in labels.for_training(connection, project.id)] == ids[:1]
        assert annotations.count(connection, project.id) == 0


def test_put__a_propagated_label_follows_its_source(catalog: Catalog) -> None:
    project, ids = copies(catalog, 2)
    with catalog.write() as connection:
        propagate(connection, project, ids[1:])
        add_label(connection, project, ids[0], *project.class_ids)
        assert state(connection, ids)[1] == (project.class_ids, "propagated")
        add_label(connection, project, ids[0])
        assert state(connection, ids)[1] == ((), "propagated")
        labels.remove(connection, ids[:1])
        assert state(connection, ids) == [None, None]


def test_put__an_answer_to_the_image_itself_wins(catalog: Catalog) -> None:
    project, ids = copies(catalog)
    ok, bad = project.class_ids
    with catalog.write() as connection:
        propagate(connection, project, ids[1:])
        add_label(connection, project, ids[1], ok, origin="import")
        assert state(connection, ids)[1:3] == [((ok,), "import"), ((ok,), "propagated")]
        # The answers in the group disagree now: nothing follows from them.
        add_label(connection, project, ids[1], bad)
        assert state(connection, ids) == [((ok,), "people"), ((bad,), "people"), None, None]


def test_remove__another_labeled_copy_stands_in(catalog: Catalog) -> None:
    project, ids = copies(catalog)
    ok, _ = project.class_ids
    with catalog.write() as connection:
        propagate(connection, project, ids[2:])
        add_label(connection, project, ids[1], ok)
        labels.remove(connection, ids[:1])
        assert state(connection, ids) == [None, ((ok,), "people"), *[((ok,), "propagated")] * 2]
        labels.remove(connection, ids[1:2])
        assert state(connection, ids) == [None] * 4


def test_mend__an_excluded_source_still_counts(catalog: Catalog) -> None:
    project, ids = copies(catalog, 3)
    ok, _ = project.class_ids
    with catalog.write() as connection:
        propagate(connection, project, ids[1:2])
        images.set_state(connection, ids[:1], "excluded", reason="near-duplicate")
        labels.remove(connection, ids[2:])  # anything that makes the group's labels follow
        assert state(connection, ids)[1] == ((ok,), "propagated")


def test_agreed__not_of_the_reserve_nor_of_excluded_images(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, ["a", "a", "b", "b", "c", "c"])
        ok, bad = project.class_ids
        for key, class_id in zip(ids, [ok, ok, ok, bad, ok, bad], strict=True):
            add_label(connection, project, key, class_id)
        groups = [images.get(connection, key).group_id or 0 for key in ids[::2]]
        found = labels.agreed(connection, groups)
        assert {key: row and row.image_id for key, row in found.items()} == {
            groups[0]: ids[0],
            groups[1]: None,
            groups[2]: None,
        }
        images.set_state(connection, [ids[3]], "excluded", reason="dark")
        found = labels.agreed(connection, groups)
        assert found[groups[1]] == labels.get(connection, ids)[ids[2]]
        assert reserve.freeze(connection, project.id) == 1
        reserved = {
            images.get(connection, row.image_id).group_id
            for row in reserve.rows(connection, project.id)
        }
        assert set(labels.agreed(connection, groups)) == set(groups) - reserved


def test_freeze__takes_propagated_labels_back(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, [*hashes(10), *hashes(10)])
        for key in ids[:10]:
            add_label(connection, project, key, project.class_ids[0], origin="import")
            labels.propagate(connection, project.id, {key + 10: labels.get(connection, [key])[key]})
        reserve.freeze(connection, project.id)
        reserved = {row.image_id for row in reserve.rows(connection, project.id)}
        assert len(reserved) == 5
        assert reserved < set(ids[:10])
        left = {row.image_id for row in labels.every(connection, project.id)}
        assert left == set(ids) - {key + 10 for key in reserved}


def test_take_back__only_what_was_propagated(catalog: Catalog) -> None:
    project, ids = copies(catalog, 3)
    with catalog.write() as connection:
        propagate(connection, project, ids[1:])
        add_label(connection, project, ids[2], project.class_ids[0])
        assert labels.take_back(connection, ids) == [ids[1]]
        assert [row is not None for row in state(connection, ids)] == [True, False, True]


def test_propagate__more_than_one_statement_holds(catalog: Catalog) -> None:
    project, ids = copies(catalog, 2500)
    bad = project.class_ids[1]
    with catalog.write() as connection:
        propagate(connection, project, ids[1:])
        add_label(connection, project, ids[0], bad)
        assert state(connection, ids)[1:] == [((bad,), "propagated")] * 2499
        labels.remove(connection, ids[:1])
        assert labels.count(connection, project.id) == 0
