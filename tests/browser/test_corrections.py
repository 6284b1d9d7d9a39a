"""A reviewer at work: the label in doubt is chosen already, and one key accepts or corrects it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from curation.catalog import annotations, labels
from curation.catalog.corrections import Doubt
from labeling import consensus, corrections
from tests import bench as benches
from tests.bench import Bench
from tests.catalog.rows import add_imported
from tests.fixtures_label_studio import LabelStudio

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.label_studio]

# Names that would run, or be looked up in the task, if they were anything but text.
SCRIPT = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
CLASSES = ("shirt", "coat", SCRIPT, "US$100")
TICKED = "label:has(input[type=checkbox]:checked)"


@dataclass(frozen=True)
class Review:
    """Three labels in doubt, the worst first, and where they are answered."""

    bench: Bench
    ids: list[int]
    url: str


@pytest.fixture
def review(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Review]:
    with benches.bench(label_studio, tmp_path, classes=CLASSES) as bench:
        shirt, coat, script, price = bench.project.record.class_ids
        for photo in bench.photos.iterdir():
            Image.open(photo).resize((240, 160)).save(photo)
        ids = bench.ids()[:3]
        said = [(shirt,), (script,), (price,)]
        given: dict[int, tuple[int, ...]] = dict(zip(ids, said, strict=True))
        with bench.project.catalog.write() as writing:
            add_imported(writing, bench.project.id, given)
            consensus.settle(writing, bench.project, ids)
        doubts = [
            Doubt(ids[0], 0.9, (shirt,), coat, "labeled shirt; the model says coat (0.97)"),
            Doubt(ids[1], 0.8, (script,), coat, "5 of 5 neighbours are coat"),
            Doubt(ids[2], 0.7, (price,), script, ""),
        ]
        offered = corrections.offer(bench.project, bench.admin, doubts, shelf=bench.shelf)
        yield Review(bench, ids, str(offered["url"]))


def test_review__accepted_and_corrected_by_key(tab: "Page", review: Review) -> None:
    tab.goto(review.url)
    tab.locator("input[name=email]").fill(review.bench.studio.credentials.email)
    tab.locator("input[name=password]").fill(review.bench.studio.credentials.password)
    tab.get_by_role("button", name="Log in").click()

    tab.get_by_text("labeled shirt; the model says coat (0.97)", exact=True).wait_for()
    assert chosen(tab) == "shirt"
    tab.keyboard.press("Control+Enter")

    tab.get_by_text(f"labeled {SCRIPT}, suggested coat: 5 of 5 neighbours are coat").wait_for()
    wait_for(lambda: chosen(tab) == SCRIPT)
    tab.keyboard.press("2")
    wait_for(lambda: chosen(tab) == "coat")
    tab.keyboard.press("Control+Enter")

    tab.get_by_text(f"labeled US$100, suggested {SCRIPT}").wait_for()
    wait_for(lambda: chosen(tab) == "US$100")
    tab.keyboard.press("Control+Enter")
    tab.get_by_text("No more annotations").or_(tab.get_by_text("All tasks")).first.wait_for()
    assert tab.title() != "run"

    review.bench.pull()
    with review.bench.project.catalog.read() as reading:
        found = labels.get(reading, review.ids)
        said = [annotations.history(reading, key)[-1]["prelabel"] for key in review.ids]
    names = review.bench.project.record.class_names
    assert [names(found[key].classes) for key in review.ids] == [("shirt",), ("coat",), ("US$100",)]
    assert {found[key].origin for key in review.ids} == {"people"}
    assert said == ["accepted", "corrected", "accepted"]


def chosen(tab: "Page") -> str:
    """The class that is ticked, without its hotkey."""
    ticked = tab.locator(TICKED)
    return (
        ticked.inner_text().rpartition("[")[0].strip().replace("\u200b", "")
        if ticked.count() == 1
        else ""
    )


def wait_for(happened: Callable[[], bool], *, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.1)
