"""Answers that people gave elsewhere, such as on a crowd platform; many people at a time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from curation.catalog.bulk import batched
from curation.catalog.schema import annotation_versions, annotations


@dataclass(frozen=True, slots=True)
class Answer:
    """One person's answer to one image; `seconds` it took, where that is known."""

    image_id: int
    annotator_id: int
    classes: tuple[int, ...]
    seconds: float | None = None

    @property
    def key(self) -> tuple[int, int]:
        """Whose answer to what."""
        return self.image_id, self.annotator_id


@dataclass(frozen=True)
class Stored:
    """How many answers are new, and how many other than before; the images of both."""

    added: int
    changed: int
    images: frozenset[int]


def put(connection: Connection, project_id: int, answers: Sequence[Answer]) -> Stored:
    """Brings the answers to what is said now; what was said before is kept in the history.

    The same call twice changes nothing. Answers that came through Label Studio are left alone.

    Args:
        answers: at most one of each person to each image.
    """
    added = changed = 0
    touched: set[int] = set()
    for batch in batched(answers):
        known = _known(connection, {answer.image_id for answer in batch})
        new = [answer for answer in batch if answer.key not in known]
        other = [
            answer
            for answer in batch
            if answer.key in known and not _says(known[answer.key], answer)
        ]
        if new:
            rows = [
                {
                    "project_id": project_id,
                    "image_id": answer.image_id,
                    "annotator_id": answer.annotator_id,
                    "state": "answered",
                    "classes": list(answer.classes),
                    "seconds": answer.seconds,
                }
                for answer in new
            ]
            connection.execute(insert(annotations), rows)
            known |= _known(connection, {answer.image_id for answer in new})
        for answer in other:
            connection.execute(
                update(annotations)
                .where(annotations.c.id == known[answer.key].id)
                .values(state="answered", classes=list(answer.classes), seconds=answer.seconds)
            )
        versions = [
            {
                "project_id": project_id,
                "annotation_id": known[answer.key].id,
                "image_id": answer.image_id,
                "state": "answered",
                "classes": list(answer.classes),
            }
            for answer in (*new, *other)
        ]
        if versions:
            connection.execute(insert(annotation_versions), versions)
        added += len(new)
        changed += len(other)
        touched.update(answer.image_id for answer in (*new, *other))
    return Stored(added, changed, frozenset(touched))


def _says(row: Any, answer: Answer) -> bool:
    return row.state in ("answered", "aside") and tuple(row.classes) == answer.classes


def _known(connection: Connection, image_ids: Iterable[int]) -> dict[tuple[int, int], Any]:
    """Answers to these images that did not come through Label Studio, by image and annotator."""
    found = connection.execute(
        select(
            annotations.c.id,
            annotations.c.image_id,
            annotations.c.annotator_id,
            annotations.c.state,
            annotations.c.classes,
        )
        .where(annotations.c.image_id.in_(sorted(image_ids)), annotations.c.remote_id.is_(None))
        .order_by(annotations.c.id)
    )
    return {(row.image_id, row.annotator_id): row for row in found}
