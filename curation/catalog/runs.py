"""Runs, the snapshots they saw, and the predictions of the newest model."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, delete, func, insert, select, update

from curation.catalog.bulk import batched
from curation.catalog.schema import predictions, projects, rounds, runs, snapshots
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
    about: dict[str, Any] | None = None,
    state: str = "done",
) -> None:
    """Registers a run, whose files are written; the same run twice is one.

    Args:
        kind: of `training.settings.KINDS`.
        about: what else is known: parents, files, environment, diagnosis.
        state: `running`, `done`, `failed` or `deleted` (its files are gone, its row is history).
    """
    if connection.scalar(select(runs.c.id).where(runs.c.id == run_id)):
        return
    connection.execute(
        insert(runs).values(
            id=run_id,
            project_id=project_id,
            sequence=_next(connection, project_id),
            kind=kind,
            state=state,
            snapshot_id=snapshot_id,
            seed=seed,
            settings=settings,
            metrics=metrics,
            about=about or {},
        )
    )


def _next(connection: Connection, project_id: int) -> int:
    newest = select(func.coalesce(func.max(runs.c.sequence), 0))
    return (connection.scalar(newest.where(runs.c.project_id == project_id)) or 0) + 1


def next_id(connection: Connection, project_id: int) -> str:
    """A name for the next training of a project; inside the transaction that adds it.

    Two that ask at once take turns: SQLite has one writer at a time, and PostgreSQL waits here.
    """
    connection.execute(select(projects.c.id).where(projects.c.id == project_id).with_for_update())
    return f"p{project_id}-train-{_next(connection, project_id)}"


def update_run(
    connection: Connection,
    run_id: str,
    *,
    state: str | None = None,
    metrics: dict[str, Any] | None = None,
    about: dict[str, Any] | None = None,
) -> bool:
    """Writes where a run stands; what is not given stays. False if it was deleted meanwhile."""
    changes = {"state": state, "metrics": metrics, "about": about}
    result = connection.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.state != "deleted")
        .values({key: value for key, value in changes.items() if value is not None})
    )
    return bool(result.rowcount)


def describe(
    connection: Connection,
    run_id: str,
    *,
    kind: str,
    snapshot_id: str,
    settings: dict[str, Any],
    about: dict[str, Any],
) -> None:
    """Writes what a run that was begun learns from, and how."""
    values = {"kind": kind, "snapshot_id": snapshot_id, "settings": settings, "about": about}
    connection.execute(update(runs).where(runs.c.id == run_id).values(**values))


def set_tags(connection: Connection, run_id: str, tags: list[str]) -> None:
    """Replaces a run's tags."""
    connection.execute(update(runs).where(runs.c.id == run_id).values(tags=tags))


def promote(connection: Connection, project_id: int, run_id: str | None) -> None:
    """Makes a run the project's only champion; none for None."""
    of_project = update(runs).where(runs.c.project_id == project_id)
    connection.execute(of_project.values(champion=False))
    connection.execute(of_project.where(runs.c.id == run_id).values(champion=True))


def champion(connection: Connection, project_id: int) -> dict[str, Any] | None:
    """The project's champion, if one was promoted."""
    query = select(runs).where(runs.c.project_id == project_id, runs.c.champion.is_(True))
    row = connection.execute(query).first()
    return None if row is None else dict(row._mapping)


def rests_on(connection: Connection, run_id: str) -> bool:
    """Whether a round or the predictions in the catalog name this run."""
    for table in (rounds, predictions):
        if connection.scalar(select(table.c.run_id).where(table.c.run_id == run_id).limit(1)):
            return True
    return False


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


def brief(
    connection: Connection,
    project_id: int,
    *,
    metrics: Sequence[str] = (),
    about: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """All runs of a project, oldest first, with these of their metrics and facts and no others.

    A run's metrics hold a table of its classes and a dozen figures of each: a list shows three
    numbers. Settings are left out.

    Args:
        metrics: names in a run's metrics; missing in its row where it has none of this name.
        about: the same of what else is known; true is 1 in SQLite.
    """
    parts = {
        f"{column.name}-{name}": _part(connection, column, name)
        for column, names in ((runs.c.metrics, metrics), (runs.c.about, about))
        for name in names
    }
    whole = ("metrics", "about", "settings")
    found = connection.execute(
        select(
            *(column for column in runs.c if column.name not in whole),
            *(part.label(label) for label, part in parts.items()),
        )
        .where(runs.c.project_id == project_id)
        .order_by(runs.c.sequence)
    )
    rows = []
    for row in found.mappings():
        held = {key: row[key] for key in row if key not in parts}
        for column, names in (("metrics", metrics), ("about", about)):
            values = ((name, row[f"{column}-{name}"]) for name in names)
            held[column] = {name: value for name, value in values if value is not None}
        rows.append(held)
    return rows


def _part(connection: Connection, column: ColumnElement[Any], name: str) -> ColumnElement[Any]:
    """One value of a JSON object; none where there is none."""
    if connection.dialect.name == "sqlite":
        # One NaN, which is no JSON, would end the query for all other runs too.
        column = case((func.json_valid(column) == 1, column), else_=None)
    return column[name]


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


def predicted_by(connection: Connection, project_id: int) -> str | None:
    """The run whose answers the predictions are; none if there are none."""
    query = select(predictions.c.run_id).where(predictions.c.project_id == project_id).limit(1)
    found: str | None = connection.scalar(query)
    return found


def has_predictions(connection: Connection, project_id: int) -> bool:
    """Whether a model has looked at the project's images."""
    query = select(predictions.c.image_id).where(predictions.c.project_id == project_id)
    return connection.scalar(query.limit(1)) is not None


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
