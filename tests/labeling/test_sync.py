"""Offering and pulling, against the real server."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from curation.catalog import annotations, labels, remote, rounds
from curation.catalog import images as image_rows
from curation.errors import (
    LabelStudioError,
    LabelStudioProjectGone,
    LabelStudioRefused,
    LabelStudioUnreachable,
)
from curation.records import LedgerRow
from labeling import process, server, sync, tasks
from labeling.connection import connect
from labeling.interfaces import labeling_xml
from labeling.queues import Shelf
from tests import bench as benches
from tests.bench import Bench
from tests.fixtures_label_studio import CLASSES, LabelStudio, free_port

pytestmark = pytest.mark.label_studio


@pytest.fixture
def bench(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Bench]:
    with benches.bench(label_studio, tmp_path) as made:
        yield made


def names(bench: Bench, image_ids: list[int]) -> list[str]:
    with bench.project.catalog.read() as reading:
        found = image_rows.names_by_id(reading, image_ids)
    return [found[key] for key in image_ids]


def test_offer__twice_is_the_same_as_once(bench: Bench) -> None:
    ids = bench.ids()[:6]
    made = bench.plan(benches.batch(bench.project, ids))
    bench.offer(made)
    before = list(bench.admin.tasks(bench.queue().remote_id))
    bench.offer(made)
    after = list(bench.admin.tasks(bench.queue().remote_id))
    assert [task.id for task in after] == [task.id for task in before]
    assert [len(task.predictions) for task in after] == [1] * 6
    assert bench.admin.project(bench.queue().remote_id).model_version == "round-0"


def test_offer__after_a_kill_between_the_import_and_the_catalog(bench: Bench) -> None:
    ids = bench.ids()[:6]
    made = bench.plan(benches.batch(bench.project, ids))
    seed = bench.project.record.seed
    from labeling import queues

    queue = queues.ensure(bench.project, bench.admin, "batch")
    # What a push leaves that is killed before it writes down the numbers of its tasks.
    shown = queues.show_images(bench.project, bench.admin, queue, ids[:4], bench.shelf)
    lost = [
        tasks.task(tasks.mark(seed, key), name=shown[key][0], url=shown[key][1]) for key in ids[:4]
    ]
    numbers = bench.admin.import_tasks(queue.remote_id, lost)
    bench.offer(made)
    found = {task.image_id: task for task in bench.admin.tasks(queue.remote_id)}
    assert len(found) == bench.admin.project(queue.remote_id).task_count == 6
    assert [bench.task_of(key) for key in ids[:4]] == numbers
    assert all(len(task.predictions) == 1 for task in found.values())


def test_pull__answers_to_tasks_of_a_push_that_was_killed(bench: Bench) -> None:
    from labeling import queues

    ids = bench.ids()[:3]
    bench.plan(benches.batch(bench.project, ids))
    queue = queues.ensure(bench.project, bench.admin, "batch")
    mark = tasks.mark(bench.project.record.seed, ids[0])
    (number,) = bench.admin.import_tasks(queue.remote_id, [tasks.task(mark, name="a", url="/a")])
    bench.admin.create_annotation(number, tasks.chosen(["dent"]))
    bench.pull()
    assert bench.label(ids[0]) == (("dent",), 1.0)
    assert bench.task_of(ids[0]) == number


def test_offer__order_is_the_ledgers_with_control_images_between(bench: Bench) -> None:
    order = list(reversed(bench.ids()))[:8]
    rows = benches.batch(bench.project, order)
    control = {2, 5}
    rows = [
        replace(row, prelabel_class_id=None, prelabel_confidence=None) if n in control else row
        for n, row in enumerate(rows)
    ]
    bench.offer(bench.plan(rows))
    shown = {
        str(task.data["name"]): bool(task.predictions[0]["result"])
        for task in bench.admin.tasks(bench.queue().remote_id)
    }
    assert [shown[name] for name in names(bench, order)] == [n not in control for n in range(8)]
    with bench.studio.annotator() as ann:
        assert benches.served(ann, bench.queue().remote_id, 8) == names(bench, order)


def test_offer__a_later_round_fences_its_prelabels_and_puts_the_new_ones_first(
    bench: Bench,
) -> None:
    ids = bench.ids()
    bench.send(ids[:5], hint="scratch")
    with bench.studio.annotator() as ann:
        benches.served(ann, bench.queue().remote_id, 2)
        bench.pull()
        order = [*reversed(ids[5:9]), *ids[2:5]]
        bench.send(order, hint="dent")
        there = bench.admin.project(bench.queue().remote_id)
        assert there.model_version == "round-1"
        for task in bench.admin.tasks(there.id):
            if str(task.data["name"]) in names(bench, order):
                (newest,) = [p for p in task.predictions if p["model_version"] == "round-1"]
                assert newest["result"][0]["value"]["choices"] == ["dent"]
        assert benches.served(ann, there.id, 7) == names(bench, order)
        assert ann.next_task(there.id) is None


def test_offer__the_reserve_has_no_prelabels_and_a_fifth_is_answered_twice(
    label_studio: LabelStudio, tmp_path: Path
) -> None:
    with benches.bench(label_studio, tmp_path, count=150) as bench:
        ids = bench.ids()
        rows = [LedgerRow(image_id=key, queue="reserve", rank=n) for n, key in enumerate(ids)]
        made = bench.plan(rows)
        bench.offer(made)
        queue = bench.queue("reserve")
        found = list(bench.admin.tasks(queue.remote_id))
        assert [task.predictions for task in found] == [()] * 150
        assert [task.data["name"] for task in found] == names(bench, ids)
        twice = [task.id for task in found if task.overlap == 2]
        assert 15 <= len(twice) <= 45
        assert {task.overlap for task in found} == {1, 2}
        # As after a kill before the overlaps were set.
        bench.admin.set_overlap(twice[:3], answers=1)
        with bench.project.catalog.write() as writing:
            from curation.catalog.schema import round_images

            writing.execute(round_images.update().values(pushed=False))
        bench.offer(made)
        again = [t.id for t in bench.admin.tasks(queue.remote_id) if t.overlap == 2]
        assert again == twice


def test_pull__new_changed_skipped_and_deleted(bench: Bench) -> None:
    ids = bench.ids()
    bench.send(ids[:6])
    with bench.studio.annotator() as ann:
        first = bench.answer(ann, ids[0], "ok")
        second = bench.answer(ann, ids[1], "ok")
        ann.create_annotation(bench.task_of(ids[2]), [], was_cancelled=True)
        assert bench.pull() == {"images": 3, "annotations": 2}
        assert bench.label(ids[0]) == (("ok",), 1.0)
        assert bench.label(ids[2]) is None
        assert bench.pool() & set(ids[:3]) == set(), "labeled and skipped images leave the pool"
        assert bench.pull() == {"images": 0, "annotations": 2}

        ann.update_annotation(first.id, result=tasks.chosen(["dent"]))
        ann.delete_annotation(second.id)
        assert bench.pull() == {"images": 2, "annotations": 1}
        assert bench.label(ids[0]) == (("dent",), 1.0)
        assert bench.history(ids[0]) == [("answered", ("ok",)), ("answered", ("dent",))]
        assert bench.label(ids[1]) is None
        assert bench.history(ids[1]) == [("answered", ("ok",)), ("deleted", ("ok",))]
        with bench.project.catalog.read() as reading:
            assert ids[1] in rounds.waiting(reading, bench.project.id), "it may be answered again"
        version = newest(bench)
        assert bench.pull() == {"images": 0, "annotations": 1}
        assert newest(bench) == version


def newest(bench: Bench) -> int:
    with bench.project.catalog.read() as reading:
        return annotations.newest_version(reading, bench.project.id)


def test_pull__prelabel_accepted_or_corrected(bench: Bench) -> None:
    ids = bench.ids()
    bench.send(ids[:3], hint="scratch")
    for image_id, said, origin in ((ids[0], "scratch", "prediction"), (ids[1], "ok", "manual")):
        hint = bench.admin.task(bench.task_of(image_id)).predictions[0]
        result = [{**tasks.chosen([said])[0], "origin": origin}]
        bench.admin.create_annotation(bench.task_of(image_id), result, parent_prediction=hint["id"])
    bench.answer(bench.admin, ids[2], "ok")
    bench.pull()
    with bench.project.catalog.read() as reading:
        found = [annotations.history(reading, key)[0]["prelabel"] for key in ids[:3]]
    assert found == ["accepted", "corrected", "none"]


def test_pull__two_people_disagree(bench: Bench) -> None:
    (image_id, *_) = ids = bench.ids()
    bench.send(ids[:2])
    with bench.studio.annotator() as ann, bench.studio.annotator() as bob:
        bench.answer(ann, image_id, "dent")
        bench.pull()
        bench.answer(bob, image_id, "ok")
        assert bench.pull() == {"images": 1, "annotations": 2, "asked_again": 1}
    assert bench.label(image_id) == (("dent",), 0.5)


def test_pull__an_invited_person_is_known_by_the_name_in_the_address(bench: Bench) -> None:
    bench.send(bench.ids()[:2])
    with bench.project.catalog.write() as writing:
        annotations.add_annotator(writing, bench.project.id, "Anna Berg")
    token = bench.admin.create_annotator(f"anna.berg@{bench.project.id}x.example.org", "a1b2c3d4e5")
    with connect(bench.studio.url, token) as anna:
        bench.answer(anna, bench.ids()[0], "ok")
    bench.answer(bench.admin, bench.ids()[1], "ok")
    bench.pull()
    with bench.project.catalog.read() as reading:
        found = annotations.list_annotators(reading, bench.project.id)
    assert {(row["name"], row["answered"]) for row in found if row["answered"]} == {
        ("Anna Berg", 1),
        (bench.admin.whoami().name, 1),
    }


def test_pull__an_image_in_both_queues_keeps_both_answers(bench: Bench) -> None:
    (image_id, *_) = bench.ids()
    made = bench.plan([LedgerRow(image_id=image_id, queue="reserve", rank=0)])
    bench.offer(made)
    bench.send([image_id])
    with bench.studio.annotator() as ann, bench.studio.annotator() as bob:
        bench.answer(ann, image_id, "ok")
        bench.pull()
        bench.answer(bob, image_id, "ok", queue="reserve")
        bench.pull()
        bench.pull()
    assert bench.history(image_id) == [("answered", ("ok",))] * 2
    with bench.project.catalog.read() as reading:
        assert labels.count(reading, bench.project.id) == 1


def test_pull__the_server_goes_down_in_between(
    label_studio_folder: Callable[[], Path], label_studio: LabelStudio, tmp_path: Path
) -> None:
    with benches.bench(label_studio, tmp_path, count=4) as made:
        bench = made
        folder = label_studio_folder()
        running = server.start(folder, log=folder / "log", port=free_port())
        token = server.credentials_in(folder).token
        ids = bench.ids()
        try:
            with connect(running.url, token) as opened:
                own = replace(
                    bench, studio=replace(bench.studio, server=running, connection=opened)
                )
                own.send(ids)
                own.answer(opened, ids[0], "ok")
                own.pull()
                cursor = own.queue().cursor
                own.answer(opened, ids[1], "dent")
                news = opened.changed_tasks(own.queue().remote_id)
                assert next(news.tasks).id == own.task_of(ids[0])
                running.stop()
                with pytest.raises(
                    LabelStudioUnreachable, match=r"Nothing answers at .*labelloop up"
                ):
                    own.pull()
                assert own.queue().cursor == cursor
                assert own.label(ids[1]) is None
        finally:
            running.stop()
        # Another port, as after a restart: the same projects all the same.
        running = server.start(folder, log=folder / "log", port=free_port())
        try:
            with connect(running.url, token) as opened:
                assert sync.pull(bench.project, opened)["annotations"] == 2
                assert bench.label(ids[1]) == (("dent",), 1.0)
                assert bench.queue().url == running.url
            with (
                connect(running.url, "0" * 40) as stranger,
                pytest.raises(LabelStudioRefused, match="Check the token"),
            ):
                sync.pull(bench.project, stranger)
        finally:
            running.stop()


def test_sweep__a_deleted_task_is_sent_again_and_its_answers_stay(bench: Bench) -> None:
    ids = bench.ids()
    bench.send(ids[:4])
    bench.answer(bench.admin, ids[0], "ok")
    bench.pull()
    bench.admin.delete_tasks([bench.task_of(ids[0]), bench.task_of(ids[3])])
    assert sync.sweep(bench.project, bench.admin) == 2
    assert bench.label(ids[0]) == (("ok",), 1.0)
    # SQLite gives the numbers of the last tasks out again, so the new ones must not be mixed up.
    bench.send([ids[7], ids[0], ids[3]])
    there = {task.id: task.data["name"] for task in bench.admin.tasks(bench.queue().remote_id)}
    assert len(there) == 5
    for image_id in (ids[7], ids[0], ids[3]):
        assert there[bench.task_of(image_id)] == names(bench, [image_id])[0]
    bench.answer(bench.admin, ids[7], "dent")
    bench.pull()
    assert bench.label(ids[7]) == (("dent",), 1.0)
    assert bench.label(ids[0]) == (("ok",), 1.0), "a task without answers takes none back"


def test_offer__the_number_of_a_deleted_task_given_out_again(bench: Bench) -> None:
    ids = bench.ids()
    bench.send(ids[:2])
    former = bench.task_of(ids[1])
    bench.admin.delete_tasks([former])
    bench.send([ids[5]])
    bench.answer(bench.admin, ids[5], "dent")
    bench.pull()
    assert bench.label(ids[5]) == (("dent",), 1.0)
    assert bench.label(ids[1]) is None


def test_pull__interface_changed_by_hand_is_named_and_not_overwritten(bench: Bench) -> None:
    bench.send(bench.ids()[:2])
    number = bench.queue().remote_id
    changed = labeling_xml("single-label", [*CLASSES, "burnt"])
    bench.admin.update_project(number, label_config=changed)
    with pytest.raises(LabelStudioError, match=r"added classes: burnt\. Put it back"):
        bench.pull()
    with pytest.raises(LabelStudioError, match="added classes: burnt"):
        bench.send(bench.ids()[2:4])
    assert "burnt" in bench.admin.project(number).label_config
    bench.admin.update_project(number, label_config=labeling_xml("single-label", CLASSES))
    bench.pull()


def test_rebuild__project_deleted(bench: Bench) -> None:
    ids = bench.ids()
    bench.send(ids[:6])
    for image_id in ids[:2]:
        bench.answer(bench.admin, image_id, "ok")
    bench.pull()
    former = bench.queue().remote_id
    bench.admin.delete_project(former)
    with pytest.raises(LabelStudioProjectGone, match="labelloop label rebuild"):
        bench.pull()
    assert sync.rebuild(bench.project, bench.admin, shelf=bench.shelf) == {
        "projects": 1,
        "images": 4,
    }
    assert bench.queue().remote_id != former
    with bench.studio.annotator() as ann:
        assert benches.served(ann, bench.queue().remote_id, 4, say="dent") == names(bench, ids[2:6])
    bench.pull()
    found = [bench.label(key) for key in ids[:6]]
    assert found == [(("ok",), 1.0)] * 2 + [(("dent",), 1.0)] * 4
    assert sync.rebuild(bench.project, bench.admin, shelf=bench.shelf) == {
        "projects": 0,
        "images": 0,
    }


def test_rebuild__another_label_studio_with_the_same_numbers(
    label_studio_folder: Callable[[], Path], bench: Bench
) -> None:
    ids = bench.ids()
    bench.send(ids[:3])
    bench.answer(bench.admin, ids[0], "ok")
    bench.pull()
    folder = label_studio_folder()
    running = server.start(folder, log=folder / "log", port=free_port())
    try:
        with connect(running.url, server.credentials_in(folder).token) as opened:
            for number in range(bench.queue().remote_id):
                opened.create_project(f"other {number}", labeling_xml("single-label", CLASSES))
            with pytest.raises(LabelStudioError, match="is another one than before"):
                sync.pull(bench.project, opened)
            done = sync.rebuild(bench.project, opened, shelf=Shelf(folder))
            assert done == {"projects": 1, "images": 2}
            task = bench.task_of(ids[1])
            opened.create_annotation(task, tasks.chosen(["dent"]))
            assert sync.pull(bench.project, opened) == {"images": 1, "annotations": 2}
    finally:
        running.stop()
    assert [bench.label(key) for key in ids[:2]] == [(("ok",), 1.0), (("dent",), 1.0)]


def test_pull__multi_label(label_studio: LabelStudio, tmp_path: Path) -> None:
    with benches.bench(label_studio, tmp_path, task="multi-label") as bench:
        ids = bench.ids()
        bench.send(ids[:3])
        for image_id, said in ((ids[0], ["ok", "dent"]), (ids[1], [])):
            bench.admin.create_annotation(bench.task_of(image_id), tasks.chosen(said))
        bench.pull()
        assert bench.label(ids[0]) == (("ok", "dent"), 1.0)
        assert bench.label(ids[1]) == ((), 1.0), "none of the classes is an answer too"
        assert bench.label(ids[2]) is None


def test_bind_tasks__moves_a_number(bench: Bench) -> None:
    from labeling import queues

    ids = bench.ids()
    queue = queues.ensure(bench.project, bench.admin, "batch")
    queues.bind_tasks(bench.project, queue, {ids[0]: 5, ids[1]: 6})
    queues.bind_tasks(bench.project, queue, {ids[2]: 5, ids[1]: 7})
    with bench.project.catalog.read() as reading:
        assert remote.tasks(reading, queue.id) == {ids[1]: 7, ids[2]: 5}


def test_start__a_server_with_the_same_log_in_took_the_port(
    label_studio: LabelStudio,
    label_studio_folder: Callable[[], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = label_studio_folder()  # a copy, as of a workspace that was restored beside itself
    port = int(label_studio.url.rsplit(":", 1)[1])
    monkeypatch.setattr(process, "is_free", lambda host, port: True)
    with pytest.raises(LabelStudioError, match="it took the port while Label Studio was starting"):
        server.start(folder, log=folder / "log", port=port)
    assert label_studio.server.alive()
    assert server.attach(folder) is None
