"""How many answers images are to get, questions with a known answer, and answers set aside."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    one = sa.text("1")
    op.add_column(
        "round_images", sa.Column("answers", sa.Integer(), server_default=one, nullable=False)
    )
    op.add_column(
        "remote_tasks", sa.Column("overlap", sa.Integer(), server_default=one, nullable=False)
    )
    zero = sa.text("0")
    op.add_column("annotators", sa.Column("judged_after", ID, server_default=zero, nullable=False))
    _allow("annotators", "'active', 'disabled', 'paused'")
    _allow_answers("'answered', 'unsure', 'skipped', 'deleted', 'aside'")
    op.create_table(
        "golds",
        sa.Column("image_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("annotation_id", ID, nullable=False),
        sa.Column("origin", sa.String(length=20), nullable=False),
        _created(),
        sa.CheckConstraint("origin IN ('person', 'people')", name=op.f("ck_golds_origin")),
        _to_image("golds"),
        _to_project("golds"),
        sa.ForeignKeyConstraint(
            ["annotation_id"], ["annotations.id"], name=op.f("fk_golds_annotation_id")
        ),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_golds")),
    )
    op.create_index(op.f("ix_golds_project_id"), "golds", ["project_id"])
    op.create_table(
        "second_opinions",
        sa.Column("image_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("opinions", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        _created(),
        _to_image("second_opinions"),
        _to_project("second_opinions"),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_second_opinions")),
    )
    op.create_index(op.f("ix_second_opinions_project_id"), "second_opinions", ["project_id"])


def downgrade() -> None:
    """Makes paused annotators disabled ones, and deletes what was set aside."""
    op.drop_table("second_opinions")
    op.drop_table("golds")
    op.execute("UPDATE annotators SET state = 'disabled' WHERE state = 'paused'")
    for table in ("annotations", "annotation_versions"):
        op.execute(f"UPDATE {table} SET state = 'deleted' WHERE state = 'aside'")
    _allow_answers("'answered', 'unsure', 'skipped', 'deleted'")
    _allow("annotators", "'active', 'disabled'")
    op.drop_column("annotators", "judged_after")
    op.drop_column("remote_tasks", "overlap")
    op.drop_column("round_images", "answers")


def _created() -> sa.Column[Any]:
    now = sa.text("(CURRENT_TIMESTAMP)")
    return sa.Column("created_at", sa.DateTime(), server_default=now, nullable=False)


def _to_image(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f(f"fk_{table}_image_id"))


def _to_project(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["project_id"], ["projects.id"], name=op.f(f"fk_{table}_project_id")
    )


def _allow_answers(states: str) -> None:
    # The table is written anew there, and an index of some of its rows would become one of all.
    op.drop_index("ix_annotations_unsure", "annotations")
    _allow("annotations", states)
    op.create_index(
        "ix_annotations_unsure",
        "annotations",
        ["project_id", "image_id"],
        sqlite_where=sa.text("unsure"),
        postgresql_where=sa.text("unsure"),
    )


def _allow(table: str, states: str) -> None:
    name = f"ck_{table}_state"
    with op.batch_alter_table(table) as batch_op:
        batch_op.drop_constraint(batch_op.f(name), type_="check")
        batch_op.create_check_constraint(batch_op.f(name), f"state IN ({states})")
