"""Audit samples: images whose label a machine gave, drawn at random for people to judge it by.

The images of a sample stand in the subject of their act (kind `accept`), and what the machine said
of each image in the act's images, so that an answer that takes the label's place is compared with
what was accepted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select

from curation.catalog import acts, labels
from curation.catalog.acts import Act
from curation.catalog.annotations import is_skip, settles
from curation.catalog.bulk import batched
from curation.catalog.schema import act_images, annotations, annotators, images
from curation.catalog.schema import labels as label_rows

ACCEPT: acts.Kind = "accept"


@dataclass(frozen=True)
class Judged:
    """One image of a sample that people have dealt with.

    Attributes:
        accepted: class ids that the machine gave.
        answered: class ids that people agree on; none where they skipped the image.
    """

    image_id: int
    accepted: tuple[int, ...]
    answered: tuple[int, ...] | None


def every(connection: Connection, project_id: int) -> list[Act]:
    """The acts by which labels were accepted, the undone ones as well, newest first."""
    return acts.latest(connection, project_id, kind=ACCEPT)


def pending(connection: Connection, project_id: int) -> list[int]:
    """Usable images of samples that no person has answered or skipped, and that stand labeled so.

    Images that joined the reserve since are asked there, and judge no machine.
    """
    sampled = [
        int(key)
        for act in every(connection, project_id)
        if not act.undone
        for key in act.subject.get("audit", ())
    ]
    found: list[int] = []
    for batch in batched(sampled):
        by_people = (
            select(annotations.c.id)
            .join(annotators, annotators.c.id == annotations.c.annotator_id)
            .where(annotations.c.image_id == images.c.id, settles(), annotators.c.kind != "import")
            .exists()
        )
        query = (
            select(images.c.id)
            .join(label_rows, label_rows.c.image_id == images.c.id)
            .where(
                images.c.id.in_(batch),
                images.c.state == "ok",
                images.c.reserve.is_(None),
                label_rows.c.origin == labels.MACHINE,
                ~by_people,
            )
        )
        open_images = set(connection.scalars(query))
        found += [key for key in batch if key in open_images]
    return list(dict.fromkeys(found))


def judged(connection: Connection, act: Act) -> list[Judged]:
    """What people say of a sample so far, in the order in which it was drawn."""
    sampled = [int(key) for key in act.subject.get("audit", ())]
    found: dict[int, Judged] = {}
    for batch in batched(sampled):
        rows = connection.execute(
            select(act_images.c.image_id, act_images.c.before).where(
                act_images.c.act_id == act.id, act_images.c.image_id.in_(batch)
            )
        )
        accepted = {row.image_id: tuple(row.before["accepted"]) for row in rows}
        now = labels.get(connection, batch)
        skipped = set(connection.scalars(_skipped(batch)))
        for key in batch:
            if key in now and now[key].origin == "people":
                found[key] = Judged(key, accepted[key], now[key].classes)
            elif key in skipped:
                found[key] = Judged(key, accepted[key], None)
    return [found[key] for key in sampled if key in found]


def count_standing(connection: Connection, act: Act) -> int:
    """How many of an act's images bear a machine's label still."""
    query = (
        select(func.count())
        .select_from(act_images)
        .join(label_rows, label_rows.c.image_id == act_images.c.image_id)
        .where(act_images.c.act_id == act.id, label_rows.c.origin == labels.MACHINE)
    )
    return connection.scalar(query) or 0


def drop_skipped(connection: Connection, image_ids: Sequence[int]) -> None:
    """Takes machines' labels from those of these images that people skipped."""
    for batch in batched(image_ids):
        skipped = list(connection.scalars(_skipped(batch)))
        labels.take_back(connection, skipped, origin=labels.MACHINE)


def _skipped(image_ids: Sequence[int]) -> Select[Any]:
    return select(annotations.c.image_id).where(annotations.c.image_id.in_(image_ids), is_skip())
