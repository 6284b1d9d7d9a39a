"""Classes that are renamed, merged or stand for none of the others; unsure answers and comments."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("classes") as batch_op:
        batch_op.add_column(
            sa.Column("kind", sa.String(length=20), server_default="class", nullable=False)
        )
        batch_op.add_column(sa.Column("merged_into_id", ID, nullable=True))
        batch_op.create_foreign_key(
            batch_op.f("fk_classes_merged_into_id"), "classes", ["merged_into_id"], ["id"]
        )
        batch_op.create_check_constraint(batch_op.f("ck_classes_kind"), "kind IN ('class', 'none')")
    op.create_table(
        "class_aliases",
        sa.Column("project_id", ID, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("class_id", ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["class_id"], ["classes.id"], name=op.f("fk_class_aliases_class_id")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_class_aliases_project_id")
        ),
        sa.PrimaryKeyConstraint("project_id", "name", name=op.f("pk_class_aliases")),
    )
    for table in ("annotations", "annotation_versions"):
        for name, kind, empty in _DOUBTS:
            op.add_column(table, sa.Column(name, kind(), server_default=empty, nullable=False))
    _allow_states("'answered', 'unsure', 'skipped', 'deleted'")
    op.create_index(
        "ix_annotations_unsure",
        "annotations",
        ["project_id", "image_id"],
        sqlite_where=sa.text("unsure"),
        postgresql_where=sa.text("unsure"),
    )


def downgrade() -> None:
    """Makes unsure answers without a class skips, and merged classes ones without an image."""
    op.drop_index("ix_annotations_unsure", "annotations")
    for table in ("annotations", "annotation_versions"):
        op.execute(f"UPDATE {table} SET state = 'skipped' WHERE state = 'unsure'")
    _allow_states("'answered', 'skipped', 'deleted'")
    for table in ("annotation_versions", "annotations"):
        for name, *_ in reversed(_DOUBTS):
            op.drop_column(table, name)
    op.drop_table("class_aliases")
    op.execute(
        "UPDATE classes SET position = id + (SELECT COUNT(*) FROM classes AS every) "
        "WHERE position < 0"
    )
    with op.batch_alter_table("classes") as batch_op:
        batch_op.drop_constraint(batch_op.f("ck_classes_kind"), type_="check")
        batch_op.drop_constraint(batch_op.f("fk_classes_merged_into_id"), type_="foreignkey")
        batch_op.drop_column("merged_into_id")
        batch_op.drop_column("kind")


_DOUBTS = (("unsure", sa.Boolean, sa.text("(false)")), ("comment", sa.Text, ""))


def _allow_states(states: str) -> None:
    with op.batch_alter_table("annotations") as batch_op:
        batch_op.drop_constraint(batch_op.f("ck_annotations_state"), type_="check")
        batch_op.create_check_constraint(batch_op.f("ck_annotations_state"), f"state IN ({states})")
