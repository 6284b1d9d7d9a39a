"""The projects behind the queues, on the real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from curation import classes
from curation.catalog import annotations, images, labels, projects, remote
from curation.catalog.corrections import Doubt
from curation.errors import LabelStudioError
from curation.records import Box
from labeling import consensus, corrections, interfaces, queues, tasks
from labeling.queues import Shelf
from tests import bench as benches
from tests.bench import Bench
from tests.fixtures_label_studio import CLASSES, LabelStudio

pytestmark = pytest.mark.label_studio


@pytest.fixture
def bench(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Bench]:
    with benches.bench(label_studio, tmp_path, count=3) as made:
        yield made


def test_ensure__each_queue_is_made_once(bench: Bench) -> None:
    batch = queues.ensure(bench.project, bench.admin, "batch")
    reserve = queues.ensure(bench.project, bench.admin, "reserve")
    assert queues.ensure(bench.project, bench.admin, "batch") == batch
    there = bench.admin.project(batch.remote_id)
    assert (there.title, there.sampling) == (bench.project.record.name[:50], "Uncertainty sampling")
    there = bench.admin.project(reserve.remote_id)
    assert (there.sampling, there.show_predictions) == ("Sequential sampling", False)


def test_ensure__takes_the_project_that_a_kill_left(bench: Bench) -> None:
    made = queues.ensure(bench.project, bench.admin, "batch")
    with bench.project.catalog.write() as writing:
        from sqlalchemy import delete

        from curation.catalog.schema import remote_projects

        writing.execute(delete(remote_projects))
    assert queues.ensure(bench.project, bench.admin, "batch").remote_id == made.remote_id


def test_show_images__of_an_existing_server_below_its_root(bench: Bench) -> None:
    queue = queues.ensure(bench.project, bench.admin, "batch")
    ids = bench.ids()
    elsewhere = Shelf(document_root=bench.photos / "deeper")
    with pytest.raises(LabelStudioError, match="must lie below that server's"):
        queues.show_images(bench.project, bench.admin, queue, ids, elsewhere)
    shown = queues.show_images(bench.project, bench.admin, queue, ids, bench.shelf)
    assert shown[ids[0]] == ("000.png", tasks.image_url("source-1", "000.png"))
    assert bench.admin.download(shown[ids[0]][1]) == (bench.photos / "000.png").read_bytes()


def test_vanished__names_what_was_deleted(bench: Bench) -> None:
    batch = queues.ensure(bench.project, bench.admin, "batch")
    queues.ensure(bench.project, bench.admin, "reserve")
    assert queues.vanished(bench.project, bench.admin) == []
    bench.admin.delete_project(batch.remote_id)
    assert [one.queue for one in queues.vanished(bench.project, bench.admin)] == ["batch"]


# The interface of projects that were made before people could say that they are unsure.
FORMER = """<View>
  <Style>.loop { display: flex; }</Style>
  <View className="loop">
    <View className="loop-image"><Image name="image" value="$image" zoom="true"/></View>
    <View className="loop-classes">
      <Choices name="label" toName="image" choice="single" required="true">
        <Choice value="ok" hotkey="1"/>
        <Choice value="scratch" hotkey="2"/>
        <Choice value="dent" hotkey="3"/>
      </Choices>
    </View>
  </View>
</View>
"""


def offered(bench: Bench) -> list[tuple[str, str]]:
    """What annotators see of each class there, and what their answers carry."""
    found = interfaces.understood(bench.admin.project(bench.queue().remote_id).label_config)
    return list(zip(found.names, found.classes, strict=True))


def test_find__an_interface_of_before_is_brought_up_to_date(bench: Bench) -> None:
    ids = bench.ids()
    bench.send(ids)
    queue = bench.queue()
    bench.admin.update_project(queue.remote_id, label_config=FORMER)
    with bench.project.catalog.write() as writing:
        remote.set_interface(writing, queue.id, FORMER)
    bench.answer(bench.admin, ids[0], "dent")
    bench.pull()
    now = bench.admin.project(queue.remote_id)
    assert "Choices doubt" in interfaces.controls(now.label_config)
    assert bench.queue().interface == interfaces.labeling_xml("single-label", CLASSES)
    unsure = tasks.doubting(unsure=True, comment="too dark")
    bench.admin.create_annotation(bench.task_of(ids[1]), unsure)
    sure = [*tasks.chosen(["ok"]), *unsure]
    bench.admin.create_annotation(bench.task_of(ids[2]), sure)
    bench.pull()
    assert [bench.label(key) for key in ids] == [(("dent",), 1.0), None, (("ok",), 1.0)]
    with bench.project.catalog.read() as reading:
        # Whoever is active has looked at it, so that it holds nothing up; it is known as open.
        assert remote.waiting(reading, bench.project.id, "batch") == []
        assert annotations.unsure_images(reading, bench.project.id) == ids[1:]
        assert annotations.history(reading, ids[1])[0]["comment"] == "too dark"


def test_find__classes_follow_and_answers_of_before_stay_valid(bench: Bench) -> None:
    ids = bench.ids()
    bench.send(ids, hint="scratch")
    first = bench.answer(bench.admin, ids[0], "dent")
    bench.pull()
    project = classes.rename(bench.project, "dent", "dented")
    classes.add(project, ["rust"])
    # Answered before anybody pulls: with the interface of before.
    bench.answer(bench.admin, ids[1], "dent")
    bench.pull()
    assert offered(bench) == [
        ("ok", "ok"),
        ("scratch", "scratch"),
        ("dented", "dent"),
        ("rust", "rust"),
    ]
    classes.merge(project, ["scratch"], into="rust", settle=consensus.settle)
    bench.answer(bench.admin, ids[2], "scratch")
    bench.admin.update_annotation(first.id, result=tasks.chosen(["rust"]))
    # The process that pulls has known the project since before all that.
    bench.pull()
    assert offered(bench) == [("ok", "ok"), ("dented", "dent"), ("rust", "rust")]
    with bench.project.catalog.read() as reading:
        found = labels.get(reading, ids)
        names = projects.get(reading, project.id).class_names
    said = [names(found[key].classes) for key in ids]
    assert said == [("rust",), ("dented",), ("rust",)]


def test_find__looks_changed_by_hand_are_kept(bench: Bench) -> None:
    number = queues.ensure(bench.project, bench.admin, "batch").remote_id
    ours = bench.admin.project(number).label_config
    plain = ours.replace('zoom="true"', 'zoom="false"').replace("Comment, if you like", "Why?")
    bench.admin.update_project(number, label_config=plain)
    queues.find(bench.project, bench.admin)
    assert bench.admin.project(number).label_config == plain
    classes.add(bench.project, ["rust"])
    queues.find(bench.project, bench.admin)
    queues.find(bench.project, bench.admin)
    kept = bench.admin.project(number).label_config
    assert 'zoom="false"' in kept
    assert "Why?" in kept
    assert interfaces.classes_in(kept) == (*CLASSES, "rust")
    with pytest.raises(LabelStudioError, match="removed classes: rust"):
        bench.admin.update_project(number, label_config=plain)
        queues.find(bench.project, bench.admin)


def test_find__somebody_did_by_hand_what_was_to_be_done(bench: Bench) -> None:
    number = queues.ensure(bench.project, bench.admin, "batch").remote_id
    classes.add(bench.project, ["rust"])
    by_hand = interfaces.labeling_xml("single-label", [*CLASSES, "rust"])
    bench.admin.update_project(number, label_config=by_hand)
    assert queues.find(bench.project, bench.admin)["batch"].interface == by_hand


def test_pull__boxes_in_pixels(label_studio: LabelStudio, tmp_path: Path) -> None:
    with benches.bench(label_studio, tmp_path, task="boxes") as bench:
        bench.send(bench.ids(), hint=None)
        with bench.project.catalog.read() as reading:
            known = images.get_many(reading, bench.ids())
        # Of the reserve no reviewer is asked.
        ids = [key for key, image in known.items() if not image.reserve][:3]
        ok, scratch, _ = bench.project.record.class_ids
        drawn = [tasks.Rectangle("scratch", 1, 2, 3, 4.5), tasks.Rectangle("ok", 0, 0, 8, 8)]
        bench.admin.create_annotation(bench.task_of(ids[0]), tasks.drawn(drawn, size=(8, 8)))
        bench.admin.create_annotation(bench.task_of(ids[1]), [])
        bench.admin.create_annotation(bench.task_of(ids[2]), tasks.doubting(unsure=True))
        bench.pull()
        with bench.project.catalog.read() as reading:
            found = labels.get(reading, ids)
            boxes = labels.boxes_of(reading, ids)
        assert {key: row.classes for key, row in found.items()} == {
            ids[0]: (ok, scratch),
            ids[1]: (),
        }
        assert boxes == {ids[0]: (Box(scratch, 1, 2, 3, 4.5), Box(ok, 0, 0, 8, 8))}
        there = bench.admin.project(bench.queue().remote_id).label_config
        assert interfaces.understood(there).task == "boxes"
        # A reviewer sees what was drawn, and corrects it.
        doubt = Doubt(ids[0], 0.9, (ok, scratch), None, "too wide")
        corrections.offer(bench.project, bench.admin, [doubt], shelf=bench.shelf)
        number = bench.task_of(ids[0], "correction")
        (hint,) = bench.admin.task(number).predictions
        shown = tasks.answer(hint["result"], interface=interfaces.understood(there)).rectangles
        assert shown == tuple(drawn)
        bench.admin.create_annotation(number, hint["result"][:1])
        bench.pull()
        with bench.project.catalog.read() as reading:
            assert labels.boxes_of(reading, ids) == {ids[0]: (Box(scratch, 1, 2, 3, 4.5),)}
