from pathlib import Path

import pytest

from curation import splits as splitting
from curation import workspace
from curation.catalog import Catalog, Connection, groups, images, labels, reserve, splits
from curation.records import ProjectRecord
from tests.catalog.rows import add_images, add_label, add_project, hashes
from tests.catalog.test_pool import pool_ids


def add_split(
    connection: Connection,
    project: ProjectRecord,
    parts: dict[int, str],
    *,
    name: str = "default",
    **settings: object,
) -> int:
    split_id = splits.add(connection, project.id, name, settings)
    splits.put(connection, split_id, parts.items())
    return split_id


def test_put__a_part_is_given_once(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(3))
        assert splits.parts_of(connection, project.id, ids) == {}
        split_id = add_split(connection, project, {ids[0]: "train", ids[1]: "test"})
        splits.put(connection, split_id, [(ids[0], "test"), (ids[2], "validation")])
        expected = {ids[0]: "train", ids[1]: "test", ids[2]: "validation"}
        assert splits.parts_of(connection, project.id, ids) == expected
        assert splits.parts_of(connection, project.id, ids, "other") == {}
        assert [dict(page) for page in splits.pages(connection, project.id)] == [expected]
        splits.remove(connection, split_id)
        assert splits.every(connection, project.id) == []
        assert splits.parts_of(connection, project.id, ids) == {}


@pytest.mark.parametrize(
    ("one", "other", "stays"),
    [
        ("train", "test", "test"),
        ("train", "validation", "validation"),
        ("validation", "test", "test"),
    ],
)
def test_parts_of__copies_in_two_parts(catalog: Catalog, one: str, other: str, stays: str) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, ["a", "b", "a"])
        add_split(connection, project, {ids[0]: one, ids[1]: one, ids[2]: other})
        parts = splits.parts_of(connection, project.id, ids)
        assert parts[ids[1]] == one
        assert sorted([parts[ids[0]], parts[ids[2]]]) == sorted(["left-out", stays])
        # Asked of one of them alone, the answer is the same.
        for key in ids:
            assert splits.parts_of(connection, project.id, [key]) == {key: parts[key]}
        read = splits.reader(connection, project.id)
        assert read(images.groups_of(connection, ids)) == parts


def test_note_left_out__is_read_and_taken_back(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(2))
        split_id = add_split(connection, project, dict.fromkeys(ids, "train"))
        splits.note_left_out(connection, split_id, [(ids[0], "train", True)])
        assert splits.parts_of(connection, project.id, ids)[ids[0]] == "left-out"
        read = splits.reader(connection, project.id)
        assert read(images.groups_of(connection, ids)) == {ids[0]: "left-out", ids[1]: "train"}
        assert pool_ids(connection, project) == ids[1:]
        members = list(splits.members(connection, project.id, split_id))
        assert [(row.part, row.left_out) for row in members] == [("train", True), ("train", False)]
        splits.note_left_out(connection, split_id, [(ids[0], "train", False)])
        assert splits.parts_of(connection, project.id, ids) == dict.fromkeys(ids, "train")


def test_held_out__neither_trained_on_nor_chosen(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, [*hashes(4), "hash-1"])
        parts = {ids[0]: "train", ids[1]: "test", ids[2]: "validation"}
        split_id = add_split(connection, project, parts)
        # A copy of what is held out, without a part, goes with it.
        assert pool_ids(connection, project) == [ids[0], ids[3]]
        for key in ids:
            add_label(connection, project, key, project.class_ids[0])
        learned = labels.for_training(connection, project.id)
        assert [row.image_id for row in learned] == [ids[0], ids[3]]
        splits.remove(connection, split_id)
        assert len(labels.for_training(connection, project.id)) == 5


def test_held_out__only_by_the_default_split_of_the_project(catalog: Catalog) -> None:
    with catalog.write() as connection:
        one, other = add_project(connection), add_project(connection, "other")
        mine = add_images(connection, one, hashes(3))
        theirs = add_images(connection, other, hashes(3))
        add_split(connection, one, dict.fromkeys(mine, "test"), name="second")
        add_split(connection, other, dict.fromkeys(theirs, "test"))
        add_split(connection, one, dict.fromkeys(mine, "fold-1"), folds=2)
        assert pool_ids(connection, one) == mine
        assert pool_ids(connection, other) == []


def test_freeze__draws_from_a_split_that_was_there_before(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(400))
        parts = {key: splits.PARTS[min(n // 40, 2)] for n, key in enumerate(ids)}
        add_split(connection, project, parts, reserve_first=False)
        copies = add_images(connection, project, hashes(400), folder="copies")
        assert reserve.freeze(connection, project.id) == 200
        rows = reserve.rows(connection, project.id)
        expected = {"validation": "calibration", "test": "holdout"}
        assert all(row.half == expected[parts[row.image_id]] for row in rows)
        assert not {row.image_id for row in rows} & set(copies)
        # Images without a part wait for one; then they join as often as those before.
        later = add_images(connection, project, hashes(200, start=400), folder="later")
        assert reserve.freeze(connection, project.id) == 0
        split = splits.find(connection, project.id)
        assert split is not None
        splits.put(connection, split.id, [(key, "test") for key in later])
        joined = reserve.freeze(connection, project.id)
        assert 75 < joined < 147  # 200 of 360 would be 111, deviation 7
        assert splits.feeds_reserve(connection, project.id)


def test_freeze__never_what_a_split_trains_on(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(20))
        assert reserve.freeze(connection, project.id) == 10
        later = add_images(connection, project, hashes(200, start=20), folder="later")
        add_split(connection, project, dict.fromkeys(later, "train"), reserve_first=True)
        assert reserve.freeze(connection, project.id) == 0
        assert not splits.feeds_reserve(connection, project.id)
        # Where nothing is held out apart, the draw decides over the half.
        other = add_project(connection, "other")
        ids = add_images(connection, other, hashes(60))
        parts = {key: "test" if n < 40 else "train" for n, key in enumerate(ids)}
        add_split(connection, other, parts)
        reserve.freeze(connection, other.id)
        rows = reserve.rows(connection, other.id)
        assert {row.image_id for row in rows} <= set(ids[:40])
        assert {row.half for row in rows} == {"calibration", "holdout"}


def test_freeze__a_train_image_that_turned_out_to_be_a_copy_of_a_test_image(
    catalog: Catalog,
) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(40))
        parts = {key: "test" if n < 20 else "train" for n, key in enumerate(ids)}
        add_split(connection, project, parts)
        groups.regroup(connection, project.id, [[ids[0], ids[39]]])
        reserve.freeze(connection, project.id)
        drawn = {row.image_id for row in reserve.rows(connection, project.id)}
        assert drawn == set(ids[1:20])


def test_members__usable_ones_and_those_that_have_a_part(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(3))
        split_id = add_split(connection, project, {ids[0]: "test"})
        images.set_state(connection, ids[:2], "excluded", reason="blurred")
        found = [
            (row.image_id, row.part, row.usable)
            for row in splits.members(connection, project.id, split_id)
        ]
        assert found == [(ids[0], "test", False), (ids[2], "", True)]
        assert [row.image_id for row in splits.members(connection, project.id, None)] == ids[2:]


def test_assign__on_either_database(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(workspace.DATABASE_VARIABLE, catalog.url)
    project = workspace.create_project(
        tmp_path / "workspace", name="parts", class_names=["ok", "bad"]
    )
    with project.catalog.write() as connection:
        patients = {n: {"patient": f"p{n // 3}"} for n in range(90)}
        ids = add_images(connection, project.record, hashes(90), metadata=patients)
        for number, key in enumerate(ids[:60]):
            add_label(connection, project.record, key, project.record.class_ids[number % 2])
    made = splitting.assign(project, by=["patient"], stratify="label")
    parts = dict(splitting.parts(project))
    assert all(len({parts[key] for key in ids[n : n + 3]}) == 1 for n in range(0, 90, 3))
    assert abs(made.parts["train"] - 63) <= 3
    assert sum(made.parts.values()) == 90
    assert splitting.assign(project).joined == 0
    assert splitting.check(project).leaks == 0
    assert splitting.remove(project, "default") == 90
    project.catalog.close()
