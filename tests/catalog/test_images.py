from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.catalog import Catalog, Connection, images, labels, reserve, rounds, runs
from curation.errors import NotFound
from curation.records import LedgerRow, NewImage, ProjectRecord
from tests.catalog.rows import add_images, add_label, add_project, answer, hashes, put_answers


def pool_ids(connection: Connection, project: ProjectRecord) -> list[int]:
    """The pool, asked in each of the ways there are."""
    ids = [row.id for row in images.pool(connection, project.id)]
    assert images.count_pool(connection, project.id) == len(ids)
    assert images.count(connection, project.id, status="pool") == len(ids)
    page = images.page(connection, project.id, status="pool", size=10_000)
    assert [row.id for row in page] == ids
    return ids


@given(st.integers(0, 2**31), st.text(min_size=1))
def test_draw__within_range_and_fixed(seed: int, key: str) -> None:
    value = images.draw(seed, key)
    assert 0 <= value < 2**images.DRAW_BITS
    assert value == images.draw(seed, key)


def test_draw__does_not_change_between_versions() -> None:
    # The reserve of every project rests on these numbers.
    assert images.draw(7, "hash-0") == 3767793962255746891


def test_draw__uniform() -> None:
    values = [images.draw(3, key) / 2**images.DRAW_BITS for key in hashes(20_000)]
    counts = Counter(int(value * 20) for value in values)
    # 1,000 expected in each of 20 bins, standard deviation 31.
    assert all(abs(counts[place] - 1000) < 5 * 31 for place in range(20))
    odd = sum(images.draw(3, key) % 2 for key in hashes(20_000))
    assert abs(odd - 10_000) < 5 * 71


def test_draw__another_seed_another_order() -> None:
    one = sorted(hashes(100), key=lambda key: images.draw(1, key))
    other = sorted(hashes(100), key=lambda key: images.draw(2, key))
    assert one != other


def test_add__same_pixels_one_group(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, ["a", "b", "a"])
        later = add_images(connection, project, ["b"], folder="later")
        found = images.get_many(connection, [*ids, *later])
        draws = images.draws(connection, [*ids, *later])
    groups = [found[key].group_id for key in (*ids, *later)]
    assert groups[0] == groups[2] != groups[1] == groups[3]
    assert draws[ids[0]] == draws[ids[2]] == images.draw(project.seed, "a")


def test_add__twice_adds_nothing(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        add_images(connection, project, hashes(5), metadata={1: {"studio": "b"}})
    with catalog.write() as connection:
        source = images.add_source(connection, project.id, "/photos")
        row = NewImage(name="other", origin="/photos/00001.png", location="x", pixel_hash="h")
        assert images.add(connection, project.id, [row], source_id=source, seed=7) == {}
        assert images.count(connection, project.id) == 5


def test_add__two_projects_do_not_share(catalog: Catalog) -> None:
    with catalog.write() as connection:
        one, other = add_project(connection, "one"), add_project(connection, "other")
        mine = add_images(connection, one, ["a"])
        yours = add_images(connection, other, ["a"])
        found = images.get_many(connection, [*mine, *yours])
        assert found[mine[0]].group_id != found[yours[0]].group_id
        assert images.count(connection, one.id) == images.count(connection, other.id) == 1
        assert pool_ids(connection, one) == mine


def test_add_source__once(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        first = images.add_source(connection, project.id, "/photos", license="CC0")
        assert images.add_source(connection, project.id, "/photos") == first


def test_read_again__a_mended_file_joins_its_group(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        (good,) = add_images(connection, project, ["a"])
        source = images.add_source(connection, project.id, "/photos")
        bad = NewImage(name="bad.png", origin="/bad.png", location="/bad.png", reason="truncated")
        ids = images.add(connection, project.id, [bad], source_id=source, seed=project.seed)
        key = ids["bad.png"]
        assert images.quarantined(connection, project.id) == [("bad.png", "truncated")]
        assert images.quarantined_among(connection, [good, key]) == {key}
        mended = replace(bad, reason="", pixel_hash="a", width=4, height=5)
        images.read_again(connection, project.id, {key: mended}, seed=project.seed)
        found = images.get(connection, key)
        assert (found.state, found.reason, found.width) == ("ok", "", 4)
        assert found.group_id == images.get(connection, good).group_id
        assert images.draws(connection, [key])[key] == images.draw(project.seed, "a")


def test_read_again__leaves_what_is_not_quarantined(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        (good,) = add_images(connection, project, ["a"])
        row = NewImage(name="x", origin="x", location="x", reason="truncated")
        images.read_again(connection, project.id, {good: row}, seed=project.seed)
        assert images.get(connection, good).state == "ok"


def test_put_metadata__the_newest_value_that_says_something(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        first, second = add_images(
            connection, project, hashes(2), metadata={0: {"studio": "a", "season": ""}}
        )
        images.put_metadata(
            connection,
            project.id,
            {first: {"studio": "", "season": "summer"}, second: {"studio": "b"}},
        )
        assert images.metadata_of(connection, first) == {"studio": "a", "season": "summer"}
        assert images.metadata_of_many(connection, [first, second]) == {
            first: {"studio": "a", "season": "summer"},
            second: {"studio": "b"},
        }


def test_metadata_values__missing_is_a_value(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        add_images(
            connection,
            project,
            hashes(6),
            metadata={
                **{n: {"studio": "b"} for n in range(3)},
                3: {"studio": "a", "season": "x"},
                4: {"studio": ""},
            },
        )
        values = images.metadata_values(connection, project.id)
        assert values == {"season": ["", "x"], "studio": ["b", "", "a"]}
        assert images.metadata_values(connection, project.id, most=1)["studio"] == ["b"]


def test_get__unknown(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        with pytest.raises(NotFound, match="No image 5"):
            images.get(connection, 5)
        with pytest.raises(NotFound, match=r"'x\.png'"):
            images.find(connection, project.id, "x.png")


def test_find__by_name(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(3))
        assert images.find(connection, project.id, "photos/00001.png").id == ids[1]
        assert images.ids_by_name(connection, project.id, ["photos/00002.png", "no"]) == {
            "photos/00002.png": ids[2]
        }
        assert images.names_by_id(connection, ids[:1]) == {ids[0]: "photos/00000.png"}
        assert images.places(connection, ids)[ids[0]].source == "/photos"
        assert images.taken_names(connection, project.id, ["photos/00000.png", "no"]) == {
            "photos/00000.png"
        }


def test_many__more_than_one_statement_holds(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(2500))
        assert sorted(images.get_many(connection, ids)) == ids
        assert sorted(images.draws(connection, ids)) == ids
        assert sorted(images.manifest_of(connection, ids)) == ids
        assert sorted(images.names_by_id(connection, ids)) == ids
        assert [key for key, _ in images.usable(connection, project.id)] == ids
        images.set_state(connection, ids[:1500], "excluded", reason="by hand")
        assert images.count_by_state(connection, project.id) == {"excluded": 1500, "ok": 1000}


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


def test_pool__nothing_of_the_reserve(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        add_images(connection, project, [*hashes(600), *hashes(600)])
        assert reserve.freeze(connection, project.id) == 200
        kept = {row.image_id for row in reserve.rows(connection, project.id)}
        records = images.get_many(connection, list(range(1, 1201)))
        reserved = {records[key].group_id for key in kept}
        pool = pool_ids(connection, project)
    assert len(pool) == 400
    assert not reserved & {records[key].group_id for key in pool}


def test_pool__an_unconfirmed_import_label_closes_too(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(2))
        add_label(connection, project, ids[0], project.class_ids[0], origin="import")
        assert pool_ids(connection, project) == ids[1:]


@pytest.fixture
def gallery(catalog: Catalog) -> tuple[Catalog, ProjectRecord, list[int]]:
    """Ten images with a label, a prediction, a reserve member and metadata among them."""
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(
            connection,
            project,
            hashes(10),
            metadata={
                **{n: {"studio": "a", "season": "summer"} for n in range(4)},
                **{n: {"studio": "b"} for n in range(4, 8)},
                8: {"studio": ""},
            },
        )
        ok, bad = project.class_ids
        add_label(connection, project, ids[0], ok)
        add_label(connection, project, ids[1], bad)
        add_label(connection, project, ids[5], bad)
        images.set_state(connection, [ids[2]], "excluded", reason="dark")
        images.set_state(connection, [ids[3]], "quarantined", reason="truncated")
        runs.add(
            connection,
            project.id,
            "run-1",
            kind="head",
            snapshot_id=None,
            seed=0,
            settings={},
            metrics={},
        )
        runs.put_predictions(
            connection, project.id, "run-1", [(ids[6], ok, 0.9, 0.8), (ids[7], bad, 0.6, 0.2)]
        )
    return catalog, project, ids


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, range(10)),
        ({"status": "labeled"}, [0, 1, 5]),
        ({"status": "pool"}, [4, 6, 7, 8, 9]),
        ({"status": "reserve"}, []),
        ({"status": "quarantined"}, [3]),
        ({"status": "excluded"}, [2]),
        ({"class": 1}, [1, 5]),
        ({"predicted": 0}, [6]),
        ({"slices": {"studio": "a"}}, [0, 1, 2, 3]),
        ({"slices": {"studio": ""}}, [8, 9]),
        ({"slices": {"season": ""}}, [4, 5, 6, 7, 8, 9]),
        ({"slices": {"studio": "b", "season": ""}, "status": "labeled"}, [5]),
        ({"slices": {"studio": "a", "season": ""}}, []),
        ({"name_contains": "0003"}, [3]),
        ({"name_contains": "PHOTOS"}, range(10)),
        ({"name_contains": "%"}, []),
        ({"name_contains": "_"}, []),
        ({"class": 1, "slices": {"studio": "b"}, "name_contains": "5"}, [5]),
    ],
)
def test_page__filters(
    gallery: tuple[Catalog, ProjectRecord, list[int]],
    filters: dict[str, object],
    expected: list[int],
) -> None:
    catalog, project, ids = gallery
    wanted: dict[str, object] = {
        {"class": "class_id", "predicted": "predicted_id"}.get(key, key): (
            project.class_ids[value] if isinstance(value, int) else value
        )
        for key, value in filters.items()
    }
    with catalog.read() as connection:
        found = images.page(connection, project.id, **wanted)  # type: ignore[arg-type]
        counted = images.count(connection, project.id, **wanted)  # type: ignore[arg-type]
    assert [row.id for row in found] == [ids[place] for place in expected]
    assert counted == len(expected)


def test_page__by_key(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(25))
        seen: list[int] = []
        after = 0
        while page := images.page(connection, project.id, after=after, size=10):
            seen += [row.id for row in page]
            after = page[-1].id
            # What comes in between moves no page.
            add_images(connection, project, hashes(1, start=100 + after), folder=f"new-{after}")
            if len(seen) >= 25:
                break
    assert seen[:25] == ids


def test_page__reserve(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        add_images(connection, project, hashes(10))
        reserve.freeze(connection, project.id)
        expected = sorted(row.image_id for row in reserve.rows(connection, project.id))
        found = images.page(connection, project.id, status="reserve")
    assert len(expected) == 5
    assert [row.id for row in found] == expected


def test_pool__what_waits_for_people_is_still_unlabeled(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(3))
        started = rounds.start(connection, project.id, {})
        rounds.plan(connection, project.id, started.id, [LedgerRow(ids[0], "batch", 0)])
        assert pool_ids(connection, project) == ids
        assert rounds.waiting(connection, project.id) == ids[:1]
