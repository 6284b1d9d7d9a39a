"""Acts on a real project: what they do, what they spare, and that undoing leaves no trace."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from curation import acts, ingest, sources
from curation.acts import Excluded, Propagated, Restored
from curation.catalog import acts as act_rows
from curation.catalog import annotations, audit, gallery, groups, issues, labels, reserve
from curation.catalog import images as image_rows
from curation.errors import InputError, NotFound
from curation.issues.table import Issue, Kind
from curation.records import RemoteAnswer
from curation.workspace import Project
from labeling import consensus

NAMES = tuple(f"{letter}.png" for letter in "abcdefgh")


@pytest.fixture
def filled(project: Project, make_images: Callable[..., Path]) -> Project:
    """Eight different images, a.png to h.png, with the ids 1 to 8."""
    folder = make_images(*NAMES)
    ingest.run(project, sources.understand(folder, known_classes=project.record.classes))
    return project


def detect(project: Project, *rows: Issue) -> None:
    with project.catalog.write() as connection:
        issues.replace(connection, project.id, sorted({row.kind for row in rows}), rows)
        issues.note_look(connection, project.id, ["dark"], 1)


def issue(image: int, kind: Kind, *, related: Sequence[int] = (), is_issue: bool = True) -> Issue:
    return Issue(image, kind, 0.9, is_issue, f"{kind} by far", tuple(related))


def merge(project: Project, *components: Sequence[int]) -> None:
    with project.catalog.write() as connection:
        groups.regroup(connection, project.id, components)


def states(project: Project) -> dict[str, str]:
    """State by name, of those that are not ok."""
    with project.catalog.read() as connection:
        found = gallery.page(connection, project.id)
    return {row.name: row.state for row in found if row.state != "ok"}


def reasons(project: Project) -> dict[str, str]:
    with project.catalog.read() as connection:
        found = gallery.page(connection, project.id)
    return {row.name: row.reason for row in found if row.reason}


def log(project: Project) -> list[tuple[str, dict[str, object]]]:
    """What the audit log says of acts, newest first."""
    with project.catalog.read() as connection:
        assert list(audit.broken(connection)) == []
        found = audit.entries(connection, project.id)
    ours = ("exclude", "restore", "propagate", "judge")
    return [(row["act"], row["subject"]) for row in found if row["act"] in ours]


def everything(project: Project) -> str:
    """All that undoing must bring back."""
    with project.catalog.read() as connection:
        return json.dumps(
            [
                [vars(row) for row in gallery.page(connection, project.id)],
                [vars(row) for row in labels.every(connection, project.id)],
            ]
        )


def person_says(project: Project, number: int, image: int, label: str | None) -> None:
    """A person answers, changes the answer of that number, or (no label) takes it back."""
    with project.catalog.write() as connection:
        person = annotations.annotator_of_user(connection, project.id, 1, name="annotator-1")
        given = RemoteAnswer(
            remote_id=number,
            image_id=image,
            remote_user_id=1,
            state="answered" if label else "deleted",
            classes=project.record.ids_of((label,)) if label else (),
            seconds=1.0,
            prelabel="none",
            model_version="",
            updated_at="2026-01-01T00:00:00+00:00",
        )
        changed = annotations.put_remote(connection, project.id, [given], annotator_ids={1: person})
        consensus.settle(connection, project, sorted(changed))


def label_of(project: Project, image: int) -> tuple[tuple[str, ...], str] | None:
    with project.catalog.read() as connection:
        found = labels.get(connection, [image]).get(image)
    return (project.record.class_names(found.classes), found.origin) if found else None


# Exclude ------------------------------------------------------------------------------------------


def test_exclude__images_with_an_issue_of_the_kinds(filled: Project) -> None:
    detect(
        filled,
        issue(3, "dark"),
        issue(1, "dark"),
        issue(2, "dark", is_issue=False),
        issue(3, "blurry"),
        issue(4, "bright"),
    )
    done = acts.exclude(filled, kinds=["dark", "blurry"], reason="", actor="ann")
    assert done == Excluded(2, 1, ("a.png", "c.png"))
    assert states(filled) == {"a.png": "excluded", "c.png": "excluded"}
    assert reasons(filled) == {
        "a.png": "dark: dark by far",
        "c.png": "blurry: blurry by far; dark: dark by far",
    }
    assert log(filled) == [("exclude", {"act": 1, "count": 2, "kinds": ["dark", "blurry"]})]
    with filled.catalog.read() as connection:
        assert audit.entries(connection, filled.id)[0]["actor"] == "ann"
        assert act_rows.get(connection, filled.id, 1).subject == {"kinds": ["dark", "blurry"]}
    # What is excluded already is no candidate any more.
    assert acts.exclude(filled, kinds=["dark"]) == Excluded(0, None, ())


def test_exclude__named_images(filled: Project) -> None:
    done = acts.exclude(filled, images=["d.png", "b.png", "d.png"], reason="wrong camera")
    assert done == Excluded(2, 1, ("b.png", "d.png"))
    assert reasons(filled) == {"b.png": "wrong camera", "d.png": "wrong camera"}
    assert acts.exclude(filled, images=["b.png"]).count == 0
    acts.exclude(filled, images=["a.png"])
    assert reasons(filled)["a.png"] == "by hand"


def test_exclude__a_dry_run_changes_nothing(filled: Project) -> None:
    detect(filled, issue(1, "dark"))
    before = everything(filled)
    assert acts.exclude(filled, kinds=["dark"], dry_run=True) == Excluded(1, None, ("a.png",))
    assert everything(filled) == before
    assert log(filled) == []


def test_exclude__one_of_each_group_of_copies_stays(filled: Project) -> None:
    merge(filled, [1, 2, 3], [4, 5])
    detect(
        filled,
        issue(2, "near-duplicate", related=[1]),
        issue(3, "near-duplicate", related=[2]),
        # Detectors name the redundant ones only; should one ever name all, one stays.
        issue(4, "near-duplicate", related=[5]),
        issue(5, "near-duplicate", related=[4]),
    )
    done = acts.exclude(filled, kinds=["exact-duplicate", "near-duplicate"])
    assert done == Excluded(3, 1, ("b.png", "c.png", "e.png"), kept=1)


def test_exclude__copies_of_what_was_excluded_before_stay(filled: Project) -> None:
    merge(filled, [1, 2])
    detect(filled, issue(2, "near-duplicate", related=[1]), issue(1, "dark"))
    acts.exclude(filled, kinds=["dark"])
    assert acts.exclude(filled, kinds=["near-duplicate"]) == Excluded(0, None, (), kept=1)
    # Asked for in one go, the copy of what leaves for another reason stays as well.
    acts.restore(filled)
    done = acts.exclude(filled, kinds=["dark", "near-duplicate"])
    assert done == Excluded(1, 2, ("a.png",), kept=1)
    # An image that is dark itself leaves, copy or not.
    acts.restore(filled)
    detect(filled, issue(1, "dark"), issue(2, "dark"))
    assert acts.exclude(filled, kinds=["dark", "near-duplicate"]).count == 2


def test_exclude__a_verified_original_stands_in_where_groups_are_not_made(filled: Project) -> None:
    detect(filled, issue(2, "exact-duplicate", related=[1]))
    assert acts.exclude(filled, kinds=["exact-duplicate"]).images == ("b.png",)


@pytest.mark.parametrize(
    "kinds,images,says",
    [
        ((), (), "Name either kinds"),
        (("dark",), ("a.png",), "Name either kinds"),
        (("darkness",), (), r"No detector looks for darkness\. Choose from: exact-duplicate, "),
        (("dark",), (), "Run `labelloop issues` first"),
        ((), ("x.png", "a.png"), r"No image named x\.png in"),
        ((), tuple(f"{n}.png" for n in range(7)), r"4\.png and 2 more"),
    ],
)
def test_exclude__says_what_is_wrong(
    filled: Project, kinds: Sequence[str], images: Sequence[str], says: str
) -> None:
    with pytest.raises((InputError, NotFound), match=says):
        acts.exclude(filled, kinds=kinds, images=images)
    assert states(filled) == {}


def test_exclude__what_cannot_be_used_anyway(filled: Project) -> None:
    with filled.catalog.write() as connection:
        image_rows.set_state(connection, [1], "quarantined", reason="truncated")
    with pytest.raises(InputError, match=r"a\.png is quarantined \(truncated\)"):
        acts.exclude(filled, images=["a.png"])


def test_exclude__an_empty_project(project: Project) -> None:
    with pytest.raises(InputError, match="Run `labelloop issues` first"):
        acts.exclude(project, kinds=["dark"])
    assert acts.propagate(project) == Propagated(0, None, ())


# Restore ------------------------------------------------------------------------------------------


def test_restore__the_newest_act_first(filled: Project) -> None:
    before = everything(filled)
    acts.exclude(filled, images=["a.png", "b.png"])
    between = everything(filled)
    acts.exclude(filled, images=["c.png"])
    assert acts.restore(filled, actor="ann") == Restored(1, 2, "exclude", ("c.png",))
    assert everything(filled) == between
    assert acts.restore(filled) == Restored(2, 1, "exclude", ("a.png", "b.png"))
    assert everything(filled) == before
    with pytest.raises(InputError, match="Nothing is left to undo"):
        acts.restore(filled)
    assert [name for name, _ in log(filled)] == ["restore", "restore", "exclude", "exclude"]


def test_restore__a_named_act_once(filled: Project) -> None:
    acts.exclude(filled, images=["a.png"])
    acts.exclude(filled, images=["b.png"])
    assert acts.restore(filled, act=1).images == ("a.png",)
    with pytest.raises(InputError, match=r"Act 1 \(exclude\) has been undone already"):
        acts.restore(filled, act=1)
    with pytest.raises(NotFound, match=r"No act 9 in this project\. The newest ones: 2, 1"):
        acts.restore(filled, act=9)
    with pytest.raises(InputError, match="not both"):
        acts.restore(filled, act=2, images=["b.png"])
    assert states(filled) == {"b.png": "excluded"}


def test_restore__named_images(filled: Project) -> None:
    acts.exclude(filled, images=["a.png", "b.png"])
    assert acts.restore(filled, images=["b.png", "c.png"]) == Restored(
        1, None, "exclude", ("b.png",), passed_over=1
    )
    assert log(filled)[0] == ("restore", {"act": None, "count": 1, "images": ["b.png"]})
    # Excluded again, it is the later act's to bring back.
    acts.exclude(filled, images=["b.png"])
    assert acts.restore(filled, act=1) == Restored(1, 1, "exclude", ("a.png",), passed_over=1)
    assert states(filled) == {"b.png": "excluded"}
    with pytest.raises(NotFound, match="nowhere"):
        acts.restore(filled, images=["nowhere"])


def test_restore__what_changed_meanwhile_is_left_alone(filled: Project) -> None:
    acts.exclude(filled, images=["a.png", "b.png", "c.png"])
    with filled.catalog.write() as connection:
        image_rows.set_state(connection, [1], "quarantined", reason="truncated")
        image_rows.set_state(connection, [2], "missing", reason="gone")
    assert acts.restore(filled) == Restored(1, 1, "exclude", ("c.png",), passed_over=2)
    assert states(filled) == {"a.png": "quarantined", "b.png": "missing"}
    assert reasons(filled) == {"a.png": "truncated", "b.png": "gone"}


# Propagate ----------------------------------------------------------------------------------------


def test_propagate__within_groups_that_agree(filled: Project) -> None:
    merge(filled, [1, 2, 3], [4, 5, 6])
    person_says(filled, 1, 2, "scratch")
    person_says(filled, 2, 4, "ok")
    person_says(filled, 3, 5, "dent")
    before = everything(filled)
    assert acts.propagate(filled, dry_run=True) == Propagated(
        2, None, ("a.png", "c.png"), conflicts=1
    )
    assert everything(filled) == before
    done = acts.propagate(filled, actor="ann")
    assert done == Propagated(2, 1, ("a.png", "c.png"), conflicts=1)
    assert label_of(filled, 1) == label_of(filled, 3) == (("scratch",), "propagated")
    assert label_of(filled, 6) is None
    assert log(filled) == [("propagate", {"act": 1, "count": 2, "conflicts": 1})]
    assert acts.propagate(filled).count == 0
    assert acts.restore(filled, act=1) == Restored(2, 1, "propagate", ("a.png", "c.png"))
    assert everything(filled) == before


def test_propagate__the_groups_of_named_images(filled: Project) -> None:
    merge(filled, [1, 2], [3, 4])
    person_says(filled, 1, 1, "ok")
    person_says(filled, 2, 3, "ok")
    assert acts.propagate(filled, images=["c.png"]).images == ("d.png",)


def test_propagate__follows_what_people_say_later(filled: Project) -> None:
    merge(filled, [1, 2, 3])
    person_says(filled, 1, 1, "ok")
    acts.propagate(filled)
    person_says(filled, 1, 1, "dent")
    assert label_of(filled, 2) == (("dent",), "propagated")
    # A person answers one of the copies: that wins, and as long as it agrees the others stay.
    person_says(filled, 2, 2, "dent")
    assert label_of(filled, 2) == (("dent",), "people")
    assert label_of(filled, 3) == (("dent",), "propagated")
    person_says(filled, 1, 1, None)
    assert label_of(filled, 1) is None
    assert label_of(filled, 3) == (("dent",), "propagated")
    assert acts.restore(filled) == Restored(1, 1, "propagate", ("c.png",), passed_over=1)
    assert label_of(filled, 2) == (("dent",), "people")
    assert label_of(filled, 3) is None


def test_propagate__goes_with_its_source(filled: Project) -> None:
    merge(filled, [1, 2])
    person_says(filled, 1, 1, "ok")
    acts.propagate(filled)
    person_says(filled, 1, 1, None)
    assert label_of(filled, 2) is None


def test_propagate__disagreement_takes_it_back(filled: Project) -> None:
    merge(filled, [1, 2, 3])
    person_says(filled, 1, 1, "ok")
    acts.propagate(filled)
    person_says(filled, 2, 2, "dent")
    assert label_of(filled, 3) is None
    assert acts.propagate(filled) == Propagated(0, None, (), conflicts=1)


def test_propagate__never_into_or_out_of_the_reserve(filled: Project) -> None:
    with filled.catalog.write() as connection:
        assert reserve.freeze(connection, filled.id) == 4
        kept = [row.image_id for row in reserve.rows(connection, filled.id)]
    rest = [key for key in range(1, 9) if key not in kept]
    merge(filled, [kept[0], rest[0]], [kept[1], rest[1]], [rest[2], rest[3]])
    for number, image in enumerate([kept[0], rest[1], rest[2]], 1):
        person_says(filled, number, image, "ok")
    assert acts.propagate(filled).images == (NAMES[rest[3] - 1],)
    with filled.catalog.read() as connection:
        settled = [row.image_id for row in reserve.rows(connection, filled.id) if row.settled]
    assert settled == [kept[0]]


def test_propagate__an_imported_label_comes_later(
    filled: Project, make_images: Callable[..., Path]
) -> None:
    merge(filled, [1, 2])
    person_says(filled, 1, 1, "ok")
    acts.propagate(filled)
    folder = make_images(*NAMES)
    table = folder.parent / "labels.csv"
    table.write_text("filename,label\nb.png,ok\n")
    plan = sources.understand(folder, table=table, known_classes=filled.record.classes)
    ingest.run(filled, plan)
    assert label_of(filled, 2) == (("ok",), "import")


# Judge --------------------------------------------------------------------------------------------


def test_judge__written_down(filled: Project) -> None:
    acts.judge(filled, "c.png", "a.png", "not-copy", actor="ann")
    with filled.catalog.read() as connection:
        (pair,) = groups.pairs(connection, filled.id, verdict=None)
    assert (pair.first_id, pair.second_id, pair.verdict, pair.origin) == (
        1,
        3,
        "not-copy",
        "person",
    )
    assert log(filled) == [
        ("judge", {"images": ["c.png", "a.png"], "verdict": "not-copy"}),
    ]


def test_judge__says_what_is_wrong(filled: Project) -> None:
    with pytest.raises(InputError, match="named twice"):
        acts.judge(filled, "a.png", "a.png", "copy")
    with pytest.raises(InputError, match=r"No verdict 'maybe'\. Choose from: copy, not-copy"):
        acts.judge(filled, "a.png", "b.png", "maybe")  # type: ignore[arg-type]
    with pytest.raises(NotFound, match=r"z\.png"):
        acts.judge(filled, "a.png", "z.png", "copy")
