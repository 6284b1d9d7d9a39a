from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.catalog import Catalog, Connection, groups, images, labels, reserve
from curation.catalog import pool as pool_rows
from curation.catalog.bulk import batched
from curation.catalog.groups import Pair
from curation.catalog.groups import _merges as merges
from curation.records import LabelRow, NewImage, ProjectRecord
from tests.catalog.rows import add_images, add_label, add_project, answer, hashes, put_answers


def groups_of(connection: Connection, ids: Sequence[int]) -> list[int | None]:
    found = images.get_many(connection, ids)
    return [found[key].group_id for key in ids]


def together(connection: Connection, ids: Sequence[int]) -> list[list[int]]:
    """The images' places in the list, by group."""
    found: dict[int | None, list[int]] = {}
    for place, group in enumerate(groups_of(connection, ids)):
        found.setdefault(group, []).append(place)
    return sorted(found.values())


def test_replace_pairs__a_persons_verdict_stays(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        one, two, three, four = add_images(connection, project, hashes(4))
        first = [Pair(one, two, 0.9, "mirrored"), Pair(three, two, 0.8), Pair(one, four, 0.7)]
        assert groups.replace_pairs(connection, project.id, iter(first)) == 3
        groups.judge(connection, project.id, two, one, "not-copy")
        groups.judge(connection, project.id, three, four, "copy")
        again = [Pair(one, two, 0.95, "grey"), Pair(two, three, 0.6)]
        groups.replace_pairs(connection, project.id, again)
        assert list(groups.pairs(connection, project.id)) == [
            Pair(two, three, 0.6),
            Pair(three, four, 1.0, "", "copy", "person"),
        ]
        assert list(groups.pairs(connection, project.id, verdict="not-copy")) == [
            Pair(one, two, 0.9, "mirrored", "not-copy", "person")
        ]
        mine = groups.pairs(connection, project.id, verdict=None, image_id=two)
        assert [(pair.first_id, pair.second_id) for pair in mine] == [(one, two), (two, three)]
        said = groups.pairs(connection, project.id, verdict=None, origin="person")
        assert [(pair.first_id, pair.second_id) for pair in said] == [(one, two), (three, four)]


def test_judge__the_last_word_counts(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        one, two = add_images(connection, project, hashes(2))
        groups.judge(connection, project.id, one, two, "not-copy")
        groups.judge(connection, project.id, one, two, "copy")
        assert [pair.verdict for pair in groups.pairs(connection, project.id, verdict=None)] == [
            "copy"
        ]


def test_pairs__more_than_one_page(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "_AT_ONCE", 7)
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(10))
        given_pairs = [Pair(a, b, 0.5) for a in ids for b in ids if a < b]
        groups.replace_pairs(connection, project.id, given_pairs)
        assert list(groups.pairs(connection, project.id)) == given_pairs


def test_regroup__and_nothing_undoes_it(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, ["a", "b", "c", "d", "a"])
        before = (groups_of(connection, ids), images.draws(connection, ids))
        assert groups.regroup(connection, project.id, [[ids[2], ids[1]]]) == 1
        assert together(connection, ids) == [[0, 4], [1, 2], [3]]
        assert groups_of(connection, ids)[2] == before[0][1]  # that of the smallest id
        assert images.draws(connection, ids)[ids[2]] == before[1][ids[1]]
        assert groups.regroup(connection, project.id, [[ids[1], ids[2]]]) == 0
        assert groups.regroup(connection, project.id, []) == 1
        assert (groups_of(connection, ids), images.draws(connection, ids)) == before


def test_regroup__pixels_stay_together(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, ["a", "b", "a", "c", "c", "d"])
        # The copy of the first image has a copy of its own: all four are one.
        groups.regroup(connection, project.id, [[ids[0], ids[1]], [ids[2], ids[3]]])
        assert together(connection, ids) == [[0, 1, 2, 3, 4], [5]]
        groups.regroup(connection, project.id, [[ids[4], ids[5]]])
        assert together(connection, ids) == [[0, 2], [1], [3, 4, 5]]


def test_regroup__from_one_group_to_another(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(4))
        own = groups_of(connection, ids)
        groups.regroup(connection, project.id, [ids])
        assert together(connection, ids) == [[0, 1, 2, 3]]
        assert groups.regroup(connection, project.id, [[ids[1], ids[3]], [ids[0], ids[2]]]) == 2
        assert groups_of(connection, ids) == [own[0], own[1], own[0], own[1]]


def test_regroup__quarantined_images_have_no_group(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        (good,) = add_images(connection, project, ["a"])
        source = images.add_source(connection, project.id, "/photos")
        row = NewImage(name="bad.png", origin="/bad.png", location="/bad.png", reason="truncated")
        bad = images.add(connection, project.id, [row], source_id=source, seed=7)["bad.png"]
        assert groups.regroup(connection, project.id, [[good, bad], [99]]) == 0
        assert images.get(connection, bad).group_id is None


def test_add__a_later_copy_of_a_merged_image_joins_its_group(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, ["a", "b"])
        groups.regroup(connection, project.id, [ids])
        later = add_images(connection, project, ["b", "c"], folder="later")
        assert together(connection, [*ids, *later]) == [[0, 1, 2], [3]]
        assert images.draws(connection, later)[later[0]] == images.draw(project.seed, "a")
        groups.regroup(connection, project.id, [])
        assert together(connection, [*ids, *later]) == [[0], [1, 2], [3]]
        assert images.draws(connection, later)[later[0]] == images.draw(project.seed, "b")


def test_regroup__two_projects_do_not_share(catalog: Catalog) -> None:
    with catalog.write() as connection:
        one, other = add_project(connection, "one"), add_project(connection, "other")
        mine, yours = (add_images(connection, project, hashes(2)) for project in (one, other))
        groups.regroup(connection, one.id, [mine])
        groups.regroup(connection, other.id, [yours])
        groups.regroup(connection, one.id, [])
        assert together(connection, mine) == [[0], [1]]
        assert together(connection, yours) == [[0, 1]]


def test_regroup__more_than_one_statement_holds(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(2500))
        pairs = [ids[place : place + 2] for place in range(0, 2500, 2)]
        assert groups.regroup(connection, project.id, [*pairs, ids[:1500]]) == 1999
        assert together(connection, ids)[0] == list(range(1500))
        assert pool_rows.count(connection, project.id) == 501
        assert groups.regroup(connection, project.id, []) == 1999
        assert pool_rows.count(connection, project.id) == 2500


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 12), max_size=4), max_size=8), st.integers(1, 5))
def test_merges__one_leader_for_all_that_is_connected(
    components: list[list[int]], pixels: int
) -> None:
    own = {image: 100 + image % pixels for image in range(1, 12)}  # the 12th has no group
    found = merges(own, components)
    where = {group: found.get(group, group) for group in own.values()}
    for members in components:
        assert len({where[own[key]] for key in members if key in own}) <= 1
    named = {own[key] for members in components for key in members if key in own}
    assert set(found) <= named
    assert not set(found) & set(found.values())
    for group, leader in found.items():
        smallest = {
            one: min(key for members in components for key in members if own.get(key) == one)
            for one in (group, leader)
        }
        assert smallest[leader] < smallest[group]


# What a merge means for those who choose and learn ------------------------------------------------


def test_pool__one_of_a_merged_group(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(4))
        groups.regroup(connection, project.id, [[ids[1], ids[3]]])
        assert [row.id for row in pool_rows.find(connection, project.id)] == ids[:3]
        add_label(connection, project, ids[3], project.class_ids[0])
        assert [row.id for row in pool_rows.find(connection, project.id)] == [ids[0], ids[2]]


def test_freeze__a_group_is_drawn_once_whatever_its_size(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(1000))
        # 100 groups of 9 and 100 single images: as likely to be drawn.
        groups.regroup(
            connection, project.id, [ids[place : place + 9] for place in range(0, 900, 9)]
        )
        assert reserve.freeze(connection, project.id) == 100
        kept = [row.image_id for row in reserve.rows(connection, project.id)]
        large = sum(key < ids[900] for key in kept)
        # Hypergeometric: 50 expected, standard deviation 3.5.
        assert abs(large - 50) < 15
        assert len(set(groups_of(connection, kept))) == 100


@pytest.fixture
def reserved(catalog: Catalog) -> tuple[Catalog, ProjectRecord, list[int], list[int]]:
    """A project whose reserve is drawn; its members in their order, and the other images."""
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(20))
        reserve.freeze(connection, project.id)
        kept = [row.image_id for row in reserve.rows(connection, project.id)]
    return catalog, project, kept, [key for key in ids if key not in kept]


Reserved = tuple[Catalog, ProjectRecord, list[int], list[int]]


def test_regroup__a_group_with_a_member_in_the_reserve_is_closed(reserved: Reserved) -> None:
    catalog, project, kept, rest = reserved
    with catalog.write() as connection:
        for key in rest:
            add_label(connection, project, key, project.class_ids[0])
        add_label(connection, project, kept[0], project.class_ids[0])
        before = reserve.rows(connection, project.id)
        groups.regroup(connection, project.id, [[kept[0], rest[0]], [rest[1], kept[1]]])
        learned = [row.image_id for row in labels.for_training(connection, project.id)]
        assert learned == rest[2:]
        labels.remove(connection, rest)
        assert [row.id for row in pool_rows.find(connection, project.id)] == rest[2:]
        assert reserve.rows(connection, project.id) == before  # also the order and the halves
        assert reserve.freeze(connection, project.id) == 0
        groups.regroup(connection, project.id, [])
        assert reserve.rows(connection, project.id) == before
        assert [row.id for row in pool_rows.find(connection, project.id)] == rest


def test_regroup__two_members_of_the_reserve_count_once(reserved: Reserved) -> None:
    catalog, project, kept, _ = reserved
    with catalog.write() as connection:
        put_answers(
            connection,
            project,
            [answer(n, key, project.class_ids[0]) for n, key in enumerate(kept[:4], 1)],
        )
        before = reserve.rows(connection, project.id)
        groups.regroup(connection, project.id, [[kept[1], kept[3]], [kept[5], kept[8]]])
        rows = reserve.rows(connection, project.id)
        assert [row.image_id for row in rows] == [
            key for place, key in enumerate(kept) if place not in (3, 8)
        ]
        counted = reserve.progress(connection, project.id)
        assert (counted.images, counted.answered, counted.prefix) == (8, 3, 3)
        images.set_state(connection, [kept[1]], "excluded", reason="near-duplicate")
        rows = reserve.rows(connection, project.id)
        assert [row.image_id for row in rows][:3] == [kept[0], kept[2], kept[3]]
        images.set_state(connection, [kept[1]], "ok")
        groups.regroup(connection, project.id, [])
        assert reserve.rows(connection, project.id) == before


# Propagated labels follow their groups ------------------------------------------------------------


def spread(connection: Connection, project: ProjectRecord, source: int, targets: list[int]) -> None:
    row = labels.get(connection, [source])[source]
    labels.propagate(connection, project.id, dict.fromkeys(targets, row))


def test_regroup__a_propagated_label_goes_with_its_group(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(4))
        groups.regroup(connection, project.id, [ids])
        add_label(connection, project, ids[0], project.class_ids[1])
        spread(connection, project, ids[0], ids[1:])
        groups.regroup(connection, project.id, [ids[:2]])
        found = labels.get(connection, ids)
        assert {key: row.origin for key, row in found.items()} == {
            ids[0]: "people",
            ids[1]: "propagated",
        }
        assert labels.for_training(connection, project.id) == [
            LabelRow(
                ids[0], found[ids[0]].group_id, (project.class_ids[1],), "people", confidence=1.0
            )
        ]


def test_regroup__moving_all_of_a_group_keeps_its_labels(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "batched", partial(batched, size=1))
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(4))
        groups.regroup(connection, project.id, [ids[1:3]])
        add_label(connection, project, ids[2], project.class_ids[1])
        spread(connection, project, ids[2], [ids[1]])
        groups.regroup(connection, project.id, [ids])
        assert labels.get(connection, ids)[ids[1]].origin == "propagated"
