"""Many images accepted in one act, and the act taken back, in a real Label Studio."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from curation.catalog import Connection, annotations, pool, remote, reserve, runs
from curation.catalog import images as image_rows
from curation.errors import InputError, NotFound
from labeling import bulk, tasks
from tests import bench as benches
from tests.bench import Bench
from tests.fixtures_label_studio import LabelStudio
from tests.ui.commands import asked, run

pytestmark = pytest.mark.label_studio


@pytest.fixture
def bench(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Bench]:
    """Images of which a model takes the first ten of the pool for scratches, the first surest."""
    with benches.bench(label_studio, tmp_path, count=40) as made:
        project = made.project
        # The session's server is the workspace's own.
        (project.workspace.path / "label-studio").symlink_to(made.studio.folder)
        ok, scratch, _ = project.record.class_ids
        with project.catalog.write() as writing:
            runs.add(
                writing,
                project.id,
                "p1-train-1",
                kind="head",
                snapshot_id=None,
                seed=0,
                settings={},
                metrics={},
            )
            reserve.freeze(writing, project.id)
            rows = [
                (key, scratch if n < 10 else ok, 0.99 - n / 100, 0.5)
                for n, key in enumerate(pooled(writing, project.id))
            ]
            runs.put_predictions(writing, project.id, "p1-train-1", rows)
        yield made


def pooled(reading: Connection, project_id: int) -> list[int]:
    return [row.id for row in pool.find(reading, project_id)]


def open_ids(bench: Bench) -> list[int]:
    """The pool, in the order of names."""
    with bench.project.catalog.read() as reading:
        return pooled(reading, bench.project.id)


def prelabels(bench: Bench, image_ids: list[int]) -> list[list[tuple[str, str]]]:
    with bench.project.catalog.read() as reading:
        found = [annotations.history(reading, key) for key in image_ids]
    return [[(row["state"], row["prelabel"]) for row in rows] for rows in found]


def test_accept__new_tasks_and_waiting_ones_as_answers_of_a_person(bench: Bench) -> None:
    ids = open_ids(bench)
    (scratch,) = bench.project.record.ids_of(("scratch",))
    bench.send(ids[:3], hint="ok")
    with bench.studio.annotator() as ann:
        bench.answer(ann, ids[2], "dent")
        user = ann.whoami()
        bench.pull()
        with bench.project.catalog.write() as writing:
            image_rows.set_state(writing, [ids[5]], "excluded")
        act, accepted = bulk.accept(
            bench.project,
            bench.admin,
            ids[:8],
            scratch,
            shelf=bench.shelf,
            user=user,
            seconds=12.0,
        )
        assert act is not None
        kept = [ids[n] for n in (0, 1, 3, 4, 6, 7)]
        assert (accepted, act.image_ids) == (6, tuple(kept)), "labeled and set aside: passed over"
        assert [bench.label(key) for key in kept] == [(("scratch",), 1.0)] * 6
        assert prelabels(bench, kept) == [[("answered", "accepted")]] * 6
        for key in kept:
            (made,) = bench.admin.task(bench.task_of(key)).annotations
            assert (made.user_id, made.lead_time, made.origin) == (user.id, 2.0, "prediction")
        assert bench.label(ids[2]) == (("dent",), 1.0)
        assert bench.admin.project(bench.queue().remote_id).model_version == "round-0"
        assert ann.next_task(bench.queue().remote_id) is None, "nobody is asked what is answered"
        bench.pull()
        assert [bench.label(key) for key in kept] == [(("scratch",), 1.0)] * 6

        # One of them was looked at again since.
        (changed,) = bench.admin.task(bench.task_of(ids[7])).annotations
        part = {**tasks.chosen(["dent"])[0], "origin": "prediction-changed"}
        bench.admin.update_annotation(changed.id, result=[part])
        assert bulk.newest(bench.project) == act
        assert bulk.undo(bench.project, bench.admin, act) == 5
        assert bulk.newest(bench.project) is None
        assert [bench.label(key) for key in kept[:-1]] == [None] * 5
        assert bench.label(ids[7]) == (("dent",), 1.0)
        with bench.project.catalog.read() as reading:
            there = remote.tasks(reading, bench.queue().id)
            waiting = remote.waiting(reading, bench.project.id, "batch")
        assert set(there) == {ids[0], ids[1], ids[2], ids[7]}, "tasks made for it are gone"
        assert waiting == ids[:2]
        names = benches.served(ann, bench.queue().remote_id, 2)
        assert ann.next_task(bench.queue().remote_id) is None
        assert len(names) == 2


def test_accept__reserve_boxes_and_too_many(bench: Bench) -> None:
    user = bench.admin.whoami()
    kept_back = sorted(set(bench.ids()) - set(open_ids(bench)))
    assert kept_back
    found = bulk.accept(bench.project, bench.admin, kept_back, 1, shelf=bench.shelf, user=user)
    assert found == (None, 0)
    with pytest.raises(InputError, match="1,001 images at once"):
        bulk.accept(bench.project, bench.admin, range(1_001), 1, shelf=bench.shelf, user=user)


def test_command__dry_run_except_undo_and_mistakes(bench: Bench) -> None:
    home = bench.project.workspace.path
    listed = asked(home, "label", "bulk", "scratch", "--dry-run")
    ids = open_ids(bench)
    with bench.project.catalog.read() as reading:
        known = image_rows.names_by_id(reading, ids)
    names = [known[key] for key in ids[:10]]
    assert listed["images"] == names, "the surest first"
    assert (listed["accepted"], listed["act"]) == (0, None)
    for wrong, says in (
        (("rust",), "There is no class 'rust'"),
        (("scratch", "--except", "nowhere.png"), "'nowhere.png' is not among the 10 images"),
    ):
        with pytest.raises(InputError, match=says):
            run(home, "label", "bulk", *wrong)
    with pytest.raises(NotFound, match=r"No image named 'nowhere.png'"):
        run(home, "label", "bulk", "scratch", "nowhere.png")
    with pytest.raises(InputError, match="Nothing was accepted in bulk"):
        run(home, "label", "bulk", "--undo")
    with pytest.raises(NotFound, match="Nobody called 'anna' has a log-in"):
        run(home, "label", "bulk", "scratch", "--as", "anna")
    done = asked(
        home, "label", "bulk", "scratch", "--except", f"{names[1]},{names[4]}", "--count", "6"
    )
    assert done["images"] == [names[n] for n in (0, 2, 3, 5)]
    assert (done["accepted"], done["person"]) == (4, bench.admin.whoami().name)
    assert open_ids(bench)[:2] == [ids[1], ids[4]]
    assert asked(home, "label", "bulk", "--undo")["undone"] == 4
    assert open_ids(bench) == ids
