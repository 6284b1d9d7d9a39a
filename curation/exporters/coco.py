"""COCO: `images/` and one `annotations/instances_PART.json` for each part.

Boxes are x, y, width and height from the top left corner of the upright image, as they are here. A
label of a whole image is an annotation without a box: a made-up box would be trained on silently.
It has an area, so that pycocotools can filter it. Category ids count from 1 in the order of the
classes. `reviewed` tells an image on which nothing was found from one that nobody looked at.
"""

from typing import Any

from curation.exporters.lines import Array, arrays, as_json
from curation.exporters.names import safe
from curation.exporters.record import Export, Exporter, Item
from curation.manifest import Entry
from curation.records import Task

IMAGES = "images"


def _path(entry: Entry, _: Task) -> str:
    return f"{IMAGES}/{safe(entry.name)}"


def _finish(export: Export) -> None:
    category_ids = {name: number for number, name in enumerate(export.classes, 1)}
    wanted = [f"{kind}/{part}" for part in export.parts for kind in ("images", "annotations")]
    annotated = 0
    with arrays(export.folder, wanted) as lists:
        for item in export.items():
            lists[f"images/{item.part}"].add(_image(export, item))
            for annotation in _annotations(export, item, category_ids):
                annotated += 1
                lists[f"annotations/{item.part}"].add({"id": annotated, **annotation})
        for part in export.parts:
            _write(export, part, lists[f"images/{part}"], lists[f"annotations/{part}"])


def _image(export: Export, item: Item) -> dict[str, Any]:
    entry = item.entry
    path = item.path.removeprefix(f"{IMAGES}/")
    made: dict[str, Any] = {
        "id": item.position + 1,
        "width": entry.width,
        "height": entry.height,
        "file_name": entry.name if export.images == "none" else path,
        "split": entry.split,
        "reviewed": entry.classes is not None,
        "group": entry.group,
    }
    if entry.metadata:
        made["metadata"] = entry.metadata
    return made


def _annotations(export: Export, item: Item, category_ids: dict[str, int]) -> list[dict[str, Any]]:
    entry = item.entry
    if export.task == "boxes":
        return [
            {
                "image_id": item.position + 1,
                "category_id": category_ids[box.label],
                "bbox": [box.x, box.y, box.width, box.height],
                "area": box.width * box.height,
                "segmentation": [],
                "iscrowd": 0,
            }
            for box in entry.boxes
        ]
    return [
        {
            "image_id": item.position + 1,
            "category_id": category_ids[name],
            "area": float(entry.width * entry.height),
            "iscrowd": 0,
        }
        for name in entry.classes or ()
    ]


def _write(export: Export, part: str, images: Array, annotations: Array) -> None:
    info = {
        "description": export.project,
        "version": export.snapshot.id,
        "task": export.task,
        "split": part,
    }
    categories = [
        {"id": number, "name": name, "supercategory": ""}
        for number, name in enumerate(export.classes, 1)
    ]
    with export.folder.writing(f"annotations/instances_{safe(part)}.json") as file:
        file.write(b'{"info": ' + as_json(info) + b',\n"licenses": [],\n"categories": ')
        file.write(as_json(categories) + b',\n"images": ')
        images.copy_to(file)
        file.write(b',\n"annotations": ')
        annotations.copy_to(file)
        file.write(b"}\n")


EXPORTER = Exporter(
    description="COCO JSON: boxes, or labels of whole images",
    tasks=("single-label", "multi-label", "boxes"),
    images=("copy", "link", "none"),
    path=_path,
    finish=_finish,
)
