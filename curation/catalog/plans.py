"""Plans: what was decided about a dataset, such as a remedy for imbalance, until it is taken back.

The newest active plan of a kind is in force. Kinds there are: `balance` (how labels count in
training) and `labeling-quota` (what a round chooses first), whose settings `curation.balance`
writes and reads, `consensus` (how labels follow from answers), whose settings
`labeling.consensus` does, `rules` (what rules said, see `curation.weak_labels`) and `zero-shot`
(classes in words, see `labeling.zero_shot`). What a plan rests on and is too long to be read with
it is kept apart (`keep`) and named by it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, update

from curation.catalog.bulk import insert_one
from curation.catalog.schema import plans


@dataclass(frozen=True)
class PlanRow:
    """One plan.

    Attributes:
        id: by which runs and snapshots name it.
        kind: of which only the newest active one is in force.
        settings: all that whoever follows the plan needs.
        active: whether it has not been taken back.
        created_at: naive UTC.
    """

    id: int
    kind: str
    settings: dict[str, Any]
    active: bool
    created_at: datetime


_FIELDS = tuple(plans.c[name] for name in PlanRow.__dataclass_fields__)


def put(connection: Connection, project_id: int, kind: str, settings: dict[str, Any]) -> int:
    """Puts a plan in force, in place of the one of its kind; returns its id."""
    return insert_one(
        connection, plans, {"project_id": project_id, "kind": kind, "settings": settings}
    )


def keep(connection: Connection, project_id: int, kind: str, settings: dict[str, Any]) -> int:
    """Keeps what a plan rests on, which is never in force itself; returns its id, for `get`."""
    return insert_one(
        connection,
        plans,
        {"project_id": project_id, "kind": kind, "settings": settings, "active": False},
    )


def get(connection: Connection, project_id: int, plan_id: int) -> dict[str, Any] | None:
    """The settings of this plan, or of what was kept for one; none if there is no such row."""
    found: dict[str, Any] | None = connection.scalar(
        select(plans.c.settings).where(plans.c.project_id == project_id, plans.c.id == plan_id)
    )
    return found


def in_force(connection: Connection, project_id: int) -> dict[str, dict[str, Any]]:
    """The settings of the plans in force, by kind; `id` is that of the plan."""
    newest = (
        select(func.max(plans.c.id))
        .where(plans.c.project_id == project_id, plans.c.active)
        .group_by(plans.c.kind)
    )
    rows = connection.execute(select(*_FIELDS).where(plans.c.id.in_(newest)).order_by(plans.c.kind))
    return {row.kind: {**row.settings, "id": row.id} for row in rows}


def clear(connection: Connection, project_id: int, kind: str) -> int:
    """Takes back all plans of a kind; returns how many were active."""
    done = connection.execute(
        update(plans)
        .where(plans.c.project_id == project_id, plans.c.kind == kind, plans.c.active)
        .values(active=False)
    )
    return int(done.rowcount)


def latest(connection: Connection, project_id: int, *, most: int = 100) -> list[PlanRow]:
    """The newest plans, taken back or not, newest first."""
    rows = connection.execute(
        select(*_FIELDS)
        .where(plans.c.project_id == project_id)
        .order_by(plans.c.id.desc())
        .limit(most)
    )
    return [PlanRow(**row._mapping) for row in rows]
