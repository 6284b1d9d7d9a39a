"""The audit log by act: how often, and when last, something was done."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_index(op.f("ix_audit_project_id_act_id"), "audit", ["project_id", "act", "id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_audit_project_id_act_id"), "audit")
