"""The app in a real browser: what AppTest cannot see, above all clicks, addresses and live work."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from curation.catalog import jobs, rounds
from curation.workspace import Project
from tests.web import scenario
from tests.web.conftest import empty, imported, played  # noqa: F401  (fixtures)

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Serve = Callable[[Path], str]


def test_images__filter_click_reload_and_back(
    serve: Serve,
    tab: "Page",
    played: Project,  # noqa: F811
) -> None:
    url = serve(played.workspace.path)
    tab.goto(f"{url}/images")
    tab.get_by_text("1 to 60 of 61 images").wait_for()
    tab.get_by_label("Name contains").fill("-00")
    tab.get_by_label("Name contains").press("Enter")
    tab.get_by_text("1 to 10 of 10 images").wait_for()

    tile = tab.get_by_role("listitem").filter(has=tab.locator("img")).nth(3)
    assert tile.locator("img").evaluate("picture => picture.naturalWidth") > 50
    tile.click()
    tab.get_by_role("heading", name="digit-003.png").wait_for()
    assert re.search(r"[?&]image=digit-003\.png", tab.url)

    tab.reload()
    tab.get_by_role("heading", name="digit-003.png").wait_for()
    tab.get_by_role("button", name="All images").click()
    tab.get_by_text("1 to 10 of 10 images").wait_for()


def test_app__first_visitor_of_a_deep_link_sees_the_whole_app(
    serve: Serve,
    tab: "Page",
    played: Project,  # noqa: F811
) -> None:
    tab.goto(f"{serve(played.workspace.path)}/rounds?round=0")
    tab.get_by_text("Start round 2").wait_for()

    groups = tab.get_by_test_id("stSidebarNav").inner_text()
    assert "Curate" in groups
    assert "Train" in groups
    tab.get_by_text("no model yet").wait_for()  # the rule of round 0
    assert tab.get_by_text("the default at this budget").count() == 0


def test_rounds__job_is_followed_through_a_reload_to_its_end(
    serve: Serve,
    tab: "Page",
    played: Project,  # noqa: F811
) -> None:
    url = serve(played.workspace.path)
    tab.goto(f"{url}/rounds")
    tab.get_by_text("Start round 2").wait_for()

    one = scenario.begin_round(played)
    job_id = scenario.begin_job(played, "round", {"budget": 5})
    tab.get_by_text("trained on 31 labels").wait_for()
    tab.reload()
    tab.get_by_text("trained on 31 labels").wait_for()
    with played.catalog.write() as connection:
        jobs.log(connection, job_id, "chose 5 images")
    tab.get_by_text("chose 5 images").wait_for()

    with played.catalog.write() as connection:
        rounds.finish(connection, one.id, "waiting")
        jobs.finish(connection, job_id, "done")
    tab.get_by_text("Round 3 can start once people have answered some").wait_for()


def test_overview__import_form_asks_the_worker(
    serve: Serve,
    tab: "Page",
    empty: Project,  # noqa: F811
    tmp_path: Path,
) -> None:
    tab.goto(serve(empty.workspace.path))
    tab.get_by_role("button", name="Import images").click()
    dialog = tab.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Folder of images").fill(str(tmp_path))
    dialog.get_by_role("button", name="Import").click()
    tab.get_by_role("button", name="Cancel").wait_for()

    with empty.catalog.read() as connection:
        (job,) = jobs.newest(connection, empty.id)
    assert (job.kind, job.state) == ("import", "queued")
    assert job.arguments == {"source": str(tmp_path), "table": "", "labels_from": "auto"}


def test_rounds__batch_tile_leads_to_the_image(
    serve: Serve,
    tab: "Page",
    played: Project,  # noqa: F811
) -> None:
    tab.goto(f"{serve(played.workspace.path)}/rounds?round=0")
    tab.get_by_role("tab", name="Batch and reasons").click()
    tile = tab.get_by_role("list", name="Batch of round 0").get_by_role("listitem").first
    name = (tile.get_attribute("aria-label") or "").split(",")[0]
    tile.click()

    tab.get_by_role("heading", name=name).wait_for()
    assert "/images?" in tab.url


def test_label__controls_have_names(
    serve: Serve,
    tab: "Page",
    played: Project,  # noqa: F811
) -> None:
    tab.goto(f"{serve(played.workspace.path)}/label")
    tab.get_by_text("Label Studio is not running").wait_for()

    nameless = tab.locator("button:visible, a:visible, input:visible").evaluate_all(
        "all => all.filter(e => !(e.innerText || e.ariaLabel || e.title ||"
        " e.labels?.length || e.querySelector('img[alt]'))).map(e => e.outerHTML.slice(0, 200))"
    )
    assert nameless == []
