from dataclasses import replace

import pytest

from curation.catalog import Catalog, images, rounds
from curation.errors import NotFound
from curation.records import LedgerRow
from tests.catalog.rows import add_images, add_label, add_project, answer, hashes, put_answers


def test_start__numbered_from_zero(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project, other = add_project(connection), add_project(connection, "other")
        assert rounds.latest(connection, project.id) is None
        first = rounds.start(connection, project.id, {"budget": 50})
        second = rounds.start(connection, project.id, {})
        assert rounds.start(connection, other.id, {}).number == 0
        assert (first.number, first.state, first.settings) == (0, "running", {"budget": 50})
        assert rounds.every(connection, project.id) == [first, second]
        assert rounds.latest(connection, project.id) == second
        with pytest.raises(NotFound, match="No round 7"):
            rounds.get(connection, project.id, 7)


def test_note__adds_and_replaces(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        started = rounds.start(connection, project.id, {})
        rounds.note(connection, started.id, {"rule": "no model yet", "selected": 40})
        rounds.note(connection, started.id, {"selected": 50})
        rounds.finish(connection, started.id, "waiting")
        found = rounds.get(connection, project.id, 0)
    assert found.record == {"rule": "no model yet", "selected": 50}
    assert found.state == "waiting"
    assert found.finished_at is not None


def test_steps__in_the_order_they_were_done(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        started = rounds.start(connection, project.id, {})
        for name in ("train", "evaluate", "choose"):
            rounds.finish_step(connection, started.id, name, seconds=1.5, result={"step": name})
        found = rounds.steps(connection, started.id)
    assert list(found) == ["train", "evaluate", "choose"]
    assert found["evaluate"] == {"seconds": 1.5, "result": {"step": "evaluate"}}


def test_plan__twice_is_once(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(4))
        started = rounds.start(connection, project.id, {})
        planned = [
            LedgerRow(ids[2], "batch", 0, score=0.5, reason="covers much", probability=0.1),
            LedgerRow(ids[0], "batch", 1, prelabel_class_id=project.class_ids[0]),
            LedgerRow(ids[1], "reserve", 0),
        ]
        rounds.plan(connection, project.id, started.id, planned)
        rounds.plan(connection, project.id, started.id, planned)
        assert rounds.ledger(connection, started.id) == planned
        assert rounds.ledger(connection, started.id, queue="reserve") == planned[2:]
        rounds.mark_pushed(connection, started.id, ids[:1])
        pushed = [row.pushed for row in rounds.ledger(connection, started.id)]
        assert pushed == [False, True, False]


def test_waiting__until_people_have_spoken(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(5))
        first = rounds.start(connection, project.id, {})
        rounds.plan(
            connection,
            project.id,
            first.id,
            [LedgerRow(ids[1], "batch", 1), LedgerRow(ids[0], "batch", 0)],
        )
        second = rounds.start(connection, project.id, {})
        rounds.plan(
            connection,
            project.id,
            second.id,
            [
                LedgerRow(ids[0], "batch", 1),
                LedgerRow(ids[2], "reserve", 0),
                LedgerRow(ids[3], "batch", 2),
            ],
        )
        assert rounds.waiting(connection, project.id) == [ids[0], ids[1], ids[2], ids[3]]
        assert rounds.waiting(connection, project.id, queue="reserve") == [ids[2]]
        assert rounds.count_waiting(connection, project.id) == 4
        assert rounds.count_waiting(connection, project.id, queue="reserve") == 1
        put_answers(
            connection,
            project,
            [answer(1, ids[0], project.class_ids[0]), answer(2, ids[1], state="skipped")],
        )
        assert rounds.waiting(connection, project.id) == [ids[2], ids[3]]
        images.set_state(connection, [ids[3]], "excluded", reason="dark")
        assert rounds.waiting(connection, project.id) == [ids[2]]
        assert rounds.count_waiting(connection, project.id) == 1
        put_answers(connection, project, [answer(1, ids[0], state="deleted")])
        assert rounds.waiting(connection, project.id) == [ids[0], ids[2]]


def test_waiting__an_imported_label_is_no_answer(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        (key,) = add_images(connection, project, hashes(1))
        add_label(connection, project, key, project.class_ids[0], origin="import")
        started = rounds.start(connection, project.id, {})
        rounds.plan(connection, project.id, started.id, [LedgerRow(key, "reserve", 0)])
        assert rounds.waiting(connection, project.id) == [key]
        assert rounds.progress(connection, started.id) == {"reserve": {"sent": 1, "labeled": 0}}
        add_label(connection, project, key, project.class_ids[0])
        assert rounds.progress(connection, started.id) == {"reserve": {"sent": 1, "labeled": 1}}


def test_waiting__a_reviewer_who_passes_on_a_doubt_answers_nothing(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(2))
        started = rounds.start(connection, project.id, {})
        sent = [LedgerRow(key, "reserve", rank) for rank, key in enumerate(ids)]
        rounds.plan(connection, project.id, started.id, sent)
        passed = replace(answer(1, ids[0], state="skipped"), queue="correction")
        decided = replace(answer(2, ids[1], project.class_ids[0]), queue="correction")
        put_answers(connection, project, [passed, decided])
        assert rounds.waiting(connection, project.id) == ids[:1]
        assert rounds.count_waiting(connection, project.id) == 1
        put_answers(connection, project, [answer(3, ids[0], state="skipped")])
        assert rounds.waiting(connection, project.id) == []


def test_of_image__each_round_that_sent_it(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        (key,) = add_images(connection, project, hashes(1))
        for _ in range(2):
            started = rounds.start(connection, project.id, {})
            rounds.plan(connection, project.id, started.id, [LedgerRow(key, "batch", 3)])
        found = rounds.of_image(connection, key)
        assert [(row["number"], row["rank"]) for row in found] == [(0, 3), (1, 3)]
