"""What an exporter writes, the importer of the same format reads back: project -> files -> project.

Every format that exists both ways gets this law; a new pair gets it for nothing.
"""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation import exporters, importers, ingest, snapshots, sources, workspace
from curation.catalog import annotations, labels
from curation.catalog import images as image_rows
from curation.catalog import splits as split_rows
from curation.errors import InputError
from curation.exporters import EXPORTERS
from curation.importers import IMPORTERS
from curation.records import Box, Task
from curation.workspace import Project
from tests.curation.conftest import picture

BOTH_WAYS = sorted(EXPORTERS.keys() & IMPORTERS.keys())
# Names that flatten, clash without case or ending, or mean something to a format.
NAMES = ["a.png", "A.png", "x/a.png", "images/a.png", "=1+1.png", "b c&<d>.e.png", "é/+ü%20.png"]
SIDES = [12, 31, 40, 17, 64, 25, 33]

VISIBLE = st.characters(codec="utf-8", categories=["L", "N", "P", "S"], exclude_characters="/")
CLASS_NAMES = st.lists(
    st.sampled_from(["ok", "a|b", "back\\slash", "=sum", "'=x", "yes", "1.5", "ünï çode", "a:b #c"])
    | st.text(VISIBLE, min_size=1, max_size=8).filter(lambda name: name.isascii()),
    min_size=2,
    max_size=4,
    unique_by=str.casefold,
)
PARTS = st.sampled_from(["train", "validation", "test"])


@dataclass(frozen=True)
class Truth:
    """What is put into the first project, by the place of each image."""

    task: Task
    classes: tuple[str, ...]
    labels: tuple[tuple[str, ...] | None, ...]
    boxes: tuple[tuple[tuple[int, float, float, float, float], ...], ...]
    parts: tuple[str, ...]


@st.composite
def truths(draw: st.DrawFn, task: Task) -> Truth:
    classes = tuple(draw(CLASS_NAMES))
    one = st.sampled_from(classes)
    number = st.floats(0, 1, allow_nan=False)
    said: list[tuple[str, ...] | None] = []
    drawn: list[tuple[tuple[int, float, float, float, float], ...]] = []
    for side in SIDES:
        boxes: list[tuple[int, float, float, float, float]] = []
        answer: tuple[str, ...] | None
        if task == "single-label":
            answer = draw(st.none() | st.tuples(one))
        elif task == "multi-label":
            answer = draw(st.none() | st.lists(one, unique=True, max_size=3).map(tuple))
        elif draw(st.booleans()):
            for _ in range(draw(st.integers(0, 3))):
                x, y = (draw(number) * (side - 1) for _ in range(2))
                width, height = (0.5 + draw(number) * (side - at - 0.5) for at in (x, y))
                place = draw(st.integers(0, len(classes) - 1))
                boxes.append((place, x, y, min(width, side - x), min(height, side - y)))
            answer = tuple({classes[place]: None for place, *_ in boxes})
        else:
            answer = None
        said.append(answer)
        drawn.append(tuple(boxes))
    parts = tuple(draw(st.lists(PARTS, min_size=len(NAMES), max_size=len(NAMES))))
    return Truth(task, classes, tuple(said), tuple(drawn), parts)


@dataclass(frozen=True)
class Bench:
    """One workspace for all projects, and the photos that they begin with."""

    folder: Path
    numbers: Iterator[int]

    def project(self, truth: Truth) -> Project:
        return workspace.create_project(
            self.folder / "workspace",
            name=f"p{next(self.numbers)}",
            class_names=truth.classes,
            task=truth.task,
            seed=5,
        )


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("formats")
    for seed, (name, side) in enumerate(zip(NAMES, SIDES, strict=True)):
        path = folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(seed, side=side).save(path)
    return Bench(folder, count())


def filled(bench: Bench, truth: Truth) -> Project:
    project = bench.project(truth)
    plan = sources.understand(
        bench.folder / "photos", known_classes=truth.classes, labels_from="none"
    )
    ingest.run(project, plan)
    ids_of = project.record.class_ids
    with project.catalog.write() as connection:
        ids = image_rows.ids_by_name(connection, project.id, NAMES)
        given: list[dict[str, object]] = []
        for name, said, boxes in zip(NAMES, truth.labels, truth.boxes, strict=True):
            if said is not None:
                given.append(
                    {
                        "image_id": ids[name],
                        "classes": tuple(sorted(project.record.ids_of(said))),
                        "boxes": tuple(Box(ids_of[place], *where) for place, *where in boxes),
                        "origin": "people",
                        "confidence": 1.0,
                        "answers": 1,
                        "version_id": 0,
                    }
                )
        labels.put(connection, project.id, given)
        split = split_rows.add(connection, project.id, split_rows.DEFAULT, {})
        split_rows.put(
            connection, split, ((ids[n], p) for n, p in zip(NAMES, truth.parts, strict=True))
        )
    return project


Row = tuple[set[str] | None, list[tuple[str, float, float, float, float]], str]


def rows(project: Project, *, imported: bool) -> dict[str, Row]:
    """Classes, boxes in the order they were drawn, and part of each image, by its pixels."""
    with project.catalog.read() as connection:
        ids = [key for key, _ in image_rows.usable(connection, project.id)]
        pixels = {row.id: row.pixel_hash for row in image_rows.stored(connection, ids)}
        metadata = image_rows.metadata_of_many(connection, ids)
        parts = split_rows.parts_of(connection, project.id, ids)
        found = labels.get(connection, ids)
        boxes = labels.boxes_of(connection, ids)
    record = project.record
    return {
        pixels[key]: (
            set(record.class_names(found[key].classes)) if key in found else None,
            [
                (record.class_names((b.class_id,))[0], b.x, b.y, b.width, b.height)
                for b in boxes.get(key, ())
            ],
            metadata.get(key, {}).get("split", "") if imported else parts.get(key, ""),
        )
        for key in ids
    }


CASES = [
    (format, task)
    for format in BOTH_WAYS
    for task in get_args(Task)
    if task in EXPORTERS[format].tasks
]


@pytest.mark.parametrize(("format", "task"), CASES)
def test_round_trip__the_same_dataset(bench: Bench, format: str, task: Task) -> None:
    exporter = EXPORTERS[format]

    @settings(max_examples=4, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(truths(task))
    def law(truth: Truth) -> None:
        project = filled(bench, truth)
        unlabeled = task in exporter.unlabeled
        try:
            exporters.check(task, truth.classes, format=format, unlabeled=unlabeled)
        except InputError:
            return  # class names that cannot be folders
        with tempfile.TemporaryDirectory(dir=bench.folder) as name:
            out = Path(name) / "out"
            done = exporters.write(
                project,
                snapshots.create(project),
                to=out,
                format=format,
                images="copy",
                unlabeled=unlabeled,
            )
            again = bench.project(truth)
            before = rows(project, imported=False)
            kept = {
                key: row
                for key, row in before.items()
                if (row[0] is not None or unlabeled) and (row[0] != set() or task in exporter.empty)
            }
            assert done.out == len(kept)
            if not kept:
                return
            plan = importers.understand(out, known_classes=truth.classes, task=task)
            assert plan.unknown_classes == ()
            outcome = ingest.run(again, plan)
            assert outcome.quarantined == []
            after = rows(again, imported=True)
            assert after.keys() == kept.keys()
            for key, (classes, boxes, part) in kept.items():
                assert after[key][0] == classes
                assert after[key][2] == part
                assert len(after[key][1]) == len(boxes)
                for one, other in zip(after[key][1], boxes, strict=True):
                    assert one[0] == other[0]
                    assert one[1:] == pytest.approx(other[1:], abs=1e-3)
            # The same import again changes nothing.
            with again.catalog.read() as connection:
                version = annotations.newest_version(connection, again.id)
            outcome = ingest.run(again, plan)
            assert (outcome.added, outcome.labeled, outcome.relabeled) == (0, 0, 0)
            with again.catalog.read() as connection:
                assert annotations.newest_version(connection, again.id) == version

    law()
    for left in bench.folder.glob("tmp*"):
        shutil.rmtree(left)
