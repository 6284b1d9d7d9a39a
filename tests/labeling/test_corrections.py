"""The correction queue, against the real server."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from curation.catalog import annotations, labels, remote, reserve, schema
from curation.catalog import corrections as ledger
from curation.catalog import images as image_rows
from curation.catalog.corrections import Doubt
from curation.catalog.schema import annotations as annotation_rows
from curation.errors import LabelStudioError, LabelStudioProjectGone
from curation.records import LedgerRow
from labeling import consensus, corrections, push, queues, sync, tasks
from labeling.connection import Connection
from labeling.interfaces import labeling_xml
from tests import bench as benches
from tests.bench import Bench
from tests.catalog.rows import add_imported
from tests.fixtures_label_studio import CLASSES, LabelStudio

pytestmark = pytest.mark.label_studio


@pytest.fixture
def bench(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Bench]:
    with benches.bench(label_studio, tmp_path) as made:
        import_labels(made, "scratch")
        yield made


def import_labels(bench: Bench, *names: str) -> None:
    """All images bear these labels as if they had come with the import."""
    classes = bench.project.record.ids_of(names)
    with bench.project.catalog.write() as writing:
        add_imported(writing, bench.project.id, dict.fromkeys(bench.ids(), classes))
        consensus.settle(writing, bench.project, bench.ids())


def doubts(bench: Bench, image_ids: Sequence[int], suggested: str = "dent") -> list[Doubt]:
    """These labels in doubt, the first one most; as a detector finds them now."""
    with bench.project.catalog.read() as reading:
        found = labels.get(reading, image_ids)
    return [
        Doubt(
            key,
            score=1 - rank / 100,
            classes=found[key].classes,
            suggested_class_id=bench.project.record.ids_of((suggested,))[0],
            reason=f"the model is {97 - rank} % sure",
        )
        for rank, key in enumerate(image_ids)
    ]


def outside_reserve(bench: Bench) -> list[int]:
    """Images that reviewers may be asked about, once the reserve is drawn."""
    with bench.project.catalog.write() as writing:
        reserve.freeze(writing, bench.project.id)
        found = image_rows.get_many(writing, bench.ids())
    return [key for key in bench.ids() if not found[key].reserve]


def offer(bench: Bench, rows: Sequence[Doubt]) -> dict[str, Any]:
    return corrections.offer(bench.project, bench.admin, rows, shelf=bench.shelf)


def counts(said: dict[str, Any]) -> tuple[int, int, int]:
    return said["offered"], said["already"], said["left_out"]


def review(bench: Bench, person: Connection, image_id: int, *said: str) -> int:
    """A reviewer's answer as Label Studio sends it: the label accepted, or another chosen."""
    task = person.task(bench.task_of(image_id, "correction"))
    shown = task.predictions[-1]
    accepted = bool(shown["result"]) and shown["result"][0]["value"]["choices"] == list(said)
    result = [
        {**part, "origin": "prediction" if accepted else "manual"} for part in tasks.chosen(said)
    ]
    return person.create_annotation(task.id, result, parent_prediction=shown["id"]).id


def skip(bench: Bench, person: Connection, image_id: int) -> None:
    task = bench.task_of(image_id, "correction")
    person.create_annotation(task, [], was_cancelled=True)


def origin(bench: Bench, image_id: int) -> str:
    with bench.project.catalog.read() as reading:
        return labels.get(reading, [image_id])[image_id].origin


def served(bench: Bench, person: Connection, count: int) -> list[str]:
    return benches.served(person, bench.queue("correction").remote_id, count, say="dent")


def names(bench: Bench, image_ids: Sequence[int]) -> list[str]:
    with bench.project.catalog.read() as reading:
        found = image_rows.names_by_id(reading, image_ids)
    return [found[key] for key in image_ids]


def waiting(bench: Bench) -> list[int]:
    with bench.project.catalog.read() as reading:
        return remote.waiting(reading, bench.project.id, "correction")


def reviewed(bench: Bench) -> set[int]:
    with bench.project.catalog.read() as reading:
        return ledger.reviewed(reading, bench.project.id)


def test_offer__shows_the_label_and_why_it_is_in_doubt_worst_first(bench: Bench) -> None:
    order = list(reversed(bench.ids()))[:5]
    said = offer(bench, doubts(bench, order))
    number = bench.queue("correction").remote_id
    assert said == {
        "offered": 5,
        "already": 0,
        "left_out": 0,
        "waiting": 5,
        "url": f"{bench.admin.url}/projects/{number}/data?labeling=1",
    }
    there = bench.admin.project(number)
    assert there.title.endswith("(corrections)")
    assert (there.model_version, there.sampling) == ("review-1", "Uncertainty sampling")
    found = {str(task.data["name"]): task for task in bench.admin.tasks(number)}
    worst = found[names(bench, order)[0]]
    assert worst.data["reason"] == "labeled scratch, suggested dent: the model is 97 % sure"
    (shown,) = worst.predictions
    assert shown["result"][0]["value"]["choices"] == ["scratch"]
    with bench.studio.annotator() as ann:
        assert served(bench, ann, 5) == names(bench, order)
        assert ann.next_task(number) is None
    bench.pull()
    assert [bench.label(key) for key in order] == [(("dent",), 1.0)] * 5


def test_offer__twice_is_the_same_as_once(bench: Bench) -> None:
    rows = doubts(bench, bench.ids()[:5])
    offer(bench, rows)
    number = bench.queue("correction").remote_id
    before = list(bench.admin.tasks(number))
    again = offer(bench, rows)
    after = list(bench.admin.tasks(number))
    assert (counts(again), again["waiting"]) == ((0, 5, 0), 5)
    assert [task.id for task in after] == [task.id for task in before]
    assert [len(task.predictions) for task in after] == [1] * 5
    assert counts(offer(bench, [])) == (0, 0, 0)


def test_offer__at_most_so_many_wait(bench: Bench) -> None:
    rows = doubts(bench, bench.ids()[:5])

    def offered() -> tuple[int, int]:
        said = corrections.offer(bench.project, bench.admin, rows, shelf=bench.shelf, most=2)
        return said["offered"], said["waiting"]

    assert [offered(), offered()] == [(2, 2), (0, 2)]
    review(bench, bench.admin, bench.ids()[0], "scratch")
    assert offered() == (1, 2)
    assert waiting(bench) == bench.ids()[1:3]


def test_offer__nothing_makes_no_project(bench: Bench) -> None:
    before = len(bench.admin.projects())
    assert offer(bench, []) == {
        "offered": 0,
        "already": 0,
        "left_out": 0,
        "waiting": 0,
        "url": "",
    }
    assert len(bench.admin.projects()) == before


def test_offer__later_doubts_join_those_that_wait(bench: Bench) -> None:
    ids = bench.ids()
    first = doubts(bench, ids[:4])
    offer(bench, first)
    review(bench, bench.admin, ids[0], "scratch")
    more = [replace(row, score=0.975) for row in doubts(bench, ids[4:5])]
    said = offer(bench, [*more, *first])
    assert (counts(said), said["waiting"]) == ((1, 4, 0), 4)
    there = bench.admin.project(bench.queue("correction").remote_id)
    assert there.model_version == "review-2"
    with bench.studio.annotator() as ann:
        order = [ids[1], ids[2], ids[4], ids[3]]
        assert served(bench, ann, 4) == names(bench, order)
        assert ann.next_task(there.id) is None


def test_offer__after_a_kill_between_the_import_and_the_catalog(bench: Bench) -> None:
    ids = bench.ids()[:4]
    rows = doubts(bench, ids)
    with bench.project.catalog.write() as writing:
        ledger.write(writing, bench.project.id, ledger.decide(writing, bench.project.id, rows))
    queue = queues.ensure(bench.project, bench.admin, "correction")
    seed = bench.project.record.seed
    lost = [tasks.task(tasks.mark(seed, key), name="a", url="/a", reason="b") for key in ids[:2]]
    numbers = bench.admin.import_tasks(queue.remote_id, lost)
    bench.admin.create_annotation(numbers[0], tasks.chosen(["dent"]))
    said = offer(bench, rows)
    assert (counts(said), said["waiting"]) == ((0, 3, 1), 3)
    assert bench.label(ids[0]) == (("dent",), 1.0)
    found = list(bench.admin.tasks(queue.remote_id))
    assert len(found) == 4
    assert bench.task_of(ids[1], "correction") == numbers[1]
    assert sum(len(task.predictions) for task in found) == 3


def test_offer__a_push_that_ended_after_its_first_part(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = doubts(bench, bench.ids()[:5])
    monkeypatch.setattr(push, "PUSHED_AT_ONCE", 2)

    def report(done: int, total: int, says: str) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        corrections.offer(bench.project, bench.admin, rows, shelf=bench.shelf, report=report)
    number = bench.queue("correction").remote_id
    # The third part was on its way when it happened, and its tasks are not written down.
    assert bench.admin.project(number).task_count == 5
    assert counts(offer(bench, rows)) == (0, 5, 0)
    with bench.studio.annotator() as ann:
        assert served(bench, ann, 5) == names(bench, bench.ids()[:5])
        assert ann.next_task(number) is None


def test_pull__the_reviewer_corrects_accepts_or_skips(bench: Bench) -> None:
    ids = bench.ids()
    rows = doubts(bench, ids[:4])
    offer(bench, rows)
    with bench.studio.annotator() as ann:
        review(bench, ann, ids[0], "dent")
        review(bench, ann, ids[1], "scratch")
        skip(bench, ann, ids[2])
        assert bench.pull() == {"images": 3, "annotations": 2}
    assert [bench.label(key) for key in ids[:3]] == [
        (("dent",), 1.0),
        (("scratch",), 1.0),
        (("scratch",), 1.0),
    ]
    assert [origin(bench, key) for key in ids[:3]] == ["people", "people", "import"]
    assert bench.history(ids[0]) == [("answered", ("scratch",)), ("answered", ("dent",))]
    with bench.project.catalog.read() as reading:
        said = [annotations.history(reading, key)[-1] for key in ids[:2]]
    assert [row["prelabel"] for row in said] == ["corrected", "accepted"]
    assert [row["queue"] for row in said] == ["correction"] * 2

    assert reviewed(bench) == set(ids[:3])
    assert waiting(bench) == [ids[3]]
    assert counts(offer(bench, rows)) == (0, 3, 1)
    assert counts(offer(bench, doubts(bench, ids[:4], "ok"))) == (0, 4, 0)
    assert bench.pull() == {"images": 0, "annotations": 2}


def test_pull__two_reviewers_the_later_one_decides(bench: Bench) -> None:
    (image_id, *_) = ids = bench.ids()
    offer(bench, doubts(bench, ids[:2]))
    with bench.studio.annotator() as ann, bench.studio.annotator() as bob:
        first = review(bench, ann, image_id, "dent")
        review(bench, bob, image_id, "ok")
        bench.pull()
        assert bench.label(image_id) == (("ok",), 0.5)
        ann.update_annotation(first, result=tasks.chosen(["scratch"]))
        bench.pull()
        assert bench.label(image_id) == (("scratch",), 0.5)
        ann.delete_annotation(first)
        bench.pull()
        assert bench.label(image_id) == (("ok",), 1.0)

        # All of it between two pulls: what counts is when it was said.
        changed = review(bench, ann, ids[1], "dent")
        review(bench, bob, ids[1], "ok")
        ann.update_annotation(changed, result=tasks.chosen(["scratch"]))
        bench.pull()
        assert bench.label(ids[1]) == (("scratch",), 0.5)
    assert [said for _, (said,) in bench.history(image_id)[1:]] == [
        "dent",
        "ok",
        "scratch",
        "scratch",
    ]


def test_pull__a_review_outranks_the_batch_until_it_is_deleted(bench: Bench) -> None:
    (image_id, *_) = ids = outside_reserve(bench)
    bench.send(ids[:2])
    with bench.studio.annotator() as ann, bench.studio.annotator() as bob:
        for person in (ann, bob):
            bench.answer(person, image_id, "ok")
        bench.pull()
        offer(bench, doubts(bench, [image_id]))
        answered = review(bench, bench.admin, image_id, "dent")
        bench.pull()
        assert bench.label(image_id) == (("dent",), 1.0)
        with bench.studio.annotator() as cleo:
            bench.answer(cleo, image_id, "ok")
        bench.pull()
        assert bench.label(image_id) == (("dent",), 1.0), "also against a later answer elsewhere"
        bench.admin.delete_annotation(answered)
        bench.pull()
        assert bench.label(image_id) == (("ok",), 1.0)
        assert waiting(bench) == [image_id]
    assert len(bench.history(image_id)) == 1 + 3 + 2


def test_offer__anew_once_the_label_has_changed(bench: Bench) -> None:
    (image_id, other, *_) = ids = outside_reserve(bench)
    offer(bench, doubts(bench, ids[:2]))
    with bench.studio.annotator() as ann:
        skip(bench, ann, image_id)
        bench.pull()
        bench.send([image_id, other])
        for key in (image_id, other):
            bench.answer(bench.admin, key, "ok")
        bench.pull()
        assert waiting(bench) == []
        said = offer(bench, doubts(bench, [image_id]))
        assert (counts(said), said["waiting"]) == ((1, 0, 0), 1)
        number = bench.queue("correction").remote_id
        (task,) = bench.admin.tasks(number)
        assert task.data["reason"].startswith("labeled ok, suggested dent")
        assert served(bench, ann, 1) == names(bench, [image_id]), "who skipped it is asked again"
        bench.pull()
    assert bench.label(image_id) == (("dent",), 1.0)
    assert bench.label(other) == (("ok",), 1.0)
    states = [state for state, _ in bench.history(image_id)]
    assert states == ["answered", "skipped", "answered", "answered"]
    # The answer in the batch is still bound to its task there.
    with bench.studio.annotator() as bob:
        bench.answer(bob, image_id, "ok")
    bench.pull()
    assert len(bench.history(image_id)) == 5
    assert bench.label(image_id) == (("dent",), 1.0)


def test_offer__anew_after_a_kill_that_left_the_former_task(bench: Bench) -> None:
    (image_id, *_) = ids = outside_reserve(bench)
    offer(bench, doubts(bench, ids[:1]))
    with bench.studio.annotator() as ann:
        skip(bench, ann, image_id)
        bench.pull()
        bench.send([image_id])
        bench.answer(bench.admin, image_id, "ok")
        bench.pull()
        # What a kill leaves that comes between the catalog and Label Studio.
        queues.forget_tasks(bench.project, bench.queue("correction"), [image_id])
        bench.pull()
        said = offer(bench, doubts(bench, [image_id]))
        assert (counts(said), said["waiting"]) == ((1, 0, 0), 1)
        assert served(bench, ann, 1) == names(bench, [image_id])
    assert bench.admin.project(bench.queue("correction").remote_id).task_count == 1
    bench.pull()
    assert bench.label(image_id) == (("dent",), 1.0)


def test_pull__a_correction_reaches_the_copies(bench: Bench) -> None:
    source, image_id = bench.ids()[:2]
    with bench.project.catalog.write() as writing:
        copied = labels.get(writing, [source])[source]
        # As for an image that was never labeled itself.
        (imported,) = writing.scalars(
            select(annotation_rows.c.id).where(annotation_rows.c.image_id == image_id)
        )
        writing.execute(
            update(annotation_rows).where(annotation_rows.c.id == imported).values(state="deleted")
        )
        writing.execute(
            update(schema.images)
            .where(schema.images.c.id == image_id)
            .values(group_id=copied.group_id)
        )
        labels.remove(writing, [image_id])
        labels.propagate(writing, bench.project.id, {image_id: copied})
    said = offer(bench, doubts(bench, [image_id, source]))
    assert counts(said) == (1, 1, 0)
    skip(bench, bench.admin, source)
    bench.pull()
    assert bench.label(image_id) == (("scratch",), 1.0)
    assert reviewed(bench) == {source}
    with bench.studio.annotator() as ann:
        review(bench, ann, source, "dent")
    bench.pull()
    assert bench.label(source) == bench.label(image_id) == (("dent",), 1.0)
    assert (origin(bench, source), origin(bench, image_id)) == ("people", "propagated")


def test_offer__never_an_image_of_the_reserve(bench: Bench) -> None:
    outside = outside_reserve(bench)
    inside = [key for key in bench.ids() if key not in outside]
    assert counts(offer(bench, doubts(bench, bench.ids()))) == (len(outside), 0, len(inside))
    number = bench.queue("correction").remote_id
    there = {str(task.data["name"]) for task in bench.admin.tasks(number)}
    assert there == set(names(bench, outside))


def test_withdraw__what_the_reserve_was_drawn_from_meanwhile(bench: Bench) -> None:
    offer(bench, doubts(bench, bench.ids()))
    number = bench.queue("correction").remote_id
    (answered, *inside) = sorted(set(bench.ids()) - set(outside_reserve(bench)))
    # Answered before anybody could take it back, and not pulled yet.
    review(bench, bench.admin, answered, "dent")
    made = bench.plan([LedgerRow(inside[0], queue="reserve", rank=0)])
    bench.offer(made)
    there = {str(task.data["name"]) for task in bench.admin.tasks(number)}
    assert not there & set(names(bench, inside))
    assert len(there) == bench.admin.project(number).task_count == 12 - len(inside) - 1
    assert bench.label(answered) == (("dent",), 1.0)
    assert corrections.withdraw(bench.project, bench.admin) == 0
    with bench.project.catalog.read() as reading:
        found = {row.image_id: row.settled for row in reserve.rows(reading, bench.project.id)}
    assert [key for key, settled in found.items() if settled] == [answered]
    # Its task in the reserve's own queue is another one, and shows nothing.
    (task,) = bench.admin.tasks(bench.queue("reserve").remote_id)
    assert (task.predictions, "reason" in task.data) == ((), False)


def test_pull__multi_label(label_studio: LabelStudio, tmp_path: Path) -> None:
    with benches.bench(label_studio, tmp_path, task="multi-label") as bench:
        import_labels(bench, "ok", "dent")
        ids = bench.ids()
        rows = [
            *doubts(bench, ids[:3], "scratch"),
            replace(doubts(bench, ids[3:4])[0], suggested_class_id=None, reason=""),
        ]
        offer(bench, rows)
        found = {
            str(t.data["name"]): t for t in bench.admin.tasks(bench.queue("correction").remote_id)
        }
        shown = [found[name] for name in names(bench, ids[:4])]
        assert shown[0].predictions[0]["result"][0]["value"]["choices"] == ["ok", "dent"]
        assert shown[3].data["reason"] == "labeled ok, dent"
        review(bench, bench.admin, ids[0], "dent", "scratch")
        review(bench, bench.admin, ids[1], "ok", "dent")
        review(bench, bench.admin, ids[2])
        bench.pull()
        assert [bench.label(key) for key in ids[:3]] == [
            (("scratch", "dent"), 1.0),
            (("ok", "dent"), 1.0),
            ((), 1.0),
        ]
        assert reviewed(bench) == set(ids[:3])
        offer(bench, doubts(bench, ids[:4]))
        assert waiting(bench) == [ids[3]]


def test_offer__a_label_of_none_of_the_classes(label_studio: LabelStudio, tmp_path: Path) -> None:
    with benches.bench(label_studio, tmp_path, task="multi-label") as bench:
        import_labels(bench)
        ids = bench.ids()[:3]
        offer(bench, doubts(bench, list(reversed(ids))))
        number = bench.queue("correction").remote_id
        first = next(bench.admin.tasks(number))
        assert first.data["reason"].startswith("labeled with none of the classes, suggested dent")
        with bench.studio.annotator() as ann:
            assert served(bench, ann, 3) == names(bench, list(reversed(ids)))


def test_offer__interface_changed_by_hand_is_named(bench: Bench) -> None:
    rows = doubts(bench, bench.ids()[:3])
    offer(bench, rows)
    number = bench.queue("correction").remote_id
    changed = labeling_xml("single-label", [*CLASSES, "burnt"], says_why=True)
    bench.admin.update_project(number, label_config=changed)
    with pytest.raises(LabelStudioError, match=r"added classes: burnt\. Put it back"):
        offer(bench, rows)
    assert "burnt" in bench.admin.project(number).label_config


def test_rebuild__project_deleted(bench: Bench) -> None:
    ids = bench.ids()[:5]
    rows = doubts(bench, ids)
    offer(bench, rows)
    for image_id in ids[:2]:
        review(bench, bench.admin, image_id, "dent")
    bench.pull()
    bench.admin.delete_project(bench.queue("correction").remote_id)
    with pytest.raises(LabelStudioProjectGone, match=r"correction queue was deleted.*rebuild"):
        offer(bench, rows)
    assert sync.rebuild(bench.project, bench.admin, shelf=bench.shelf) == {
        "projects": 1,
        "images": 3,
    }
    with bench.studio.annotator() as ann:
        assert served(bench, ann, 3) == names(bench, ids[2:])
    bench.pull()
    assert [bench.label(key) for key in ids] == [(("dent",), 1.0)] * 5
    assert counts(offer(bench, rows)) == (0, 0, 5)


def test_sweep__a_deleted_task_is_offered_again(bench: Bench) -> None:
    ids = bench.ids()[:3]
    rows = doubts(bench, ids)
    offer(bench, rows)
    bench.admin.delete_tasks([bench.task_of(ids[1], "correction")])
    assert sync.sweep(bench.project, bench.admin) == 1
    assert counts(offer(bench, rows)) == (0, 3, 0)
    with bench.studio.annotator() as ann:
        assert served(bench, ann, 3) == names(bench, ids)
