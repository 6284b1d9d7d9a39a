from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.catalog import (
    Catalog,
    gallery,
    images,
    pool,
)
from curation.errors import NotFound
from curation.records import NewImage
from tests.catalog.rows import add_images, add_project, hashes


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
        assert gallery.count(connection, project.id) == 5


def test_add__two_projects_do_not_share(catalog: Catalog) -> None:
    with catalog.write() as connection:
        one, other = add_project(connection, "one"), add_project(connection, "other")
        mine = add_images(connection, one, ["a"])
        yours = add_images(connection, other, ["a"])
        found = images.get_many(connection, [*mine, *yours])
        assert found[mine[0]].group_id != found[yours[0]].group_id
        assert gallery.count(connection, one.id) == gallery.count(connection, other.id) == 1
        assert [row.id for row in pool.find(connection, one.id)] == mine


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


def test_stored__how_files_hold_the_images_also_where_nobody_could_read_them(
    catalog: Catalog,
) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        plain = add_images(connection, project, hashes(1500))
        source = images.add_source(connection, project.id, "/more")
        rows = [
            NewImage(
                name="strip.gif",
                origin="a",
                location="a",
                width=9,
                height=4,
                frames=3,
                mode="P",
                orientation=6,
            ),
            NewImage(name="bad.png", origin="b", location="b", reason="truncated"),
        ]
        ids = images.add(connection, project.id, rows, source_id=source, seed=7)
    with catalog.read() as connection:
        found = {row.id: row for row in images.stored(connection, [*plain, *ids.values()])}
        assert list(images.stored(connection, [])) == []
    assert sorted(found) == sorted([*plain, *ids.values()])
    strip, bad = found[ids["strip.gif"]], found[ids["bad.png"]]
    assert (strip.width, strip.height, strip.frames, strip.mode) == (9, 4, 3, "P")
    assert (bad.width, bad.height, bad.frames, bad.mode) == (1, 1, 1, "")
    assert (strip.orientation, bad.orientation) == (6, 1)
    assert (found[plain[-1]].width, found[plain[-1]].height) == (8, 8)
