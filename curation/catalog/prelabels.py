"""What people answered to images that a model had an opinion about."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from sqlalchemy import Connection, func, select

from curation.catalog import rounds
from curation.catalog.bulk import ROWS
from curation.catalog.schema import (
    annotation_versions,
    annotations,
    annotators,
    golds,
    round_images,
)

BULK = "bulk-"
"""What the version of a pre-label begins with that was accepted for many images at once."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The first answer to an image of a round's batch, and what the model said of it.

    Attributes:
        round: number of the round that had sent the image last.
        hint: class id that the model thought likeliest.
        classes: ids that the person gave.
        seconds: that it took, where known.
        prelabel: `none`, `accepted` or `corrected`: what became of the pre-label, where the person
            started from one.
    """

    image_id: int
    round: int
    hint: int
    classes: tuple[int, ...]
    seconds: float | None
    prelabel: str


def judged(connection: Connection, project_id: int) -> Iterator[Judged]:
    """One row for each image of a batch that a person has answered and a model had looked at.

    Images of the reserve, of which no model's opinion is ever written into a ledger, are not among
    them.
    """
    begun = {
        one.id: (one.number, int(one.settings.get("version", 0)))
        for one in rounds.every(connection, project_id)
    }
    first = (
        select(
            annotation_versions.c.annotation_id,
            func.min(annotation_versions.c.id).label("version"),
        )
        .where(annotation_versions.c.project_id == project_id)
        .group_by(annotation_versions.c.annotation_id)
        .subquery()
    )
    rows = connection.execute(
        select(
            annotations.c.id,
            annotations.c.image_id,
            annotations.c.classes,
            annotations.c.seconds,
            annotations.c.prelabel,
            first.c.version,
            round_images.c.round_id,
            round_images.c.prelabel_class_id,
        )
        .join_from(annotations, annotators, annotators.c.id == annotations.c.annotator_id)
        .join(first, first.c.annotation_id == annotations.c.id)
        .join(round_images, round_images.c.image_id == annotations.c.image_id)
        .where(
            annotations.c.project_id == project_id,
            annotations.c.state == "answered",
            annotations.c.queue == "batch",
            ~annotations.c.model_version.startswith(BULK, autoescape=True),
            annotators.c.kind == "person",
            round_images.c.queue == "batch",
            # The model has learned from what is known of these.
            annotations.c.image_id.not_in(
                select(golds.c.image_id).where(golds.c.project_id == project_id)
            ),
        )
        .order_by(annotations.c.image_id, annotations.c.id, round_images.c.round_id),
        execution_options={"yield_per": ROWS},
    )
    for image_id, theirs in groupby(rows, key=attrgetter("image_id")):
        _, found = next(groupby(theirs, key=attrgetter("id")))
        # It was answered after its round had begun; of several the last, whose pre-label replaced
        # the ones before.
        sent = [row for row in found if begun[row.round_id][1] < row.version]
        if sent and sent[-1].prelabel_class_id is not None:
            row = sent[-1]
            yield Judged(
                image_id=image_id,
                round=begun[row.round_id][0],
                hint=row.prelabel_class_id,
                classes=tuple(row.classes),
                seconds=row.seconds,
                prelabel=row.prelabel,
            )
