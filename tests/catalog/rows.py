"""Rows that the catalog's tests begin with: projects and images without files behind them."""

from collections.abc import Mapping, Sequence

from curation.catalog import Connection, annotations, images, imported, labels, projects
from curation.records import Box, NewImage, ProjectRecord, RemoteAnswer


def add_project(
    connection: Connection, name: str = "parts", *, classes: Sequence[str] = ("ok", "bad")
) -> ProjectRecord:
    return projects.create(connection, name, class_names=classes, seed=7)


def add_images(
    connection: Connection,
    project: ProjectRecord,
    pixel_hashes: Sequence[str],
    *,
    folder: str = "photos",
    metadata: dict[int, dict[str, str]] | None = None,
) -> list[int]:
    """One image per hash; equal hashes are exact copies."""
    source = images.add_source(connection, project.id, f"/{folder}")
    found = [
        NewImage(
            name=f"{folder}/{number:05}.png",
            origin=f"/{folder}/{number:05}.png",
            location=f"/{folder}/{number:05}.png",
            sha256=f"{folder}{number}",
            pixel_hash=pixel_hash,
            bytes=10,
            width=8,
            height=8,
            metadata=(metadata or {}).get(number, {}),
        )
        for number, pixel_hash in enumerate(pixel_hashes)
    ]
    ids = images.add(connection, project.id, found, source_id=source, seed=project.seed)
    return [ids[row.name] for row in found]


def hashes(count: int, *, start: int = 0) -> list[str]:
    return [f"hash-{number}" for number in range(start, start + count)]


def add_label(
    connection: Connection,
    project: ProjectRecord,
    image_id: int,
    *class_ids: int,
    origin: str = "people",
) -> None:
    row: dict[str, object] = {
        "image_id": image_id,
        "classes": class_ids,
        "origin": origin,
        "confidence": 1.0,
        "answers": 1,
        "version_id": annotations.newest_version(connection, project.id),
    }
    labels.put(connection, project.id, [row])


def answer(
    remote_id: int,
    image_id: int,
    *classes: int,
    state: str = "answered",
    seconds: float | None = 2.0,
    user: int = 1,
) -> RemoteAnswer:
    return RemoteAnswer(
        remote_id=remote_id,
        image_id=image_id,
        remote_user_id=user,
        state=state,  # type: ignore[arg-type]
        classes=classes,
        seconds=seconds,
        prelabel="none",
        model_version="",
        updated_at="2026-01-01T00:00:00+00:00",
    )


def put_answers(
    connection: Connection, project: ProjectRecord, answers: Sequence[RemoteAnswer]
) -> set[int]:
    people = {
        user: annotations.annotator_of_user(connection, project.id, user, name=f"annotator-{user}")
        for user in {given.remote_user_id for given in answers}
    }
    return annotations.put_remote(connection, project.id, answers, annotator_ids=people)


def add_imported(
    connection: Connection,
    project_id: int,
    answers: Mapping[int, tuple[int, ...]],
    *,
    boxes: Mapping[int, Sequence[Box]] | None = None,
) -> None:
    """Answers of nobody in particular, by image id; no label follows from them yet."""
    rows = [
        imported.Answer(key, classes, None if boxes is None else tuple(boxes.get(key, ())))
        for key, classes in answers.items()
    ]
    imported.put(connection, project_id, rows)
