"""Splits, plans that are in force, and boxes: a third kind of task."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "splits",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        _created(),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_splits_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_splits")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_splits_project_id_name")),
    )
    op.create_table(
        "split_images",
        sa.Column("split_id", ID, nullable=False),
        sa.Column("image_id", ID, nullable=False),
        sa.Column("part", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_split_images_image_id")),
        sa.ForeignKeyConstraint(["split_id"], ["splits.id"], name=op.f("fk_split_images_split_id")),
        sa.PrimaryKeyConstraint("split_id", "image_id", name=op.f("pk_split_images")),
    )
    op.create_index(op.f("ix_split_images_image_id"), "split_images", ["image_id"])
    op.create_table(
        "plans",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        _created(),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_plans_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plans")),
    )
    op.create_index(
        op.f("ix_plans_project_id_kind_active_id"), "plans", ["project_id", "kind", "active", "id"]
    )
    op.create_table(
        "label_boxes",
        sa.Column("image_id", ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("class_id", ID, nullable=False),
        *(sa.Column(name, sa.Float(), nullable=False) for name in ("x", "y", "width", "height")),
        sa.CheckConstraint("width > 0 AND height > 0", name=op.f("ck_label_boxes_size")),
        sa.ForeignKeyConstraint(["class_id"], ["classes.id"], name=op.f("fk_label_boxes_class_id")),
        sa.ForeignKeyConstraint(
            ["image_id"],
            ["labels.image_id"],
            name=op.f("fk_label_boxes_image_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("image_id", "position", name=op.f("pk_label_boxes")),
    )
    op.add_column("annotations", sa.Column("boxes", sa.JSON(), nullable=True))
    op.add_column("annotation_versions", sa.Column("boxes", sa.JSON(), nullable=True))
    _allow_tasks("'single-label', 'multi-label', 'boxes'")


def downgrade() -> None:
    """Makes projects of boxes multi-label ones, whose boxes are gone."""
    op.execute("UPDATE projects SET task = 'multi-label' WHERE task = 'boxes'")
    _allow_tasks("'single-label', 'multi-label'")
    op.drop_column("annotation_versions", "boxes")
    op.drop_column("annotations", "boxes")
    for table in ("label_boxes", "plans", "split_images", "splits"):
        op.drop_table(table)


def _allow_tasks(tasks: str) -> None:
    with op.batch_alter_table("projects") as batch_op:
        batch_op.drop_constraint(batch_op.f("ck_projects_task"), type_="check")
        batch_op.create_check_constraint(batch_op.f("ck_projects_task"), f"task IN ({tasks})")


def _created() -> "sa.Column[object]":
    now = sa.text("(CURRENT_TIMESTAMP)")
    return sa.Column("created_at", sa.DateTime(), server_default=now, nullable=False)
