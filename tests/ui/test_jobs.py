"""Jobs: real rows, a real worker process, real imports; killed in every way that happens."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from curation import workspace as workspaces
from curation.catalog import images, jobs, remote
from curation.errors import Cancelled, InputError, NotFound
from curation.records import JobRecord
from curation.workspace import Project
from ui import jobs as asking
from ui.jobs import processes, pulling, run
from ui.jobs.kinds import KINDS
from ui.jobs.reporting import Reporter
from ui.servers.children import environment

SECONDS = 60.0
MANY = 1200


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return workspaces.create_project(tmp_path / "w", name="default", class_names=["a", "b"])


@pytest.fixture(scope="module")
def many_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough images for an import that can be caught in the middle."""
    folder = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "0.jpg", quality=95)
    for number in range(1, MANY):
        os.link(folder / "0.jpg", folder / f"{number}.jpg")
    return folder


@pytest.fixture
def few_images(tmp_path: Path) -> Path:
    folder = tmp_path / "few"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (64, 64), (number * 80, 3, 7)).save(folder / f"{number}.png")
    return folder


@contextmanager
def worker(project: Project, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process as the supervisor starts it."""
    folder = project.workspace.path
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ui.jobs.worker", "--workspace", str(folder), *options],
            env=environment({}),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(SECONDS)


def read(project: Project, job: JobRecord) -> JobRecord:
    with project.catalog.read() as connection:
        return jobs.get(connection, job.id)


def log_of(project: Project, job: JobRecord) -> list[str]:
    with project.catalog.read() as connection:
        return jobs.log_lines(connection, job.id)


def wait(
    project: Project,
    job: JobRecord,
    until: Callable[[JobRecord], bool],
    *,
    seconds: float = SECONDS,
) -> JobRecord:
    deadline = time.monotonic() + seconds
    while not until(found := read(project, job)):
        assert time.monotonic() < deadline, f"waited in vain: {found}, {log_of(project, job)}"
        time.sleep(0.02)
    return found


def ended(job: JobRecord) -> bool:
    return job.state not in ("queued", "running")


def under_way(job: JobRecord) -> bool:
    return job.state == "running" and job.done > 0


def child_of(process: subprocess.Popen[bytes]) -> psutil.Process:
    (child,) = (
        found
        for found in psutil.Process(process.pid).children()
        if "ui.jobs.run" in found.cmdline()
    )
    return child


def count(project: Project) -> int:
    with project.catalog.read() as connection:
        return sum(images.count_by_state(connection, project.id).values())


def test_ask__twice_is_one_job(project: Project) -> None:
    first = asking.ask(project, "embed")
    assert asking.ask(project, "embed").id == first.id
    assert asking.ask(project, "pull").id != first.id


def test_ask__unknown_kind_or_arguments(project: Project) -> None:
    with pytest.raises(InputError, match="round, train, issues, calibrate-duplicates, pull"):
        asking.ask(project, "dance")
    with pytest.raises(InputError, match="JSON"):
        asking.ask(project, "import", {"source": Path("x")})


def test_cancel__queued_job_stops_at_once(project: Project) -> None:
    job = asking.ask(project, "embed")
    asking.cancel(project, job.id)
    assert read(project, job).state == "cancelled"
    with pytest.raises(NotFound):
        asking.cancel(project, job.id + 1)


def test_status__without_worker(project: Project) -> None:
    job = asking.ask(project, "embed")
    found = asking.status(project)
    assert not found.worker_runs
    assert [one.id for one in found.jobs] == [job.id]


@pytest.mark.parametrize("name", KINDS)
def test_kinds__are_described(name: str) -> None:
    assert KINDS[name].name == name
    assert KINDS[name].description.endswith(".")


def test_run__users_error_is_one_line(project: Project) -> None:
    job = asking.ask(project, "import", {"source": "/no/such/folder"})
    ending = run.run(project.workspace, job.id)
    found = read(project, job)
    assert ending.state == found.state == "failed"
    assert "/no/such/folder" in found.says
    assert "Traceback" not in "\n".join(log_of(project, job))


def test_run__fault_of_ours_keeps_its_traceback_in_the_log(project: Project) -> None:
    job = asking.ask(project, "import", {})
    run.run(project.workspace, job.id)
    found = read(project, job)
    assert found.state == "failed"
    assert "KeyError: 'source'" in found.says
    assert "\n" not in found.says
    assert any(line.startswith("Traceback") for line in log_of(project, job))


def test_run__kind_of_a_newer_version(project: Project) -> None:
    with project.catalog.write() as connection:
        job = jobs.enqueue(connection, project.id, "dream", {})
    assert "'dream'" in run.run(project.workspace, job.id).says


def test_reporter__writes_progress_and_raises_when_cancelled(project: Project) -> None:
    job = asking.ask(project, "embed")
    with Reporter(project.catalog, job.id, tick_seconds=0.05) as report:
        report(0, 100, "embedding")
        time.sleep(0.02)
        report(10, 100, "embedding")
        found = wait(project, job, lambda one: one.done == 10)
        assert found.total == 100
        assert found.says == "embedding"
        assert found.seconds_left is not None
        assert found.seconds_left > 0
        with project.catalog.write() as connection:
            # A running job: `cancel` would end a queued one.
            jobs.claim(connection, "test")
            jobs.cancel(connection, job.id)
        with pytest.raises(Cancelled):
            for done in range(11, 200):
                time.sleep(0.05)
                report(done, 100, "embedding")
    assert log_of(project, job) == ["embedding"]


def test_reporter__last_progress_is_never_lost(project: Project) -> None:
    job = asking.ask(project, "embed")
    with Reporter(project.catalog, job.id, tick_seconds=60) as report:
        for done in range(1000):
            report(done, 999, "embedding")
    assert read(project, job).done == 999


def test_worker__does_an_import(project: Project, few_images: Path) -> None:
    job = asking.ask(project, "import", {"source": str(few_images)})
    with worker(project):
        found = wait(project, job, ended)
        assert asking.status(project).worker_runs
    assert found.state == "done", log_of(project, job)
    assert found.result is not None
    assert found.result["added"] == 3
    assert not asking.status(project).worker_runs


def test_worker__only_one_per_workspace(project: Project) -> None:
    with worker(project):
        deadline = time.monotonic() + SECONDS
        while not asking.worker_runs(project.workspace):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        lock = project.workspace.path / "logs" / "worker.lock"
        with pytest.raises(processes.AlreadyHeld), processes.lock(lock):
            pass


def test_worker__cancel_and_resume(project: Project, many_images: Path) -> None:
    job = asking.ask(project, "import", {"source": str(many_images)})
    with worker(project):
        wait(project, job, under_way)
        asking.cancel(project, job.id)
        found = wait(project, job, ended)
        assert found.state == "cancelled"
        assert count(project) < MANY
        again = asking.resume(project, found)
        assert again.id != job.id
        assert wait(project, again, ended).state == "done"
    assert count(project) == MANY


def test_worker__killed_job_fails_and_can_be_resumed(project: Project, many_images: Path) -> None:
    job = asking.ask(project, "import", {"source": str(many_images)})
    with worker(project) as process:
        wait(project, job, under_way)
        child_of(process).kill()
        found = wait(project, job, ended)
        assert found.state == "failed"
        assert "signal 9" in found.says
        assert process.poll() is None
        assert wait(project, asking.resume(project, found), ended).state == "done"
    assert count(project) == MANY


def test_worker__job_that_does_not_react_is_stopped_by_force(
    project: Project, many_images: Path
) -> None:
    job = asking.ask(project, "import", {"source": str(many_images)})
    with worker(project, "--cancel-grace", "0.5") as process:
        wait(project, job, under_way)
        child = child_of(process)
        child.suspend()
        asking.cancel(project, job.id)
        found = wait(project, job, ended)
        assert found.state == "cancelled"
        assert "by force" in found.says
        assert not child.is_running()


def test_worker__killed_worker_leaves_nothing_and_the_next_goes_on(
    project: Project, many_images: Path
) -> None:
    job = asking.ask(project, "import", {"source": str(many_images)})
    with worker(project) as process:
        wait(project, job, under_way)
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        process.kill()
        process.wait()
        assert not asking.status(project).worker_runs
    with worker(project):
        assert wait(project, job, ended).state == "done"
        assert not psutil.wait_procs(family, timeout=5)[1]
    assert count(project) == MANY
    assert any("queued again" in line for line in log_of(project, job))


def test_worker__stopped_worker_puts_its_job_back(project: Project, many_images: Path) -> None:
    job = asking.ask(project, "import", {"source": str(many_images)})
    with worker(project) as process:
        wait(project, job, under_way)
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(SECONDS)
        assert process.returncode == 0
    assert read(project, job).state == "queued"
    assert not psutil.wait_procs(family, timeout=5)[1]


def test_pull_until__waits_longer_and_longer_while_nothing_answers(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    with project.catalog.write() as connection:
        remote.put(
            connection,
            project.id,
            "batch",
            url="http://127.0.0.1:9",
            remote_id=1,
            interface="<View/>",
        )
    assert [found.id for found in pulling.waiting(project.workspace)] == [project.id]
    patience = pulling.Patience()
    for _ in range(2):
        pulling.pull_once(project, patience)
    assert patience.failures == 2
    assert patience.not_before > time.monotonic() + pulling.EVERY_SECONDS
    assert len([one for one in caplog.records if "Fetching" in one.message]) == 1


def test_pull_until__ends_when_asked(project: Project) -> None:
    stop = threading.Event()
    stop.set()
    pulling.pull_until(stop, project.workspace)


def test_patience__has_a_longest_wait() -> None:
    patience = pulling.Patience()
    for _ in range(20):
        patience.failed(0.0)
    assert patience.not_before == pulling.LONGEST_WAIT_SECONDS
    patience.succeeded(0.0)
    assert patience.not_before == pulling.EVERY_SECONDS


def test_living__another_process_with_the_same_number() -> None:
    ours = processes.identify(os.getpid())
    assert processes.living(ours) is not None
    assert processes.living(processes.ProcessId(ours.pid, ours.started - 100)) is None
    assert processes.parse(json.loads(json.dumps(vars(ours)))) == ours
    assert processes.parse({"pid": "x"}) is None
