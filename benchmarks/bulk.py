"""Seconds an image: accepted one by one in Label Studio, and many at once on the page Bulk.

A real Label Studio, the real app, Debian's Chromium, and photos of the sample data as a project in
which a model takes all for one class. Nobody thinks here: keys are pressed as soon as the screen is
ready, a tenth of the images is something else. So these are what the machine adds to the time in
which a person looks.

    python -m benchmarks.bulk --images 48
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING

import httpx

from benchmarks.imports import SAMPLE
from curation import ingest, sources
from curation import workspace as workspaces
from curation.catalog import pool, remote, reserve, rounds, runs
from curation.records import LedgerRow
from curation.workspace import Project
from labeling import server, sync
from labeling.connection import connect
from labeling.queues import Shelf
from labeling.server import Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

APP = Path(__file__).parents[1] / "ui" / "web" / "app.py"
CLASSES = ("shirt", "dress")
WRONG = 10  # every so manieth


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument(
        "--data", type=Path, help="data of a Label Studio that ran once; copied, to start quickly"
    )
    asked = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("No chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        project = prepare(Path(name), asked.images)
        home = project.workspace.folder("label-studio")
        if asked.data:
            shutil.copytree(asked.data, home, dirs_exist_ok=True)
        running = server.start(home, log=Path(name) / "log")
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            tab = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
            one = one_by_one(tab, project, running, asked.images)
            many = at_once(tab, project)
        finally:
            browser.close()
            running.stop()
    print(f"{'':12} {'images':>7} {'seconds':>8} {'an image':>9}")
    for title, (n, seconds) in (("one by one", one), ("bulk", many)):
        print(f"{title:12} {n:>7} {seconds:8.1f} {seconds / n:9.2f}")


def prepare(folder: Path, count: int) -> Project:
    """So many images for either way, of which a model takes all for the first class."""
    photos = folder / "photos"
    photos.mkdir()
    for path in sorted(SAMPLE.iterdir())[: 4 * count + 200]:
        shutil.copy(path, photos / path.name)
    project = workspaces.create_project(folder / "w", name="shop", class_names=CLASSES, seed=7)
    plan = sources.understand(photos, known_classes=CLASSES, labels_from="none")
    ingest.run(project, plan)
    shirt, _ = project.record.class_ids
    with project.catalog.write() as writing:
        reserve.freeze(writing, project.id)
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
        ids = [row.id for row in pool.find(writing, project.id)]
        assert len(ids) >= 2 * count, f"{len(ids)} images in the pool are too few"
        rows = [(key, shirt, 0.9, 0.8) for key in ids[count : 2 * count]]
        runs.put_predictions(writing, project.id, "p1-train-1", rows)
        made = rounds.start(writing, project.id, {"asked": {}, "version": 0})
        ledger = [
            LedgerRow(key, "batch", n, prelabel_class_id=shirt, prelabel_confidence=0.9)
            for n, key in enumerate(ids[:count])
        ]
        rounds.plan(writing, project.id, made.id, ledger)
    return project


def one_by_one(tab: "Page", project: Project, running: Server, count: int) -> tuple[int, float]:
    """The label stream: Ctrl+Enter accepts, 2 and Ctrl+Enter says the other class."""
    log_in = server.credentials_in(running.folder)
    with connect(running.url, log_in.token) as opened:
        with project.catalog.read() as reading:
            latest = rounds.latest(reading, project.id)
        assert latest is not None
        sync.offer(project, opened, latest, shelf=Shelf(running.folder))
        with project.catalog.read() as reading:
            (queue,) = remote.every(reading, project.id)
        tab.goto(f"{running.url}/projects/{queue.remote_id}/data?labeling=1")
        tab.locator("input[name=email]").fill(log_in.email)
        tab.locator("input[name=password]").fill(log_in.password)
        tab.get_by_role("button", name="Log in").click()
        ticked = tab.locator("label:has(input[type=checkbox]:checked)")
        ticked.first.wait_for()
        begun = time.perf_counter()
        for number in range(count):
            picture = tab.locator(".loop-image img").first.get_attribute("src")
            if number % WRONG == 0:
                tab.keyboard.press("2")
            with tab.expect_response(lambda answer: "/annotations" in answer.url):
                tab.keyboard.press("Control+Enter")
            if number + 1 < count:
                tab.wait_for_function(
                    "before => { const one = document.querySelector('.loop-image img');"
                    " return one && one.src !== before && one.naturalWidth > 0"
                    " && document.querySelector('input[type=checkbox]:checked') }",
                    arg=picture,
                )
        seconds = time.perf_counter() - begun
        done = opened.project(queue.remote_id).annotation_count
    assert done == count, f"{done} of {count} were answered"
    return count, seconds


def at_once(tab: "Page", project: Project) -> tuple[int, float]:
    """The page Bulk, until what was accepted is in the catalog."""
    with closing(socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = ["--server.port", str(port), "--server.headless", "true"]
    app = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", str(APP), *flags],
        env={
            **os.environ,
            "LABELLOOP_WORKSPACE": str(project.workspace.path),
            "PYTHONPATH": str(APP.parents[2]),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _until(lambda: _answers(f"http://127.0.0.1:{port}/_stcore/health"))
        tab.goto(f"http://127.0.0.1:{port}/bulk")
        tab.get_by_role("checkbox").first.wait_for()
        shown = tab.get_by_role("checkbox").count()
        begun = time.perf_counter()
        for number in range(shown):
            if number % WRONG == 0:
                tab.keyboard.press(" ")
            tab.keyboard.press("ArrowRight")
        tab.keyboard.press("Control+Enter")
        tab.get_by_text("images accepted as").wait_for()
        return shown, time.perf_counter() - begun
    finally:
        app.terminate()
        app.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _until(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < until, "the app did not start"
        time.sleep(0.2)


if __name__ == "__main__":
    main()
