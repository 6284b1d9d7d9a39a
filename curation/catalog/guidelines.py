"""The text that tells annotators what to look for."""

import hashlib

from sqlalchemy import Connection, update

from curation.catalog import audit
from curation.catalog.schema import projects


def put(connection: Connection, project_id: int, text: str) -> None:
    """Takes the place of what annotators were told before."""
    connection.execute(update(projects).where(projects.c.id == project_id).values(guidelines=text))
    digest = hashlib.sha256(text.encode()).hexdigest()
    audit.append(
        connection,
        project_id,
        act="set-guidelines",
        subject={"characters": len(text), "sha256": digest},
    )
