from pathlib import Path

import pytest

from curation import acts as curation_acts
from curation import workspace as workspaces
from curation.catalog import (
    Catalog,
    Connection,
    acts,
    audit,
    groups,
    images,
    issues,
    labels,
    reserve,
)
from curation.errors import NotFound
from curation.issues.table import Issue
from curation.records import ProjectRecord
from curation.workspace import Project
from tests.catalog.rows import add_images, add_label, add_project, answer, hashes, put_answers


def exclude(connection: Connection, project: ProjectRecord, ids: list[int]) -> int:
    acts.exclude(connection, dict.fromkeys(ids, "dark: very"))
    before = {key: {"state": "ok"} for key in ids}
    return acts.add(connection, project.id, "exclude", before, subject={"kinds": ["dark"]})


def test_add__and_what_was_before(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project, other = add_project(connection), add_project(connection, "other")
        ids = add_images(connection, project, hashes(2500))
        first = exclude(connection, project, ids)
        second = acts.add(
            connection, project.id, "propagate", {}, reason="as asked", subject={"images": []}
        )
        found = acts.get(connection, project.id, first)
        assert (found.kind, found.reason, found.undone) == ("exclude", "", False)
        assert found.subject == {"kinds": ["dark"]}
        assert acts.count(connection, first) == 2500
        assert acts.images_to_undo(connection, found) == [(key, {"state": "ok"}) for key in ids]
        assert [act.id for act in acts.latest(connection, project.id)] == [second, first]
        acts.mark_undone(connection, second)
        assert [act.id for act in acts.latest(connection, project.id, undone=False)] == [first]
        assert [act.id for act in acts.latest(connection, project.id, undone=True)] == [second]
        assert [act.id for act in acts.of_image(connection, ids[0])] == [first]
        with pytest.raises(NotFound, match=f"No act {first}.*none yet"):
            acts.get(connection, other.id, first)
        with pytest.raises(NotFound, match=f"newest ones: {second}, {first}"):
            acts.get(connection, project.id, 99)


def test_exclude__only_what_is_usable(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(3))
        images.set_state(connection, ids[:1], "missing", reason="gone")
        acts.exclude(connection, {ids[0]: "dark", ids[1]: "bright"})
        found = images.get_many(connection, ids)
        assert [(found[key].state, found[key].reason) for key in ids] == [
            ("missing", "gone"),
            ("excluded", "bright"),
            ("ok", ""),
        ]


def test_take_back__only_what_is_excluded(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(4))
        acts.exclude(connection, dict.fromkeys(ids[:3], "dark"))
        images.set_state(connection, ids[:1], "quarantined", reason="truncated")
        assert acts.take_back(connection, ids) == ids[1:3]
        found = images.get_many(connection, ids)
        assert [(found[key].state, found[key].reason) for key in ids] == [
            ("quarantined", "truncated"),
            *[("ok", "")] * 3,
        ]


def test_images_to_undo__not_what_a_later_act_did(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(3))
        first = exclude(connection, project, ids)
        acts.take_back(connection, ids[:1])
        second = exclude(connection, project, ids[:1])
        acts.add(connection, project.id, "propagate", {ids[1]: {}}, subject={})
        todo = acts.images_to_undo(connection, acts.get(connection, project.id, first))
        assert [key for key, _ in todo] == ids[1:]
        todo = acts.images_to_undo(connection, acts.get(connection, project.id, second))
        assert [key for key, _ in todo] == ids[:1]


def test_usable_members__by_group(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, ["a", "b", "a", "a", "c"])
        images.set_state(connection, ids[3:4], "excluded", reason="dark")
        group_of, members = acts.usable_members(connection, [ids[0], ids[1]])
        assert group_of[ids[0]] == group_of[ids[2]]
        assert members == {group_of[ids[0]]: {ids[0], ids[2]}, group_of[ids[1]]: {ids[1]}}


def targets(connection: Connection, project: ProjectRecord, *only: int) -> dict[int, int | None]:
    """The image that each copy would get its label from."""
    found = acts.unanswered_copies(connection, project.id, image_ids=only or None)
    return {key: row.image_id if row else None for key, row in found}


def test_unanswered_copies__where_nobody_has_spoken(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ok, bad = project.class_ids
        ids = add_images(connection, project, ["a"] * 6 + ["b"] * 3 + ["c"] * 3 + ["d"] * 2)
        a, b, c = ids[:6], ids[6:9], ids[9:12]
        add_label(connection, project, a[2], ok)
        put_answers(connection, project, [answer(1, a[3], state="skipped")])
        images.set_state(connection, a[4:5], "excluded", reason="dark")
        add_label(connection, project, b[0], ok)
        add_label(connection, project, b[1], bad)
        add_label(connection, project, c[0], bad, origin="import")
        expected = {a[0]: a[2], a[1]: a[2], a[5]: a[2], b[2]: None, c[1]: c[0], c[2]: c[0]}
        assert targets(connection, project) == expected
        assert targets(connection, project, c[2], c[0]) == {c[1]: c[0], c[2]: c[0]}
        labels.propagate(connection, project.id, {c[1]: labels.get(connection, [c[0]])[c[0]]})
        assert targets(connection, project, *c) == {c[2]: c[0]}


def test_unanswered_copies__never_into_or_out_of_the_reserve(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        first = add_images(connection, project, hashes(10))
        reserve.freeze(connection, project.id)
        reserved = {row.image_id for row in reserve.rows(connection, project.id)}
        add_images(connection, project, hashes(10), folder="copies")
        for key in first:
            add_label(connection, project, key, project.class_ids[0])
        assert set(targets(connection, project).values()) == set(first) - reserved


def test_unanswered_copies__more_than_one_statement_holds(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, [*hashes(1500), *hashes(1500)])
        for key in ids[:1500]:
            add_label(connection, project, key, project.class_ids[0])
        expected = {key + 1500: key for key in ids[:1500]}
        assert targets(connection, project) == expected
        assert targets(connection, project, *ids[1500:]) == expected


def test_acts__all_of_them_on_either_database(catalog: Catalog, tmp_path: Path) -> None:
    workspace = workspaces.create_project(
        tmp_path / "elsewhere", name="p", class_names=["a", "b"]
    ).workspace
    workspace.catalog.close()
    workspace.__dict__["catalog"] = catalog  # what it has read before, it keeps
    with catalog.write() as connection:
        record = add_project(connection)
        ids = add_images(connection, record, hashes(6))
        groups.regroup(connection, record.id, [ids[:3]])
        add_label(connection, record, ids[0], record.class_ids[1])
        rows = [Issue(key, "near-duplicate", 1.0, True, "mirrored", (ids[0],)) for key in ids[1:3]]
        issues.replace(connection, record.id, ["near-duplicate"], [*rows])
        issues.note_look(connection, record.id, ["near-duplicate"], len(ids))
    project = Project(workspace, record)
    assert curation_acts.propagate(project).count == 2
    assert curation_acts.exclude(project, kinds=["near-duplicate"], dry_run=True).count == 2
    done = curation_acts.exclude(project, kinds=["near-duplicate"])
    assert (done.count, done.kept) == (2, 0)
    curation_acts.judge(project, done.images[0], done.images[1], "not-copy")
    assert [curation_acts.restore(project).count for _ in range(2)] == [2, 2]
    with catalog.read() as connection:
        assert images.count_by_state(connection, record.id) == {"ok": 6}
        assert labels.count(connection, record.id) == 1
        assert list(audit.broken(connection)) == []
