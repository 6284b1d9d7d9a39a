"""The ledger of labels in doubt, on both databases."""

from collections.abc import Sequence
from dataclasses import replace

from curation.catalog import (
    Catalog,
    Connection,
    annotations,
    corrections,
    images,
    labels,
    remote,
    reserve,
)
from curation.catalog.corrections import Decision, Doubt
from curation.records import ProjectRecord
from tests.catalog.rows import add_images, add_label, add_project, answer, hashes, put_answers


def begin(connection: Connection, count: int = 6) -> tuple[ProjectRecord, list[int]]:
    """A project whose images are all labeled `ok`."""
    project = add_project(connection)
    ids = add_images(connection, project, hashes(count))
    for key in ids:
        add_label(connection, project, key, project.class_ids[0], origin="import")
    return project, ids


def doubt(project: ProjectRecord, image_id: int, score: float = 0.5) -> Doubt:
    ok, bad = project.class_ids
    return Doubt(image_id, score, (ok,), bad, "labeled ok; the model says bad (0.97)")


def offer(connection: Connection, project: ProjectRecord, doubts: Sequence[Doubt]) -> Decision:
    found = corrections.decide(connection, project.id, doubts)
    corrections.write(connection, project.id, found)
    return found


def review(
    connection: Connection,
    project: ProjectRecord,
    remote_id: int,
    image_id: int,
    *classes: int,
    state: str = "answered",
) -> None:
    """What a reviewer says, and the label that follows from it."""
    said = replace(answer(remote_id, image_id, *classes, state=state), queue="correction")
    put_answers(connection, project, [said])
    if state == "answered":
        add_label(connection, project, image_id, *classes)


def counts(found: Decision) -> tuple[int, int, int]:
    return len(found.fresh), found.already, found.left_out


def test_decide__worst_first_and_once_only(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project, ids = begin(connection)
        rows = [doubt(project, ids[0], 0.2), doubt(project, ids[1], 0.9)]
        assert counts(offer(connection, project, rows)) == (2, 0, 0)
        assert corrections.waiting(connection, project.id) == [ids[1], ids[0]]
        again = offer(connection, project, rows)
        assert (counts(again), again.doubts) == ((0, 2, 0), ())
        found = corrections.newest(connection, project.id)
        assert [(row.number, row.rank, row.pushed) for row in found] == [
            (1, 0, False),
            (1, 1, False),
        ]
        assert found[0].doubt == rows[1]


def test_decide__a_new_list_holds_what_waits_at_its_place(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project, ids = begin(connection)
        offer(connection, project, [doubt(project, ids[0], 0.9), doubt(project, ids[1], 0.3)])
        corrections.mark_pushed(connection, project.id, 1, ids[:2])
        assert [row.pushed for row in corrections.newest(connection, project.id)] == [True, True]
        review(connection, project, 71, ids[0], project.class_ids[1])
        found = offer(
            connection, project, [doubt(project, ids[2], 0.5), doubt(project, ids[1], 0.8)]
        )
        assert counts(found) == (1, 1, 0)
        rows = corrections.newest(connection, project.id)
        assert [(row.doubt.image_id, row.number, row.pushed) for row in rows] == [
            (ids[2], 2, False),
            (ids[1], 2, False),
        ]


def test_decide__leaves_out_what_is_labeled_otherwise_or_cannot_be_shown(
    catalog: Catalog,
) -> None:
    with catalog.write() as connection:
        project, ids = begin(connection)
        (unlabeled,) = add_images(connection, project, hashes(1, start=50), folder="more")
        add_label(connection, project, ids[0], project.class_ids[1])
        images.set_state(connection, [ids[1]], "excluded", reason="copy")
        rows = [doubt(project, key) for key in (*ids[:3], unlabeled)]
        found = offer(connection, project, rows)
        assert (found.fresh, found.left_out) == ((ids[2],), 3)


def test_decide__never_asks_about_the_reserve(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project, ids = begin(connection)
        offer(connection, project, [doubt(project, key) for key in ids])
        corrections.mark_pushed(connection, project.id, 1, ids)
        assert corrections.outdated(connection, project.id) == []
        # Drawn while labels are in doubt already.
        reserve.freeze(connection, project.id)
        kept = {row.image_id for row in reserve.rows(connection, project.id)}
        others = set(ids) - kept
        assert kept
        assert others
        assert set(corrections.waiting(connection, project.id)) == others
        assert set(corrections.outdated(connection, project.id)) == kept
        found = offer(connection, project, [doubt(project, key) for key in ids])
        assert counts(found) == (0, len(others), len(kept))
        assert set(found.outdated) == kept


def test_decide__at_most_so_many_wait(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project, ids = begin(connection)
        ok, _ = project.class_ids
        rows = [doubt(project, key, 0.9 - rank / 10) for rank, key in enumerate(ids)]
        take = corrections.decide(connection, project.id, rows, most=2)
        assert take.fresh == tuple(ids[:2])
        corrections.write(connection, project.id, take)
        assert corrections.decide(connection, project.id, rows, most=2).fresh == ()
        # What was judged makes room for what comes next.
        review(connection, project, 71, ids[0], ok)
        take = corrections.decide(connection, project.id, rows, most=2)
        assert (take.fresh, take.already) == ((ids[2],), 2)


def test_decide__one_answer_for_a_label_and_its_copies(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ok, bad = project.class_ids
        source, *copies = add_images(connection, project, ["same", "same", "same"])
        add_label(connection, project, source, ok)
        labeled = labels.get(connection, [source])[source]
        labels.propagate(connection, project.id, dict.fromkeys(copies, labeled))
        rows = [doubt(project, key, score) for key, score in ((copies[0], 0.9), (source, 0.8))]
        found = offer(connection, project, [*rows, doubt(project, copies[1], 0.7)])
        assert (found.fresh, found.already) == ((source,), 2)
        review(connection, project, 71, source, bad)
        assert {row.classes for row in labels.get(connection, copies).values()} == {(bad,)}
        again = replace(doubt(project, copies[1]), classes=(bad,))
        assert counts(offer(connection, project, [again])) == (0, 1, 0)
        # Whoever set the labeled one aside left only its copies to be asked about.
        images.set_state(connection, [source], "excluded", reason="copy")
        assert offer(connection, project, [again]).fresh == (copies[1],)


def test_decide__a_label_that_changed_while_it_waited(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project, ids = begin(connection)
        offer(connection, project, [doubt(project, key) for key in ids[:3]])
        add_label(connection, project, ids[0], project.class_ids[1])
        add_label(connection, project, ids[1], project.class_ids[1])
        assert corrections.waiting(connection, project.id) == [ids[2]]
        anew = replace(doubt(project, ids[1]), classes=(project.class_ids[1],))
        found = offer(connection, project, [anew])
        assert (found.fresh, found.outdated) == ((ids[1],), (ids[0],))
        assert set(corrections.waiting(connection, project.id)) == {ids[1], ids[2]}


def test_reviewed__until_the_label_changes(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project, ids = begin(connection)
        ok, bad = project.class_ids
        rows = [doubt(project, key) for key in ids[:4]]
        offer(connection, project, rows)
        assert corrections.reviewed(connection, project.id) == set()
        review(connection, project, 71, ids[0], ok)
        review(connection, project, 72, ids[1], bad)
        review(connection, project, 73, ids[2], state="skipped")
        assert corrections.reviewed(connection, project.id) == set(ids[:3])
        assert corrections.waiting(connection, project.id) == [ids[3]]
        assert counts(offer(connection, project, rows)) == (0, 3, 1)
        turned = replace(doubt(project, ids[1]), classes=(bad,))
        assert counts(offer(connection, project, [turned])) == (0, 1, 0)

        # People answer in another queue what the reviewer passed on.
        add_label(connection, project, ids[2], bad)
        assert corrections.reviewed(connection, project.id) == set(ids[:2])
        changed = replace(doubt(project, ids[2]), classes=(bad,))
        assert counts(offer(connection, project, [changed])) == (1, 0, 0)
        assert ids[2] in corrections.waiting(connection, project.id)
        assert ids[2] not in corrections.reviewed(connection, project.id)
        review(connection, project, 74, ids[2], bad)
        assert ids[2] in corrections.reviewed(connection, project.id)
        assert corrections.waiting(connection, project.id) == [ids[3]]


def test_of_image__each_doubt_once_however_long_it_waits(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project, ids = begin(connection)
        ok, bad = project.class_ids
        first = doubt(project, ids[0], 0.9)
        offer(connection, project, [first])
        offer(connection, project, [doubt(project, ids[1])])
        review(connection, project, 71, ids[0], bad)
        second = replace(first, classes=(ok, bad), reason="two classes")
        add_label(connection, project, ids[0], ok, bad)
        offer(connection, project, [second])
        found = corrections.of_image(connection, ids[0])
        assert [one for one, _ in found] == [first, second]
        assert corrections.of_image(connection, ids[2]) == []


def test_waiting__again_once_the_review_is_deleted(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project, ids = begin(connection)
        offer(connection, project, [doubt(project, ids[0])])
        review(connection, project, 71, ids[0], project.class_ids[0])
        assert remote.count_waiting(connection, project.id, "correction") == 0
        annotations.mark_deleted(connection, project.id, [71])
        assert remote.waiting(connection, project.id, "correction") == [ids[0]]
        assert remote.count_waiting(connection, project.id, "correction") == 1
        assert remote.waiting(connection, project.id, "batch") == []
        assert corrections.reviewed(connection, project.id) == set()


def test_reviews__the_newest_change_last(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project, ids = begin(connection)
        ok, bad = project.class_ids
        review(connection, project, 71, ids[0], ok)
        review(connection, project, 72, ids[0], bad)
        review(connection, project, 73, ids[1], state="skipped")
        put_answers(connection, project, [answer(74, ids[0], ok)])
        assert annotations.reviews(connection, ids) == {ids[0]: [(ok,), (bad,)]}
        review(connection, project, 71, ids[0], bad)
        review(connection, project, 71, ids[0], ok)
        assert annotations.reviews(connection, ids) == {ids[0]: [(bad,), (ok,)]}


def test_detach__leaves_the_answers_of_another_queue_bound(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project, ids = begin(connection)
        in_batch = replace(answer(71, ids[0], project.class_ids[0]), queue="batch")
        put_answers(connection, project, [in_batch])
        review(connection, project, 72, ids[0], project.class_ids[1])
        annotations.detach(connection, project.id, ids, "correction")
        assert annotations.remote_ids(connection, ids[:1]) == {ids[0]: {71}}
        assert annotations.reviews(connection, ids[:1]) == {ids[0]: [(project.class_ids[1],)]}


def test_decide__of_another_project_changes_nothing_here(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project, ids = begin(connection)
        offer(connection, project, [doubt(project, key) for key in ids[:2]])
        other = add_project(connection, "other")
        assert corrections.newest(connection, other.id) == []
        assert corrections.decide(connection, other.id, []).doubts == ()
        assert corrections.reviewed(connection, other.id) == set()
        assert len(corrections.waiting(connection, project.id)) == 2
