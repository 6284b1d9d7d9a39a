from curation.catalog import Catalog, remote
from tests.catalog.rows import add_images, add_project, hashes


def test_put__binds_a_queue(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(3))
        made = remote.put(
            connection, project.id, "batch", url="http://a", remote_id=4, interface="<View/>"
        )
        assert (made.queue, made.url, made.remote_id, made.cursor) == ("batch", "http://a", 4, "")
        remote.add_tasks(connection, made.id, {ids[0]: 41, ids[1]: 42})
        remote.add_tasks(connection, made.id, {ids[1]: 42, ids[2]: 43})
        assert remote.tasks(connection, made.id) == {ids[0]: 41, ids[1]: 42, ids[2]: 43}
        assert remote.count_tasks(connection, made.id) == 3
        assert remote.images_of_tasks(connection, made.id, [42, 99]) == {42: ids[1]}
        remote.forget_tasks(connection, made.id, [ids[0]])
        assert remote.tasks(connection, made.id) == {ids[1]: 42, ids[2]: 43}


def test_put__again_forgets_the_one_before(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        (key,) = add_images(connection, project, hashes(1))
        before = remote.put(
            connection, project.id, "batch", url="http://a", remote_id=4, interface=""
        )
        kept = remote.put(
            connection, project.id, "reserve", url="http://a", remote_id=5, interface=""
        )
        remote.add_tasks(connection, before.id, {key: 41})
        remote.add_tasks(connection, kept.id, {key: 51})
        made = remote.put(
            connection, project.id, "batch", url="http://b", remote_id=9, interface=""
        )
        assert remote.every(connection, project.id) == [made, kept]
        assert remote.tasks(connection, made.id) == {}
        assert remote.tasks(connection, kept.id) == {key: 51}


def test_in_use__corrections_once_they_have_a_project(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project, other = add_project(connection), add_project(connection, "other")
        assert remote.in_use(connection, project.id) == ("reserve", "batch")
        remote.put(connection, project.id, "correction", url="http://a", remote_id=4, interface="")
        assert remote.in_use(connection, project.id) == ("reserve", "batch", "correction")
        assert remote.in_use(connection, other.id) == ("reserve", "batch")


def test_set_cursor__and_move(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        made = remote.put(
            connection, project.id, "batch", url="http://a", remote_id=4, interface=""
        )
        remote.set_cursor(connection, made.id, "2026-01-01T00:00:00+00:00")
        remote.move(connection, made.id, "http://c")
        (found,) = remote.every(connection, project.id)
        assert (found.cursor, found.url) == ("2026-01-01T00:00:00+00:00", "http://c")
