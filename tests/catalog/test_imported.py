from curation.catalog import Catalog, annotations, imported
from curation.catalog.imported import Answer
from curation.records import Box
from tests.catalog.rows import add_images, add_project, answer, hashes, put_answers


def test_put__a_changed_answer_is_a_new_version(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ok, bad = project.class_ids
        keys = add_images(connection, project, hashes(1200))
        said = [Answer(key, (ok,)) for key in keys]
        assert imported.put(connection, project.id, said) == (set(keys), set())
        assert imported.put(connection, project.id, said) == (set(), set())
        version = annotations.newest_version(connection, project.id)
        changed = [Answer(keys[0], (bad,)), *said[1:]]
        assert imported.put(connection, project.id, changed) == (set(), {keys[0]})
        assert annotations.newest_version(connection, project.id) > version
        told = [
            (row["annotator"], row["classes"]) for row in annotations.history(connection, keys[0])
        ]
        assert told == [(annotations.IMPORT, [ok]), (annotations.IMPORT, [bad])]
        assert annotations.live(connection, keys[:1]) == {keys[0]: [("import", (bad,))]}
        assert imported.put(connection, project.id, []) == (set(), set())


def test_put__boxes_and_skips(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ok, _ = project.class_ids
        (key,) = add_images(connection, project, hashes(1))
        box = Box(ok, 0.1, 2, 3.25, 4)
        drawn = Answer(key, (ok,), (box,))
        assert imported.put(connection, project.id, [drawn]) == ({key}, set())
        assert imported.put(connection, project.id, [drawn]) == (set(), set())
        moved = Answer(key, (ok,), (Box(ok, 0.2, 2, 3.25, 4),))
        assert imported.put(connection, project.id, [moved]) == (set(), {key})
        skip = Answer(key, (), None, skipped=True)
        assert imported.put(connection, project.id, [skip], annotator="ann") == ({key}, set())
        assert annotations.history(connection, key)[-1]["state"] == "skipped"


def test_put__answers_in_queues_are_others(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ok, bad = project.class_ids
        (key,) = add_images(connection, project, hashes(1))
        put_answers(connection, project, [answer(1, key, ok)])
        (name,) = [row["name"] for row in annotations.list_annotators(connection, project.id)]
        given = [Answer(key, (bad,))]
        assert imported.put(connection, project.id, given, annotator=name) == ({key}, set())
        assert len(annotations.live(connection, [key])[key]) == 2
