"""Labels that a machine gave and a person accepted in bulk, as an act that can be undone."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    _allow("labels", "origin", "'people', 'import', 'propagated', 'machine'")
    _allow("acts", "kind", "'exclude', 'propagate', 'accept'")


def downgrade() -> None:
    """Removes what was accepted in bulk: an older catalog has no word for it."""
    theirs = "image_id IN (SELECT image_id FROM labels WHERE origin = 'machine')"
    op.execute(f"DELETE FROM label_boxes WHERE {theirs}")
    op.execute(f"DELETE FROM label_classes WHERE {theirs}")
    op.execute("DELETE FROM labels WHERE origin = 'machine'")
    op.execute("DELETE FROM act_images WHERE act_id IN (SELECT id FROM acts WHERE kind = 'accept')")
    op.execute("DELETE FROM acts WHERE kind = 'accept'")
    _allow("labels", "origin", "'people', 'import', 'propagated'")
    _allow("acts", "kind", "'exclude', 'propagate'")


def _allow(table: str, column: str, values: str) -> None:
    name = f"ck_{table}_{column}"
    with op.batch_alter_table(table) as batch_op:
        batch_op.drop_constraint(batch_op.f(name), type_="check")
        batch_op.create_check_constraint(batch_op.f(name), f"{column} IN ({values})")
