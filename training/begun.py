"""The run that a training goes on with, or a new one."""

from collections.abc import Mapping
from typing import Any

from curation.catalog import images as image_rows
from curation.catalog import runs as run_rows
from curation.errors import TrainingError
from curation.workspace import Project
from training import material as materials
from training import runs
from training.asked import Asked


def find(project: Project, asked: Asked, *, fresh: bool | str) -> tuple[str, str]:
    """The interrupted run that was asked for in these words, or a new one.

    Runs that cannot be gone on with, or shall not be, are marked as failed.

    Args:
        project: whose runs they are.
        asked: in the user's words.
        fresh: take a new one; with the id of a run, go on with what was begun after it.

    Returns:
        The run's id, and what to tell about an interrupted one; empty if there was none.
    """
    with project.catalog.read() as connection:
        rows = run_rows.every(connection, project.id)
    left = next((n for n, row in enumerate(rows) if row["id"] == fresh), len(rows))
    given_up: dict[str, str] = {}
    says = ""
    for number, row in enumerate(rows):
        key = str(row["id"])
        is_open = row["state"] == "running" and asked.is_of(row["about"])
        if not is_open or runs.is_busy(project, key):
            continue
        if fresh and number <= left:
            given_up[key] = "It was left for a new training."
        elif why := _outdated(project, key):
            given_up[key] = why
            says = f"{key} was begun before and cannot go on: {why}"
        else:
            return key, _went_on(row)
    with project.catalog.write() as connection:
        for key, why in given_up.items():
            about = run_rows.get(connection, key)["about"]
            run_rows.update_run(connection, key, state="failed", about={**about, "says": why})
        run_id = run_rows.next_id(connection, project.id)
        run_rows.add(
            connection,
            project.id,
            run_id,
            kind=asked.kind,
            snapshot_id=None,
            seed=project.record.seed if asked.seed is None else asked.seed,
            settings={},
            metrics={},
            about={"asked": asked.as_json()},
            state="running",
        )
    return run_id, says


def _outdated(project: Project, run_id: str) -> str:
    """Why an interrupted run cannot go on with the rows that it has; empty if it can."""
    home = runs.folder(project, run_id)
    if not (home / runs.FACTS).exists():
        return ""
    try:
        held = materials.load(home, runs.read(project, run_id, runs.FACTS)["material"])
    except TrainingError as error:
        return str(error)
    ids = materials.joined([held.part(name) for name in materials.PARTS]).ids.tolist()
    with project.catalog.read() as connection:
        gone = len(ids) - len(image_rows.usable_among(connection, ids))
    if not gone:
        return ""
    images = "an image of it" if gone == 1 else f"{gone:,} images of it"
    return f"{images} cannot be used any more (excluded, missing or deleted)."


def _went_on(row: Mapping[str, Any]) -> str:
    """What to know where an interrupted run goes on; empty if it had not even taken the labels."""
    if "labels" not in row["about"]:
        return ""
    return (
        f"Goes on with {row['id']}, begun on {row['created_at']:%Y-%m-%d %H:%M} UTC with "
        f"{row['about']['labels']:,} labels; --fresh takes the labels as they are now."
    )
