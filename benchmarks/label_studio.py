"""How fast images go to Label Studio and answers come back, beside its bare bulk API.

A real server on a new database; N linked photos of the sample data as a project's images, each with
a pre-label. Each part is a process of its own, whose peak memory is read when it ends:

- push: a round of N images sent by `sync.offer`, beside the same tasks sent to another project of
  the same server with nothing but an HTTP client, half of them before and half of them after;
- replace: the next round gives the same N images other pre-labels, beside the same predictions sent
  bare;
- pull: 100 new answers out of the N tasks;
- page: the next task by the API, and on screen in Debian's Chromium, of N tasks and of 1,000.

    python -m benchmarks.label_studio --images 5000
    python -m benchmarks.label_studio --images 100000
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.imports import photos
from curation import workspace as workspaces
from curation.catalog import images as image_rows
from curation.catalog import remote, reserve, rounds
from curation.catalog.bulk import batched
from curation.records import LedgerRow, NewImage
from curation.workspace import Project
from labeling import interfaces, server, sync, tasks
from labeling.connection import Connection, connect
from labeling.queues import Shelf

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CLASSES = tuple(f"class {number}" for number in range(10))
AT_ONCE = 1000
ANSWERS = 100
SMALL = 1000
HOME = "workspace"
LOOKS = 5


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument(
        "--data", type=Path, help="data of a Label Studio that ran once; copied, to start quickly"
    )
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=0, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        print(json.dumps(_measured(PARTS[asked.part], asked.folder, asked.count)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size, title in ((SMALL, "small"), (asked.images, "large")):
            prepare(folder, title, size)
        if asked.data:
            shutil.copytree(asked.data, folder / "label-studio")
        running = server.start(folder / "label-studio", log=folder / "log")
        try:
            compare(folder, asked.images)
        finally:
            running.stop()


def compare(folder: Path, count: int) -> None:
    """Runs the parts and prints what they took."""
    print(f"{'':34} {'n':>8} {'seconds':>8} {'a second':>9} {'peak MiB':>9}")
    _told("push 1,000 (ours)", _part("push", folder / "small", SMALL))
    half = count // 2
    before = _told("tasks, bare, first half", _part("bare-push", folder / "large", half))
    ours = _told("push (ours)", _part("push", folder / "large", count))
    after = _told("tasks, bare, second half", _part("bare-push", folder / "large", half))
    bare = 2 * half / (before["seconds"] + after["seconds"])
    print(f"  ours / bare: {ours['rate'] / bare:.2f}")
    before = _told("predictions, bare, first half", _part("bare-replace", folder / "large", half))
    ours = _told("pre-labels replaced (ours)", _part("push", folder / "large", count))
    after = _told("predictions, bare, second half", _part("bare-replace", folder / "large", half))
    bare = 2 * half / (before["seconds"] + after["seconds"])
    print(f"  ours / bare: {ours['rate'] / bare:.2f}")
    _told(f"pull of {count:,} tasks", _part("pull", folder / "large", ANSWERS))
    for title in ("small", "large"):
        look(folder / title)


def prepare(folder: Path, title: str, count: int) -> None:
    """A project of so many linked photos, which need not be read."""
    project = workspaces.create_project(
        folder / HOME, name=title, class_names=CLASSES, seed=7 + count
    )
    source = folder / title
    names = photos(source, count)
    with project.catalog.write() as writing:
        source_id = image_rows.add_source(writing, project.id, str(source))
        for batch in batched(enumerate(names)):
            rows = [
                NewImage(
                    name=name,
                    origin=str(source / name),
                    location=str(source / name),
                    sha256=f"{number:064x}",
                    pixel_hash=f"{number:064x}",
                    bytes=1,
                    width=112,
                    height=112,
                )
                for number, name in batch
            ]
            image_rows.add(writing, project.id, rows, source_id=source_id, seed=7 + count)
        reserve.freeze(writing, project.id)
    project.catalog.close()


def push(folder: Path, count: int) -> tuple[int, float]:
    """One round of all images, each with a pre-label; not the first one gives them other ones."""
    project = _project(folder)
    classes = project.record.class_ids
    with project.catalog.write() as writing:
        made = rounds.start(writing, project.id, {"asked": {"unaided_share": 0.1}, "version": 0})
        usable = (key for key, _ in image_rows.usable(writing, project.id))
        for start, batch in enumerate(batched(usable)):
            rows = [
                LedgerRow(
                    key,
                    "batch",
                    start * AT_ONCE + rank,
                    prelabel_class_id=classes[(key + made.number) % len(classes)],
                    prelabel_confidence=0.9,
                )
                for rank, key in enumerate(batch)
            ]
            rounds.plan(writing, project.id, made.id, rows)
    with _connected(folder) as (opened, shelf):
        opened.projects()
        begun = time.perf_counter()
        sync.offer(project, opened, made, shelf=shelf)
        seconds = time.perf_counter() - begun
    with project.catalog.write() as writing:
        rounds.finish(writing, made.id, "waiting")
    return count, seconds


def bare_push(folder: Path, count: int) -> tuple[int, float]:
    """The same tasks, sent with an HTTP client and nothing else."""
    with _connected(folder) as (opened, _), _bare(folder) as client:
        project_id = _bare_project(opened)
        seconds = 0.0
        for numbers in batched(range(count), AT_ONCE):
            content = [_task(number) for number in numbers]
            begun = time.perf_counter()
            path = f"/api/projects/{project_id}/import?return_task_ids=true"
            client.post(path, json=content).raise_for_status()
            seconds += time.perf_counter() - begun
    return count, seconds


def bare_replace(folder: Path, count: int) -> tuple[int, float]:
    """Other predictions for tasks of before, sent in the same way."""
    with _connected(folder) as (opened, _), _bare(folder) as client:
        project_id = _bare_project(opened)
        known = [task_id for task_id, _ in opened.task_ids(project_id)][:count]
        version = f"round-{time.time_ns()}"
        seconds = 0.0
        for task_ids in batched(known, AT_ONCE):
            content = [{"task": key, **_hint(key, version)} for key in task_ids]
            begun = time.perf_counter()
            path = f"/api/projects/{project_id}/import/predictions"
            client.post(path, json=content).raise_for_status()
            seconds += time.perf_counter() - begun
    return count, seconds


def pull(folder: Path, count: int) -> tuple[int, float]:
    """So many new answers, given through the API since the last pull."""
    project = _project(folder)
    with _connected(folder) as (opened, _):
        sync.pull(project, opened)
        with project.catalog.read() as reading:
            (queue,) = remote.every(reading, project.id)
            task_ids = list(remote.tasks(reading, queue.id).values())
        chosen = task_ids[:: max(1, len(task_ids) // count)][:count]
        for task_id in chosen:
            opened.create_annotation(task_id, tasks.chosen([CLASSES[0]]), lead_time=1.0)
        begun = time.perf_counter()
        found = sync.pull(project, opened)
        seconds = time.perf_counter() - begun
    assert found == {"images": count, "annotations": count}, found
    return count, seconds


PARTS: dict[str, Callable[[Path, int], tuple[int, float]]] = {
    "push": push,
    "bare-push": bare_push,
    "bare-replace": bare_replace,
    "pull": pull,
}


def look(folder: Path) -> None:
    """How long a person waits for a task: at the API, and until a browser shows it."""
    project = _project(folder)
    with project.catalog.read() as reading:
        (queue,) = remote.every(reading, project.id)
        count = remote.count_tasks(reading, queue.id)
    with _connected(folder) as (opened, _):
        took = [_timed(lambda: opened.next_task(queue.remote_id)) for _ in range(LOOKS)]
    print(f"{'next task by the API':34} {count:>8,} {statistics.median(took):8.2f}")
    with _chromium() as browser:
        if browser is None:
            print("No Chromium here: apt-get install chromium")
            return
        took = _on_screen(browser, folder, queue.remote_id)
    print(f"{'next task on screen, signed in':34} {count:>8,} {statistics.median(took):8.2f}")
    project.catalog.close()


def _on_screen(browser: "Browser", folder: Path, remote_id: int) -> list[float]:
    found = server.running(folder.parent / "label-studio")
    assert found is not None
    log_in = server.credentials_in(folder.parent / "label-studio")
    tab = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
    tab.goto(f"{found.url}/user/login")
    tab.locator("input[name=email]").fill(log_in.email)
    tab.locator("input[name=password]").fill(log_in.password)
    tab.get_by_role("button", name="Log in").click()
    tab.wait_for_load_state("networkidle")
    took = []
    for _ in range(LOOKS + 1):
        begun = time.perf_counter()
        tab.goto(f"{found.url}/projects/{remote_id}/data?labeling=1", wait_until="commit")
        tab.get_by_text(CLASSES[-1]).first.wait_for()
        tab.wait_for_function(
            "[...document.querySelectorAll('.loop-image img')].some(one => one.naturalWidth > 0)"
        )
        took.append(time.perf_counter() - begun)
    return took[1:]  # the first one also loads the programs


@contextmanager
def _chromium() -> "Iterator[Browser | None]":
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        yield None
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


def _project(folder: Path) -> Project:
    return workspaces.project(workspaces.open(folder.parent / HOME), folder.name)


@contextmanager
def _connected(folder: Path) -> Iterator[tuple[Connection, Shelf]]:
    home = folder.parent / "label-studio"
    found = server.running(home)
    assert found is not None
    with connect(found.url, server.credentials_in(home).token) as opened:
        yield opened, Shelf(home)


@contextmanager
def _bare(folder: Path) -> Iterator[httpx.Client]:
    home = folder.parent / "label-studio"
    found = server.running(home)
    assert found is not None
    token = server.credentials_in(home).token
    with httpx.Client(
        base_url=found.url,
        headers={"Authorization": f"Token {token}"},
        timeout=300.0,
        trust_env=False,
    ) as client:
        yield client


def _bare_project(opened: Connection) -> int:
    """The project that bare requests go to."""
    there = {one.title: one.id for one in opened.projects()}
    if "bare" in there:
        return there["bare"]
    return opened.create_project("bare", interfaces.labeling_xml("single-label", CLASSES)).id


def _task(number: int) -> dict[str, Any]:
    """As large as a task of ours."""
    name = f"{CLASSES[number % 3]}/{number // 3000:03}/{number:06}.jpg"
    return tasks.task(
        f"7-{number}",
        name=name,
        url=tasks.image_url("source-1", name),
        predictions=[_hint(number, "round-0")],
    )


def _hint(number: int, version: str) -> dict[str, Any]:
    return tasks.prediction(
        [CLASSES[number % len(CLASSES)]],
        confidence=0.9,
        model_version=version,
        rank=number % 100_000,
        size=1_000_000,
    )


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _measured(
    part: Callable[[Path, int], tuple[int, float]], folder: Path, count: int
) -> dict[str, float]:
    import resource

    done, seconds = part(folder, count)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"n": done, "seconds": seconds, "rate": done / seconds, "peak_mib": peak}


def _part(name: str, folder: Path, count: int) -> dict[str, float]:
    """One part in a process of its own."""
    words = ["--part", name, "--folder", str(folder), "--count", str(count)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.label_studio", *words],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _told(title: str, found: dict[str, float]) -> dict[str, float]:
    print(
        f"{title:34} {found['n']:>8,} {found['seconds']:8.1f} {found['rate']:9,.0f} "
        f"{found['peak_mib']:9.0f}",
        flush=True,
    )
    return found


if __name__ == "__main__":
    main()
