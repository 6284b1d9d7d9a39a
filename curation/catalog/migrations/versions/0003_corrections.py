"""Labels put before reviewers, and the queue that each annotation was given in."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("annotations", sa.Column("queue", sa.String(length=20), nullable=True))
    op.create_table(
        "corrections",
        sa.Column("project_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("image_id", ID, nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("classes", sa.JSON(), nullable=False),
        sa.Column("suggested_class_id", ID, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("version_id", ID, nullable=False),
        sa.Column("pushed", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(),
            server_default=sa.text("(CURRENT_TIMESTAMP)"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_corrections_image_id")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_corrections_project_id")
        ),
        sa.ForeignKeyConstraint(
            ["suggested_class_id"],
            ["classes.id"],
            name=op.f("fk_corrections_suggested_class_id"),
        ),
        sa.PrimaryKeyConstraint("project_id", "number", "image_id", name=op.f("pk_corrections")),
    )
    with op.batch_alter_table("corrections", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_corrections_image_id"), ["image_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("corrections", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_corrections_image_id"))

    op.drop_table("corrections")
    op.drop_column("annotations", "queue")
