"""Issues, pairs of copies, merged groups, acts that can be undone, propagated labels."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# SQLite counts up by itself only in a column declared INTEGER.
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("images", sa.Column("orientation", sa.Integer(), nullable=True))
    op.create_table(
        "group_merges",
        sa.Column("group_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("into_id", ID, nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name=op.f("fk_group_merges_group_id")),
        sa.ForeignKeyConstraint(["into_id"], ["groups.id"], name=op.f("fk_group_merges_into_id")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_group_merges_project_id")
        ),
        sa.PrimaryKeyConstraint("group_id", name=op.f("pk_group_merges")),
    )
    op.create_index(op.f("ix_group_merges_project_id"), "group_merges", ["project_id"])
    op.create_table(
        "issues",
        sa.Column("image_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("is_issue", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("related", sa.JSON(), nullable=False),
        sa.Column("suggested_class_id", ID, nullable=True),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_issues_image_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_issues_project_id")),
        sa.ForeignKeyConstraint(
            ["suggested_class_id"], ["classes.id"], name=op.f("fk_issues_suggested_class_id")
        ),
        sa.PrimaryKeyConstraint("image_id", "kind", name=op.f("pk_issues")),
    )
    op.create_index(
        op.f("ix_issues_project_id_kind_is_issue_score_image_id"),
        "issues",
        ["project_id", "kind", "is_issue", "score", "image_id"],
    )
    op.create_table(
        "image_pairs",
        sa.Column("first_id", ID, nullable=False),
        sa.Column("second_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("change", sa.Text(), server_default="", nullable=False),
        sa.Column("verdict", sa.String(length=20), nullable=False),
        sa.Column("origin", sa.String(length=20), nullable=False),
        sa.CheckConstraint("first_id < second_id", name=op.f("ck_image_pairs_order")),
        sa.CheckConstraint("verdict IN ('copy', 'not-copy')", name=op.f("ck_image_pairs_verdict")),
        sa.CheckConstraint("origin IN ('detector', 'person')", name=op.f("ck_image_pairs_origin")),
        sa.ForeignKeyConstraint(["first_id"], ["images.id"], name=op.f("fk_image_pairs_first_id")),
        sa.ForeignKeyConstraint(
            ["second_id"], ["images.id"], name=op.f("fk_image_pairs_second_id")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_image_pairs_project_id")
        ),
        sa.PrimaryKeyConstraint("first_id", "second_id", name=op.f("pk_image_pairs")),
    )
    op.create_index(
        op.f("ix_image_pairs_project_id_first_id_second_id"),
        "image_pairs",
        ["project_id", "first_id", "second_id"],
    )
    op.create_index(op.f("ix_image_pairs_second_id"), "image_pairs", ["second_id"])
    op.create_table(
        "acts",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("subject", sa.JSON(), nullable=False),
        sa.Column("undone", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(),
            server_default=sa.text("(CURRENT_TIMESTAMP)"),
            nullable=False,
        ),
        sa.CheckConstraint("kind IN ('exclude', 'propagate')", name=op.f("ck_acts_kind")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_acts_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acts")),
    )
    op.create_index(op.f("ix_acts_project_id_id"), "acts", ["project_id", "id"])
    op.create_table(
        "act_images",
        sa.Column("act_id", ID, nullable=False),
        sa.Column("image_id", ID, nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["act_id"], ["acts.id"], name=op.f("fk_act_images_act_id")),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_act_images_image_id")),
        sa.PrimaryKeyConstraint("act_id", "image_id", name=op.f("pk_act_images")),
    )
    op.create_index(op.f("ix_act_images_image_id_act_id"), "act_images", ["image_id", "act_id"])
    _put_classes_aside()
    with op.batch_alter_table("labels") as batch_op:
        batch_op.add_column(sa.Column("source_id", ID, nullable=True))
        batch_op.create_foreign_key(
            batch_op.f("fk_labels_source_id"), "images", ["source_id"], ["id"]
        )
        batch_op.drop_constraint(batch_op.f("ck_labels_origin"), type_="check")
        batch_op.create_check_constraint(
            batch_op.f("ck_labels_origin"), "origin IN ('people', 'import', 'propagated')"
        )
        batch_op.create_check_constraint(
            batch_op.f("ck_labels_source"), "(origin = 'propagated') = (source_id IS NOT NULL)"
        )
        batch_op.create_index(batch_op.f("ix_labels_source_id"), ["source_id"])
    _put_classes_back()


def downgrade() -> None:
    """Takes propagated labels away, and leaves merged groups merged."""
    op.execute(
        "DELETE FROM label_classes WHERE image_id IN "
        "(SELECT image_id FROM labels WHERE origin = 'propagated')"
    )
    op.execute("DELETE FROM labels WHERE origin = 'propagated'")
    _put_classes_aside()
    with op.batch_alter_table("labels") as batch_op:
        batch_op.drop_index(batch_op.f("ix_labels_source_id"))
        batch_op.drop_constraint(batch_op.f("ck_labels_source"), type_="check")
        batch_op.drop_constraint(batch_op.f("ck_labels_origin"), type_="check")
        batch_op.create_check_constraint(
            batch_op.f("ck_labels_origin"), "origin IN ('people', 'import')"
        )
        batch_op.drop_constraint(batch_op.f("fk_labels_source_id"), type_="foreignkey")
        batch_op.drop_column("source_id")
    _put_classes_back()
    for table in ("act_images", "acts", "image_pairs", "issues", "group_merges"):
        op.drop_table(table)
    op.drop_column("images", "orientation")


def _put_classes_aside() -> None:
    """SQLite replaces a table to change it, and what refers to its rows would go with them."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("CREATE TABLE _label_classes_aside AS SELECT * FROM label_classes")
        op.execute("DELETE FROM label_classes")


def _put_classes_back() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "INSERT INTO label_classes (image_id, class_id, project_id) "
            "SELECT image_id, class_id, project_id FROM _label_classes_aside"
        )
        op.execute("DROP TABLE _label_classes_aside")
