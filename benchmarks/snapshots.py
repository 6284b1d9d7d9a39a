"""How long the versions of a large dataset take: create, compare, verify, go back.

    python -m benchmarks.snapshots [--images 100000] [--repeats 3]

The catalog is filled with rows of images that exist nowhere, half of them labeled, each with two
columns of metadata; no image file is read.
"""

import argparse
import hashlib
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import TypeVar

from curation import snapshots, versions, workspace
from curation.catalog import images, labels
from curation.catalog.bulk import batched
from curation.records import NewImage
from curation.snapshots import Snapshot
from curation.workspace import Project

CLASSES = [f"class-{number}" for number in range(10)]

T = TypeVar("T")


def main() -> None:
    """Prints a table: seconds, median of the repeats and their range."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--images", type=int, default=100_000)
    asked.add_argument("--repeats", type=int, default=3)
    options = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = fill(Path(folder) / "w", options.images)
        first = snapshots.create(project)
        seconds: dict[str, list[float]] = {}
        for _ in range(options.repeats):
            once(project, first, seconds, options.images)
    print(f"| {options.images:,} images | Seconds, median of {options.repeats} (range) |")
    print("|---|---|")
    for name, found in seconds.items():
        print(f"| {name} | {median(found):.1f} ({min(found):.1f} to {max(found):.1f}) |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nPeak memory: {peak:,.0f} MB")


def once(project: Project, first: Snapshot, seconds: dict[str, list[float]], count: int) -> None:
    """Goes from the first snapshot to another and back."""
    snapshots.path_of(project, first).unlink()
    timed(seconds, "create", lambda: snapshots.create(project))
    unlabel(project, count // 100)
    other = timed(seconds, "create after 1 % changed", lambda: snapshots.create(project))
    timed(seconds, "diff", lambda: sum(1 for _ in versions.diff(project, first, other)))
    timed(seconds, "verify", lambda: versions.verify(project, other, images=False))
    timed(seconds, "restore", lambda: versions.restore(project, first))


def timed(seconds: dict[str, list[float]], name: str, work: Callable[[], T]) -> T:
    """Does the work and notes how long it took."""
    begun = time.perf_counter()
    done = work()
    seconds.setdefault(name, []).append(time.perf_counter() - begun)
    return done


def fill(path: Path, count: int) -> Project:
    """A project with so many images that were never on a disk."""
    project = workspace.create_project(path, name="large", class_names=CLASSES, seed=1)
    with project.catalog.write() as connection:
        source = images.add_source(connection, project.id, "nowhere")
    for batch in batched(rows(count), 10_000):
        with project.catalog.write() as connection:
            ids = images.add(connection, project.id, batch, source_id=source, seed=1)
            found: list[dict[str, object]] = [
                {
                    "image_id": key,
                    "classes": (project.record.class_ids[key % len(CLASSES)],),
                    **{"origin": "people", "confidence": 1.0, "answers": 1, "version_id": 1},
                }
                for key in ids.values()
                if key % 2
            ]
            labels.put(connection, project.id, found)
    return project


def rows(count: int) -> Iterator[NewImage]:
    """Images as an import would have found them."""
    for number in range(count):
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        yield NewImage(
            name=f"folder-{number % 100}/image-{number:07d}.jpg",
            origin=f"nowhere/{number}",
            location=f"nowhere/{number}",
            sha256=digest,
            pixel_hash=digest,
            width=640,
            height=480,
            metadata={"studio": "abc"[number % 3], "season": "wsx"[number % 3]},
        )


def unlabel(project: Project, count: int) -> None:
    """Takes the labels of the first images away."""
    with project.catalog.write() as connection:
        labels.remove(connection, list(range(1, count + 1)))


if __name__ == "__main__":
    main()
