"""Runs that are under way, what is known about them, and tags."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for name, empty in (("about", "{}"), ("tags", "[]")):
        op.add_column("runs", sa.Column(name, sa.JSON(), nullable=False, server_default=empty))


def downgrade() -> None:
    """Forgets runs that were not finished: an older labelloop would take them for models."""
    op.execute("DELETE FROM runs WHERE state <> 'done'")
    for name in ("tags", "about"):
        op.drop_column("runs", name)
