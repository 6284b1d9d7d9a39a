"""Label Studio: `tasks.json` to import, `label_config.xml` to label with, and `images/`.

Addresses of images are of Label Studio's local files, relative to the export's folder: with that as
the document root and a local storage on its `images/`, nothing is uploaded. An image that was
looked at has an annotation, perhaps an empty one; an unlabeled image has none.
"""

import re
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from curation.exporters.lines import as_json
from curation.exporters.names import safe
from curation.exporters.record import Export, Exporter, Item
from curation.manifest import Entry
from curation.records import Task

TASKS = "tasks.json"
CONFIG = "label_config.xml"
IMAGES = "images"
_CONTROL, _IMAGE = "label", "image"
_OURS = (_IMAGE, "name", "split", "group")


def _path(entry: Entry, _: Task) -> str:
    return f"{IMAGES}/{safe(entry.name)}"


def _finish(export: Export) -> None:
    with export.folder.writing(TASKS) as file:
        file.write(b"[")
        for number, item in enumerate(export.items()):
            file.write((b",\n" if number else b"\n") + as_json(_task(export, item)))
        file.write(b"\n]\n")
    export.folder.place(CONFIG, _config(export).encode())


def _task(export: Export, item: Item) -> dict[str, Any]:
    entry = item.entry
    path = entry.name if export.images == "none" else item.path
    data: dict[str, Any] = {
        _IMAGE: f"/data/local-files/?d={quote(path)}",
        "name": entry.name,
        "split": entry.split,
        "group": entry.group,
    }
    for column in sorted(entry.metadata):
        data[f"metadata.{column}" if column in _OURS else column] = entry.metadata[column]
    if entry.classes is None:
        return {"data": data}
    answer = {
        "result": _boxes(entry, item.position) if export.task == "boxes" else _choices(entry, item),
        "was_cancelled": False,
        "ground_truth": False,
    }
    return {"data": data, "annotations": [answer]}


def _choices(entry: Entry, item: Item) -> list[dict[str, Any]]:
    if not entry.classes:
        return []
    return [
        {
            "id": f"{item.position}-0",
            "from_name": _CONTROL,
            "to_name": _IMAGE,
            "type": "choices",
            "value": {"choices": list(entry.classes)},
        }
    ]


def _boxes(entry: Entry, position: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{position}-{number}",
            "from_name": _CONTROL,
            "to_name": _IMAGE,
            "type": "rectanglelabels",
            "original_width": entry.width,
            "original_height": entry.height,
            "image_rotation": 0,
            "value": {
                "x": 100 * box.x / entry.width,
                "y": 100 * box.y / entry.height,
                "width": 100 * box.width / entry.width,
                "height": 100 * box.height / entry.height,
                "rotation": 0,
                "rectanglelabels": [box.label],
            },
        }
        for number, box in enumerate(entry.boxes)
    ]


def _config(export: Export) -> str:
    boxes = export.task == "boxes"
    tag, one = ("RectangleLabels", "Label") if boxes else ("Choices", "Choice")
    kind = {"single-label": ' choice="single"', "multi-label": ' choice="multiple"'}
    options = "\n".join(f"    <{one} {_named(name)}/>" for name in export.classes)
    return (
        f'<View>\n  <Image name="{_IMAGE}" value="${_IMAGE}"/>\n'
        f'  <{tag} name="{_CONTROL}" toName="{_IMAGE}"{kind.get(export.task, "")}>\n'
        f"{options}\n  </{tag}>\n</View>\n"
    )


def _named(name: str) -> str:
    """A class that is stored as it is, also where a word after a dollar sign means a field."""
    shown = re.sub(r"\$(?=\S)", "$\u200b", name)
    alias = "" if shown == name else f" alias={quoteattr(name)}"
    return f"value={quoteattr(shown)}{alias}"


EXPORTER = Exporter(
    description="Label Studio JSON: tasks with annotations, and the interface",
    tasks=("single-label", "multi-label", "boxes"),
    images=("copy", "link", "none"),
    path=_path,
    finish=_finish,
)
