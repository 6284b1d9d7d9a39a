"""Snapshots: immutable versions of a dataset, named by their content.

A snapshot is a Parquet manifest of the labeled images and a JSON header beside it; images are named
by their hash and never copied. The same labels give the same snapshot, also when they changed in
between and were changed back.
"""

import hashlib
import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from curation import files
from curation.catalog import images as image_rows
from curation.catalog import labels, runs
from curation.workspace import Project


@dataclass(frozen=True)
class Snapshot:
    """A snapshot's id (the start of its manifest's SHA-256) and its header."""

    id: str
    header: dict[str, Any]


def create(project: Project, *, filters: dict[str, Any] | None = None) -> Snapshot:
    """Writes the labels as they are now, or returns the snapshot that holds the very same."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with project.catalog.read() as connection:
        rows = labels.every(connection, project.id)
        known = image_rows.manifest_of(connection, [row.image_id for row in rows])
        metadata = image_rows.metadata_of_many(connection, list(known))
        before = runs.latest_snapshot(connection, project.id)
    reserved = {known[row.image_id]["group_id"] for row in rows if known[row.image_id]["reserve"]}
    entries = []
    for row in rows:
        image = known[row.image_id]
        split = image["reserve"] or ("left-out" if image["group_id"] in reserved else "train")
        entries.append(
            {
                "sha256": image["sha256"],
                "name": image["name"],
                "label": list(project.record.class_names(row.classes)),
                "label_origin": row.origin,
                "split": split,
                "group": image["group_id"],
                "metadata": sorted(metadata.get(row.image_id, {}).items()),
            }
        )
    content = io.BytesIO()
    schema = pa.schema(
        [
            ("sha256", pa.string()),
            ("name", pa.string()),
            ("label", pa.list_(pa.string())),
            ("label_origin", pa.string()),
            ("split", pa.string()),
            ("group", pa.int64()),
            ("metadata", pa.map_(pa.string(), pa.string())),
        ],
        # Also what tells two projects apart whose rows are the same.
        metadata={"project": project.record.name, "classes": json.dumps(project.record.classes)},
    )
    pq.write_table(pa.Table.from_pylist(entries, schema=schema), content)  # type: ignore[no-untyped-call]
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    snapshot_id = f"s-{digest[:12]}"
    with project.catalog.read() as connection:
        same = runs.snapshot(connection, project.id, snapshot_id)
    if same is not None:
        return Snapshot(snapshot_id, same["header"])
    splits = [str(entry["split"]) for entry in entries]
    header = {
        "id": snapshot_id,
        "sha256": digest,
        "parent": before["id"] if before else None,
        "project": project.record.name,
        "classes": list(project.record.classes),
        "filters": filters or {},
        "images": len(entries),
        "splits": {name: splits.count(name) for name in sorted(set(splits))},
        "labelloop": version("labelloop"),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    folder = project.workspace.folder("snapshots")
    files.write_bytes(folder / f"{snapshot_id}.parquet", content.getvalue())
    files.write_json(folder / f"{snapshot_id}.json", header)
    with project.catalog.write() as connection:
        runs.add_snapshot(connection, project.id, snapshot_id, header)
    return Snapshot(snapshot_id, header)
