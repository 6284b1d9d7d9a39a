"""Gold questions in the catalog: what is known, what people said, and what is asked next."""

from dataclasses import replace

from curation.catalog import Catalog, annotations, golds, labels, provenance, rounds
from curation.records import LedgerRow
from tests.catalog.rows import add_images, add_label, add_project, answer, hashes, put_answers


def test_scores__only_answers_since_it_is_a_gold_question(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(3))
        ok, bad = project.class_ids
        put_answers(connection, project, [answer(1, ids[0], bad)])
        assert golds.put(connection, project.id, {ids[0]: (ok,), ids[1]: (bad,)}, origin="person")
        for image_id, class_id in ((ids[0], ok), (ids[1], bad)):
            add_label(connection, project, image_id, class_id)
        given = [
            answer(2, ids[0], ok, user=2),
            answer(3, ids[1], ok, user=2),
            replace(answer(4, ids[1], user=1, state="unsure"), unsure=True),
            answer(5, ids[2], bad, user=1),
            replace(answer(6, ids[1], ok, user=3), queue="correction"),
        ]
        put_answers(connection, project, given)
        assert golds.scores(connection, project.id) == {"annotator-2": (1, 2)}
        # The same again changes nothing; another answer begins anew.
        assert golds.put(connection, project.id, {ids[0]: (ok,)}, origin="person") == set()
        assert golds.put(connection, project.id, {ids[0]: (bad,)}, origin="person") == {ids[0]}
        add_label(connection, project, ids[0], bad)
        assert golds.scores(connection, project.id) == {"annotator-2": (0, 1)}
        assert golds.remove(connection, project.id, ids) == {ids[0], ids[1]}
        assert golds.every(connection, project.id) == []


def test_scores__a_question_that_was_overruled_or_is_doubtful_counts_for_nobody(
    catalog: Catalog,
) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(2))
        ok, bad = project.class_ids
        golds.put(connection, project.id, dict.fromkeys(ids, (ok,)), origin="person")
        for image_id in ids:
            add_label(connection, project, image_id, ok)
        put_answers(
            connection,
            project,
            [answer(10 * user + n, ids[n], bad, user=user) for user in (1, 2) for n in (0, 1)],
        )
        assert golds.scores(connection, project.id)["annotator-1"] == (0, 2)
        put_answers(connection, project, [answer(31, ids[0], bad, user=3)])
        assert golds.scores(connection, project.id)["annotator-1"] == (0, 1)
        labels.remove(connection, [ids[1]])
        assert golds.scores(connection, project.id) == {}
        assert golds.due(connection, project.id, people=["somebody"]) == []


def test_due__first_what_the_fewest_have_answered(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(4))
        ok = project.class_ids[0]
        golds.put(connection, project.id, dict.fromkeys(ids, (ok,)), origin="person")
        for image_id in ids:
            add_label(connection, project, image_id, ok)
        given = [answer(1, ids[0], ok), answer(2, ids[0], ok, user=2), answer(3, ids[1], ok)]
        put_answers(connection, project, given)
        made = rounds.start(connection, project.id, {})
        rounds.plan(connection, project.id, made.id, [LedgerRow(ids[2], "batch", 0)])
        people = ["annotator-1", "annotator-2"]
        assert golds.due(connection, project.id, people=people) == [ids[3], ids[2], ids[1]]
        assert golds.due(connection, project.id, people=[]) == [ids[0], ids[1], ids[3], ids[2]]


def test_agreed__enough_people_all_the_same(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(4))
        ok, bad = project.class_ids
        given = [
            answer(100 * n + user, ids[n], ok, user=user)
            for n, people in enumerate((3, 2, 3, 4))
            for user in range(1, people + 1)
        ]
        given[-1] = replace(given[-1], classes=(bad,))
        put_answers(connection, project, given)
        for image_id in ids:
            add_label(connection, project, image_id, ok)
        assert golds.agreed(connection, project.id, people=3) == [(ids[0], (ok,)), (ids[2], (ok,))]
        golds.put(connection, project.id, {ids[0]: (ok,)}, origin="people")
        assert golds.agreed(connection, project.id, people=3) == [(ids[2], (ok,))]


def test_of_answers__what_is_known_is_nobodys_answer(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(2))
        ok = project.class_ids[0]
        golds.put(connection, project.id, {ids[0]: (ok,)}, origin="person")
        put_answers(connection, project, [answer(1, ids[0], ok)])
        (people,) = provenance.of_answers(connection, project.id)
        assert (people.kind, people.answers) == ("person", 1)
        assert annotations.count(connection, project.id) == 1
        names = [row["name"] for row in annotations.list_annotators(connection, project.id)]
        assert names == ["annotator-1"]
