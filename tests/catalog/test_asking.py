"""How many people are asked, in the catalog alone."""

from dataclasses import replace

import pytest

from curation.catalog import Catalog, annotations, asking, reserve, rounds
from curation.catalog import pool as pool_rows
from curation.records import LedgerRow, RemoteAnswer
from tests.catalog.rows import add_images, add_project, answer, hashes, put_answers


def unsure(remote_id: int, image_id: int, *, user: int = 1) -> RemoteAnswer:
    return replace(answer(remote_id, image_id, state="unsure", user=user), unsure=True)


def test_waiting__an_image_that_all_are_unsure_of_waits_for_nobody(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(3))
        made = rounds.start(connection, project.id, {})
        rows = [LedgerRow(image_id, "batch", rank) for rank, image_id in enumerate(ids)]
        rounds.plan(connection, project.id, made.id, rows)
        ok = project.class_ids[0]
        put_answers(connection, project, [unsure(1, ids[0]), answer(2, ids[1], ok)])
        assert rounds.waiting(connection, project.id) == [ids[2]]
        # Nor is it chosen once more, whatever else is.
        assert [row.id for row in pool_rows.find(connection, project.id)] == [ids[2]]
        # Somebody comes who can still be asked.
        put_answers(connection, project, [answer(3, ids[1], ok, user=2)])
        assert rounds.waiting(connection, project.id) == [ids[0], ids[2]]
        assert rounds.count_waiting(connection, project.id) == 2
        # Who has no access any more cannot be asked.
        annotations.set_annotator_state(connection, project.id, "annotator-2", "disabled")
        assert rounds.waiting(connection, project.id) == [ids[2]]
        annotations.set_annotator_state(connection, project.id, "annotator-2", "active")
        put_answers(connection, project, [answer(4, ids[0], ok, user=2)])
        assert rounds.waiting(connection, project.id) == [ids[2]]


def test_waiting__as_many_as_are_allowed_were_unsure(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(2))
        made = rounds.start(connection, project.id, {})
        rounds.plan(connection, project.id, made.id, [LedgerRow(ids[0], "batch", 0)])
        ok = project.class_ids[0]
        people = [answer(10 + user, ids[1], ok, user=user) for user in range(1, 5)]
        put_answers(connection, project, [*people, unsure(1, ids[0]), unsure(2, ids[0], user=2)])
        assert rounds.waiting(connection, project.id) == [ids[0]]
        asking.put_settings(connection, project.id, asking.Asking(most=2))
        assert rounds.waiting(connection, project.id) == []


def test_reserve__one_unsure_image_does_not_hold_up_the_figures(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        add_images(connection, project, hashes(400))
        reserve.freeze(connection, project.id)
        first, second, third = (row.image_id for row in reserve.rows(connection, project.id)[:3])
        ok = project.class_ids[0]
        put_answers(connection, project, [unsure(1, first), answer(2, second, ok)])
        prefix = reserve.settled_prefix(reserve.rows(connection, project.id))
        assert [row.image_id for row in prefix] == [first, second]
        assert reserve.progress(connection, project.id).prefix == 2
        # A second annotator can still say what it shows: it waits, since a random sample is wanted.
        put_answers(connection, project, [answer(3, third, ok, user=2)])
        assert reserve.settled_prefix(reserve.rows(connection, project.id)) == []
        put_answers(connection, project, [answer(4, first, ok, user=2)])
        assert reserve.progress(connection, project.id).prefix == 3


def test_set_aside__and_brought_back_as_they_were(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(4))
        ok, bad = project.class_ids
        given = [
            answer(1, ids[0], ok),
            unsure(2, ids[1]),
            answer(3, ids[2], state="skipped"),
            answer(4, ids[0], bad, user=2),
        ]
        put_answers(connection, project, given)
        one = annotations.id_of(connection, project.id, "annotator-1")
        assert annotations.set_aside(connection, one) == set(ids[:3])
        assert annotations.set_aside(connection, one) == set()
        assert annotations.live(connection, ids) == {ids[0]: [("person", (bad,))]}
        assert annotations.unsure_images(connection, project.id) == []
        annotations.set_annotator_state(connection, project.id, "annotator-1", "paused")
        # A pull that reads the same answers again changes nothing, and what is new joins them.
        assert put_answers(connection, project, given) == set()
        assert put_answers(connection, project, [answer(5, ids[3], bad)]) == {ids[3]}
        assert annotations.live(connection, [ids[3]]) == {}
        (row,) = [
            row
            for row in annotations.list_annotators(connection, project.id)
            if row["name"] == "annotator-1"
        ]
        assert (row["answered"], row["set_aside"]) == (0, 4)
        assert annotations.bring_back(connection, one) == set(ids)
        states = [[row["state"] for row in annotations.history(connection, key)] for key in ids]
        assert states == [
            ["answered", "answered", "aside", "answered"],
            ["unsure", "aside", "unsure"],
            ["skipped", "aside", "skipped"],
            ["answered", "aside", "answered"],
        ]


@pytest.mark.parametrize(("before", "wanted"), [(None, 0.9), (asking.Asking(0.6), 0.6)])
def test_settings__defaults_and_what_was_put(
    catalog: Catalog, before: asking.Asking | None, wanted: float
) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        if before:
            asking.put_settings(connection, project.id, before)
        assert asking.settings(connection, project.id).confident == wanted
        assert asking.settings(connection, project.id).most == 3
