"""The audit log: append-only rows, each carrying the hash of the one before."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, select

from curation.catalog.bulk import insert_one
from curation.catalog.schema import audit


def append(
    connection: Connection,
    project_id: int | None,
    *,
    act: str,
    subject: dict[str, Any],
    actor: str = "",
) -> int:
    """Writes one row and returns its id, by which the act can be named later."""
    if connection.dialect.name == "postgresql":  # SQLite's write lock already orders appends
        connection.execute(select(func.pg_advisory_xact_lock(5137044)))
    previous = (
        connection.scalar(select(audit.c.hash).order_by(audit.c.id.desc()).limit(1)) or "0" * 64
    )
    row = {
        "project_id": project_id,
        "actor": actor or "labelloop",
        "act": act,
        "subject": subject,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "previous_hash": previous,
    }
    return insert_one(connection, audit, {**row, "hash": _hash(row)})


def _hash(row: dict[str, Any]) -> str:
    text = json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def entries(connection: Connection, project_id: int, *, newest: int = 100) -> list[dict[str, Any]]:
    """The newest rows of a project, newest first."""
    rows = connection.execute(
        select(audit)
        .where(audit.c.project_id == project_id)
        .order_by(audit.c.id.desc())
        .limit(newest)
    )
    return [dict(row._mapping) for row in rows]


def newest(connection: Connection, project_id: int, acts: Sequence[str]) -> dict[str, Any] | None:
    """The last of these acts in a project, if there was any."""
    row = connection.execute(
        select(audit)
        .where(audit.c.project_id == project_id, audit.c.act.in_(acts))
        .order_by(audit.c.id.desc())
        .limit(1)
    ).first()
    return None if row is None else dict(row._mapping)


def has(connection: Connection, project_id: int, act: str) -> bool:
    """Whether this was ever done in a project."""
    found = select(audit.c.id).where(audit.c.project_id == project_id, audit.c.act == act).limit(1)
    return connection.scalar(found) is not None


def count(connection: Connection, project_id: int, act: str) -> int:
    """How often this was done in a project."""
    found = select(func.count()).where(audit.c.project_id == project_id, audit.c.act == act)
    return connection.scalar(found) or 0


def broken(connection: Connection) -> Iterator[int]:
    """The ids of rows that were changed, or stand behind a removed one."""
    previous = "0" * 64
    for row in connection.execute(select(audit).order_by(audit.c.id)):
        content = {
            key: row._mapping[key]
            for key in ("project_id", "actor", "act", "subject", "at", "previous_hash")
        }
        if row.previous_hash != previous or row.hash != _hash(content):
            yield row.id
        previous = row.hash
