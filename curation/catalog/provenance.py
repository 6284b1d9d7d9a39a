"""Where images and labels come from, counted for those who receive the dataset."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Label, func, select

from curation.catalog.annotations import KNOWN
from curation.catalog.schema import annotations, annotators, corrections, images, labels, sources


@dataclass(frozen=True)
class Source:
    """A folder or table that images were imported from."""

    uri: str
    license: str
    images: int
    first: datetime


@dataclass(frozen=True)
class Answers:
    """What one kind of annotator gave.

    Attributes:
        kind: person, import or oracle.
        annotators: how many gave at least one answer.
        answers: that stand.
        accepted, corrected: answers to images that showed a model's guess.
        median_seconds: of the timed answers; none without any.
    """

    kind: str
    annotators: int
    answers: int
    accepted: int
    corrected: int
    median_seconds: float | None


@dataclass(frozen=True)
class Agreement:
    """Usable images with two or more answers, and how many of them have only equal ones."""

    images: int
    unanimous: int


def of_images(connection: Connection, project_id: int) -> list[Source]:
    """The sources of a project's images, the largest first."""
    rows = connection.execute(
        select(
            sources.c.uri,
            sources.c.license,
            func.count(images.c.id).label("n"),
            func.min(images.c.created_at).label("first"),
        )
        .join(images, images.c.source_id == sources.c.id)
        .where(sources.c.project_id == project_id)
        .group_by(sources.c.id, sources.c.uri, sources.c.license)
        .order_by(func.count(images.c.id).desc(), sources.c.id)
    )
    return [Source(row.uri, row.license, row.n, row.first) for row in rows]


def of_labels(connection: Connection, project_id: int) -> dict[str, int]:
    """How many usable images have their label from people, an import, or a copy."""
    rows = connection.execute(
        select(labels.c.origin, func.count())
        .join(images, images.c.id == labels.c.image_id)
        .where(labels.c.project_id == project_id, images.c.state == "ok")
        .group_by(labels.c.origin)
        .order_by(labels.c.origin)
    )
    return {origin: count for origin, count in rows}


def of_answers(connection: Connection, project_id: int) -> list[Answers]:
    """What each kind of annotator gave, people first; without the answers to gold questions."""
    standing = (
        annotations.c.project_id == project_id,
        annotations.c.state == "answered",
        annotators.c.name != KNOWN,
    )
    joined = annotations.c.annotator_id == annotators.c.id

    def shown(prelabel: str) -> Label[int]:
        return func.count().filter(annotations.c.prelabel == prelabel).label(prelabel)

    rows = connection.execute(
        select(
            annotators.c.kind,
            func.count(annotators.c.id.distinct()).label("annotators"),
            func.count().label("answers"),
            shown("accepted"),
            shown("corrected"),
        )
        .select_from(annotations)
        .join(annotators, joined)
        .where(*standing)
        .group_by(annotators.c.kind)
    ).all()
    found = []
    for row in sorted(rows, key=lambda row: ("person", "oracle", "import").index(row.kind)):
        timed = (
            select(annotations.c.seconds)
            .join(annotators, joined)
            .where(*standing, annotators.c.kind == row.kind, annotations.c.seconds.is_not(None))
        )
        n = connection.scalar(select(func.count()).select_from(timed.subquery())) or 0
        median = timed.order_by(annotations.c.seconds).offset(n // 2).limit(1)
        found.append(
            Answers(
                kind=row.kind,
                annotators=row.annotators,
                answers=row.answers,
                accepted=row.accepted,
                corrected=row.corrected,
                median_seconds=connection.scalar(median),
            )
        )
    return found


def agreement(connection: Connection, project_id: int) -> Agreement:
    """How far several answers to one image agree."""
    row = connection.execute(
        select(
            func.count(),
            func.count().filter(labels.c.confidence == 1),
        )
        .select_from(labels)
        .join(images, images.c.id == labels.c.image_id)
        .where(labels.c.project_id == project_id, images.c.state == "ok", labels.c.answers >= 2)
    ).one()
    return Agreement(row[0], row[1])


def count_doubted(connection: Connection, project_id: int) -> int:
    """How many images were put before a reviewer because their label looked wrong."""
    query = select(func.count(corrections.c.image_id.distinct())).where(
        corrections.c.project_id == project_id, corrections.c.pushed
    )
    return connection.scalar(query) or 0
