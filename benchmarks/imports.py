"""How fast an import is and how much memory it takes, beside reading and hashing the same files.

The images are those of the sample data, linked under as many names as asked for, with a label each.
Every import runs in a process of its own, whose peak memory is read when it ends.

    python -m benchmarks.imports --images 2000
    python -m benchmarks.imports --images 100000 --formats csv,coco
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from curation import images
from curation.errors import UnreadableImage

SAMPLE = Path(__file__).parents[1] / "sample_data" / "images"
CLASSES = ("a", "b", "c")
FORMATS = ("folder", "csv", "coco")

ONE = """
import json, resource, sys, time
from pathlib import Path
from curation import images, importers, ingest, workspace

source, home, format = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
begun, worked = time.perf_counter(), time.process_time()
if format == "nothing":
    done = sum(1 for _ in images.inspect_many(sorted(source.rglob("*.jpg"))))
else:
    project = workspace.create_project(home, name="bench", class_names=["a", "b", "c"], seed=1)
    plan = importers.understand(
        source, known_classes=project.record.classes, task="single-label", format=format
    )
    done = ingest.run(project, plan).labeled
seconds = time.perf_counter() - begun
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
cpu = time.process_time() - worked
print(json.dumps({"done": done, "seconds": seconds, "cpu": cpu, "peak_mib": peak}))
"""


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--formats", default=",".join(FORMATS))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = photos(folder / "photos", asked.images)
        describe(folder / "photos", names)
        print(f"{'':24} {'images/s':>9} {'seconds':>8} {'core s':>7} {'peak MiB':>9}")
        for format in ("nothing", *asked.formats.split(",")):
            found = measured(folder, format)
            title = "read and hash alone" if format == "nothing" else format
            rate = f"{found['done'] / found['seconds']:,.0f}"
            print(
                f"{title:24} {rate:>9} {found['seconds']:8.1f} {found['cpu']:7.1f} "
                f"{found['peak_mib']:9.0f}",
                flush=True,
            )


def photos(folder: Path, count: int) -> list[str]:
    """Links to the sample's readable images in folders named by a class; returns their names."""
    known = []
    for path in sorted(SAMPLE.iterdir()):
        try:
            images.inspect(path)
        except UnreadableImage:
            continue
        known.append(path)
    names = []
    for number, path in enumerate(islice(cycle(known), count)):
        name = f"{CLASSES[number % 3]}/{number // 3000:03}/{number:06}{path.suffix}"
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target)
        except OSError:  # another disk, or as many links as a file may have
            shutil.copy(path, target)
        names.append(name)
    return names


def describe(folder: Path, names: list[str]) -> None:
    """The same labels as a table and as COCO."""
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["filename", "label"])
        rows.writerows([name, name.split("/")[0]] for name in names)
    content = {
        "images": [
            {"id": number, "file_name": name, "width": 112, "height": 112}
            for number, name in enumerate(names)
        ],
        "annotations": [
            {"id": number, "image_id": number, "category_id": CLASSES.index(name.split("/")[0])}
            for number, name in enumerate(names)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES)],
    }
    (folder / "instances.json").write_text(json.dumps(content), encoding="utf-8")


def measured(folder: Path, format: str) -> dict[str, Any]:
    """One import in a process of its own."""
    source = folder / "photos"
    table = {"csv": "labels.csv", "coco": "instances.json"}.get(format)
    home = folder / f"w-{format}"
    where = source / table if table else source
    words = [sys.executable, "-c", ONE, str(where), str(home), format]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    shutil.rmtree(home, ignore_errors=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
