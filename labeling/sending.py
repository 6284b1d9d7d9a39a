"""Images of boxes on their way to people, at random or by name, since no model chooses them yet.

A round without a model: its ledger is written first, so that what a kill interrupts goes on where
it stopped, and nothing is sent twice.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from curation.catalog import Connection as Catalog
from curation.catalog import annotations, labels, rounds
from curation.catalog import images as image_rows
from curation.catalog import pool as pool_rows
from curation.errors import InputError
from curation.progress import Report, silent
from curation.records import LedgerRow, RoundRecord
from curation.workspace import Project
from labeling import sync
from labeling.connection import Connection
from labeling.queues import Shelf

MOST_ANSWERS = 20


def send(
    project: Project,
    connection: Connection,
    *,
    shelf: Shelf,
    names: Sequence[str] = (),
    count: int = 50,
    answers: int = 1,
    report: Report = silent,
) -> dict[str, Any]:
    """Sends unlabeled images to people, or goes on with what was interrupted.

    Args:
        project: whose images they are; its task is `boxes`.
        connection: to where.
        shelf: where Label Studio reads images from.
        names: of the images; drawn at random if empty, one of each group of near-duplicates.
        count: how many to draw.
        answers: how many people draw the boxes of each image.
        report: told how many are there.

    Returns:
        round: its number; sent: how many images it holds.

    Raises:
        InputError: a model chooses in such a project, an image cannot be sent, or none is left.
        LabelStudioError: something was refused; the same call goes on.
    """
    if project.record.task != "boxes":
        raise InputError(
            f"{project.record.name!r} holds labels of whole images, which `labelloop round` "
            "chooses and sends."
        )
    with project.catalog.write() as writing:
        latest = rounds.latest(writing, project.id)
        if latest is None or latest.state != "running":
            latest = _plan(writing, project, names, count, answers)
    sync.offer(project, connection, latest, shelf=shelf, report=report)
    with project.catalog.write() as writing:
        rounds.finish(writing, latest.id, "waiting")
        sent = len(rounds.ledger(writing, latest.id))
    return {"round": latest.number, "sent": sent}


def _plan(
    writing: Catalog, project: Project, names: Sequence[str], count: int, answers: int
) -> RoundRecord:
    if not 1 <= answers <= MOST_ANSWERS:
        raise InputError(f"--answers {answers} must be from 1 to {MOST_ANSWERS}.")
    waiting = set(rounds.waiting(writing, project.id))
    chosen = (
        _named(writing, project, names, waiting)
        if names
        else _drawn(writing, project, count, waiting)
    )
    settings = {
        "asked": {"budget": len(chosen), "answers": answers},
        "version": annotations.newest_version(writing, project.id),
    }
    made = rounds.start(writing, project.id, settings)
    rows = [LedgerRow(key, "batch", rank, answers=answers) for rank, key in enumerate(chosen)]
    rounds.plan(writing, project.id, made.id, rows)
    facts = {
        "strategy": "by name" if names else "random",
        "selected": len(chosen),
        "labels": labels.count(writing, project.id),
    }
    rounds.note(writing, made.id, facts)
    return made


def _named(
    writing: Catalog, project: Project, names: Sequence[str], waiting: set[int]
) -> list[int]:
    ids = image_rows.ids_by_name(writing, project.id, list(names))
    records = image_rows.get_many(writing, list(ids.values()))
    labeled = labels.get(writing, list(ids.values()))
    for name in names:
        key = ids.get(name)
        reason = (
            "is not an image of the project"
            if key is None
            else f"is {records[key].state}"
            if records[key].state != "ok"
            else "waits for people already"
            if key in waiting
            else "is labeled already"
            if key in labeled
            else ""
        )
        if reason:
            raise InputError(f"{name!r} {reason}. Nothing was sent; leave it out.")
    return list(dict.fromkeys(ids[name] for name in names))


def _drawn(writing: Catalog, project: Project, count: int, waiting: set[int]) -> list[int]:
    if count < 1:
        raise InputError(f"Asked for {count} images; --count must be at least 1.")
    left = [row.id for row in pool_rows.find(writing, project.id) if row.id not in waiting]
    if not left:
        raise InputError(
            f"No unlabeled image is left to send; {len(waiting):,} wait for people already. "
            "Import more."
        )
    latest = rounds.latest(writing, project.id)
    rng = np.random.default_rng([project.record.seed, latest.number + 1 if latest else 0])
    return [int(key) for key in rng.permutation(left)[:count]]
