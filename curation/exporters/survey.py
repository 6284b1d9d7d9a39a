"""One look over a snapshot's rows before anything is written: what there is, under which names."""

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from curation import snapshots
from curation.catalog import images as image_rows
from curation.exporters.destination import RESULT, STATE
from curation.exporters.names import Names
from curation.exporters.record import Exporter, part_of
from curation.exporters.refusals import Refusals
from curation.progress import Report
from curation.records import Task
from curation.snapshots import Snapshot
from curation.workspace import Project

_ROWS = 1000


@dataclass
class Seen:
    """What a look over all rows told: numbers, names, and where images come from."""

    names: Names
    images: int = 0
    wanted: int = 0
    parts: set[str] = field(default_factory=set)
    columns: set[str] = field(default_factory=set)
    sources: set[Path] = field(default_factory=set)


def look(
    project: Project,
    snapshot: Snapshot,
    exporter: Exporter,
    refusals: Refusals,
    task: Task,
    *,
    report: Report,
) -> Seen:
    """Counts images and names, and refuses what the snapshot itself says cannot be exported."""
    seen = Seen(Names(stems=exporter.stems, reserved=(RESULT, STATE, *exporter.reserved)))
    entries = enumerate(snapshots.entries(project, snapshot))
    while block := list(islice(entries, _ROWS)):
        for position, entry in block:
            seen.images += 1
            if refusals.refuse(position, entry):
                continue
            seen.wanted += 1
            seen.names.add(exporter.path(entry, task))
            seen.parts.add(part_of(entry))
            seen.columns.update(entry.metadata)
        seen.sources |= _sources(project, [entry.name for _, entry in block])
        report(seen.images, int(snapshot.header.get("images", 0)), "read")
    seen.names.settle()
    return seen


def _sources(project: Project, names: list[str]) -> set[Path]:
    with project.catalog.read() as connection:
        ids = image_rows.ids_by_name(connection, project.id, names)
        places = image_rows.places(connection, list(ids.values()))
    return {Path(place.source) for place in places.values() if "://" not in place.source}
