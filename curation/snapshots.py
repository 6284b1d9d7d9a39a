"""Snapshots: immutable versions of a dataset, named by their content.

A snapshot is a Parquet manifest of all images, whatever their state, and a JSON header beside it.
Images are named by their hash and never copied. The same dataset gives the same snapshot, also when
it changed in between and was changed back.
"""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from curation import files, manifest
from curation.catalog import Connection, audit, plans, provenance, runs
from curation.catalog import manifest as manifest_rows
from curation.catalog import splits as split_rows
from curation.catalog.manifest import Row
from curation.errors import InputError, NotFound
from curation.manifest import Entry, NamedBox
from curation.progress import Report, silent
from curation.workspace import Project

TAKEN, RESTORED = "snapshot", "snapshot-restore"
"""The acts in the audit log after which the dataset equals a snapshot."""

ABOUT = ("format", "project", "task", "classes", "filters", "plans")
"""What of the header the digest covers, beside the rows."""

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Snapshot:
    """A snapshot's id (the start of its digest) and its header."""

    id: str
    header: dict[str, Any]


@dataclass(frozen=True)
class Filters:
    """Which images a snapshot holds; all of them by default.

    Attributes:
        labeled: only usable images that have a label.
        classes: only images that bear one of these.
        metadata: only images with these values.
    """

    labeled: bool = False
    classes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    def check(self, known: Sequence[str]) -> None:
        """Raises an InputError for a class that the project does not know."""
        unknown = [name for name in self.classes if name not in known]
        if unknown:
            raise InputError(f"Unknown class {unknown[0]!r}; the classes are {', '.join(known)}.")

    def keeps(self, entry: Entry) -> bool:
        """Whether an image belongs into the snapshot."""
        if self.labeled and (entry.classes is None or entry.state != "ok"):
            return False
        if self.classes and not set(self.classes) & set(entry.classes or ()):
            return False
        return all(entry.metadata.get(key, "") == value for key, value in self.metadata.items())

    def as_json(self) -> dict[str, Any]:
        """Only what was asked for; empty where nothing is left out."""
        said = {
            "labeled": self.labeled,
            "classes": list(self.classes),
            "metadata": dict(self.metadata),
        }
        return {key: value for key, value in said.items() if value}


EVERYTHING = Filters()


def create(project: Project, *, filters: Filters = EVERYTHING, report: Report = silent) -> Snapshot:
    """Writes the dataset as it is now, or returns the snapshot that holds the very same.

    Args:
        project: whose images they are.
        filters: which of them.
        report: told of the progress.

    Raises:
        InputError: a filter names a class that the project does not know.
        LabelloopError: it cannot be written; nothing is registered then.
        Cancelled: asked to stop; nothing is left behind.
    """
    filters.check(project.record.classes)
    folder = project.workspace.folder("snapshots")
    with _unnamed(folder) as file:
        with project.catalog.read() as connection:
            about = {
                "format": manifest.FORMAT,
                "project": project.record.name,
                "task": project.record.task,
                "classes": list(project.record.classes),
                "filters": filters.as_json(),
                "plans": _plans(connection, project),
            }
            parent = _stood_at(connection, project.id)
            blocks = _blocks(connection, project, filters, report)
            digest, counts = _write(blocks, file, about)
            stated = sorted({one.license for one in provenance.of_images(connection, project.id)})
        header = {
            "id": f"s-{digest[:12]}",
            "sha256": digest,
            "file_sha256": _hash_of(file),
            "parent": parent,
            **about,
            **counts,
            "licenses": stated,
            "labelloop": version("labelloop"),
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        made = Snapshot(str(header["id"]), header)
        with project.catalog.read() as connection:
            known = runs.snapshot(connection, project.id, made.id)
        if known is not None:
            made = Snapshot(made.id, known["header"])
        if known is None or hash_of(path_of(project, made)) != made.header["file_sha256"]:
            _keep(project, made, file)
    with project.catalog.write() as connection:
        runs.add_snapshot(connection, project.id, made.id, made.header)
        if parent != made.id:
            audit.append(connection, project.id, act=TAKEN, subject={"snapshot": made.id})
    return made


@contextmanager
def _unnamed(folder: Path) -> Iterator[IO[bytes]]:
    """A file without a name, which is gone when the block ends: the snapshot's name is its hash."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            yield file
    except OSError as error:
        raise files.unwritable(error, folder) from error


def _plans(connection: Connection, project: Project) -> dict[str, dict[str, Any]]:
    in_force = plans.in_force(connection, project.id)
    return {
        kind: {key: value for key, value in settings.items() if key != "id"}
        for kind, settings in in_force.items()
    }


def _blocks(
    connection: Connection, project: Project, filters: Filters, report: Report
) -> Iterator[list[Entry]]:
    reserved = manifest_rows.groups_of_the_reserve(connection, project.id)
    names = dict(zip(project.record.class_ids, project.record.classes, strict=True))
    parts_of = split_rows.reader(connection, project.id)
    done = 0
    for block in manifest_rows.blocks(connection, project.id):
        parts = parts_of({row.image_id: row.group_id for row in block})
        entries = []
        for row in block:
            left_out = "left-out" if row.group_id in reserved else "train"
            part = parts.get(row.image_id) or row.reserve or left_out
            entries.append(_entry(row, part if row.state == "ok" else "", names))
        yield [entry for entry in entries if filters.keeps(entry)]
        done += len(block)
        report(done, 0, "snapshot")


def _entry(row: Row, part: str, names: Mapping[int, str]) -> Entry:
    classes = None if row.classes is None else tuple([names[key] for key in row.classes])
    boxes = [
        NamedBox(names[box.class_id], box.x, box.y, box.width, box.height) for box in row.boxes
    ]
    return Entry(
        name=row.name,
        sha256=row.sha256,
        state=row.state,
        reason=row.reason,
        width=row.width,
        height=row.height,
        classes=classes,
        boxes=tuple(boxes),
        origin=row.origin,
        confidence=row.confidence,
        split=part,
        group=row.group,
        metadata=row.metadata,
    )


def _write(
    blocks: Iterator[list[Entry]], file: IO[bytes], about: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Writes the manifest; returns its digest and the counts of its rows."""
    digest = manifest.Digest()
    states: Counter[str] = Counter()
    parts: Counter[str] = Counter()
    bearing = Counter(dict.fromkeys(about["classes"], 0))
    for entry in manifest.write(blocks, file):
        digest.add(entry)
        states[entry.state] += 1
        if entry.state == "ok" and entry.classes is not None:
            parts[entry.split] += 1
            bearing.update(entry.classes)
    return digest.hex(about), {
        "images": states.total(),
        "labels": parts.total(),
        "states": dict(sorted(states.items())),
        "splits": dict(sorted(parts.items())),
        "labels_by_class": dict(bearing),
    }


def _hash_of(file: IO[bytes]) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _keep(project: Project, made: Snapshot, file: IO[bytes]) -> None:
    path = path_of(project, made)
    file.seek(0)
    with files.replacing(path) as kept:
        while chunk := file.read(_CHUNK):
            kept.write(chunk)
    files.write_json(path.with_suffix(".json"), made.header)


def _stood_at(connection: Connection, project_id: int) -> str | None:
    """The snapshot that the dataset was last known to equal."""
    newest = audit.newest(connection, project_id, [TAKEN, RESTORED])
    return None if newest is None else str(newest["subject"]["snapshot"])


def every(project: Project) -> list[Snapshot]:
    """All snapshots, oldest first."""
    with project.catalog.read() as connection:
        rows = runs.list_snapshots(connection, project.id)
    return [Snapshot(row["id"], row["header"]) for row in rows]


def get(project: Project, snapshot_id: str = "") -> Snapshot:
    """The snapshot whose id begins like this; the newest by default.

    Raises:
        NotFound: there is none, or several begin like this.
    """
    known = every(project)
    if not known:
        raise NotFound("There is no snapshot yet. Make one with `labelloop snapshot create`.")
    if not snapshot_id:
        return known[-1]
    found = [one for one in known if one.id.startswith(snapshot_id)]
    if len(found) != 1:
        newest = ", ".join(one.id for one in known[-5:])
        several = f"{len(found)} snapshots begin with" if found else "No snapshot"
        raise NotFound(f"{several} {snapshot_id!r}. The newest: {newest}.")
    return found[0]


def entries(project: Project, snapshot: Snapshot) -> Iterator[Entry]:
    """The rows of a snapshot, streamed.

    Raises:
        InputError: its manifest is gone, damaged, or of an older labelloop.
    """
    return manifest.read(path_of(project, snapshot))


def path_of(project: Project, snapshot: Snapshot) -> Path:
    """Where a snapshot's manifest is; its header is the JSON file beside it."""
    return project.workspace.folder("snapshots") / f"{snapshot.id}.parquet"


def hash_of(path: Path) -> str:
    """SHA-256 of a file, read piece by piece; empty where there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return _hash_of(file)
