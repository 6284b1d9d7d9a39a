"""An annotator at work: what can be said with keys, and what cannot be submitted."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from curation import classes
from curation.catalog import annotations, labels, projects
from tests import bench as benches
from tests.bench import Bench
from tests.browser.test_corrections import TICKED, wait_for
from tests.fixtures_label_studio import LabelStudio

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.label_studio]

SIDE = 28
"""Pixels of the images: those of many datasets are no larger."""


@pytest.fixture
def bench(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Bench]:
    with benches.bench(label_studio, tmp_path, count=4) as made:
        rng = np.random.default_rng(0)
        for photo in made.photos.iterdir():
            # Label Studio takes a file below 100 bytes for a broken one: no plain colour.
            pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(photo)
        yield made


def open_queue(tab: "Page", bench: Bench) -> None:
    tab.goto(f"{bench.studio.url}/projects/{bench.queue().remote_id}/data?labeling=1")
    tab.locator("input[name=email]").fill(bench.studio.credentials.email)
    tab.locator("input[name=password]").fill(bench.studio.credentials.password)
    tab.get_by_role("button", name="Log in").click()
    tab.get_by_text("Unsure: ask somebody else").wait_for()


def ticked(tab: "Page") -> list[str]:
    return [text.rpartition("[")[0].strip() for text in tab.locator(TICKED).all_inner_texts()]


def given(bench: Bench, image_id: int) -> list[tuple[str, tuple[str, ...], bool, str]]:
    bench.pull()
    with bench.project.catalog.read() as reading:
        rows = annotations.history(reading, image_id)
        names = projects.get(reading, bench.project.id).class_names
    return [(row["state"], names(row["classes"]), row["unsure"], row["comment"]) for row in rows]


def next_image(tab: "Page", bench: Bench, submit: Callable[[], None], image_id: int) -> None:
    """Submits, and waits for the answer to be there."""
    submit()
    task = bench.task_of(image_id)
    wait_for(lambda: bool(bench.admin.task(task).annotations))
    wait_for(lambda: ticked(tab) == [])


def test_interface__keys_doubts_and_comments(tab: "Page", bench: Bench) -> None:
    classes.add(bench.project, [], none_of_these="none of these")
    ids = bench.ids()
    bench.send(ids, hint=None)
    open_queue(tab, bench)

    picture = tab.locator(".loop-image img, .loop-image canvas").first
    wait_for(lambda: (picture.bounding_box() or {"width": 0})["width"] > 10 * SIDE)

    def submit() -> None:
        tab.keyboard.press("Control+Enter")

    # Nothing said: refused, by key as well, or there would be an answer before the next one.
    assert tab.get_by_role("button", name="Submit").is_disabled()
    submit()

    tab.keyboard.press("u")
    wait_for(lambda: ticked(tab) == ["Unsure: ask somebody else"])
    box = tab.locator(".loop-doubt textarea, .loop-doubt input[type=text]").first
    box.fill("u 0: too dark")
    assert ticked(tab) == ["Unsure: ask somebody else"], "keys pressed in the comment are text"
    box.blur()
    next_image(tab, bench, submit, ids[0])
    assert given(bench, ids[0]) == [("unsure", (), True, "u 0: too dark")]

    tab.keyboard.press("0")
    wait_for(lambda: ticked(tab) == ["none of these"])
    next_image(tab, bench, submit, ids[1])
    assert given(bench, ids[1]) == [("answered", ("none of these",), False, "")]

    tab.keyboard.press("2")
    tab.keyboard.press("u")
    wait_for(lambda: len(ticked(tab)) == 2)
    submit()
    task = bench.task_of(ids[2])
    wait_for(lambda: bool(bench.admin.task(task).annotations))
    assert given(bench, ids[2]) == [("answered", ("scratch",), True, "")]
    with bench.project.catalog.read() as reading:
        assert set(labels.get(reading, ids)) == set(ids[1:3])
        assert annotations.unsure_images(reading, bench.project.id) == [ids[0], ids[2]]
