"""The batch: what a round sends to people, chosen by a strategy and drawn from the reserve."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from curation.balance import quotas
from curation.balance.quotas import Quota
from curation.catalog import asking, audits, golds, labels, reserve, rounds, splits
from curation.catalog import images as image_rows
from curation.catalog import pool as pool_rows
from curation.records import LedgerRow, PoolRow
from training.rounds import choosing
from training.rounds.work import Done, Work
from training.strategies import STRATEGIES, Selection
from training.targets import THRESHOLD

BLOCK = 8192
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
        held_out = set(connection.scalars(splits.held_out(project.id)))
        audited = audits.pending(connection, project.id)
    reserved = {row.image_id for row in ordered}
    # An image that waits is of no use any more once its copy is labeled, or is in the reserve or
    # held out by the split: its answer would not be learned from.
    # What a machine labeled waits for people only where they are to judge the machine by it.
    labeled = {row.group_id for row in known if row.origin != labels.MACHINE}
    closed = {about[key].group_id for key in reserved} | labeled | held_out
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
    quota = quotas.in_force(project)
    chosen, filled = _choose_by_quota(work, pool, count, quota) if count > 0 else (NOTHING, {})
    picks = [int(key) for key in chosen.ids]
    blind = {*reserved, *audited}
    hints = _prelabels(work, [*picks, *(key for key in carried if key not in blind)])
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
    checks = [
        LedgerRow(image_id=key, queue="batch", rank=0, reason="audit of what a machine labeled")
        for key in audited
        if key not in set(waiting)
    ]
    rows = _interleaved(rows, checks)
    if work.round.number:
        # People answer one queue from now on; the reserve's images carry no pre-label there either.
        rows, drawn = _interleaved(rows, drawn), []
    rows = [replace(row, answers=work.settings.answers) for row in [*rows, *left]]
    asked = _golds(work, len(rows))
    hints |= _prelabels(work, _like_neighbours(work, asked, rows, hints))
    rows = _mixed_in(rows, asked, rng=work.rng("golds"))
    ledger = [
        replace(
            row,
            rank=rank,
            prelabel_class_id=hints[row.image_id][0] if row.image_id in hints else None,
            prelabel_confidence=hints[row.image_id][1] if row.image_id in hints else None,
        )
        for rank, row in enumerate(rows)
    ]
    return Done(
        {
            "strategy": chosen.strategy or work.settings.strategy,
            "rule": chosen.rule or "",
            "selected": len(picks),
            "control": len(control),
            "carried": len(carried),
            "golds": len(asked),
            "audit": len(checks),
            "pool": len(pool),
            "short": max(wanted - len(picks), 0),
            "quota": {"plan": quota.plan, "filled": filled} if quota else None,
        },
        lambda connection: rounds.plan(connection, project.id, work.round.id, [*ledger, *drawn]),
    )


def _choose_by_quota(
    work: Work, pool: Sequence[PoolRow], count: int, quota: Quota | None
) -> tuple[Selection, dict[str, int]]:
    """Chooses first within what a labeling quota wants, then among all that is left.

    Returns:
        What was chosen, and how many for each class or slice of the quota.
    """
    if quota is None:
        return _choose(work, pool, count, rng=work.rng("select")), {}
    rng = work.rng("select")
    members = _members(work, pool, quota)
    by_id = {row.id: row for row in pool}

    def choose(ids: Sequence[int], n: int, besides: Sequence[int]) -> Selection:
        return _choose(work, [by_id[key] for key in ids], n, rng=rng, besides=besides)

    wanted = quota.of_batch(
        count,
        now={**dict.fromkeys(members, 0), **_labeled(work, quota)},
        room={name: len(theirs) for name, theirs in members.items()},
    )
    return fill(wanted, members, list(by_id), count, choose, of=quota.column or "predicted class")


def _labeled(work: Work, quota: Quota) -> dict[str, int]:
    """Labels outside the reserve by slice or class."""
    rows = work.labels.train
    if quota.column:
        ids = [row.image_id for row in rows]
        return Counter(quotas.slices_of(work.project, quota.column, ids))
    found = dict.fromkeys(work.project.record.classes, 0)
    for row in rows:
        for name in work.project.record.class_names(row.classes):
            found[name] += 1
    return found


def fill(
    wanted: Mapping[str, int],
    members: Mapping[str, Sequence[int]],
    ids: Sequence[int],
    count: int,
    choose: Callable[[Sequence[int], int, Sequence[int]], Selection],
    *,
    of: str,
) -> tuple[Selection, dict[str, int]]:
    """Chooses a batch of which so many come from certain images, or as many of them as there are.

    Args:
        wanted: how many by name.
        members: image ids by name.
        ids: the pool's.
        count: size of the batch.
        choose: from ids, how many, besides which others.
        of: what the names are, for the reasons.

    Returns:
        What was chosen, the wanted ones first, and how many of each name.
    """
    parts: list[Selection] = []
    filled = dict.fromkeys(wanted, 0)
    taken: list[int] = []
    for name, most in wanted.items():
        gone = set(taken)
        left = [key for key in members.get(name, ()) if key not in gone]
        n = min(most, len(left), count - len(taken))
        if n < 1:
            continue
        found = choose(left, n, taken)
        says = tuple(f"quota for {of} {name}; {reason}" for reason in found.reasons)
        parts.append(replace(found, reasons=says))
        taken += [int(key) for key in found.ids]
        filled[name] = n
    if len(taken) < count:
        gone = set(taken)
        left = [key for key in ids if key not in gone]
        parts.append(choose(left, count - len(taken), taken))
    return _joined(parts), filled


def _members(work: Work, pool: Sequence[PoolRow], quota: Quota) -> dict[str, list[int]]:
    """The pool's images by slice, or by the classes that the model finds likelier than not.

    In a single-label project that is the one likeliest class; none are known without a model.
    """
    found: dict[str, list[int]] = {}
    if quota.column:
        ids = [row.id for row in pool]
        for key, name in zip(ids, quotas.slices_of(work.project, quota.column, ids), strict=True):
            found.setdefault(name, []).append(key)
        return found
    if work.head is None:
        return found
    for start in range(0, len(pool), BLOCK):
        block = pool[start : start + BLOCK]
        likely = work.head.probabilities(work.store.read([row.id for row in block]))
        if work.head.task == "multi-label":
            held = likely >= THRESHOLD
        else:
            held = np.arange(likely.shape[1]) == likely.argmax(axis=1)[:, None]
        for n, position in zip(*np.nonzero(held), strict=True):
            found.setdefault(work.head.classes[position], []).append(block[n].id)
    return found


def _joined(parts: Sequence[Selection]) -> Selection:
    """The parts one after the other; how probable each pick was only where all of them say so."""
    drawn = [part.probabilities for part in parts if part.probabilities is not None]
    return Selection(
        ids=np.concatenate([part.ids for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        reasons=tuple(reason for part in parts for reason in part.reasons),
        probabilities=np.concatenate(drawn) if len(drawn) == len(parts) else None,
        strategy=parts[-1].strategy,
        rule=parts[-1].rule,
    )


def _choose(
    work: Work,
    pool: Sequence[PoolRow],
    count: int,
    *,
    rng: np.random.Generator,
    besides: Sequence[int] = (),
) -> Selection:
    """Chooses by the round's strategy; `besides` are images chosen already, not to be repeated."""
    name, known = work.settings.strategy, work.labels.known
    rule = ""
    if STRATEGIES[name].needs_model and work.head is None:
        # Better than a round that could neither go on nor be asked for anything else.
        rule = f"{name} needs a model and there is none yet; "
        name = "auto"
    chosen = choosing.choose(
        name,
        ids=np.array([row.id for row in pool], dtype=np.int64),
        groups=np.array([row.group_id for row in pool], dtype=np.int64),
        store=work.store,
        head=work.head,
        known_ids=[*(row.image_id for row in known), *besides],
        known_targets=(
            work.targets([row.classes for row in known]) if known and not besides else None
        ),
        count=count,
        rng=rng,
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


def _golds(work: Work, size: int) -> list[LedgerRow]:
    """Questions with a known answer, for a batch of this size; everybody is asked each of them."""
    project = work.project
    with project.catalog.read() as connection:
        rate = asking.settings(connection, project.id).gold_rate
        people = asking.active(connection, project.id)
        due = golds.due(connection, project.id, people=people)
    count = int(rate * size + work.rng("gold count").random())
    return [
        LedgerRow(
            image_id=key,
            queue="batch",
            rank=0,
            reason="question with a known answer",
            answers=max(1, len(people)),
        )
        for key in due[:count]
    ]


def _like_neighbours(
    work: Work,
    asked: Sequence[LedgerRow],
    rows: Sequence[LedgerRow],
    hints: Mapping[int, tuple[int, float]],
) -> list[int]:
    """Those of the questions that bear a pre-label: as large a share as of the images around."""
    share = sum(row.image_id in hints for row in rows) / max(len(rows), 1)
    rng = work.rng("gold pre-labels")
    return [row.image_id for row in asked if rng.random() < share]


def _mixed_in(
    rows: Sequence[LedgerRow], asked: Sequence[LedgerRow], *, rng: np.random.Generator
) -> list[LedgerRow]:
    """The rows in their order, with the questions at random places among them."""
    size = len(rows) + len(asked)
    places = set(rng.choice(size, len(asked), replace=False).tolist())
    order = iter(asked[n] for n in rng.permutation(len(asked)))
    others = iter(rows)
    return [next(order) if place in places else next(others) for place in range(size)]


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
