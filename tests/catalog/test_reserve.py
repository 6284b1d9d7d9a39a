import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.catalog import Catalog, images, reserve, rounds
from curation.records import LedgerRow, ReserveRow
from tests.catalog.rows import add_images, add_label, add_project, answer, hashes, put_answers


@pytest.mark.parametrize(
    ("groups", "expected"),
    [(0, 0), (1, 0), (2, 1), (101, 50), (399, 199), (400, 200), (1000, 200), (1500, 300)],
)
def test_freeze__size(catalog: Catalog, groups: int, expected: int) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        add_images(connection, project, hashes(groups))
        assert reserve.freeze(connection, project.id) == expected
        assert len(reserve.rows(connection, project.id)) == expected


def test_freeze__counts_groups_not_images(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        add_images(connection, project, [*hashes(100), *hashes(100), *hashes(100)])
        assert reserve.freeze(connection, project.id) == 50


def test_freeze__once(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        add_images(connection, project, hashes(300))
        reserve.freeze(connection, project.id)
        before = reserve.rows(connection, project.id)
        assert reserve.freeze(connection, project.id) == 0
        assert reserve.rows(connection, project.id) == before


def test_freeze__does_not_depend_on_the_order_of_import(catalog: Catalog) -> None:
    drawn = []
    for name, found in (("one", hashes(300)), ("other", hashes(300)[::-1])):
        with catalog.write() as connection:
            project = add_project(connection, name)
            add_images(connection, project, found)
            reserve.freeze(connection, project.id)
            ids = [row.image_id for row in reserve.rows(connection, project.id)]
            records = images.get_many(connection, ids)
            drawn.append([records[key].pixel_hash for key in ids])
    assert drawn[0] == drawn[1]


def test_freeze__halves(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        add_images(connection, project, hashes(2000))
        reserve.freeze(connection, project.id)
        halves = [row.half for row in reserve.rows(connection, project.id)]
    # 400 fair coins: standard deviation 10.
    assert abs(halves.count("calibration") - 200) < 50
    assert set(halves) == {"calibration", "holdout"}


def test_freeze__in_the_order_of_the_draw(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        add_images(connection, project, hashes(500))
        reserve.freeze(connection, project.id)
        rows = reserve.rows(connection, project.id)
    draws = [row.draw for row in rows]
    assert draws == sorted(draws)
    assert draws == sorted(images.draw(project.seed, key) for key in hashes(500))[:200]
    assert [row.half for row in rows] == [
        "holdout" if draw % 2 else "calibration" for draw in draws
    ]


def test_freeze__later_images_join_by_the_same_mark(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        add_images(connection, project, hashes(1000))
        reserve.freeze(connection, project.id)
        first = {row.image_id for row in reserve.rows(connection, project.id)}
        mark = max(images.draws(connection, list(first)).values())
        later = add_images(connection, project, hashes(1000, start=1000), folder="later")
        draws = images.draws(connection, later)
        joined = reserve.freeze(connection, project.id)
        now = {row.image_id for row in reserve.rows(connection, project.id)}
    assert now - first == {key for key in later if draws[key] <= mark}
    assert joined == len(now - first) > 100
    assert first < now


def test_freeze__a_copy_of_a_member_does_not_join(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        add_images(connection, project, hashes(100))
        assert reserve.freeze(connection, project.id) == 50
        add_images(connection, project, hashes(100), folder="copies")
        assert reserve.freeze(connection, project.id) == 0


def test_freeze__never_what_was_sent_in_a_batch(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        add_images(connection, project, hashes(100))
        reserve.freeze(connection, project.id)
        later = add_images(connection, project, hashes(100, start=100), folder="later")
        started = rounds.start(connection, project.id, {})
        sent = [LedgerRow(key, "batch", rank) for rank, key in enumerate(later[:60])]
        rounds.plan(connection, project.id, started.id, sent)
        # Copies of what was sent are as known to the model as the image itself.
        copies = add_images(
            connection, project, hashes(60, start=100), folder="copies of what was sent"
        )
        reserve.freeze(connection, project.id)
        kept = {row.image_id for row in reserve.rows(connection, project.id)}
    assert not kept & {*later[:60], *copies}
    assert kept & set(later[60:])


def test_freeze__only_usable_images(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(10))
        images.set_state(connection, ids[:8], "excluded", reason="blurred")
        assert reserve.freeze(connection, project.id) == 1


def test_rows__leave_out_what_was_set_aside_later(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        add_images(connection, project, hashes(10))
        reserve.freeze(connection, project.id)
        rows = reserve.rows(connection, project.id)
        images.set_state(connection, [rows[1].image_id], "excluded", reason="blurred")
        assert reserve.rows(connection, project.id) == [rows[0], *rows[2:]]


def test_rows__settled_by_people_only(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        add_images(connection, project, hashes(10))
        reserve.freeze(connection, project.id)
        first, second, third, *_ = [row.image_id for row in reserve.rows(connection, project.id)]
        add_label(connection, project, first, project.class_ids[0], origin="import")
        put_answers(
            connection,
            project,
            [answer(1, second, project.class_ids[1]), answer(2, third, state="skipped")],
        )
        add_label(connection, project, second, project.class_ids[1])
        rows = reserve.rows(connection, project.id)
        assert [row.settled for row in rows] == [False, True, True, False, False]
        assert [row.classes for row in rows[:3]] == [
            (project.class_ids[0],),
            (project.class_ids[1],),
            None,
        ]
        counted = reserve.progress(connection, project.id)
        assert (counted.images, counted.offered, counted.answered, counted.prefix) == (5, 0, 2, 0)
        put_answers(connection, project, [answer(3, first, project.class_ids[0])])
        assert reserve.progress(connection, project.id).prefix == 3
        put_answers(connection, project, [answer(2, third, state="deleted")])
        assert [row.settled for row in reserve.rows(connection, project.id)][2] is False
        assert reserve.progress(connection, project.id).prefix == 2


def test_rows__a_reviewer_who_passes_on_a_doubt_settles_nothing(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        add_images(connection, project, hashes(10))
        reserve.freeze(connection, project.id)
        first, second, third, *_ = [row.image_id for row in reserve.rows(connection, project.id)]
        for key in (first, second):
            add_label(connection, project, key, project.class_ids[0], origin="import")
        reviews = [
            dataclasses.replace(answer(1, first, state="skipped"), queue="correction"),
            dataclasses.replace(answer(2, second, project.class_ids[1]), queue="correction"),
            dataclasses.replace(answer(3, third, state="skipped"), queue="reserve"),
        ]
        put_answers(connection, project, reviews)
        rows = reserve.rows(connection, project.id)
        assert [row.settled for row in rows] == [False, True, True, False, False]
        counted = reserve.progress(connection, project.id)
        assert (counted.answered, counted.prefix) == (2, 0)
        # Asked without a guess, somebody says it.
        put_answers(connection, project, [answer(4, first, project.class_ids[0])])
        assert reserve.progress(connection, project.id).prefix == 3


def test_rows__offered(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        add_images(connection, project, hashes(10))
        reserve.freeze(connection, project.id)
        first = reserve.rows(connection, project.id)[0].image_id
        started = rounds.start(connection, project.id, {})
        rounds.plan(connection, project.id, started.id, [LedgerRow(first, "reserve", 0)])
        assert [row.offered for row in reserve.rows(connection, project.id)] == [
            True,
            *[False] * 4,
        ]
        assert reserve.progress(connection, project.id).offered == 1


@given(st.lists(st.booleans(), max_size=40))
def test_settled_prefix__is_a_prefix_that_cannot_be_longer(settled: list[bool]) -> None:
    blank = ReserveRow(0, "holdout", 0, settled=False, offered=True, classes=None)
    rows = [
        dataclasses.replace(blank, image_id=place, draw=place, settled=value)
        for place, value in enumerate(settled)
    ]
    prefix = reserve.settled_prefix(rows)
    assert prefix == rows[: len(prefix)]
    assert all(row.settled for row in prefix)
    assert len(prefix) == len(rows) or not rows[len(prefix)].settled
