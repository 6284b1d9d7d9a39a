"""The rounds of a project: how the model learned, and what each of them did."""

import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pandas as pd

from curation.catalog import annotations, images, labels, rounds
from curation.catalog import gallery as gallery_rows
from curation.catalog import pool as pool_rows
from curation.records import LedgerRow, ProjectRecord, Queue, RoundRecord
from curation.workspace import Project
from labeling import prelabels
from ui.web.views import gallery, wording
from ui.web.views.gallery import Tile
from ui.web.views.overview import METRICS

DEFAULT_BUDGET = 50
FIRST_RESERVE = 150
CURVES = ("balanced_accuracy", "accuracy")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Defaults:
    """What the form for the next round offers.

    Attributes:
        strategies: what each strategy does, by name; the first is the default.
        budget: at most as many as the pool holds.
        reserve: images of the reserve that round 0 sends.
        interrupted: the newest round stopped half-way; it comes before the next one.
        unanswered: images that wait since the newest round, if nothing was answered since.
    """

    number: int
    strategies: dict[str, str]
    budget: int
    reserve: int
    pool: int
    interrupted: RoundRecord | None
    unanswered: int


@dataclass(frozen=True)
class Details:
    """One round.

    Attributes:
        facts: (name, value) in the order to read them.
        per_class: columns class, precision, recall, f1, auroc and n; empty before a model.
        confusion: counts, true classes as rows, predicted ones as columns; or empty.
        steps: columns step, seconds.
        reasons: columns reason, images; why images were chosen, the commonest first.
    """

    number: int
    state: str
    facts: tuple[tuple[str, str], ...]
    advice: str
    metrics: dict[str, Any]
    per_class: pd.DataFrame
    confusion: pd.DataFrame
    steps: pd.DataFrame
    reasons: pd.DataFrame
    sent: int


@cache
def strategies() -> dict[str, str]:
    """What each strategy does, by name, the default first."""
    from training.strategies import STRATEGIES

    names = sorted(STRATEGIES, key=lambda name: name != "auto")
    return {name: STRATEGIES[name].description for name in names}


def defaults(project: Project) -> Defaults:
    """What the form for the next round offers."""
    with project.catalog.read() as connection:
        latest = rounds.latest(connection, project.id)
        pool = pool_rows.count(connection, project.id)
        usable = images.count_by_state(connection, project.id).get("ok", 0)
        kept = gallery_rows.count(connection, project.id, status="reserve")
        waiting = rounds.count_waiting(connection, project.id)
        version = annotations.newest_version(connection, project.id)
    interrupted = latest if latest and latest.state == "running" else None
    silent = latest is not None and latest.settings.get("version") == version
    # The reserve is drawn in round 0; until then all of it still looks like pool.
    first = min(FIRST_RESERVE, kept or usable // 2)
    return Defaults(
        number=latest.number + 1 if latest else 0,
        strategies=strategies(),
        budget=max(min(DEFAULT_BUDGET, pool), 1),
        reserve=first,
        pool=pool,
        interrupted=interrupted,
        unanswered=waiting if silent and not interrupted else 0,
    )


def asked(one: RoundRecord) -> dict[str, Any]:
    """What the user asked of a round: strategy, budget and the like."""
    found: dict[str, Any] = one.settings.get("asked", {})
    return found


def every(project: Project) -> list[RoundRecord]:
    """All rounds, newest first."""
    with project.catalog.read() as connection:
        return rounds.every(connection, project.id)[::-1]


def curve(found: list[RoundRecord]) -> pd.DataFrame:
    """The learning curve: columns round, labels, metric, value, low, high, n, in percent."""
    rows = []
    for one in sorted(found, key=lambda one: one.number):
        metrics = one.record.get("metrics") or {}
        for key in CURVES:
            figure = metrics.get(key)
            if wording.known(figure):
                low, high = figure["ci"]
                rows.append(
                    {
                        "round": one.number,
                        "labels": one.record.get("labels", 0),
                        "metric": METRICS[key],
                        "value": 100 * figure["value"],
                        "low": 100 * low,
                        "high": 100 * high,
                        "n": figure["n"],
                    }
                )
    columns = ["round", "labels", "metric", "value", "low", "high", "n"]
    return pd.DataFrame(rows, columns=columns)


def table(project: Project, found: list[RoundRecord]) -> pd.DataFrame:
    """One row for each round, in the order given."""
    with project.catalog.read() as connection:
        waiting = rounds.count_waiting(connection, project.id)
    newest = max((one.number for one in found), default=0)
    return pd.DataFrame(
        [
            {
                "round": one.number,
                "state": _state(one, open=one.number == newest and waiting > 0),
                "strategy": one.record.get("strategy") or asked(one).get("strategy", ""),
                "chosen": one.record.get("selected"),
                "at random": one.record.get("control"),
                "labels": one.record.get("labels"),
                **{
                    METRICS[key]: cell((one.record.get("metrics") or {}).get(key)) for key in CURVES
                },
            }
            for one in found
        ]
    )


def _state(one: RoundRecord, *, open: bool) -> str:
    if one.state == "waiting":
        return "waits for people" if open else "done"
    return {"running": "under way"}.get(one.state, one.state)


def cell(figure: wording.Figure | None) -> str:
    """A figure with its interval, in percent, for a table."""
    if not wording.known(figure):
        return "not measured"
    low, high = figure["ci"]
    return f"{100 * figure['value']:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def details(project: Project, number: int) -> Details:
    """What one round did.

    Raises:
        NotFound: there is no such round.
    """
    with project.catalog.read() as connection:
        one = rounds.get(connection, project.id, number)
        steps = rounds.steps(connection, one.id)
        ledger = rounds.ledger(connection, one.id)
    record = one.record
    metrics = record.get("metrics") or {}
    return Details(
        number=one.number,
        state=one.state,
        facts=_facts(one, ledger),
        advice=record.get("advice", ""),
        metrics={key: metrics[key] for key in METRICS if wording.known(metrics.get(key))},
        per_class=per_class(metrics.get("per_class") or []),
        confusion=confusion(metrics),
        steps=pd.DataFrame(
            [(name, step["seconds"]) for name, step in steps.items()], columns=["step", "seconds"]
        ),
        reasons=_reasons(ledger),
        sent=len(ledger),
    )


def _facts(one: RoundRecord, ledger: list[LedgerRow]) -> tuple[tuple[str, str], ...]:
    record = one.record
    queues = Counter(row.queue for row in ledger)
    facts = [
        ("Strategy", record.get("strategy") or asked(one).get("strategy", "")),
        ("Rule", record.get("rule", "")),
        ("Trained on", wording.counted(record["labels"], "label") if record.get("labels") else ""),
        ("Batch", _batch(queues["batch"], record.get("carried") or 0)),
        ("Reserve", wording.counted(queues["reserve"], "image") if queues["reserve"] else ""),
        ("Model", one.run_id or ""),
    ]
    return tuple((name, value) for name, value in facts if value)


def _batch(count: int, carried: int) -> str:
    said = wording.counted(count, "image") if count else ""
    return f"{said}, {carried:,} of them from earlier rounds" if carried else said


def per_class(found: list[dict[str, Any]]) -> pd.DataFrame:
    """Columns class, precision, recall, f1, auroc and n of `Metrics.as_json`'s per_class."""
    kinds = ("precision", "recall", "f1", "auroc")
    return pd.DataFrame(
        [
            {"class": one["class"]}
            | {kind: cell(one.get(kind)) for kind in kinds}
            | {"n": one["support"]}
            for one in found
        ],
        columns=["class", *kinds, "n"],
    )


def confusion(metrics: dict[str, Any]) -> pd.DataFrame:
    """The table of `Metrics.as_json`, with the classes of its model: there may be others by now.

    Empty for multi-label: each class has a table of its own there.
    """
    counts = metrics.get("confusion") or []
    if metrics.get("task") == "multi-label" or not counts:
        return pd.DataFrame()
    names = [one["class"] for one in metrics["per_class"]]
    return pd.DataFrame(counts, index=names, columns=names)


def _reasons(ledger: list[LedgerRow]) -> pd.DataFrame:
    """Reasons that differ in their numbers only are one, with the numbers' range."""
    alike: dict[str, list[list[str]]] = {}
    for row in ledger:
        if row.queue == "batch":
            reason = row.reason or "no reason recorded"
            alike.setdefault(_NUMBER.sub("{}", reason), []).append(_NUMBER.findall(reason))
    found = [
        (pattern.format(*map(_span, zip(*numbers, strict=True))), len(numbers))
        for pattern, numbers in alike.items()
    ]
    found.sort(key=lambda row: -row[1])
    return pd.DataFrame(found, columns=["reason", "images"])


def _span(numbers: tuple[str, ...]) -> str:
    low, high = min(numbers, key=float), max(numbers, key=float)
    return low if low == high else f"{low} to {high}"


def preview(project: Project, number: int, *, queue: Queue = "batch", most: int = 24) -> list[Tile]:
    """The first images of a round's queue with their reasons, in the order people see them."""
    with project.catalog.read() as connection:
        one = rounds.get(connection, project.id, number)
        rows = rounds.ledger(connection, one.id, queue=queue)[:most]
        found = images.get_many(connection, [row.image_id for row in rows])
        labeled = labels.get(connection, list(found))
    records = [found[row.image_id] for row in rows]
    captions = {}
    for row in rows:
        label = labeled.get(row.image_id)
        if label:
            names = ", ".join(project.record.class_names(label.classes))
            captions[row.image_id] = ("labeled", f"{row.rank + 1} · {names or 'none'}")
        else:
            guess = _guess(project.record, one, row)
            captions[row.image_id] = ("open", f"{row.rank + 1} · {guess}")
    return [
        replace(tile, says=f"{tile.says}; {row.reason}" if row.reason else tile.says)
        for tile, row in zip(gallery.tiles(project, records, captions), rows, strict=True)
    ]


def _guess(project: ProjectRecord, round: RoundRecord, row: LedgerRow) -> str:
    """The pre-label that people see; images of the reserve carry none on purpose."""
    if row.prelabel_class_id is None:
        return "no guess"
    if prelabels.is_held_back(project.seed, row.image_id, share=prelabels.share_of(round)):
        return "guess held back"
    (name,) = project.class_names((row.prelabel_class_id,))
    sure = f" {100 * row.prelabel_confidence:.0f} %" if row.prelabel_confidence is not None else ""
    return f"{name}{sure}"
