"""Hugging Face: Parquet files with the images in them, and the README.md of a dataset card.

`datasets.load_dataset(FOLDER)` decodes the images and knows the classes: both are written into the
files' schema. `labeled` tells an image with none of the classes from an unlabeled one.
"""

import json
import re
from typing import Any

from curation.exporters.lines import as_json
from curation.exporters.names import safe
from curation.exporters.record import Export, Exporter, Item
from curation.manifest import Entry
from curation.records import Task

CARD = "README.md"
_ROWS = 100
_ROW_BYTES = 32 * 1024 * 1024
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def _path(entry: Entry, _: Task) -> str:
    return safe(entry.name)


def _shard(export: Export, part: str, number: int, items: list[Item]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(export)
    with (
        export.folder.writing(f"data/{_split(part)}-{number:05}.parquet") as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,  # type: ignore[no-untyped-call]
    ):
        rows: list[dict[str, Any]] = []
        size = 0
        for item in items:
            rows.append(_row(export, item))
            size += len(item.data)
            if len(rows) == _ROWS or size >= _ROW_BYTES:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows, size = [], 0
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _split(part: str) -> str:
    """A part's name as the library allows it: letters, digits and underscores."""
    return re.sub(r"\W", "_", part)


def _schema(export: Export) -> Any:
    import pyarrow as pa

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    numbers = pa.list_(pa.int64())
    boxes = pa.struct([("bbox", pa.list_(pa.list_(pa.float64()))), ("category", numbers)])
    labels = {"single-label": pa.int64(), "multi-label": numbers, "boxes": boxes}[export.task]
    fields = [
        ("image", image),
        (_column(export.task), labels),
        ("labeled", pa.bool_()),
        ("name", pa.string()),
        ("group", pa.string()),
        ("width", pa.int64()),
        ("height", pa.int64()),
    ]
    if export.columns:
        fields.append(("metadata", pa.struct([(name, pa.string()) for name in export.columns])))
    features = {"info": {"features": _features(export)}}
    return pa.schema(fields, metadata={"huggingface": json.dumps(features)})


def _column(task: Task) -> str:
    return {"single-label": "label", "multi-label": "labels", "boxes": "objects"}[task]


def _features(export: Export) -> dict[str, Any]:
    text = {"dtype": "string", "_type": "Value"}
    number = {"dtype": "int64", "_type": "Value"}
    real = {"dtype": "float64", "_type": "Value"}
    label: dict[str, Any] = {"names": list(export.classes), "_type": "ClassLabel"}
    several = {"feature": label, "_type": "Sequence"}
    four = {"feature": real, "_type": "Sequence"}
    boxes = {"bbox": {"feature": four, "_type": "Sequence"}, "category": several}
    features: dict[str, Any] = {
        "image": {"_type": "Image"},
        _column(export.task): {
            "single-label": label,
            "multi-label": several,
            "boxes": boxes,
        }[export.task],
        "labeled": {"dtype": "bool", "_type": "Value"},
        "name": text,
        "group": text,
        "width": number,
        "height": number,
    }
    if export.columns:
        features["metadata"] = dict.fromkeys(export.columns, text)
    return features


def _row(export: Export, item: Item) -> dict[str, Any]:
    entry = item.entry
    numbers = {name: number for number, name in enumerate(export.classes)}
    given = [numbers[name] for name in entry.classes or ()]
    labels: dict[Task, Any] = {
        "single-label": given[0] if given else None,
        "multi-label": given,
        "boxes": {
            "bbox": [[box.x, box.y, box.width, box.height] for box in entry.boxes],
            "category": [numbers[box.label] for box in entry.boxes],
        },
    }
    row = {
        "image": {"bytes": item.data, "path": item.path},
        _column(export.task): labels[export.task],
        "labeled": entry.classes is not None,
        "name": entry.name,
        "group": entry.group,
        "width": entry.width,
        "height": entry.height,
    }
    if export.columns:
        row["metadata"] = {name: entry.metadata.get(name) for name in export.columns}
    return row


def _finish(export: Export) -> None:
    counts = dict.fromkeys(export.parts, 0)
    for item in export.items():
        counts[item.part] += 1
    total = sum(counts.values())
    size = next((name for most, name in _SIZES if total < most), "n>1M")
    kind = "object-detection" if export.task == "boxes" else "image-classification"
    # JSON strings are YAML strings.
    front = [
        f"pretty_name: {as_json(export.project).decode()}",
        *(f"{key}: {as_json(value).decode()}" for key, value in export.licenses.items()),
        "task_categories:",
        f"- {kind}",
        "size_categories:",
        f"- {size}",
        "configs:",
        "- config_name: default",
        "  data_files:" if counts else "  data_files: []",
    ]
    for part, count in counts.items():
        if count:
            front += [f"  - split: {_split(part)}", f"    path: data/{_split(part)}-*.parquet"]
    rows = [f"| {part} | {count:,} |" for part, count in counts.items()]
    classes = [f"- {name}" for name in export.classes]
    body = [
        f"# {export.project}",
        "",
        f"{total:,} images, exported by labelloop from the snapshot `{export.snapshot.id}`. "
        "`labeled` is false for images that nobody has labeled.",
        "",
        "| Part | Images |",
        "|---|---|",
        *rows,
        "",
        "## Classes",
        "",
        *classes,
    ]
    export.folder.place(CARD, "\n".join(["---", *front, "---", "", *body, ""]).encode())


EXPORTER = Exporter(
    description="Hugging Face: Parquet with the images, and a dataset card",
    tasks=("single-label", "multi-label", "boxes"),
    images=("copy",),
    path=_path,
    finish=_finish,
    shard=_shard,
    reserved=(CARD,),
)
