"""WebDataset: tar files of up to 500 images, PART-000000.tar and on.

Each image is two or three members of one key: the picture, `.json` with all that is known of it,
and `.cls` with the number of its class where the task gives each image one. Keys are names without
their ending, dots replaced: a key ends at the first dot. Members carry no time and no owner, so
equal content gives equal files.
"""

import io
import tarfile
from collections.abc import Iterator

from curation.exporters.content import ending
from curation.exporters.lines import as_json
from curation.exporters.names import safe
from curation.exporters.record import Export, Exporter, Item
from curation.manifest import Entry
from curation.records import Task

ABOUT = "dataset.json"


def _path(entry: Entry, _: Task) -> str:
    head, slash, last = safe(entry.name).rpartition("/")
    stem = last.rpartition(".")[0] if "." in last[1:] else last
    key = head + slash + stem.replace(".", "_")
    return f"x{key}" if key.startswith("__") else key  # such names are passed over as remarks


def _shard(export: Export, part: str, number: int, items: list[Item]) -> None:
    with (
        export.folder.writing(f"{safe(part)}-{number:06}.tar") as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for item in items:
            for name, content in _members(export, item):
                about = tarfile.TarInfo(f"{item.path}.{name}")
                about.size = len(content)
                about.mode = 0o644
                tar.addfile(about, io.BytesIO(content))


def _members(export: Export, item: Item) -> Iterator[tuple[str, bytes]]:
    entry = item.entry
    yield ending(item.data), item.data
    if export.task == "single-label" and entry.classes:
        yield "cls", str(export.classes.index(entry.classes[0])).encode()
    yield (
        "json",
        as_json(
            {
                "name": entry.name,
                "labeled": entry.classes is not None,
                "labels": list(entry.classes or ()),
                "boxes": [
                    {"label": box.label, "bbox": [box.x, box.y, box.width, box.height]}
                    for box in entry.boxes
                ],
                "split": entry.split,
                "group": entry.group,
                "width": entry.width,
                "height": entry.height,
                "metadata": entry.metadata,
            }
        ),
    )


def _finish(export: Export) -> None:
    about = {
        "project": export.project,
        "snapshot": export.snapshot.id,
        "task": export.task,
        "classes": list(export.classes),
        "parts": list(export.parts),
    }
    export.folder.place(ABOUT, as_json(about) + b"\n")


EXPORTER = Exporter(
    description="WebDataset: tar shards with image, class number and JSON",
    tasks=("single-label", "multi-label", "boxes"),
    images=("copy",),
    path=_path,
    finish=_finish,
    shard=_shard,
    reserved=(ABOUT,),
)
