"""The run that a training goes on with, or a new one."""

from collections.abc import Mapping
from typing import Any

from curation.catalog import Connection
from curation.catalog import images as image_rows
from curation.catalog import runs as run_rows
from curation.errors import TrainingError
from curation.workspace import Project
from training import material as materials
from training import runs
from training.asked import Asked

UNANSWERED = "unanswered"
"""Of a finished run: nobody has been told of it yet, as far as is known."""


def find(
    project: Project, asked: Asked, *, fresh: bool | str, finished: bool = True
) -> tuple[str, str]:
    """The run that was asked for in these words and is not answered yet, or a new one.

    It was interrupted, and is gone on with; or it is finished, but the process that asked for it
    ended before it could say so, and training it again would make a second run of one request.
    Runs that cannot be gone on with, or shall not be, are marked as failed.

    Args:
        project: whose runs they are.
        asked: in the user's words.
        fresh: take a new one; with the id of a run, go on with what was begun after it.
        finished: take one that is finished; else it is left as it is, as answered.

    Returns:
        The run's id, and what to tell about one of before; empty if there was none.
    """
    with project.catalog.read() as connection:
        rows = run_rows.brief(connection, project.id, about=("asked", "labels", UNANSWERED))
    left = next((n for n, row in enumerate(rows) if row["id"] == fresh), len(rows))
    given_up: dict[str, str] = {}
    says = ""
    for number, row in enumerate(rows):
        key = str(row["id"])
        if not _is_open(row) or not asked.is_of(row["about"]) or runs.is_busy(project, key):
            continue
        is_done = row["state"] == "done"
        if (fresh and number <= left) or (is_done and not finished):
            given_up[key] = "It was left for a new training."
        elif is_done:
            return key, _was_finished(row)
        elif why := _outdated(project, key):
            given_up[key] = why
            says = f"{key} was begun before and cannot go on: {why}"
        else:
            return key, _went_on(row)
    with project.catalog.write() as connection:
        for key, why in given_up.items():
            _give_up(connection, key, why)
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


def answered(connection: Connection, run_id: str) -> None:
    """Notes that whoever asked for a run was told of it: the same words now train anew.

    In the transaction that tells, where there is one.
    """
    about = run_rows.get(connection, run_id)["about"]
    if about.pop(UNANSWERED, False):
        run_rows.update_run(connection, run_id, about=about)


def _is_open(row: Mapping[str, Any]) -> bool:
    is_answered = not row["about"].get(UNANSWERED)
    return str(row["state"]) == "running" or (str(row["state"]) == "done" and not is_answered)


def _give_up(connection: Connection, run_id: str, why: str) -> None:
    row = run_rows.get(connection, run_id)
    if row["state"] == "running":
        about = {**row["about"], "says": why}
        run_rows.update_run(connection, run_id, state="failed", about=about)
    else:
        answered(connection, run_id)


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


def _was_finished(row: Mapping[str, Any]) -> str:
    return (
        f"{row['id']}, begun on {row['created_at']:%Y-%m-%d %H:%M} UTC with "
        f"{row['about']['labels']:,} labels, was finished when its command was interrupted: it is "
        "the answer. --fresh trains anew."
    )


def _went_on(row: Mapping[str, Any]) -> str:
    """What to know where an interrupted run goes on; empty if it had not even taken the labels."""
    if "labels" not in row["about"]:
        return ""
    return (
        f"Goes on with {row['id']}, begun on {row['created_at']:%Y-%m-%d %H:%M} UTC with "
        f"{row['about']['labels']:,} labels; --fresh takes the labels as they are now."
    )
