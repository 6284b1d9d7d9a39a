"""Acts: what was done to many images at once, with all that is needed to undo it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, bindparam, func, insert, select, update

from curation.catalog import labels
from curation.catalog.bulk import batched, insert_one
from curation.catalog.schema import act_images, acts, annotations, images
from curation.catalog.schema import labels as label_rows
from curation.errors import NotFound
from curation.records import LabelRow

Kind = Literal["exclude", "propagate", "accept"]


@dataclass(frozen=True)
class Act:
    """One act.

    Attributes:
        id: by which it can be undone.
        kind: what was done.
        reason: why, as the user gave it.
        subject: what was asked for.
        undone: whether it was undone since.
        created_at: naive UTC.
    """

    id: int
    kind: Kind
    reason: str
    subject: dict[str, Any]
    undone: bool
    created_at: datetime


_FIELDS = tuple(acts.c[name] for name in Act.__dataclass_fields__)


def add(
    connection: Connection,
    project_id: int,
    kind: Kind,
    images_before: Mapping[int, dict[str, Any]],
    *,
    reason: str = "",
    subject: dict[str, Any],
) -> int:
    """Writes an act down and returns its id.

    Args:
        images_before: by image id, what undoing brings back.
    """
    act_id = insert_one(
        connection,
        acts,
        {"project_id": project_id, "kind": kind, "reason": reason, "subject": subject},
    )
    for batch in batched(images_before.items()):
        rows = [
            {"act_id": act_id, "image_id": image_id, "before": before} for image_id, before in batch
        ]
        connection.execute(insert(act_images), rows)
    return act_id


def get(connection: Connection, project_id: int, act_id: int) -> Act:
    """The act of this id.

    Raises:
        NotFound: there is none in this project.
    """
    row = connection.execute(
        select(*_FIELDS).where(acts.c.project_id == project_id, acts.c.id == act_id)
    ).first()
    if row is None:
        newest = [str(act.id) for act in latest(connection, project_id, most=5)]
        raise NotFound(
            f"No act {act_id} in this project. "
            + (f"The newest ones: {', '.join(newest)}." if newest else "There is none yet.")
        )
    return Act(**row._mapping)


def latest(
    connection: Connection,
    project_id: int,
    *,
    undone: bool | None = None,
    kind: Kind | None = None,
    most: int = 100,
) -> list[Act]:
    """The newest acts, newest first: all, or those (not) undone, or of a kind."""
    query = select(*_FIELDS).where(acts.c.project_id == project_id)
    if kind is not None:
        query = query.where(acts.c.kind == kind)
    if undone is not None:
        query = query.where(acts.c.undone == undone)
    rows = connection.execute(query.order_by(acts.c.id.desc()).limit(most))
    return [Act(**row._mapping) for row in rows]


def mark_undone(connection: Connection, act_id: int) -> None:
    """Notes that an act was undone."""
    connection.execute(update(acts).where(acts.c.id == act_id).values(undone=True))


def images_to_undo(connection: Connection, act: Act) -> list[tuple[int, dict[str, Any]]]:
    """The act's images, with what was before, that no later act of its kind has touched."""
    later = act_images.alias()
    touched = (
        select(later.c.image_id)
        .join(acts, acts.c.id == later.c.act_id)
        .where(later.c.image_id == act_images.c.image_id, later.c.act_id > act.id)
        .where(acts.c.kind == act.kind)
        .exists()
    )
    rows = connection.execute(
        select(act_images.c.image_id, act_images.c.before)
        .where(act_images.c.act_id == act.id, ~touched)
        .order_by(act_images.c.image_id)
    )
    return [(row.image_id, row.before) for row in rows]


def of_image(connection: Connection, image_id: int) -> list[Act]:
    """The acts that touched an image, oldest first."""
    rows = connection.execute(
        select(*_FIELDS)
        .join(act_images, act_images.c.act_id == acts.c.id)
        .where(act_images.c.image_id == image_id)
        .order_by(acts.c.id)
    )
    return [Act(**row._mapping) for row in rows]


# Exclude ------------------------------------------------------------------------------------------


def exclude(connection: Connection, reasons: Mapping[int, str]) -> None:
    """Excludes the usable ones of these images, each for its reason."""
    for batch in batched(reasons.items()):
        connection.execute(_EXCLUDE, [{"image": key, "why": why} for key, why in batch])


_EXCLUDE = (
    update(images)
    .where(images.c.id == bindparam("image"), images.c.state == "ok")
    .values(state="excluded", reason=bindparam("why"))
)


def take_back(connection: Connection, image_ids: Sequence[int]) -> list[int]:
    """Makes those of these images usable again that are excluded; returns which they were."""
    taken: list[int] = []
    for batch in batched(image_ids):
        excluded = (images.c.id.in_(batch), images.c.state == "excluded")
        found = list(connection.scalars(select(images.c.id).where(*excluded)))
        connection.execute(update(images).where(*excluded).values(state="ok", reason=""))
        taken += sorted(found)
    return taken


def usable_members(
    connection: Connection, image_ids: Sequence[int]
) -> tuple[dict[int, int], dict[int, set[int]]]:
    """The groups of these images, and the usable members of each of those groups."""
    group_of: dict[int, int] = {}
    members: dict[int, set[int]] = {}
    for batch in batched(image_ids):
        theirs = select(images.c.group_id).where(images.c.id.in_(batch))
        rows = connection.execute(
            select(images.c.id, images.c.group_id).where(
                images.c.group_id.in_(theirs), images.c.state == "ok"
            )
        )
        for row in rows:
            group_of[row.id] = row.group_id
            members.setdefault(row.group_id, set()).add(row.id)
    return group_of, members


# Propagate ----------------------------------------------------------------------------------------


def unanswered_copies(
    connection: Connection, project_id: int, *, image_ids: Sequence[int] | None = None
) -> Iterator[tuple[int, LabelRow | None]]:
    """Usable images that nobody has spoken of, in groups of which somebody has.

    Groups with a member in the reserve are left out.

    Args:
        image_ids: only the groups of these images; all groups if not given.

    Yields:
        The image's id, and the label that its group agrees on; `None` where the answers disagree.
    """
    for batch in batched(_labeled_groups(connection, project_id, image_ids)):
        agreed = labels.agreed(connection, batch)
        rows = connection.execute(
            select(images.c.id, images.c.group_id)
            .where(images.c.group_id.in_(list(agreed)), *_without_word())
            .order_by(images.c.id)
        )
        for row in rows:
            yield row.id, agreed[row.group_id]


def _labeled_groups(
    connection: Connection, project_id: int, image_ids: Sequence[int] | None
) -> list[int]:
    query = (
        select(images.c.group_id)
        .join(label_rows, label_rows.c.image_id == images.c.id)
        .where(label_rows.c.project_id == project_id, label_rows.c.origin.not_in(labels.NOBODYS))
        .distinct()
    )
    if image_ids is None:
        return sorted(connection.scalars(query))
    found: set[int] = set()
    for batch in batched(image_ids):
        theirs = select(images.c.group_id).where(images.c.id.in_(batch))
        found.update(connection.scalars(query.where(images.c.group_id.in_(theirs))))
    return sorted(found)


def _without_word() -> Iterator[ColumnElement[bool]]:
    yield images.c.state == "ok"
    yield ~select(label_rows.c.image_id).where(label_rows.c.image_id == images.c.id).exists()
    yield ~(
        select(annotations.c.id)
        .where(annotations.c.image_id == images.c.id, annotations.c.state != "deleted")
        .exists()
    )


def count(connection: Connection, act_id: int) -> int:
    """How many images an act touched."""
    query = select(func.count()).select_from(act_images).where(act_images.c.act_id == act_id)
    return connection.scalar(query) or 0
