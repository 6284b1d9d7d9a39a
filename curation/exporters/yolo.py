"""YOLO: boxes as `images/`, `labels/` and `data.yaml`; single labels as PART/CLASS/NAME.

A label file holds a line for each box: class number, then centre, width and height as shares of the
upright image, as exact as floating point is. An empty file is an image that was looked at, no file
one that was not. The part `validation` is called `val`, as the tools expect it.
"""

import json

from curation.errors import InputError
from curation.exporters import folder
from curation.exporters.names import safe
from curation.exporters.record import Export, Exporter, Images, Item, part_of
from curation.manifest import Entry
from curation.records import Task

SETTINGS = "data.yaml"
_VAL = {"validation": "val"}
# Without a split of its own, a project is judged on the halves of its reserve.
_KEYS = {"train": ("train",), "val": ("val", "calibration"), "test": ("test", "holdout")}


def _path(entry: Entry, task: Task) -> str:
    part = _part(entry)
    if task == "boxes":
        return f"images/{part}/{safe(entry.name)}"
    return f"{part}/{(entry.classes or ('',))[0]}/{safe(entry.name)}"


def _part(entry: Entry) -> str:
    part = part_of(entry)
    return safe(_VAL.get(part, part))


def _beside(export: Export, item: Item) -> tuple[str, bytes] | None:
    entry = item.entry
    if export.task != "boxes" or entry.classes is None:
        return None
    numbers = {name: number for number, name in enumerate(export.classes)}
    lines = [
        f"{numbers[box.label]} {(box.x + box.width / 2) / entry.width!r} "
        f"{(box.y + box.height / 2) / entry.height!r} {box.width / entry.width!r} "
        f"{box.height / entry.height!r}\n"
        for box in entry.boxes
    ]
    stem = item.path.removeprefix("images/")
    return f"labels/{_without_ending(stem)}.txt", "".join(lines).encode()


def _without_ending(path: str) -> str:
    head, slash, last = path.rpartition("/")
    return head + slash + (last.rpartition(".")[0] if "." in last[1:] else last)


def _finish(export: Export) -> None:
    if export.task != "boxes":
        return
    parts = {_VAL.get(part, part) for part in export.parts}
    lines = [f"# {json.dumps(export.project)}, snapshot {export.snapshot.id}"]
    for key, names in _KEYS.items():
        found = next((name for name in names if name in parts), None)
        if found is not None:
            lines.append(f"{key}: images/{found}")
    lines.append(f"nc: {len(export.classes)}")
    # A JSON string is a YAML string.
    quoted = [json.dumps(name, ensure_ascii=False) for name in export.classes]
    lines += ["names:", *(f"  {number}: {name}" for number, name in enumerate(quoted))]
    export.folder.place(SETTINGS, ("\n".join(lines) + "\n").encode())


def _check(classes: tuple[str, ...], task: Task, images: Images) -> None:
    if task == "boxes":
        return
    folder.check_folders(classes, task, images)
    if images == "none":
        raise InputError(
            "YOLO's labels of whole images are the folders that the images lie in, so --images "
            "none leaves nothing. Choose --images copy or link."
        )


EXPORTER = Exporter(
    description="YOLO: boxes with data.yaml, or class folders",
    tasks=("single-label", "boxes"),
    images=("copy", "link", "none"),
    path=_path,
    finish=_finish,
    check=_check,
    beside=_beside,
    unlabeled=("boxes",),
    empty=("boxes",),
    stems=True,
    reserved=(SETTINGS,),
)
