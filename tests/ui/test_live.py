"""Live pre-labels: the process with the model, and the worker that connects it."""

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from curation.catalog import images as image_rows
from curation.catalog import jobs as job_rows
from curation.catalog import labels, remote, reserve, runs
from curation.workspace import Project
from labeling import interfaces, tasks
from tests import bench as benches
from tests import trained
from tests.bench import Bench
from tests.fixtures_label_studio import LabelStudio
from tests.ui.commands import asked
from ui.jobs import live
from ui.jobs.live import Predictor
from ui.servers.children import environment

SECONDS = 60.0


def wait(happened: Callable[[], object], *, seconds: float = SECONDS) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it did not happen in time"
        # Label Studio writes its database at each look at the backends: no faster than this.
        time.sleep(1.0)


def shown(project: Project, number: int) -> dict[str, object]:
    """A task of one of the project's images as Label Studio tells of it."""
    with project.catalog.read() as reading:
        key, name = list(image_rows.usable(reading, project.id))[number]
    mark = tasks.mark(project.record.seed, key)
    return {"id": 100 + number, "data": {"image": "", "labelloop_image": mark, "name": name}}


@pytest.fixture
def project(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = trained.copied(tmp_path_factory.getbasetemp(), tmp_path / "w")
    xml = interfaces.labeling_xml("single-label", made.record.classes)
    with made.catalog.write() as writing:
        remote.put(writing, made.id, "batch", url="http://127.0.0.1:9", remote_id=1, interface=xml)
        runs.promote(writing, made.id, trained.HEAD)
    return made


@pytest.mark.slow
def test_predictor__the_champion_and_what_it_has_no_answer_for(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Predictor(project.workspace) as predictor:
        predictor._seconds = SECONDS
        first = predictor(project.id, [shown(project, 0), shown(project, 40)])
        assert first is not None
        said = [tuple(one[0]["value"]["choices"]) for one in first if one]
        with project.catalog.read() as reading:
            ids = [key for key, _ in image_rows.usable(reading, project.id)]
            found = labels.get(reading, ids)
        truth = [project.record.class_names(found[ids[n]].classes) for n in (0, 40)]
        assert said == truth, "trained on these, so it knows them"
        assert all(0.5 < one[0]["score"] <= 1 for one in first if one)
        child = predictor._child
        assert child is not None

        # Of the reserve nothing is ever said; a missing image is told in the log.
        with project.catalog.write() as writing:
            reserve.freeze(writing, project.id)
            rows = reserve.rows(writing, project.id)
            places = image_rows.places(writing, ids)
        kept = ids.index(rows[0].image_id)
        assert predictor(project.id, [shown(project, kept)]) == [[]]
        open_ones = set(ids) - {row.image_id for row in rows}
        gone, other = (ids.index(key) for key in sorted(open_ones)[:2])
        Path(places[ids[gone]].location).rename(project.workspace.path / "elsewhere.jpg")
        try:
            assert predictor(project.id, [shown(project, gone)]) == [None]
            assert any("No pre-label: " in line for line in caplog.messages)

            # Another champion is loaded while one waits for it; a child that dies comes again.
            with project.catalog.write() as writing:
                runs.promote(writing, project.id, trained.MLP)
            assert predictor(project.id, [shown(project, other)]) is not None
            psutil.Process(child.pid).kill()
            child.wait(10)
            predictor._not_before = 0.0
            assert predictor(project.id, [shown(project, other)]) is not None
            # Who does not wait long enough gets nothing, and gets it in time.
            with project.catalog.write() as writing:
                runs.promote(writing, project.id, trained.TUNED)
            predictor._seconds = 0.05
            begun = time.monotonic()
            assert predictor(project.id, [shown(project, other)]) is None
            assert time.monotonic() - begun < 1.0
        finally:
            elsewhere = project.workspace.path / "elsewhere.jpg"
            elsewhere.rename(places[ids[gone]].location)
    assert child.poll() is not None


@pytest.fixture
def bench(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Bench]:
    with benches.bench(label_studio, tmp_path, count=6) as made:
        (made.project.workspace.path / "label-studio").symlink_to(made.studio.folder)
        yield made


@contextmanager
def worker(project: Project) -> Iterator[Path]:
    folder = project.workspace.path
    log = folder / "worker.log"
    with log.open("ab") as output:
        running = subprocess.Popen(
            [sys.executable, "-P", "-m", "ui.jobs.worker", "--workspace", str(folder)],
            env=environment({}),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield log
    finally:
        running.terminate()
        running.wait(SECONDS)


@pytest.mark.slow
@pytest.mark.label_studio
def test_worker__connects_and_disconnects_the_backend(bench: Bench) -> None:
    home, there = bench.project.workspace.path, None
    bench.send(bench.ids()[:2])
    there = bench.queue().remote_id
    assert asked(home, "label", "live")["live"] is False
    on = asked(home, "label", "live", "on", "--rounds")
    assert (on["live"], on["rounds"], on["worker"]) == (True, True, False)
    with worker(bench.project) as log:
        wait(lambda: bench.admin.backends(there))
        (found,) = bench.admin.backends(there)
        assert (found.title, bench.admin.project(there).model_version) == ("round-0", "round-0")
        wait(lambda: len(bench.admin.webhooks(there)) == 1)
        # No model is trained: the task is shown as it is, and the log says why.
        (added,) = bench.admin.import_tasks(there, [tasks.task("x", name="by hand", url="/a.png")])
        begun = time.monotonic()
        assert bench.admin.task(added).predictions == ()
        assert time.monotonic() - begun < 8.0
        wait(lambda: "There is no trained model yet" in log.read_text(encoding="utf-8"))
        bench.admin._wire.send("POST", f"/api/ml/{found.id}/train", "train")
        with bench.project.catalog.read() as reading:
            (job,) = job_rows.newest(reading, bench.project.id)
        assert job.kind == "round"
        assert asked(home, "label", "live", "off")["live"] is False
        wait(lambda: not bench.admin.backends(there), seconds=25.0)
        asked(home, "label", "live", "on")
        wait(lambda: bench.admin.backends(there), seconds=25.0)
        assert live.wish(bench.project) == live.Wish(rounds=False)
    assert bench.admin.backends(there) == [], "nobody listens there any more"
    assert bench.admin.project(there).model_version == "round-0"
