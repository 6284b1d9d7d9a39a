"""Images, their groups and their metadata."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, update

from curation.catalog.bulk import batched, insert_new, insert_or_update
from curation.catalog.schema import (
    group_merges,
    groups,
    image_metadata,
    images,
    sources,
)
from curation.errors import NotFound
from curation.records import ImageRecord, NewImage, Place

DRAW_BITS = 62


@dataclass(frozen=True, slots=True)
class Stored:
    """How an image's file holds it.

    Attributes:
        id: of the image.
        width: pixels, upright; 1 where it was never read, as are height and frames.
        height: pixels, upright.
        frames: more than 1 in animations and documents of several pages.
        mode: Pillow's name of the pixel layout; empty where it was never read.
        orientation: of EXIF, 1 to 8; what is not 1 was turned upright when it was read.
        pixel_hash: of the upright pixels; empty where they were never read.
    """

    id: int
    width: int
    height: int
    frames: int
    mode: str
    orientation: int
    pixel_hash: str


# The columns of an ImageRecord.
RECORD = (
    images.c.id,
    images.c.name,
    images.c.origin,
    images.c.location,
    images.c.state,
    images.c.reason,
    images.c.pixel_hash,
    images.c.width,
    images.c.height,
    images.c.group_id,
    images.c.reserve,
)


def draw(seed: int, key: str) -> int:
    """A number uniform in [0, 2**62), fixed by the project's seed and the group's key."""
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - DRAW_BITS)


def add_source(
    connection: Connection, project_id: int, uri: str, *, license: str = "", origin: str = ""
) -> int:
    """The id of the folder or table that images come from, written down at its first import."""
    insert_new(
        connection,
        sources,
        [{"project_id": project_id, "uri": uri, "license": license, "origin": origin}],
    )
    return int(
        connection.scalars(
            select(sources.c.id).where(sources.c.project_id == project_id, sources.c.uri == uri)
        ).one()
    )


def taken_names(connection: Connection, project_id: int, names: Sequence[str]) -> set[str]:
    """Which of these names are in the project already."""
    found: set[str] = set()
    for batch in batched(names):
        found.update(
            connection.scalars(
                select(images.c.name).where(
                    images.c.project_id == project_id, images.c.name.in_(batch)
                )
            )
        )
    return found


def add(
    connection: Connection, project_id: int, rows: Sequence[NewImage], *, source_id: int, seed: int
) -> dict[str, int]:
    """Adds images; those with the same pixels become one group.

    Origins already in the project are passed over, so the same import may run again.

    Returns:
        The ids of the images that were added, by name.
    """
    groups_of = _groups_of(connection, project_id, rows)
    known = ids_by_origin(connection, project_id, [row.origin for row in rows])
    fresh = [row for row in rows if row.origin not in known]
    insert_new(
        connection,
        images,
        [
            {
                "project_id": project_id,
                "source_id": source_id,
                "name": row.name,
                "origin": row.origin,
                **_content(row, groups_of, seed),
            }
            for row in fresh
        ],
    )
    ids = ids_by_name(connection, project_id, [row.name for row in fresh])
    put_metadata(connection, project_id, {ids[row.name]: row.metadata for row in fresh})
    return ids


def read_again(
    connection: Connection, project_id: int, rows: dict[int, NewImage], *, seed: int
) -> None:
    """Gives quarantined images what a later look at their files found; their names stay.

    Args:
        rows: by image id; usable, or quarantined for the reason of now.
    """
    groups_of = _groups_of(connection, project_id, list(rows.values()))
    for image_id, row in rows.items():
        connection.execute(
            update(images)
            .where(images.c.id == image_id, images.c.state == "quarantined")
            .values(**_content(row, groups_of, seed))
        )


def put_metadata(
    connection: Connection, project_id: int, values: dict[int, dict[str, str]]
) -> None:
    """Writes metadata by image id and column; an empty value leaves an earlier one as it is."""
    rows = [
        {"image_id": image_id, "key": key, "project_id": project_id, "value": value}
        for image_id, columns in values.items()
        for key, value in columns.items()
    ]
    for batch in batched(row for row in rows if not row["value"]):
        insert_new(connection, image_metadata, batch)
    for batch in batched(row for row in rows if row["value"]):
        insert_or_update(connection, image_metadata, batch, changing="value")


def _groups_of(
    connection: Connection, project_id: int, rows: Sequence[NewImage]
) -> dict[str, tuple[int, str]]:
    """Ids and keys of the groups by pixel hash, of new groups where there is none of that hash yet.

    Pixels whose group was merged into another belong to that other one.
    """
    hashes = sorted({row.pixel_hash for row in rows if row.pixel_hash})
    insert_new(connection, groups, [{"project_id": project_id, "key": h} for h in hashes])
    into = groups.alias()
    found: dict[str, tuple[int, str]] = {}
    for batch in batched(hashes):
        keys = connection.execute(
            select(groups.c.key, groups.c.id, into.c.id.label("into_id"), into.c.key.label("into"))
            .outerjoin(group_merges, group_merges.c.group_id == groups.c.id)
            .outerjoin(into, into.c.id == group_merges.c.into_id)
            .where(groups.c.project_id == project_id, groups.c.key.in_(batch))
        )
        found.update({row.key: (row.into_id or row.id, row.into or row.key) for row in keys})
    return found


def _content(row: NewImage, groups_of: dict[str, tuple[int, str]], seed: int) -> dict[str, Any]:
    """The columns that follow from the file's content."""
    group_id, key = groups_of[row.pixel_hash] if row.pixel_hash else (None, "")
    return {
        "location": row.location,
        "state": "quarantined" if row.reason else "ok",
        "reason": row.reason,
        "sha256": row.sha256,
        "pixel_hash": row.pixel_hash,
        "bytes": row.bytes,
        "modified_ns": row.modified_ns,
        "width": row.width,
        "height": row.height,
        "format": row.format,
        "mode": row.mode,
        "frames": row.frames,
        "orientation": row.orientation,
        "group_id": group_id,
        "draw": draw(seed, key) if key else None,
    }


def ids_by_name(connection: Connection, project_id: int, names: Sequence[str]) -> dict[str, int]:
    """Image ids of the names that exist."""
    found: dict[str, int] = {}
    for batch in batched(names):
        rows = connection.execute(
            select(images.c.name, images.c.id).where(
                images.c.project_id == project_id, images.c.name.in_(batch)
            )
        )
        found.update({row.name: row.id for row in rows})
    return found


def ids_by_origin(
    connection: Connection, project_id: int, origins: Sequence[str]
) -> dict[str, int]:
    """Image ids of the absolute paths that are in the project."""
    found: dict[str, int] = {}
    for batch in batched(origins):
        rows = connection.execute(
            select(images.c.origin, images.c.id).where(
                images.c.project_id == project_id, images.c.origin.in_(batch)
            )
        )
        found.update({row.origin: row.id for row in rows})
    return found


def names_by_id(connection: Connection, ids: Sequence[int]) -> dict[int, str]:
    """Names of these images."""
    found: dict[int, str] = {}
    for batch in batched(ids):
        rows = connection.execute(select(images.c.id, images.c.name).where(images.c.id.in_(batch)))
        found.update({row.id: row.name for row in rows})
    return found


def get(connection: Connection, image_id: int) -> ImageRecord:
    """The image with this id.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(select(*RECORD).where(images.c.id == image_id)).first()
    if row is None:
        raise NotFound(f"No image {image_id}.")
    return ImageRecord(**row._mapping)


def find(connection: Connection, project_id: int, name: str) -> ImageRecord:
    """The image of this name, as imported.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(
        select(*RECORD).where(images.c.project_id == project_id, images.c.name == name)
    ).first()
    if row is None:
        raise NotFound(f"No image named {name!r} in this project. Names are paths as imported.")
    return ImageRecord(**row._mapping)


def groups_of(connection: Connection, ids: Sequence[int]) -> dict[int, int]:
    """The groups of these images, by image id."""
    found: dict[int, int] = {}
    for batch in batched(ids):
        rows = connection.execute(
            select(images.c.id, images.c.group_id).where(images.c.id.in_(batch))
        )
        found.update({row.id: row.group_id for row in rows})
    return found


def get_many(connection: Connection, ids: Sequence[int]) -> dict[int, ImageRecord]:
    """The images with these ids, by id."""
    found: dict[int, ImageRecord] = {}
    for batch in batched(ids):
        for row in connection.execute(select(*RECORD).where(images.c.id.in_(batch))):
            found[row.id] = ImageRecord(**row._mapping)
    return found


def places(connection: Connection, ids: Sequence[int]) -> dict[int, Place]:
    """Where these images are read from, by id."""
    found: dict[int, Place] = {}
    columns = (images.c.id, images.c.name, images.c.location, images.c.source_id, sources.c.uri)
    for batch in batched(ids):
        query = select(*columns).join(sources, sources.c.id == images.c.source_id)
        for row in connection.execute(query.where(images.c.id.in_(batch))):
            found[row.id] = Place(row.name, row.location, row.source_id, row.uri)
    return found


def stored(connection: Connection, ids: Sequence[int]) -> Iterator[Stored]:
    """How the files of these images hold them, in any order; read batch by batch."""
    columns = [images.c[name] for name in Stored.__dataclass_fields__]
    for batch in batched(ids):
        for row in connection.execute(select(*columns).where(images.c.id.in_(batch))):
            yield Stored(
                id=row.id,
                width=row.width or 1,
                height=row.height or 1,
                frames=row.frames or 1,
                mode=row.mode or "",
                orientation=row.orientation or 1,
                pixel_hash=row.pixel_hash or "",
            )


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an image without opening it; 0, empty or none where it was never read."""

    id: int
    name: str
    width: int | None
    height: int | None
    bytes: int | None
    format: str | None
    mode: str | None
    frames: int | None
    group_id: int | None


def facts_of(connection: Connection, ids: Sequence[int]) -> dict[int, Facts]:
    """What rules may look at, by image id."""
    columns = [images.c[name] for name in Facts.__dataclass_fields__]
    found: dict[int, Facts] = {}
    for batch in batched(ids):
        for row in connection.execute(select(*columns).where(images.c.id.in_(batch))):
            found[row.id] = Facts(*row)
    return found


def draws(connection: Connection, ids: Sequence[int]) -> dict[int, int]:
    """The random number of each of these images: see `draw`."""
    found: dict[int, int] = {}
    for batch in batched(ids):
        for row in connection.execute(
            select(images.c.id, images.c.draw).where(images.c.id.in_(batch))
        ):
            found[row.id] = row.draw or 0
    return found


def manifest_of(connection: Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """What a snapshot writes down of these images, by id."""
    found: dict[int, dict[str, Any]] = {}
    columns = (
        images.c.id,
        images.c.sha256,
        images.c.name,
        images.c.group_id,
        images.c.reserve,
    )
    for batch in batched(ids):
        for row in connection.execute(select(*columns).where(images.c.id.in_(batch))):
            found[row.id] = dict(row._mapping)
    return found


def usable(connection: Connection, project_id: int) -> Iterator[tuple[int, str]]:
    """Ids and locations of all images that decode and are not excluded, in the order of ids."""
    last = 0
    while True:
        rows = connection.execute(
            select(images.c.id, images.c.location)
            .where(images.c.project_id == project_id, images.c.state == "ok", images.c.id > last)
            .order_by(images.c.id)
            .limit(10_000)
        ).all()
        if not rows:
            return
        for row in rows:
            yield row.id, row.location
        last = rows[-1].id


def usable_among(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Those of these images that decode and are not excluded."""
    found: set[int] = set()
    for batch in batched(ids):
        query = select(images.c.id).where(images.c.id.in_(batch), images.c.state == "ok")
        found.update(connection.scalars(query))
    return found


def quarantined(
    connection: Connection, project_id: int, *, most: int | None = None
) -> list[tuple[str, str]]:
    """Names and reasons of the images that were set aside: all, or the first `most`."""
    rows = connection.execute(
        select(images.c.name, images.c.reason)
        .where(images.c.project_id == project_id, images.c.state == "quarantined")
        .order_by(images.c.id)
        .limit(most)
    )
    return [(row.name, row.reason) for row in rows]


def quarantined_among(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Which of these images are quarantined."""
    found: set[int] = set()
    for batch in batched(ids):
        query = select(images.c.id).where(images.c.id.in_(batch), images.c.state == "quarantined")
        found.update(connection.scalars(query))
    return found


def set_state(connection: Connection, ids: Sequence[int], state: str, *, reason: str = "") -> None:
    """Sets these images aside, or takes them back, with the reason."""
    for batch in batched(ids):
        connection.execute(
            update(images).where(images.c.id.in_(batch)).values(state=state, reason=reason)
        )


def count_by_state(connection: Connection, project_id: int) -> dict[str, int]:
    """How many images stand in each state."""
    rows = connection.execute(
        select(images.c.state, func.count())
        .where(images.c.project_id == project_id)
        .group_by(images.c.state)
    )
    return {state: count for state, count in rows}


def metadata_of(connection: Connection, image_id: int) -> dict[str, str]:
    """The metadata columns of one image."""
    rows = connection.execute(
        select(image_metadata.c.key, image_metadata.c.value).where(
            image_metadata.c.image_id == image_id
        )
    )
    return {row.key: row.value for row in rows}


def metadata_keys(connection: Connection, project_id: int) -> set[str]:
    """The names of all metadata columns."""
    query = select(image_metadata.c.key).where(image_metadata.c.project_id == project_id)
    return set(connection.scalars(query.distinct()))


def metadata_of_many(connection: Connection, image_ids: Sequence[int]) -> dict[int, dict[str, str]]:
    """The metadata columns of these images, by id."""
    found: dict[int, dict[str, str]] = {}
    for batch in batched(image_ids):
        rows = connection.execute(
            select(image_metadata.c.image_id, image_metadata.c.key, image_metadata.c.value).where(
                image_metadata.c.image_id.in_(batch)
            )
        )
        for row in rows:
            found.setdefault(row.image_id, {})[row.key] = row.value
    return found


def metadata_values(
    connection: Connection, project_id: int, *, most: int = 50
) -> dict[str, list[str]]:
    """The values of each metadata column, the most frequent `most` of each.

    The empty string stands for images without a value, which are a slice of their own.
    """
    total = connection.scalar(
        select(func.count()).select_from(images).where(images.c.project_id == project_id)
    )
    rows = connection.execute(
        select(image_metadata.c.key, image_metadata.c.value, func.count().label("n"))
        .where(image_metadata.c.project_id == project_id)
        .group_by(image_metadata.c.key, image_metadata.c.value)
        .order_by(image_metadata.c.key)
    )
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row.key, Counter())[row.value] = row.n
    for column in counts.values():
        if missing := (total or 0) - column.total():
            column[""] += missing
    return {
        key: [value for value, _ in sorted(column.items(), key=lambda v: (-v[1], v[0]))][:most]
        for key, column in counts.items()
    }
