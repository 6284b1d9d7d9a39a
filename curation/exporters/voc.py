"""Pascal VOC: `JPEGImages/`, `Annotations/` and the lists of `ImageSets/Main/`.

VOC counts pixels from 1 and includes the last one: a box from x over a width is xmin = x + 1 to
xmax = x + width. Coordinates keep their fractions, as VOC's own files from 2011 on have them. An
annotation without objects is an image that was looked at, no annotation one that was not.
"""

from xml.etree import ElementTree

from curation.exporters.names import safe
from curation.exporters.record import Export, Exporter, Item
from curation.manifest import Entry
from curation.records import Task

IMAGES = "JPEGImages"


def _path(entry: Entry, _: Task) -> str:
    return f"{IMAGES}/{safe(entry.name)}"


def _beside(export: Export, item: Item) -> tuple[str, bytes] | None:
    entry = item.entry
    if entry.classes is None:
        return None
    path = entry.name if export.images == "none" else item.path.removeprefix(f"{IMAGES}/")
    root = ElementTree.Element("annotation")
    _add(root, "folder", IMAGES)
    _add(root, "filename", path)
    _add(_add(root, "source"), "database", export.project)
    size = _add(root, "size")
    _add(size, "width", str(entry.width))
    _add(size, "height", str(entry.height))
    _add(size, "depth", "3")
    _add(root, "segmented", "0")
    for box in entry.boxes:
        found = _add(root, "object")
        _add(found, "name", box.label)
        _add(found, "pose", "Unspecified")
        _add(found, "truncated", "0")
        _add(found, "difficult", "0")
        bounds = _add(found, "bndbox")
        _add(bounds, "xmin", _number(box.x + 1))
        _add(bounds, "ymin", _number(box.y + 1))
        _add(bounds, "xmax", _number(box.x + box.width))
        _add(bounds, "ymax", _number(box.y + box.height))
    ElementTree.indent(root)
    content = ElementTree.tostring(root, encoding="utf-8") + b"\n"
    return f"Annotations/{_stem(item.path)}.xml", content


def _add(parent: ElementTree.Element, tag: str, text: str | None = None) -> ElementTree.Element:
    made = ElementTree.SubElement(parent, tag)
    made.text = text
    return made


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _stem(path: str) -> str:
    head, slash, last = path.removeprefix(f"{IMAGES}/").rpartition("/")
    return head + slash + (last.rpartition(".")[0] if "." in last[1:] else last)


def _finish(export: Export) -> None:
    for part in export.parts:
        name = {"validation": "val"}.get(part, safe(part))
        with export.folder.writing(f"ImageSets/Main/{name}.txt") as file:
            for item in export.items():
                if item.part == part:
                    file.write(f"{_stem(item.path)}\n".encode())


EXPORTER = Exporter(
    description="Pascal VOC XML: boxes",
    tasks=("boxes",),
    images=("copy", "link", "none"),
    path=_path,
    finish=_finish,
    beside=_beside,
    stems=True,
)
