"""Pages of images as tiles, and what the filters offer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from curation.catalog import Connection, images, labels, runs
from curation.catalog import gallery as gallery_rows
from curation.records import ImageRecord, LabelRow, ProjectRecord
from curation.workspace import Project
from ui.web.views import thumbnails

SIZE = 60
STATUSES = ("any", "labeled", "pool", "reserve", "quarantined", "excluded")
NO_VALUE = "(no value)"


@dataclass(frozen=True)
class Filters:
    """What to show; an empty value filters nothing.

    Attributes:
        slices: metadata value by column; `NO_VALUE` asks for images without one.
    """

    status: str = "any"
    class_name: str = ""
    predicted_class: str = ""
    slices: dict[str, str] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True)
class Tile:
    """One image as the grid draws it.

    Attributes:
        kind: labeled, predicted, set-aside or open; decides the mark beside the caption.
        says: read out, and shown when the pointer rests on the tile.
    """

    name: str
    picture: str
    caption: str
    kind: str
    says: str


@dataclass(frozen=True)
class GalleryPage:
    """One page of the grid; `last` is the cursor of the next page, 0 where there is none."""

    tiles: tuple[Tile, ...]
    total: int
    last: int


def slices(project: Project) -> dict[str, list[str]]:
    """The metadata columns with their values, the most frequent first."""
    with project.catalog.read() as connection:
        found = images.metadata_values(connection, project.id)
    return {column: [value or NO_VALUE for value in values] for column, values in found.items()}


def page(project: Project, filters: Filters, *, after: int = 0, size: int = SIZE) -> GalleryPage:
    """The images behind the cursor `after` that pass the filters."""
    wanted = _arguments(project.record, filters)
    with project.catalog.read() as connection:
        total = gallery_rows.count(connection, project.id, **wanted)
        records = gallery_rows.page(connection, project.id, after=after, size=size + 1, **wanted)
        shown, more = records[:size], len(records) > size
        captions = describe(connection, project.record, shown)
    return GalleryPage(
        tiles=tiles(project, shown, captions), total=total, last=shown[-1].id if more else 0
    )


def _arguments(project: ProjectRecord, filters: Filters) -> dict[str, Any]:
    ids = dict(zip(project.classes, project.class_ids, strict=True))
    return {
        "status": filters.status,
        "class_id": ids.get(filters.class_name),
        "predicted_id": ids.get(filters.predicted_class),
        "slices": {
            key: "" if value == NO_VALUE else value
            for key, value in filters.slices.items()
            if value
        },
        "name_contains": filters.name,
    }


def describe(
    connection: Connection, project: ProjectRecord, records: Sequence[ImageRecord]
) -> dict[int, tuple[str, str]]:
    """For each image, (kind, caption): its label, else why it is set aside, else its prediction."""
    ids = [record.id for record in records]
    labeled = labels.get(connection, ids)
    predicted = runs.predictions_of(connection, ids)
    return {
        record.id: _caption(project, record, labeled.get(record.id), predicted.get(record.id))
        for record in records
    }


def _caption(
    project: ProjectRecord,
    record: ImageRecord,
    label: LabelRow | None,
    prediction: dict[str, Any] | None,
) -> tuple[str, str]:
    if record.state != "ok":
        return "set-aside", record.reason or record.state
    if label is not None:
        return "labeled", ", ".join(project.class_names(label.classes)) or "none of the classes"
    if prediction is not None:
        (name,) = project.class_names((prediction["class_id"],))
        return "predicted", f"{name} {100 * prediction['confidence']:.0f} %"
    return "open", "unlabeled"


_SAID = {
    "labeled": "label",
    "predicted": "prediction",
    "set-aside": "set aside",
    "open": "no label",
}


def tiles(
    project: Project, records: Sequence[ImageRecord], captions: dict[int, tuple[str, str]]
) -> tuple[Tile, ...]:
    """The tiles of these images, in their order."""
    pictures = thumbnails.data_uris(project, records)
    return tuple(
        Tile(
            name=record.name,
            picture=pictures[record.id],
            caption=captions[record.id][1],
            kind=captions[record.id][0],
            says=f"{record.name}, {_SAID[captions[record.id][0]]}: {captions[record.id][1]}",
        )
        for record in records
    )
