"""Splits: which part each image belongs to, and what that means while it is read.

A part is given once and stays. Where images turn out to belong together although they lie in
different parts, only those in the most held-out part are read with it; the others are `left-out`.
Copies are looked up at every reading; what else ties images together is noted when a split is made
or joined, as `left-out` behind the part.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    delete,
    func,
    or_,
    select,
    update,
)

from curation.catalog.bulk import batched, insert_new, insert_one
from curation.catalog.schema import (
    image_metadata,
    images,
    label_classes,
    labels,
    projects,
    round_images,
    split_images,
    splits,
)

DEFAULT = "default"
TRAIN, VALIDATION, TEST = PARTS = ("train", "validation", "test")
LEFT_OUT = "left-out"

_NOTE = f"/{LEFT_OUT}"
_HELD_OUT = (VALIDATION, TEST, *(part + _NOTE for part in PARTS))
_TRAINED = (TRAIN, TRAIN + _NOTE)
_AT_ONCE = 10_000


@dataclass(frozen=True)
class SplitRow:
    """One split.

    Attributes:
        id: of its row.
        name: unique in the project.
        settings: all that later images need to join it.
    """

    id: int
    name: str
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Member:
    """One image that has a part or may get one.

    Attributes:
        image_id: of the image.
        group_id: of its near-duplicates.
        draw: its group's random number, see `images.draw`.
        reserve: calibration, holdout, or none.
        part: of the split; empty for none.
        left_out: whether the part is noted as left out.
        usable: whether it is neither excluded nor unreadable; it keeps its part all the same.
    """

    image_id: int
    group_id: int
    draw: int
    reserve: str | None
    part: str
    left_out: bool
    usable: bool


def find(connection: Connection, project_id: int, name: str = DEFAULT) -> SplitRow | None:
    """The split of this name, if there is one."""
    row = connection.execute(
        _SPLIT.where(splits.c.project_id == project_id, splits.c.name == name)
    ).first()
    return None if row is None else SplitRow(**row._mapping)


def every(connection: Connection, project_id: int) -> list[SplitRow]:
    """All splits, the oldest first."""
    rows = connection.execute(_SPLIT.where(splits.c.project_id == project_id).order_by(splits.c.id))
    return [SplitRow(**row._mapping) for row in rows]


_SPLIT = select(splits.c.id, splits.c.name, splits.c.settings)


def add(connection: Connection, project_id: int, name: str, settings: dict[str, Any]) -> int:
    """Adds a split without images and returns its id."""
    return insert_one(
        connection, splits, {"project_id": project_id, "name": name, "settings": settings}
    )


def put(connection: Connection, split_id: int, parts: Iterable[tuple[int, str]]) -> None:
    """Gives images their part; those that have one keep it.

    Args:
        split_id: of the split.
        parts: image id and part.
    """
    for batch in batched(parts):
        rows = [{"split_id": split_id, "image_id": key, "part": part} for key, part in batch]
        insert_new(connection, split_images, rows)


def note_left_out(
    connection: Connection, split_id: int, notes: Iterable[tuple[int, str, bool]]
) -> None:
    """Notes that images are left out of their part, or that they are not any more.

    Args:
        split_id: of the split.
        notes: image id, its part, and whether it is left out.
    """
    change = (
        update(split_images)
        .where(split_images.c.split_id == split_id, split_images.c.image_id == bindparam("image"))
        .values(part=bindparam("noted"))
    )
    for batch in batched(notes):
        rows = [{"image": key, "noted": part + _NOTE if out else part} for key, part, out in batch]
        connection.execute(change, rows)


def remove(connection: Connection, split_id: int) -> int:
    """Removes a split and returns how many images had a part of it; the images stay."""
    gone = connection.execute(delete(split_images).where(split_images.c.split_id == split_id))
    connection.execute(delete(splits).where(splits.c.id == split_id))
    return int(gone.rowcount)


def rank(part: str) -> tuple[int, str]:
    """Orders parts: of images that belong together, those in the first one stay in it.

    >>> min(["train", "test", "validation"], key=rank), min(["fold-2", "fold-1"], key=rank)
    ('test', 'fold-1')
    """
    order = (TEST, VALIDATION, TRAIN)
    return (order.index(part) if part in order else len(order)), f"{len(part):02}{part}"


def parts_of(
    connection: Connection, project_id: int, image_ids: Sequence[int], name: str = DEFAULT
) -> dict[int, str]:
    """The parts of these images, as far as they have one.

    Returns:
        By image id its part, or `left-out` where a copy of it lies in a part that is held out more;
        in a split of folds also where a copy is in the reserve. Nothing if there is no such split.
    """
    split = find(connection, project_id, name)
    found: dict[int, str] = {}
    if split is None:
        return found
    spares_reserve = bool(split.settings.get("folds")) and not split.settings.get("with_reserve")
    for batch in batched(image_ids):
        rows = connection.execute(
            select(images.c.id, images.c.group_id, split_images.c.part)
            .join(split_images, split_images.c.image_id == images.c.id)
            .where(split_images.c.split_id == split.id, images.c.id.in_(batch))
        ).all()
        groups = sorted({row.group_id for row in rows if row.group_id is not None})
        stays = _stays(connection, split.id, groups)
        spared = _reserved(connection, groups) if spares_reserve else set()
        for row in rows:
            kept = stays.get(row.group_id, row.part) == row.part and row.group_id not in spared
            found[row.id] = row.part if kept and not row.part.endswith(_NOTE) else LEFT_OUT
    return found


def reader(
    connection: Connection, project_id: int, name: str = DEFAULT
) -> Callable[[Mapping[int, int]], dict[int, str]]:
    """What says the same as `parts_of`, for a pass over all images: in blocks, by ids that ascend.

    Returns:
        From image ids with their groups to parts. Which groups lie in several parts is looked up
        once, for all of them.
    """
    split = find(connection, project_id, name)
    if split is None:
        return lambda _: {}
    split_id = split.id
    if split.settings.get("folds"):
        return lambda group_of: parts_of(connection, project_id, list(group_of), name)
    stays: dict[int, str] = {}
    for batch in batched(_contested(connection, split_id)):
        stays |= _stays(connection, split_id, batch)

    def read(group_of: Mapping[int, int]) -> dict[int, str]:
        rows = connection.execute(
            select(split_images.c.image_id, split_images.c.part).where(
                split_images.c.split_id == split_id,
                split_images.c.image_id.between(min(group_of), max(group_of)),
            )
        ).all()
        found = {}
        for image_id, part in rows:
            group = group_of.get(image_id)
            kept = not part.endswith(_NOTE) and stays.get(group or 0, part) == part
            found[image_id] = part if kept else LEFT_OUT
        return found

    return read


def _contested(connection: Connection, split_id: int) -> Sequence[int]:
    """The groups with images in more than one part."""
    return connection.scalars(
        select(images.c.group_id)
        .join(split_images, split_images.c.image_id == images.c.id)
        .where(split_images.c.split_id == split_id, images.c.group_id.is_not(None))
        .group_by(images.c.group_id)
        .having(func.min(split_images.c.part) != func.max(split_images.c.part))
    ).all()


def part_of_groups(
    connection: Connection, project_id: int, group_ids: Sequence[int]
) -> dict[int, str]:
    """The part that counts for each of these groups in the split `default`, if it has one."""
    split = find(connection, project_id)
    found: dict[int, str] = {}
    for batch in batched(group_ids if split is not None else ()):
        assert split is not None
        found.update(_stays(connection, split.id, batch))
    return found


def _stays(connection: Connection, split_id: int, group_ids: Sequence[int]) -> dict[int, str]:
    """The most held-out part of each of these groups."""
    found: dict[int, str] = {}
    rows = connection.execute(
        select(images.c.group_id, split_images.c.part)
        .distinct()
        .join(split_images, split_images.c.image_id == images.c.id)
        # The sum keeps SQLite from reading all of the split instead of these groups.
        .where(split_images.c.split_id + 0 == split_id, images.c.group_id.in_(group_ids))
    )
    for row in rows:
        part = row.part.removesuffix(_NOTE)
        found[row.group_id] = min(found.get(row.group_id, part), part, key=rank)
    return found


def _reserved(connection: Connection, group_ids: Sequence[int]) -> set[int]:
    query = select(images.c.group_id).where(
        images.c.group_id.in_(group_ids), images.c.reserve.is_not(None)
    )
    return set(connection.scalars(query))


def pages(
    connection: Connection, project_id: int, name: str = DEFAULT
) -> Iterator[list[tuple[int, str]]]:
    """Usable images with their parts as `parts_of` gives them, page by page in the order of ids."""
    split = find(connection, project_id, name)
    last = 0
    while split is not None:
        ids = connection.scalars(
            select(split_images.c.image_id)
            .join(images, images.c.id == split_images.c.image_id)
            .where(
                split_images.c.split_id == split.id,
                split_images.c.image_id > last,
                images.c.state == "ok",
            )
            .order_by(split_images.c.image_id)
            .limit(_AT_ONCE)
        ).all()
        if not ids:
            return
        parts = parts_of(connection, project_id, ids, name)
        yield [(key, parts[key]) for key in ids]
        last = ids[-1]


def held_out(project_id: int) -> Select[Any]:
    """A query for the groups that no model may learn from: see `parts_of`, split `default`."""
    return _groups_in(project_id, _HELD_OUT)


def trained_on(project_id: int) -> Select[Any]:
    """A query for the groups with a member in the part `train` of the split `default`."""
    return _groups_in(project_id, _TRAINED)


def _groups_in(project_id: int, parts: Sequence[str]) -> Select[Any]:
    return (
        select(images.c.group_id)
        .join(split_images, split_images.c.image_id == images.c.id)
        .join(splits, splits.c.id == split_images.c.split_id)
        .where(
            splits.c.project_id == project_id,
            splits.c.name == DEFAULT,
            split_images.c.part.in_(parts),
            images.c.group_id.is_not(None),
        )
    )


def is_held_out(image_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether an image is held out by the split `default`: asked of one after the other."""
    return (
        select(split_images.c.image_id)
        .join(splits, splits.c.id == split_images.c.split_id)
        .where(
            split_images.c.image_id == image_id,
            splits.c.name == DEFAULT,
            split_images.c.part.in_(_HELD_OUT),
        )
        .exists()
    )


def feeds_reserve(connection: Connection, project_id: int) -> bool:
    """Whether the reserve is drawn from what the split `default` holds out.

    It is where the split was made before the reserve; otherwise the split follows the reserve.
    """
    split = find(connection, project_id)
    if split is None or split.settings.get("reserve_first"):
        return False
    return connection.execute(held_out(project_id).limit(1)).first() is not None


def halves(connection: Connection, project_id: int) -> bool:
    """Whether the split `default` holds out images in two parts: validation and test."""
    split = find(connection, project_id)
    if split is None:
        return False
    return all(
        connection.scalar(
            select(split_images.c.image_id)
            .where(split_images.c.split_id == split.id, split_images.c.part == part)
            .limit(1)
        )
        for part in (VALIDATION, TEST)
    )


def reserve_state(connection: Connection, project_id: int) -> tuple[bool, int]:
    """Whether the reserve has been drawn, and how many images are in it."""
    below = connection.scalar(select(projects.c.reserve_below).where(projects.c.id == project_id))
    count = connection.scalar(
        select(func.count())
        .select_from(images)
        .where(images.c.project_id == project_id, images.c.reserve.is_not(None))
    )
    return below is not None, count or 0


def has_newcomers(connection: Connection, project_id: int, split_id: int) -> bool:
    """Whether any usable image has no part of this split yet."""
    placed = (
        select(split_images.c.image_id)
        .where(split_images.c.split_id == split_id, split_images.c.image_id == images.c.id)
        .exists()
    )
    query = select(images.c.id).where(
        images.c.project_id == project_id, images.c.state == "ok", ~placed
    )
    return connection.scalar(query.limit(1)) is not None


def members(connection: Connection, project_id: int, split_id: int | None) -> Iterator[Member]:
    """Usable images and those that have a part of this split, in the order of ids."""
    last = 0
    while True:
        rows = connection.execute(
            select(
                images.c.id,
                images.c.group_id,
                images.c.draw,
                images.c.reserve,
                images.c.state,
                split_images.c.part,
            )
            .outerjoin(
                split_images,
                (split_images.c.image_id == images.c.id)
                & (split_images.c.split_id == (split_id or 0)),
            )
            .where(
                # The sum keeps SQLite off the index of project_id, which would sort for each page.
                images.c.project_id + 0 == project_id,
                images.c.id > last,
                images.c.group_id.is_not(None),
                or_(images.c.state == "ok", split_images.c.part.is_not(None)),
            )
            .order_by(images.c.id)
            .limit(_AT_ONCE)
        ).all()
        for row in rows:
            part = row.part or ""
            yield Member(
                row.id,
                row.group_id,
                row.draw or 0,
                row.reserve,
                part.removesuffix(_NOTE),
                part.endswith(_NOTE),
                row.state == "ok",
            )
        if len(rows) < _AT_ONCE:
            return
        last = rows[-1].id


def classes_of(connection: Connection, project_id: int) -> Iterator[tuple[int, int | None]]:
    """Image and class of every label, a row per class; none where a label has no class."""
    query = (
        select(labels.c.image_id, label_classes.c.class_id)
        .outerjoin(label_classes, label_classes.c.image_id == labels.c.image_id)
        .where(labels.c.project_id == project_id)
        .execution_options(yield_per=_AT_ONCE)
    )
    for row in connection.execute(query):
        yield row.image_id, row.class_id


def values_of(connection: Connection, project_id: int, key: str) -> Iterator[tuple[int, str]]:
    """Image and value of one metadata column, equal values in a row; empty ones are left out."""
    query = (
        select(image_metadata.c.image_id, image_metadata.c.value)
        .where(
            image_metadata.c.project_id == project_id,
            image_metadata.c.key == key,
            image_metadata.c.value != "",
        )
        .order_by(image_metadata.c.value, image_metadata.c.image_id)
        .execution_options(yield_per=_AT_ONCE)
    )
    for row in connection.execute(query):
        yield row.image_id, row.value


def columns(connection: Connection, project_id: int) -> list[str]:
    """The names of the metadata columns, sorted."""
    query = select(image_metadata.c.key).where(image_metadata.c.project_id == project_id)
    return sorted(connection.scalars(query.distinct()))


def chosen(connection: Connection, project_id: int) -> Iterator[int]:
    """The images that rounds have sent to people because a strategy chose them."""
    query = (
        select(round_images.c.image_id)
        .where(round_images.c.project_id == project_id, round_images.c.queue == "batch")
        .distinct()
        .execution_options(yield_per=_AT_ONCE)
    )
    yield from connection.scalars(query)
