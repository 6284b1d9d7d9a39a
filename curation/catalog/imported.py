"""Answers that come with an import: labels of nobody in particular, and those of named people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from curation.catalog import annotations as rows
from curation.catalog.bulk import batched
from curation.catalog.schema import annotation_versions, annotations
from curation.records import Box


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to one image.

    Attributes:
        boxes: none where the task is not `boxes`.
    """

    image_id: int
    classes: tuple[int, ...]
    boxes: tuple[Box, ...] | None = None
    skipped: bool = False


def put(
    connection: Connection, project_id: int, answers: Sequence[Answer], *, annotator: str = ""
) -> tuple[set[int], set[int]]:
    """Brings an annotator's imported answers to what the source says now, one for each image.

    What was said before is kept in the history; the same call twice changes nothing.

    Args:
        answers: of different images.
        annotator: the person's name; empty for labels whose author the source does not tell.

    Returns:
        The images that had no answer of this annotator's, and those whose answer is another now.
    """
    if not answers:
        return set(), set()
    kind = "person" if annotator else "import"
    annotator_id = rows.add_annotator(connection, project_id, annotator or rows.IMPORT, kind=kind)
    added: set[int] = set()
    changed: set[int] = set()
    for batch in batched(answers):
        wanted = {answer.image_id: _columns(answer) for answer in batch}
        known = _known(connection, annotator_id, list(wanted))
        new = [image_id for image_id in wanted if image_id not in known]
        if new:
            here = {"project_id": project_id, "annotator_id": annotator_id}
            fresh = [here | {"image_id": image_id} | wanted[image_id] for image_id in new]
            connection.execute(insert(annotations), fresh)
        other = [
            image_id
            for image_id, row in known.items()
            if (row.state, row.classes, row.boxes) != tuple(wanted[image_id].values())
        ]
        for image_id in other:
            connection.execute(
                update(annotations)
                .where(annotations.c.id == known[image_id].id)
                .values(**wanted[image_id])
            )
        ids = _known(connection, annotator_id, [*new, *other])
        versions = [
            {"project_id": project_id, "annotation_id": ids[image_id].id, "image_id": image_id}
            | wanted[image_id]
            for image_id in [*new, *other]
        ]
        if versions:
            connection.execute(insert(annotation_versions), versions)
        added.update(new)
        changed.update(other)
    return added, changed


def _columns(answer: Answer) -> dict[str, object]:
    """The columns state, classes and boxes, in this order."""
    return {
        "state": "skipped" if answer.skipped else "answered",
        "classes": list(answer.classes),
        "boxes": None if answer.boxes is None else rows.as_rows(answer.boxes),
    }


def _known(connection: Connection, annotator_id: int, image_ids: Sequence[int]) -> dict[int, Any]:
    """This annotator's answers to these images that did not come through Label Studio's queues."""
    if not image_ids:
        return {}
    found = connection.execute(
        select(
            annotations.c.id,
            annotations.c.image_id,
            annotations.c.state,
            annotations.c.classes,
            annotations.c.boxes,
        )
        .where(
            annotations.c.image_id.in_(image_ids),
            annotations.c.annotator_id == annotator_id,
            annotations.c.remote_id.is_(None),
        )
        .order_by(annotations.c.id)
    )
    return {row.image_id: row for row in found}
