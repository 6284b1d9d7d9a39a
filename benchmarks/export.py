"""How fast an export is and how much memory it takes, beside a plain `cp -r` of the same files.

The images are those of the sample data, linked under as many names as asked for. Every export runs
in a process of its own, whose peak memory is read when it ends; a process that only lists the
snapshot's rows is the floor.

    python -m benchmarks.export --images 2000
    python -m benchmarks.export --images 100000 --formats csv,coco,webdataset
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from curation import images, snapshots, workspace
from curation.catalog import annotations, imported, labels
from curation.catalog import images as image_rows
from curation.catalog.bulk import batched
from curation.errors import UnreadableImage
from curation.exporters import EXPORTERS
from curation.records import NewImage, Task
from curation.workspace import Project

SAMPLE = Path(__file__).parents[1] / "sample_data" / "images"
CLASSES = ("a", "b", "c")

ONE = """
import json, resource, sys, time
from pathlib import Path
from curation import exporters, snapshots, workspace

project = workspace.project(workspace.open(Path(sys.argv[1])))
snapshot = snapshots.get(project)
begun, worked = time.perf_counter(), time.process_time()
if sys.argv[3] == "nothing":
    out = sum(1 for _ in snapshots.entries(project, snapshot))
else:
    done = exporters.write(
        project, snapshot, to=Path(sys.argv[2]), format=sys.argv[3], images=sys.argv[4] or None
    )
    out = done.out
seconds = time.perf_counter() - begun
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
cpu = time.process_time() - worked
print(json.dumps({"out": out, "seconds": seconds, "cpu": cpu, "peak_mib": peak}))
"""


def project_of(folder: Path, count: int, task: Task) -> Project:
    """A project of `count` labeled images, hard links to the sample's."""
    made = workspace.create_project(
        folder / "w", name="bench", class_names=CLASSES, task=task, seed=1
    )
    with made.catalog.write() as connection:
        source = image_rows.add_source(connection, made.id, str(folder / "photos"))
        for rows in batched(_rows(folder / "photos", count), 1000):
            ids = image_rows.add(connection, made.id, rows, source_id=source, seed=1)
            given = {key: (made.record.class_ids[key % 3],) for key in ids.values()}
            imported.put(
                connection, made.id, [imported.Answer(key, said) for key, said in given.items()]
            )
            version = annotations.newest_version(connection, made.id)
            fixed = {"origin": "import", "confidence": 1.0, "answers": 1, "version_id": version}
            labels.put(
                connection,
                made.id,
                [{"image_id": key, "classes": said, **fixed} for key, said in given.items()],
            )
    snapshots.create(made)
    return made


def _rows(photos: Path, count: int) -> Iterator[NewImage]:
    known = []
    for path in sorted(SAMPLE.iterdir()):
        try:
            known.append((path, images.inspect(path)))
        except UnreadableImage:
            continue
    for number, (path, found) in enumerate(islice(cycle(known), count)):
        name = f"{number // 1000:03}/{number:06}{path.suffix}"
        target = photos / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target)
        except OSError:  # another disk, or as many links as a file may have
            shutil.copy(path, target)
        yield NewImage(
            name=name,
            origin=str(target),
            location=str(target),
            sha256=found.sha256,
            pixel_hash=found.pixel_hash,
            bytes=found.bytes,
            modified_ns=found.mtime_ns,
            width=found.width,
            height=found.height,
            format=found.format,
            mode=found.mode,
            frames=found.frames,
            orientation=found.orientation,
        )


def measured(folder: Path, format: str, way: str) -> dict[str, Any]:
    """One export in a process of its own."""
    out = folder / f"out-{format}-{way}"
    words = [sys.executable, "-c", ONE, str(folder / "w"), str(out), format, way]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    shutil.rmtree(out, ignore_errors=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def copied(folder: Path) -> tuple[float, float]:
    """Seconds that `cp -r` takes until all is on the disk, and seconds of a core."""
    begun, worked = time.perf_counter(), _children()
    subprocess.run(["cp", "-r", str(folder / "photos"), str(folder / "copy")], check=True)
    os.sync()
    seconds = time.perf_counter() - begun
    shutil.rmtree(folder / "copy")
    return seconds, _children() - worked


def _children() -> float:
    used = os.times()
    return used.children_user + used.children_system


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--formats", default=",".join(EXPORTERS))
    parser.add_argument("--ways", default="copy,link,none")
    parser.add_argument("--folder", type=Path, help="on the disk that is meant; a new one")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        tasks: tuple[Task, ...] = ("single-label", "boxes")
        for task in tasks:
            wanted = [
                one
                for one in asked.formats.split(",")
                if (task == "boxes") == ("single-label" not in EXPORTERS[one].tasks)
            ]
            if wanted:
                folder = Path(name) / task
                project_of(folder, asked.images, task).catalog.close()
                _table(folder, wanted, asked.images, asked.ways.split(","))


def _table(folder: Path, formats: list[str], count: int, ways: list[str]) -> None:
    print(f"{'':24} {'images/s':>9} {'seconds':>8} {'core s':>7} {'peak MiB':>9}")
    floor = measured(folder, "nothing", "")
    print(_line("rows alone", 0, floor))
    seconds, cpu = copied(folder)
    print(_line("cp -r, sync", count, {"seconds": seconds, "cpu": cpu}))
    for one in formats:
        for way in EXPORTERS[one].images:
            if way not in ways or (one, way) == ("yolo", "none"):
                continue  # single labels of YOLO are its folders
            found = measured(folder, one, way)
            print(_line(f"{one}, {way}", found["out"], found), flush=True)


def _line(name: str, count: int, found: dict[str, Any]) -> str:
    rate = f"{count / found['seconds']:,.0f}" if count else ""
    peak = f"{found['peak_mib']:.0f}" if "peak_mib" in found else ""
    return f"{name:24} {rate:>9} {found['seconds']:8.1f} {found['cpu']:7.1f} {peak:>9}"


if __name__ == "__main__":
    main()
