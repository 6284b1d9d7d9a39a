"""The batch: what a round sends to people, chosen by a strategy and drawn from the reserve."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from curation.catalog import images as image_rows
from curation.catalog import pool as pool_rows
from curation.catalog import reserve, rounds
from curation.records import LedgerRow, PoolRow
from training import learner
from training.strategies import STRATEGIES, Selection
from training.work import Done, Work

NOTHING = Selection(ids=np.array([], dtype=np.int64), scores=np.array([]), reasons=())


def select(work: Work) -> Done:
    """Chooses the batch, and takes the next images of the reserve's order as random control."""
    project, known = work.project, work.labels.known
    with project.catalog.read() as connection:
        waiting = rounds.waiting(connection, project.id)
        ordered = reserve.rows(connection, project.id)
        about = image_rows.get_many(connection, [*waiting, *(row.image_id for row in ordered)])
        sent_groups = {about[key].group_id for key in waiting}
        pool = [
            row for row in pool_rows.find(connection, project.id) if row.group_id not in sent_groups
        ]
        carried = rounds.waiting(connection, project.id, queue="batch")
    reserved = {row.image_id for row in ordered}
    # An image that waits is of no use any more once its copy is labeled, or is in the reserve.
    closed = {about[key].group_id for key in reserved} | {row.group_id for row in known}
    carried = [key for key in carried if key in reserved or about[key].group_id not in closed]
    # Images that turned out to be copies while they waited: one answer is enough for all of them.
    first: dict[int | None, int] = {}
    for key in carried:
        first.setdefault(about[key].group_id, key)
    carried = [key for key in carried if key in reserved or first[about[key].group_id] == key]
    fresh = [row.image_id for row in ordered if not row.offered and not row.settled]
    control = fresh[: _control_size(work)]
    wanted = work.settings.budget - (len(control) if work.round.number else 0)
    count = min(wanted, len(pool))
    chosen = _choose(work, pool, count) if count > 0 else NOTHING
    picks = [int(key) for key in chosen.ids]
    hints = _prelabels(work, [*picks, *(key for key in carried if key not in reserved)])
    rows = [
        LedgerRow(
            image_id=key,
            queue="batch",
            rank=rank,
            score=float(chosen.scores[rank]),
            reason=chosen.reasons[rank],
            probability=(
                None if chosen.probabilities is None else float(chosen.probabilities[rank])
            ),
        )
        for rank, key in enumerate(picks)
    ]
    drawn = [
        LedgerRow(image_id=key, queue="reserve", rank=rank, reason="random: next in the reserve")
        for rank, key in enumerate(control)
    ]
    left = [
        LedgerRow(image_id=key, queue="batch", rank=0, reason="waiting since an earlier round")
        for key in carried
    ]
    if work.round.number:
        # People answer one queue from now on; the reserve's images carry no pre-label there either.
        rows, drawn = _interleaved(rows, drawn), []
    ledger = [
        replace(
            row,
            rank=rank,
            prelabel_class_id=hints[row.image_id][0] if row.image_id in hints else None,
            prelabel_confidence=hints[row.image_id][1] if row.image_id in hints else None,
        )
        for rank, row in enumerate([*rows, *left])
    ]
    return Done(
        {
            "strategy": chosen.strategy or work.settings.strategy,
            "rule": chosen.rule or "",
            "selected": len(picks),
            "control": len(control),
            "carried": len(carried),
            "pool": len(pool),
            "short": max(wanted - len(picks), 0),
        },
        lambda connection: rounds.plan(connection, project.id, work.round.id, [*ledger, *drawn]),
    )


def _choose(work: Work, pool: Sequence[PoolRow], count: int) -> Selection:
    name, known = work.settings.strategy, work.labels.known
    rule = ""
    if STRATEGIES[name].needs_model and work.head is None:
        # Better than a round that could neither go on nor be asked for anything else.
        rule = f"{name} needs a model and there is none yet; "
        name = "auto"
    chosen = learner.choose(
        name,
        ids=np.array([row.id for row in pool], dtype=np.int64),
        groups=np.array([row.group_id for row in pool], dtype=np.int64),
        store=work.store,
        head=work.head,
        known_ids=[row.image_id for row in known],
        known_targets=work.targets([row.classes for row in known]) if known else None,
        count=count,
        rng=work.rng("select"),
    )
    return replace(chosen, rule=rule + (chosen.rule or "")) if rule else chosen


def _interleaved(chosen: list[LedgerRow], drawn: list[LedgerRow]) -> list[LedgerRow]:
    """The chosen rows in their order, with the drawn ones spread evenly among them."""
    if not drawn:
        return chosen
    gap = len(chosen) / len(drawn)
    placed = [(float(rank), row) for rank, row in enumerate(chosen)]
    placed += [((n + 0.5) * gap - 0.5, replace(row, queue="batch")) for n, row in enumerate(drawn)]
    return [row for _, row in sorted(placed, key=lambda pair: pair[0])]


def _control_size(work: Work) -> int:
    if work.round.number == 0:
        return work.settings.reserve
    accuracy = work.result("evaluate")["metrics"].get("accuracy")
    if accuracy:
        low, high = accuracy["ci"]
        if (high - low) / 2 <= work.settings.reserve_width:
            return 0
    return round(work.settings.control_share * work.settings.budget)


def _prelabels(work: Work, ids: list[int]) -> dict[int, tuple[int, float]]:
    """Likeliest class id and its confidence, by image id."""
    if work.head is None or not ids:
        return {}
    probabilities = work.head.probabilities(work.store.read(ids))
    best = probabilities.argmax(axis=1)
    class_ids = work.project.record.class_ids
    return {
        key: (class_ids[best[row]], float(probabilities[row, best[row]]))
        for row, key in enumerate(ids)
    }
