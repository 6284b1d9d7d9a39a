"""The whole way in a real browser: log in to Label Studio, label by keys, see it counted, learn."""

import csv
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from curation.catalog import annotations, rounds
from curation.workspace import Project
from labeling import server
from tests.fixtures_label_studio import copy_migrated, free_port
from ui import demo, frames, servers, wiring

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.label_studio]

IMAGES = 90
BUDGET = 8
RESERVE = 20
TICKED = "input[type=checkbox]:checked"


@dataclass(frozen=True)
class Site:
    """A project of the sample's images with its first round pushed, and all servers up."""

    project: Project
    app: str
    email: str
    password: str


@pytest.fixture
def site(tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[Site]:
    project = _project(tmp_path)
    assert pytestconfig.cache is not None
    # To try which engine is faithful takes 20 s; what was found is good for this machine.
    kept = pytestconfig.cache.mkdir("engines")
    engines = project.workspace.folder("embeddings") / "engines"
    shutil.copytree(kept, engines)
    folder = copy_migrated(pytestconfig.cache, project.workspace.path / "label-studio")
    log_in = server.credentials_in(folder)
    options = servers.Options(label_studio_port=free_port())
    with servers.start(project.workspace, options, tell=lambda _: None) as running:
        wiring.run_round(project, budget=BUDGET, reserve=RESERVE)
        shutil.copytree(engines, kept, dirs_exist_ok=True)
        yield Site(project, running.app_url, log_in.email, log_in.password)
    for name in ("app", "worker"):
        log = (project.workspace.path / "logs" / f"{name}.log").read_text(encoding="utf-8")
        assert "Traceback" not in log, log
        assert "Warning" not in log, log


def _project(tmp_path: Path) -> Project:
    """The first images that decode; some of them with the labels that the sample brings."""
    with (demo.SAMPLE / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:IMAGES]
    table = tmp_path / "labels.csv"
    with table.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    photos = tmp_path / "photos"
    photos.mkdir()
    for row in rows:
        shutil.copy(demo.SAMPLE / "images" / row["filename"], photos)
    project = wiring.create_project(
        tmp_path / "shop", name="shop", classes=",".join(sorted(set(_truth().values()))), seed=3
    )
    wiring.import_images(project, wiring.understand_import(project, photos, table=table))
    return project


def _truth() -> dict[str, str]:
    with (demo.SAMPLE / "truth.csv").open(encoding="utf-8", newline="") as file:
        return {row["filename"]: row["label"] for row in csv.DictReader(file)}


def test_journey__label_by_keys_then_a_round_learns_from_it(tab: "Page", site: Site) -> None:
    _open_queue(site, tab, "batch")
    guess = _shown(tab)
    assert guess in site.project.record.classes, "the pre-label is ticked"
    _submit(tab)  # accepts the guess

    other = next(name for name in site.project.record.classes if name != _shown(tab))
    _press_key_of(tab, other)
    assert _shown(tab) == other
    _submit(tab)

    before = _task(tab)
    tab.get_by_role("button", name="Skip").click()
    _wait_for(lambda: _task(tab) != before)

    _see_them_counted(site, tab, guess, other)
    _answer_the_reserve(site, tab)
    _run_a_round(site, tab)


def _open_queue(site: Site, tab: "Page", queue: str) -> None:
    """By the app's own link; logs in where Label Studio asks for it."""
    tab.goto(f"{site.app}/label")
    link = tab.get_by_role("link", name=f"Label the {queue}")
    link.wait_for()
    tab.goto(link.get_attribute("href") or "")
    tab.locator("input[name=email], .lsf-choices, [class*=choices]").first.wait_for()
    if "/user/login" in tab.url:
        tab.locator("input[name=email]").fill(site.email)
        tab.locator("input[name=password]").fill(site.password)
        tab.get_by_role("button", name="Log in").click()
    _await_picture(tab)


def _await_picture(tab: "Page") -> None:
    """The task's image is on the screen and was really loaded."""
    tab.wait_for_function(
        "[...document.querySelectorAll('img')].some("
        "i => i.offsetWidth > 100 && i.complete && i.naturalWidth > 0)"
    )
    tab.get_by_test_id("bottombar-submit-button").wait_for()


def _task(tab: "Page") -> str:
    """What Label Studio calls the task on the screen."""
    return tab.locator("[class*=task-id]").first.inner_text()


def _choices(tab: "Page") -> "Locator":
    return tab.locator("label:has(input[type=checkbox])")


def _shown(tab: "Page") -> str:
    """The class that is ticked, without its hotkey; empty if none is."""
    ticked = tab.locator(f"label:has({TICKED})")
    return ticked.inner_text().split("[")[0].strip() if ticked.count() else ""


def _press_key_of(tab: "Page", name: str) -> None:
    words = next(w for w in _choices(tab).all_inner_texts() if w.startswith(f"{name}["))
    found = re.search(r"\[(\d)]", words)
    assert found, words
    tab.keyboard.press(found[1])


def _submit(tab: "Page") -> None:
    before = _task(tab)
    tab.keyboard.press("Control+Enter")
    _wait_for(lambda: _task(tab) != before)
    _await_picture(tab)


def _wait_for(happened: Callable[[], Any], *, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.1)


def _see_them_counted(site: Site, tab: "Page", guess: str, other: str) -> None:
    """The worker pulls by itself; the page follows without a reload."""
    tab.goto(f"{site.app}/label")
    tab.get_by_text(f"Batch: {BUDGET - 3} images waiting").wait_for()
    tab.get_by_text(f"Round 0: 2 of {BUDGET} labeled").wait_for()
    with site.project.catalog.read() as connection:
        (person,) = (
            one
            for one in annotations.list_annotators(connection, site.project.id)
            if one["kind"] == "person"
        )
    assert (person["answered"], person["skipped"]) == (2, 1)
    assert person["name"] == site.email

    given = {row["image"]: row for row in frames.image_table(site.project, status="labeled")}
    by_people = [row["label"] for row in given.values() if row["label_origin"] == "people"]
    assert sorted(by_people) == sorted([guess, other])


def _answer_the_reserve(site: Site, tab: "Page") -> None:
    """A few by hand, without any guess to lean on; the truth answers the rest."""
    _open_queue(site, tab, "reserve")
    assert _shown(tab) == ""
    _press_key_of(tab, site.project.record.classes[0])
    _submit(tab)

    with wiring.label_studio_of(site.project.workspace).connect() as connection:
        demo.answer_all(site.project, connection, _truth())
    tab.goto(f"{site.app}/label")
    tab.get_by_role("button", name="Pull answers").click()
    tab.get_by_text("Nothing waits. Run the next round").wait_for()


def _run_a_round(site: Site, tab: "Page") -> None:
    tab.goto(site.app)
    tab.get_by_text("Every image of round 0 is answered.").wait_for()
    tab.goto(f"{site.app}/rounds")
    budget = tab.get_by_label("Budget", exact=True)
    budget.fill(str(BUDGET))
    budget.press("Tab")
    tab.get_by_role("button", name="Start", exact=True).click()
    tab.get_by_text("Learning curve on the holdout").wait_for(timeout=60_000)
    assert tab.locator(".js-plotly-plot .scatterlayer .trace").count() == 2
    assert tab.locator(".js-plotly-plot .errorbar").count() >= 2

    with site.project.catalog.read() as connection:
        newest = rounds.latest(connection, site.project.id)
    assert newest is not None
    assert (newest.number, newest.state) == (1, "waiting")
    tab.goto(site.app)
    tab.get_by_text(re.compile(r"Round 1, on the holdout")).wait_for()
