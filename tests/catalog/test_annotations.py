from dataclasses import replace

from sqlalchemy import event

from curation.catalog import Catalog, annotations
from tests.catalog.rows import (
    add_images,
    add_imported,
    add_label,
    add_project,
    answer,
    hashes,
    put_answers,
)


def test_put_remote__twice_is_once(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(3))
        ok, bad = project.class_ids
        given = [
            answer(11, ids[0], ok),
            answer(12, ids[1], bad),
            answer(13, ids[2], state="skipped"),
        ]
        assert put_answers(connection, project, given) == set(ids)
        version = annotations.newest_version(connection, project.id)
        assert put_answers(connection, project, given) == set()
        assert annotations.newest_version(connection, project.id) == version
        assert annotations.count(connection, project.id) == 2
        assert annotations.live(connection, ids) == {
            ids[0]: [("person", (ok,))],
            ids[1]: [("person", (bad,))],
        }


def test_put_remote__the_same_annotation_twice_in_one_pull(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        (key,) = add_images(connection, project, hashes(1))
        ok, bad = project.class_ids
        put_answers(connection, project, [answer(11, key, ok), answer(11, key, bad)])
        assert annotations.live(connection, [key]) == {key: [("person", (bad,))]}
        assert len(annotations.history(connection, key)) == 1


def test_put_remote__changed_skipped_deleted(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        (key,) = add_images(connection, project, hashes(1))
        ok, bad = project.class_ids
        versions = []
        for state, classes in [
            ("answered", (ok,)),
            ("answered", (bad,)),
            ("skipped", ()),
            ("answered", (ok,)),
            ("deleted", ()),
        ]:
            changed = put_answers(connection, project, [answer(11, key, *classes, state=state)])
            assert changed == {key}
            versions.append(annotations.newest_version(connection, project.id))
        history = annotations.history(connection, key)
        live = annotations.live(connection, [key])
    assert versions == sorted(set(versions))
    assert live == {}
    # What was deleted stays readable.
    assert [(row["state"], row["classes"]) for row in history] == [
        ("answered", [ok]),
        ("answered", [bad]),
        ("skipped", []),
        ("answered", [ok]),
        ("deleted", [ok]),
    ]
    assert {row["annotator"] for row in history} == {"annotator-1"}


def test_put_remote__read_before_what_is_there(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ok, bad = project.class_ids
        (key,) = add_images(connection, project, hashes(1))
        former = answer(11, key, ok)
        newer = replace(answer(11, key, bad), updated_at="2026-01-01T00:00:00.500000+00:00")
        assert put_answers(connection, project, [newer]) == {key}
        assert put_answers(connection, project, [former]) == set()
        assert annotations.live(connection, [key]) == {key: [("person", (bad,))]}


def test_put_remote__deleted_before_it_was_seen(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        (key,) = add_images(connection, project, hashes(1))
        assert put_answers(connection, project, [answer(11, key, state="deleted")]) == set()
        assert annotations.history(connection, key) == []


def test_put_remote__more_than_one_statement_holds(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(1200))
        given = [answer(100 + key, key, project.class_ids[0]) for key in ids]
        assert put_answers(connection, project, given) == set(ids)
        assert put_answers(connection, project, given) == set()
        assert annotations.count(connection, project.id) == 1200


def test_mark_deleted__once(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(2))
        ok = project.class_ids[0]
        put_answers(connection, project, [answer(11, ids[0], ok), answer(12, ids[1], ok)])
        assert annotations.remote_ids(connection, ids) == {ids[0]: {11}, ids[1]: {12}}
        assert annotations.mark_deleted(connection, project.id, [11, 99]) == {ids[0]}
        assert annotations.mark_deleted(connection, project.id, [11]) == set()
        assert annotations.remote_ids(connection, ids) == {ids[0]: set(), ids[1]: {12}}
        states = [row["state"] for row in annotations.history(connection, ids[0])]
        assert states == ["answered", "deleted"]
        # Label Studio's trash was a mistake: the answer is back.
        assert put_answers(connection, project, [answer(11, ids[0], ok)]) == {ids[0]}
        assert annotations.count(connection, project.id) == 2


def test_live__several_people_oldest_first(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        (key,) = add_images(connection, project, hashes(1))
        ok, bad = project.class_ids
        add_imported(connection, project.id, {key: (bad,)})
        put_answers(connection, project, [answer(1, key, ok), answer(2, key, bad, user=2)])
        assert annotations.live(connection, [key])[key] == [
            ("import", (bad,)),
            ("person", (ok,)),
            ("person", (bad,)),
        ]
        assert annotations.count(connection, project.id) == 2
        assert annotations.count(connection, project.id, people_only=False) == 3


def test_annotator_of_user__namesakes_stay_apart(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        first = annotations.annotator_of_user(connection, project.id, 1, name="Ada")
        second = annotations.annotator_of_user(connection, project.id, 2, name="Ada")
        assert first != second
        assert annotations.annotator_of_user(connection, project.id, 2, name="Ada") == second
        names = {row["name"] for row in annotations.list_annotators(connection, project.id)}
        assert names == {"Ada", "Ada (2)"}


def test_annotator_of_user__takes_the_name_that_was_invited(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        invited = annotations.add_annotator(connection, project.id, "Ada")
        assert annotations.add_annotator(connection, project.id, "Ada") == invited
        assert annotations.annotator_of_user(connection, project.id, 5, name="Ada") == invited


def test_list_annotators__busiest_first(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(5))
        ok = project.class_ids[0]
        put_answers(
            connection,
            project,
            [
                answer(1, ids[0], ok, user=1, seconds=9.0),
                answer(2, ids[0], ok, user=2, seconds=1.0),
                answer(3, ids[1], ok, user=2, seconds=3.0),
                answer(4, ids[2], ok, user=2, seconds=8.0),
                answer(5, ids[3], ok, user=2, seconds=None),
                answer(6, ids[4], state="skipped", user=2),
            ],
        )
        busiest, other = annotations.list_annotators(connection, project.id)
        assert annotations.set_annotator_state(connection, project.id, "annotator-1", "disabled")
        assert not annotations.set_annotator_state(connection, project.id, "nobody", "disabled")
        states = {
            row["name"]: row["state"] for row in annotations.list_annotators(connection, project.id)
        }
    assert (busiest["answered"], busiest["skipped"], busiest["median_seconds"]) == (4, 1, 3.0)
    assert (other["answered"], other["median_seconds"]) == (1, 9.0)
    assert states == {"annotator-2": "active", "annotator-1": "disabled"}


def test_unsure_images__until_somebody_else_is_sure(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(4))
        ok, bad = project.class_ids
        unsure = [
            replace(answer(11, ids[0], state="unsure"), unsure=True, comment="too dark"),
            replace(answer(12, ids[1], ok), unsure=True),
            replace(answer(13, ids[2], ok), unsure=True),
            answer(14, ids[3], ok),
        ]
        add_imported(connection, project.id, {ids[0]: (ok,)})
        assert put_answers(connection, project, unsure) == set(ids)
        assert put_answers(connection, project, unsure) == set()
        assert annotations.unsure_images(connection, project.id) == ids[:3]
        (said,) = annotations.history(connection, ids[0])[1:]
        assert (said["state"], said["unsure"], said["comment"]) == ("unsure", True, "too dark")
        # Nobody has answered the first one: no label follows, and it goes on waiting.
        assert [kind for kind, _ in annotations.live(connection, ids)[ids[0]]] == ["import"]
        others = [
            replace(answer(21, ids[0], bad, user=2), unsure=True),
            answer(22, ids[1], bad, user=2),
            replace(answer(23, ids[2], bad, user=1), queue="correction"),
        ]
        put_answers(connection, project, others)
        assert annotations.unsure_images(connection, project.id) == [ids[0]]
        changed = replace(unsure[0], comment="too dark, even enlarged")
        assert put_answers(connection, project, [changed]) == {ids[0]}
        assert put_answers(connection, project, [answer(11, ids[0], state="deleted")]) == {ids[0]}
        gone = annotations.history(connection, ids[0])[-1]
        assert (gone["state"], gone["comment"]) == ("deleted", "too dark, even enlarged")


def test_list_annotators__as_many_queries_for_many(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(40))
        ok = project.class_ids[0]
        given = [answer(n, key, ok, user=n + 1, seconds=n) for n, key in enumerate(ids, 1)]
        put_answers(connection, project, given)
        statements: list[str] = []
        event.listen(
            connection, "before_cursor_execute", lambda *said: statements.append(str(said[2]))
        )
        assert len(annotations.list_annotators(connection, project.id)) == 40
    assert len(statements) == 2


def test_co_answered__people_asked_the_same(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(4))
        ok, bad = project.class_ids
        add_imported(connection, project.id, {ids[1]: (bad,)})
        given = [
            answer(1, ids[0], ok, seconds=4.0),
            answer(2, ids[0], ok, user=2),
            answer(3, ids[0], bad, ok, user=2),  # of one person the last
            answer(4, ids[1], ok, seconds=3.0),  # beside an imported label
            answer(5, ids[2], ok, seconds=None),
            replace(answer(6, ids[2], bad, user=2), queue="correction"),
            answer(7, ids[3], ok),
            answer(8, ids[3], ok, user=2, state="skipped"),
        ]
        put_answers(connection, project, given)
        for key in ids[:3]:
            add_label(connection, project, key, ok, bad)
        assert list(annotations.co_answered(connection, project.id)) == [
            [("annotator-1", (ok,)), ("annotator-2", (ok, bad))]
        ]
        assert dict(annotations.seconds(connection, project.id)) == {
            "annotator-1": [2.0, 3.0, 4.0],
            "annotator-2": [2.0, 2.0, 2.0],
        }
        # A label of one person and a reviewer rests on two people.
        first, second = [
            list(annotations.against_labels(connection, project.id, f"annotator-{user}"))
            for user in (1, 2)
        ]
        assert first == [((ok,), [ok, bad]), ((ok,), [ok, bad])]
        assert second == [((ok, bad), [ok, bad])]
