"""Runs, the snapshots they saw, and the predictions of the newest model."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from curation.catalog.bulk import batched
from curation.catalog.schema import predictions, runs, snapshots
from curation.errors import NotFound


def add_snapshot(
    connection: Connection, project_id: int, snapshot_id: str, header: dict[str, Any]
) -> None:
    """Registers a snapshot whose files are written; the same snapshot twice is one."""
    if connection.scalar(select(snapshots.c.id).where(snapshots.c.id == snapshot_id)):
        return
    sequence = (
        select(func.coalesce(func.max(snapshots.c.sequence), 0) + 1)
        .where(snapshots.c.project_id == project_id)
        .scalar_subquery()
    )
    connection.execute(
        insert(snapshots).values(
            id=snapshot_id, project_id=project_id, sequence=sequence, header=header
        )
    )


def latest_snapshot(connection: Connection, project_id: int) -> dict[str, Any] | None:
    """Id, header and time of the newest snapshot."""
    row = connection.execute(
        select(snapshots)
        .where(snapshots.c.project_id == project_id)
        .order_by(snapshots.c.sequence.desc())
        .limit(1)
    ).first()
    return None if row is None else dict(row._mapping)


def snapshot(connection: Connection, project_id: int, snapshot_id: str) -> dict[str, Any] | None:
    """Id, header and time of one snapshot."""
    row = connection.execute(
        select(snapshots).where(snapshots.c.project_id == project_id, snapshots.c.id == snapshot_id)
    ).first()
    return None if row is None else dict(row._mapping)


def list_snapshots(connection: Connection, project_id: int) -> list[dict[str, Any]]:
    """All snapshots, oldest first."""
    rows = connection.execute(
        select(snapshots).where(snapshots.c.project_id == project_id).order_by(snapshots.c.sequence)
    )
    return [dict(row._mapping) for row in rows]


def add(
    connection: Connection,
    project_id: int,
    run_id: str,
    *,
    kind: str,
    snapshot_id: str | None,
    seed: int,
    settings: dict[str, Any],
    metrics: dict[str, Any],
) -> None:
    """Registers a finished run, whose files are written."""
    if connection.scalar(select(runs.c.id).where(runs.c.id == run_id)):
        return
    sequence = (
        select(func.coalesce(func.max(runs.c.sequence), 0) + 1)
        .where(runs.c.project_id == project_id)
        .scalar_subquery()
    )
    connection.execute(
        insert(runs).values(
            id=run_id,
            project_id=project_id,
            sequence=sequence,
            kind=kind,
            state="done",
            snapshot_id=snapshot_id,
            seed=seed,
            settings=settings,
            metrics=metrics,
        )
    )


def set_metrics(connection: Connection, run_id: str, metrics: dict[str, Any]) -> None:
    """Writes what the run's model reached."""
    connection.execute(update(runs).where(runs.c.id == run_id).values(metrics=metrics))


def get(connection: Connection, run_id: str) -> dict[str, Any]:
    """One run.

    Raises:
        NotFound: there is none of this id.
    """
    row = connection.execute(select(runs).where(runs.c.id == run_id)).first()
    if row is None:
        raise NotFound(f"No run {run_id!r}. `labelloop models list` shows them.")
    return dict(row._mapping)


def every(connection: Connection, project_id: int) -> list[dict[str, Any]]:
    """All runs of a project, oldest first."""
    rows = connection.execute(
        select(runs).where(runs.c.project_id == project_id).order_by(runs.c.sequence)
    )
    return [dict(row._mapping) for row in rows]


def put_predictions(
    connection: Connection,
    project_id: int,
    run_id: str,
    rows: Iterable[tuple[int, int, float, float]],
) -> None:
    """Replaces the project's predictions.

    Args:
        rows: image id, class id, confidence (0 to 1) and margin between the two likeliest classes.
    """
    connection.execute(delete(predictions).where(predictions.c.project_id == project_id))
    for batch in batched(rows, 5000):
        connection.execute(
            insert(predictions),
            [
                {
                    "image_id": image_id,
                    "project_id": project_id,
                    "run_id": run_id,
                    "class_id": class_id,
                    "confidence": confidence,
                    "margin": margin,
                }
                for image_id, class_id, confidence, margin in batch
            ],
        )


def prediction_of(connection: Connection, image_id: int) -> dict[str, Any] | None:
    """The newest model's answer for one image."""
    row = connection.execute(select(predictions).where(predictions.c.image_id == image_id)).first()
    return None if row is None else dict(row._mapping)


def predictions_of(connection: Connection, image_ids: list[int]) -> dict[int, dict[str, Any]]:
    """The newest model's answers for these images."""
    found: dict[int, dict[str, Any]] = {}
    for batch in batched(image_ids):
        rows = connection.execute(select(predictions).where(predictions.c.image_id.in_(batch)))
        found.update({row.image_id: dict(row._mapping) for row in rows})
    return found
