"""Croissant 1.0: `croissant.json` describes `images/` and `records.parquet`, a row for each image.

The table is Parquet, since readers of Croissant guess the types of a CSV: a class called NA would
be lost. A box is a text of its x, y, width and height, divided by spaces, since the reference
reader takes no array. Source: the Croissant format specification, MLCommons (2024).
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from curation.exporters.names import safe
from curation.exporters.record import Export, Exporter, Item
from curation.manifest import Entry
from curation.records import Task

METADATA = "croissant.json"
TABLE = "records.parquet"
IMAGES = "images"
_ROWS = 10_000

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def _path(entry: Entry, _: Task) -> str:
    return f"{IMAGES}/{safe(entry.name)}"


def _finish(export: Export) -> None:
    with export.folder.writing(TABLE) as file:
        _write_table(export, file)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        file.seek(0, 2)
    described = json.dumps(_described(export, digest), indent=2, ensure_ascii=False)
    export.folder.place(METADATA, described.encode() + b"\n")


def _write_table(export: Export, file: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("image", pa.string()),
            ("labeled", pa.bool_()),
            ("labels", pa.list_(pa.string())),
            ("boxes", pa.list_(pa.string())),
            ("box_labels", pa.list_(pa.string())),
            ("split", pa.string()),
            ("group", pa.string()),
            ("width", pa.int64()),
            ("height", pa.int64()),
            *((_title(name), pa.string()) for name in export.columns),
        ]
    )
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:  # type: ignore[no-untyped-call]
        for rows in _batches(export):
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _title(column: str) -> str:
    return f"metadata/{column}"


def _batches(export: Export) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    for item in export.items():
        rows.append(_row(export, item))
        if len(rows) == _ROWS:
            yield rows
            rows = []
    if rows:
        yield rows


def _row(export: Export, item: Item) -> dict[str, Any]:
    entry = item.entry
    return {
        "image": item.path,
        "labeled": entry.classes is not None,
        "labels": list(entry.classes or ()),
        "boxes": [f"{box.x!r} {box.y!r} {box.width!r} {box.height!r}" for box in entry.boxes],
        "box_labels": [box.label for box in entry.boxes],
        "split": entry.split,
        "group": entry.group,
        "width": entry.width,
        "height": entry.height,
        **{_title(name): entry.metadata.get(name) for name in export.columns},
    }


def _described(export: Export, sha256: str) -> dict[str, Any]:
    stated = [text for text in export.snapshot.header.get("licenses", []) if text]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": export.project,
        "description": f"Snapshot {export.snapshot.id} of the labelloop project {export.project}.",
        "version": "1.0.0",
        **({"license": stated} if stated else {}),
        "datePublished": str(export.snapshot.header.get("created_at", ""))[:10],
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": TABLE,
                "name": TABLE,
                "contentUrl": TABLE,
                "encodingFormat": "application/x-parquet",
                "sha256": sha256,
            },
            {
                "@type": "cr:FileSet",
                "@id": IMAGES,
                "name": IMAGES,
                "encodingFormat": "image/jpeg",
                "includes": f"{IMAGES}/*",
            },
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "records",
                "name": "records",
                "key": {"@id": "records/path"},
                "field": [*_fields(export)],
            }
        ],
    }


def _fields(export: Export) -> Iterator[dict[str, Any]]:
    yield {
        **_field("image", "sc:ImageObject", None),
        "source": {"fileSet": {"@id": IMAGES}, "extract": {"fileProperty": "content"}},
    }
    # The pattern takes all of it: without one, the reference reader joins nothing.
    path = {"extract": {"fileProperty": "fullpath"}, "transform": {"regex": "^(.*)$"}}
    yield {
        **_field("path", "sc:Text", None),
        "source": {"fileSet": {"@id": IMAGES}, **path},
        "references": {"fileObject": {"@id": TABLE}, "extract": {"column": "image"}},
    }
    yield _field("labeled", "sc:Boolean", "labeled")
    yield {**_field("labels", "sc:Text", "labels"), "repeated": True}
    if export.task == "boxes":
        yield {**_field("boxes", "cr:BoundingBox", "boxes"), "repeated": True}
        yield {**_field("box_labels", "sc:Text", "box_labels"), "repeated": True}
    for name in ("split", "group"):
        yield _field(name, "sc:Text", name)
    for name in ("width", "height"):
        yield _field(name, "sc:Integer", name)
    for column in export.columns:
        yield _field(_title(column), "sc:Text", _title(column))


def _field(name: str, kind: str, column: str | None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"records/{name}",
        "name": name,
        "dataType": kind,
    }
    if column is not None:
        made["source"] = {"fileObject": {"@id": TABLE}, "extract": {"column": column}}
    return made


EXPORTER = Exporter(
    description="Croissant metadata with a Parquet table and the images",
    tasks=("single-label", "multi-label", "boxes"),
    images=("copy", "link"),
    path=_path,
    finish=_finish,
)
