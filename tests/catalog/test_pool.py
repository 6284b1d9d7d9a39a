from dataclasses import replace

from curation.catalog import (
    Catalog,
    Connection,
    annotations,
    gallery,
    images,
    labels,
    pool,
    reserve,
    rounds,
)
from curation.records import LedgerRow, ProjectRecord
from tests.catalog.rows import add_images, add_label, add_project, answer, hashes, put_answers


def pool_ids(connection: Connection, project: ProjectRecord) -> list[int]:
    """The pool, asked in each of the ways there are."""
    ids = [row.id for row in pool.find(connection, project.id)]
    assert pool.count(connection, project.id) == len(ids)
    assert gallery.count(connection, project.id, status="pool") == len(ids)
    page = gallery.page(connection, project.id, status="pool", size=10_000)
    assert [row.id for row in page] == ids
    return ids


def test_pool__one_per_group(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, ["a", "b", "a", "c", "b"])
        assert pool_ids(connection, project) == [ids[0], ids[1], ids[3]]


def test_pool__another_member_where_the_first_is_set_aside(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, ["a", "a"])
        images.set_state(connection, ids[:1], "excluded", reason="blurred")
        assert pool_ids(connection, project) == ids[1:]


def test_pool__no_group_with_a_label(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, ["a", "b", "a"])
        add_label(connection, project, ids[2], project.class_ids[0])
        assert pool_ids(connection, project) == [ids[1]]
        labels.remove(connection, [ids[2]])
        assert pool_ids(connection, project) == [ids[0], ids[1]]


def test_pool__no_group_that_was_skipped(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, ["a", "b", "a"])
        put_answers(connection, project, [answer(1, ids[0], state="skipped")])
        assert pool_ids(connection, project) == [ids[1]]
        put_answers(connection, project, [answer(1, ids[0], state="deleted")])
        assert pool_ids(connection, project) == [ids[0], ids[1]]


def test_pool__an_answer_closes_also_when_its_label_was_taken_away(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, ["a", "b", "a"])
        put_answers(connection, project, [answer(1, ids[0], project.class_ids[0])])
        assert pool_ids(connection, project) == [ids[1]]
        # Where its task is gone, somebody can be asked again.
        annotations.detach(connection, project.id, ids[:1], "batch")
        assert pool_ids(connection, project) == ids[:2]


def test_pool__a_doubt_that_was_passed_on_closes_nothing(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, ["a", "b", "a"])
        add_label(connection, project, ids[0], project.class_ids[0])
        passed = replace(answer(1, ids[0], state="skipped"), queue="correction")
        put_answers(connection, project, [passed])
        assert pool_ids(connection, project) == [ids[1]]
        labels.remove(connection, [ids[0]])
        assert pool_ids(connection, project) == [ids[0], ids[1]]


def test_pool__nothing_of_the_reserve(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        add_images(connection, project, [*hashes(600), *hashes(600)])
        assert reserve.freeze(connection, project.id) == 200
        kept = {row.image_id for row in reserve.rows(connection, project.id)}
        records = images.get_many(connection, list(range(1, 1201)))
        reserved = {records[key].group_id for key in kept}
        found = pool_ids(connection, project)
    assert len(found) == 400
    assert not reserved & {records[key].group_id for key in found}


def test_pool__an_unconfirmed_import_label_closes_too(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(2))
        add_label(connection, project, ids[0], project.class_ids[0], origin="import")
        assert pool_ids(connection, project) == ids[1:]


def test_pool__what_waits_for_people_is_still_unlabeled(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(3))
        started = rounds.start(connection, project.id, {})
        rounds.plan(connection, project.id, started.id, [LedgerRow(ids[0], "batch", 0)])
        assert pool_ids(connection, project) == ids
        assert rounds.waiting(connection, project.id) == ids[:1]
