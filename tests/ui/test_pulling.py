"""An answer is counted when it is given: a real worker, a real Label Studio, a second person."""

import logging
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx
import psutil
import pytest

from curation import files
from curation import workspace as workspaces
from curation.catalog import annotations, remote
from curation.workspace import Project
from labeling import process
from labeling.webhook import SECRET_HEADER
from tests import bench as benches
from tests.bench import Bench
from tests.fixtures_label_studio import LabelStudio
from ui import doctor, jobs
from ui.jobs import bells, pulling
from ui.jobs.bells import Bells, Rings
from ui.jobs.pulling import Patience
from ui.servers import external
from ui.servers.children import environment

SECONDS = 30.0

logger = logging.getLogger(__name__)


@pytest.fixture
def bench(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Bench]:
    with benches.bench(label_studio, tmp_path, count=30) as made:
        token = label_studio.credentials.token
        external.remember(made.project.workspace, label_studio.url, token)
        yield made


@contextmanager
def worker(project: Project) -> Iterator[subprocess.Popen[bytes]]:
    folder = project.workspace.path
    with (folder / "worker.log").open("ab") as log:
        running = subprocess.Popen(
            [sys.executable, "-P", "-m", "ui.jobs.worker", "--workspace", str(folder)],
            env=environment({}),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield running
    finally:
        running.terminate()
        running.wait(SECONDS)


def wait(until: Callable[[], bool], explain: Path) -> float:
    begun = time.monotonic()
    while not until():
        assert time.monotonic() - begun < SECONDS, explain.read_text(encoding="utf-8")
        time.sleep(0.01)
    return time.monotonic() - begun


def long_job(project: Project, running: subprocess.Popen[bytes], log: Path) -> psutil.Process:
    """A job of the worker that does not end."""
    jobs.ask(project, "issues")
    children = psutil.Process(running.pid).children
    wait(lambda: bool(children()), log)
    (found,) = children()
    found.suspend()
    return found


def count(project: Project) -> int:
    with project.catalog.read() as reading:
        return annotations.count(reading, project.id)


@pytest.mark.label_studio
@pytest.mark.parametrize(
    ("answers", "within_seconds"),
    # The default suite may run on a machine that does other things; without the bell every answer
    # but the first would take nearly ten seconds.
    [(3, pulling.EVERY_SECONDS / 2), pytest.param(30, 2.0, marks=pytest.mark.slow)],
)
def test_pull_until__an_answer_is_counted_when_it_is_given(
    bench: Bench, answers: int, within_seconds: float
) -> None:
    """From the second person's request until the catalog counts it, while a long job runs.

    With 30 answers (``pytest tests/ui/test_pulling.py -m slow --log-cli-level=INFO``) on two cores,
    at a load average of 2: median 0.75 s, worst 1.24 s.
    """
    project = bench.project
    log = project.workspace.path / "worker.log"
    ids = bench.ids()[:answers]
    rng = random.Random(0)
    waited = []
    with bench.studio.annotator() as ann, worker(project) as running:
        bench.send(ids)  # a queue that appears while the worker runs
        number = bench.queue().remote_id
        wait(lambda: bool(bench.admin.webhooks(number)), log)
        (hook,) = bench.admin.webhooks(number)
        wait(lambda: bells.arrival(project.workspace) == "by webhook", log)
        assert doctor.check_answers(project.workspace).says == "They arrive by webhook."
        job = long_job(project, running, log)
        time.sleep(pulling.APART_SECONDS + 1.0)  # the pull that follows upon a new bell
        for given, image_id in enumerate(ids, start=1):
            begun = time.monotonic()
            bench.answer(ann, image_id, "dent")
            wait(lambda given=given: count(project) == given, log)  # type: ignore[misc]
            waited.append(time.monotonic() - begun)
            time.sleep(rng.uniform(0.0, 1.0))
        logger.info("seconds: median %.2f, worst %.2f", median(waited), max(waited))
        assert max(waited) < within_seconds, waited
        assert job.status() == psutil.STATUS_STOPPED
        job.kill()

        for _ in range(2):  # the same ring again
            ring = httpx.post(hook.url, headers={SECRET_HEADER: _secret(bench, hook.id)}, json={})
            assert ring.status_code == httpx.codes.NO_CONTENT
        time.sleep(2 * pulling.APART_SECONDS)
        assert count(project) == answers
        secrets = [hook.url.rsplit("/", 1)[1], _secret(bench, hook.id)]
        seen = [log.read_text(encoding="utf-8")]
        for pid in (running.pid, bench.studio.server.address.pid):
            seen += psutil.Process(pid).cmdline()
            seen += psutil.Process(pid).environ().values()
        seen += [
            path.read_text(encoding="utf-8", errors="replace")
            for path in (project.workspace.path / "logs").iterdir()
            if path.is_file()
        ]
        seen.append((bench.studio.folder / "log").read_text(encoding="utf-8", errors="replace"))
        assert not [secret for secret in secrets for text in seen if secret in text]
    assert running.returncode == 0
    assert bench.admin.webhooks(number) == []
    assert "Nobody" in doctor.check_answers(project.workspace).says


def _secret(bench: Bench, hook_id: int) -> str:
    said = bench.admin._wire.read(f"/api/webhooks/{hook_id}/", "the webhook").json()
    return str(said["headers"][SECRET_HEADER])


@pytest.mark.skipif(sys.platform != "linux", reason="no other loopback address to be told of")
@pytest.mark.label_studio
def test_look_after__where_label_studio_may_not_call_us_it_is_asked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # The server was told of another address, as one that somebody else set up.
    monkeypatch.setattr(process, "DOORBELL_HOST", "127.83.19.8")
    bench.send(bench.ids()[:2])
    with caplog.at_level(logging.INFO), Bells(bench.project.workspace, Rings()) as opened:
        for _ in range(2):
            opened.look_after(bench.project)
            opened.look_again(bench.project)
        says = bells.arrival(bench.project.workspace)
    assert says.startswith(f"by polling every {pulling.EVERY_SECONDS:.0f} s, because the settings")
    assert len([one for one in caplog.records if "polling" in one.getMessage()]) == 1
    assert bench.admin.webhooks(bench.queue().remote_id) == []


@pytest.mark.label_studio
def test_pull_once__bells_hang_again_where_label_studio_came_back_without_them(
    bench: Bench,
) -> None:
    project, rings, patience = bench.project, Rings(), Patience()
    bench.send(bench.ids()[:2])

    def hung() -> list[int]:
        return [hook.id for hook in bench.admin.webhooks(bench.queue().remote_id)]

    with Bells(project.workspace, rings) as opened:
        pulling.pull_once(project, patience, opened)
        (first,) = hung()
        assert rings.wait(0.0) == {project.id}, "an answer may have come before the bell"
        pulling.pull_once(project, patience, opened)
        assert (hung(), rings.wait(0.0)) == ([first], set())
        bench.admin.delete_webhook(first)
        patience.failed(time.monotonic())
        pulling.pull_once(project, patience, opened)
        assert len(hung()) == 1
        assert rings.wait(0.0) == {project.id}
    assert hung() == []


def test_look_after__label_studio_on_another_machine(tmp_path: Path) -> None:
    url = "http://label-studio.example.org"
    project = workspaces.create_project(tmp_path / "w", name="default", class_names=["a", "b"])
    folder = external.private_folder(project.workspace)
    files.write_json(folder / external.FILE, {"url": url, "token": "x"}, mode=0o600)
    project.workspace.change(label_studio_url=url)
    with project.catalog.write() as connection:
        remote.put(connection, project.id, "batch", url=url, remote_id=1, interface="<View/>")
    with Bells(project.workspace, Rings()) as opened:
        assert opened.has_new_queue(project)
        assert not opened.has_new_queue(project)
        opened.look_after(project)
        assert "another machine" in bells.arrival(project.workspace)
    assert bells.arrival(project.workspace) == ""


def test_rings__many_are_one_and_none_is_lost() -> None:
    rings = Rings()
    assert rings.wait(0.0) == set()
    for project_id in (1, 2, 1, 1):
        rings.ring(project_id)
    assert rings.wait(0.0) == {1, 2}
    threading.Timer(0.1, rings.ring, (3,)).start()
    begun = time.monotonic()
    assert rings.wait(10.0) == {3}
    assert time.monotonic() - begun < 5.0


def test_patience__a_ring_shortens_the_wait_but_not_to_nothing() -> None:
    ours = Patience()
    assert ours.due(100.0)
    ours.began(100.0)
    ours.succeeded(100.5)
    assert not ours.due(100.0 + pulling.APART_SECONDS)
    ours.rung = True
    assert not ours.due(100.0 + pulling.APART_SECONDS / 2)
    assert ours.due(100.0 + pulling.APART_SECONDS)
    for _ in range(2000):  # a Label Studio that was away for a week
        ours.began(100.0)
        ours.failed(100.0)
    assert not ours.due(100.0 + pulling.LONGEST_WAIT_SECONDS / 2)
    ours.rung = True
    assert not ours.due(100.0 + pulling.EVERY_SECONDS / 2)
    assert ours.due(100.0 + pulling.EVERY_SECONDS)
