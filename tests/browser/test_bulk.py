"""A person unticks what is something else and accepts the rest, with keys alone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from curation.catalog import pool, reserve, runs
from tests import bench as benches
from tests.bench import Bench
from tests.browser.test_corrections import wait_for
from tests.fixtures_label_studio import LabelStudio

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.label_studio]


@pytest.fixture
def bench(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Bench]:
    """A dozen images that a model takes for scratches."""
    with benches.bench(label_studio, tmp_path, count=40) as made:
        project = made.project
        rng = np.random.default_rng(0)
        for photo in made.photos.iterdir():
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(photo)
        (project.workspace.path / "label-studio").symlink_to(made.studio.folder)
        _, scratch, _ = project.record.class_ids
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
            rows = [
                (row.id, scratch, 0.99 - n / 100, 0.5)
                for n, row in enumerate(pool.find(writing, project.id)[:12])
            ]
            runs.put_predictions(writing, project.id, "p1-train-1", rows)
        yield made


def open_images(bench: Bench) -> list[int]:
    with bench.project.catalog.read() as reading:
        return [row.id for row in pool.find(reading, bench.project.id)]


def test_bulk__keys_alone_and_undo(tab: "Page", bench: Bench, serve: Callable[[Path], str]) -> None:
    ids = open_images(bench)
    tab.goto(f"{serve(bench.project.workspace.path)}/bulk")
    tab.get_by_role("button", name="Accept 12 as scratch").wait_for()
    tiles = tab.get_by_role("checkbox", checked=True)
    assert tiles.count() == 12
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press(" ")
    tab.keyboard.press("ArrowRight")
    tab.get_by_role("button", name="Accept 11 as scratch").wait_for()
    tab.keyboard.press(" ")
    tab.get_by_role("button", name="Accept 10 as scratch").wait_for()
    tab.keyboard.press("Control+Enter")
    tab.get_by_text("10 images accepted as scratch").wait_for()
    left = open_images(bench)
    assert left == [ids[1], ids[2], *ids[12:]]
    assert bench.label(ids[0]) == (("scratch",), 1.0)
    # What was unticked comes again, all ticked, until somebody says what it is.
    tab.get_by_role("button", name="Accept 2 as scratch").wait_for()
    tab.get_by_role("button", name="Undo the last").click()
    tab.get_by_text("Took 10 answers scratch back.").wait_for()
    wait_for(lambda: open_images(bench) == ids)
    tab.get_by_role("button", name="Accept 12 as scratch").wait_for()
