"""The first catalog."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# SQLite counts up by itself only in a column declared INTEGER.
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "projects",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("task", sa.String(length=20), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("reserve_below", sa.BigInteger(), nullable=True),
        sa.Column("target_metric", sa.String(length=40), nullable=True),
        sa.Column("target_value", sa.Float(), nullable=True),
        sa.Column("seconds_per_label", sa.Float(), nullable=False),
        sa.Column("guidelines", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.String(length=20), server_default="active", nullable=False),
        sa.Column("deleted_at", sa.DateTime(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(),
            server_default=sa.text("(CURRENT_TIMESTAMP)"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "state IN ('active', 'archived', 'deleted')", name=op.f("ck_projects_state")
        ),
        sa.CheckConstraint(
            "task IN ('single-label', 'multi-label')", name=op.f("ck_projects_task")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("name", name=op.f("uq_projects_name")),
    )
    op.create_table(
        "annotators",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("remote_user_id", ID, nullable=True),
        sa.Column("state", sa.String(length=20), server_default="active", nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(),
            server_default=sa.text("(CURRENT_TIMESTAMP)"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "kind IN ('person', 'import', 'oracle')", name=op.f("ck_annotators_kind")
        ),
        sa.CheckConstraint("state IN ('active', 'disabled')", name=op.f("ck_annotators_state")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_annotators_project_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotators")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_annotators_project_id_name")),
        sa.UniqueConstraint(
            "project_id", "remote_user_id", name=op.f("uq_annotators_project_id_remote_user_id")
        ),
    )
    op.create_table(
        "audit",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("project_id", ID, nullable=True),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("act", sa.String(length=80), nullable=False),
        sa.Column("subject", sa.JSON(), nullable=False),
        sa.Column("at", sa.String(length=40), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_audit_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_table(
        "classes",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_classes_project_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_classes")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_classes_project_id_name")),
        sa.UniqueConstraint("project_id", "position", name=op.f("uq_classes_project_id_position")),
    )
    op.create_table(
        "groups",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_groups_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups")),
        sa.UniqueConstraint("project_id", "key", name=op.f("uq_groups_project_id_key")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("project_id", ID, nullable=True),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=20), server_default="queued", nullable=False),
        sa.Column("cancel", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("total", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("says", sa.Text(), server_default="", nullable=False),
        sa.Column("seconds_left", sa.Float(), nullable=True),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("worker", sa.String(length=80), server_default="", nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(), nullable=True),
        sa.Column("started_at", sa.DateTime(), nullable=True),
        sa.Column("finished_at", sa.DateTime(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(),
            server_default=sa.text("(CURRENT_TIMESTAMP)"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'done', 'failed', 'cancelled')",
            name=op.f("ck_jobs_state"),
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_jobs_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_jobs_project_id_id"), ["project_id", "id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_jobs_state_id"), ["state", "id"], unique=False)

    op.create_table(
        "remote_projects",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("queue", sa.String(length=20), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("remote_id", ID, nullable=False),
        sa.Column("cursor", sa.String(length=40), server_default="", nullable=False),
        sa.Column("interface", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_remote_projects_project_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_remote_projects")),
        sa.UniqueConstraint(
            "project_id", "queue", name=op.f("uq_remote_projects_project_id_queue")
        ),
        sa.UniqueConstraint("url", "remote_id", name=op.f("uq_remote_projects_url_remote_id")),
    )
    op.create_table(
        "snapshots",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("header", sa.JSON(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(),
            server_default=sa.text("(CURRENT_TIMESTAMP)"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_snapshots_project_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshots")),
        sa.UniqueConstraint(
            "project_id", "sequence", name=op.f("uq_snapshots_project_id_sequence")
        ),
    )
    op.create_table(
        "sources",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("license", sa.Text(), server_default="", nullable=False),
        sa.Column("origin", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(),
            server_default=sa.text("(CURRENT_TIMESTAMP)"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_sources_project_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sources")),
        sa.UniqueConstraint("project_id", "uri", name=op.f("uq_sources_project_id_uri")),
    )
    op.create_table(
        "images",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("source_id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=20), server_default="ok", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("pixel_hash", sa.String(length=64), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("modified_ns", sa.BigInteger(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("format", sa.String(length=20), nullable=True),
        sa.Column("mode", sa.String(length=20), nullable=True),
        sa.Column("frames", sa.Integer(), nullable=True),
        sa.Column("group_id", ID, nullable=True),
        sa.Column("draw", sa.BigInteger(), nullable=True),
        sa.Column("reserve", sa.String(length=20), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(),
            server_default=sa.text("(CURRENT_TIMESTAMP)"),
            nullable=False,
        ),
        sa.CheckConstraint("reserve IN ('calibration', 'holdout')", name=op.f("ck_images_reserve")),
        sa.CheckConstraint(
            "state IN ('ok', 'quarantined', 'excluded', 'missing', 'changed')",
            name=op.f("ck_images_state"),
        ),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name=op.f("fk_images_group_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_images_project_id")),
        sa.ForeignKeyConstraint(["source_id"], ["sources.id"], name=op.f("fk_images_source_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_images")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_images_project_id_name")),
        sa.UniqueConstraint("project_id", "origin", name=op.f("uq_images_project_id_origin")),
    )
    with op.batch_alter_table("images", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_images_group_id"), ["group_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_images_project_id_reserve_draw"),
            ["project_id", "reserve", "draw"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_images_project_id_sha256"), ["project_id", "sha256"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_images_project_id_state_id"), ["project_id", "state", "id"], unique=False
        )

    op.create_table(
        "job_log",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("job_id", ID, nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(),
            server_default=sa.text("(CURRENT_TIMESTAMP)"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_log_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_log")),
    )
    with op.batch_alter_table("job_log", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_job_log_job_id_id"), ["job_id", "id"], unique=False)

    op.create_table(
        "runs",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("snapshot_id", sa.String(length=40), nullable=True),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("champion", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(),
            server_default=sa.text("(CURRENT_TIMESTAMP)"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_runs_project_id")),
        sa.ForeignKeyConstraint(
            ["snapshot_id"], ["snapshots.id"], name=op.f("fk_runs_snapshot_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("project_id", "sequence", name=op.f("uq_runs_project_id_sequence")),
    )
    op.create_table(
        "annotations",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("image_id", ID, nullable=False),
        sa.Column("annotator_id", ID, nullable=False),
        sa.Column("remote_id", ID, nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("classes", sa.JSON(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("prelabel", sa.String(length=20), server_default="none", nullable=False),
        sa.Column("model_version", sa.String(length=80), server_default="", nullable=False),
        sa.Column("remote_updated_at", sa.String(length=40), server_default="", nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(),
            server_default=sa.text("(CURRENT_TIMESTAMP)"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "prelabel IN ('none', 'accepted', 'corrected')", name=op.f("ck_annotations_prelabel")
        ),
        sa.CheckConstraint(
            "state IN ('answered', 'skipped', 'deleted')", name=op.f("ck_annotations_state")
        ),
        sa.ForeignKeyConstraint(
            ["annotator_id"], ["annotators.id"], name=op.f("fk_annotations_annotator_id")
        ),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_annotations_image_id")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_annotations_project_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotations")),
        sa.UniqueConstraint(
            "project_id", "remote_id", name=op.f("uq_annotations_project_id_remote_id")
        ),
    )
    with op.batch_alter_table("annotations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_annotations_image_id"), ["image_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_annotations_project_id_annotator_id"),
            ["project_id", "annotator_id"],
            unique=False,
        )

    op.create_table(
        "image_metadata",
        sa.Column("image_id", ID, nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_image_metadata_image_id")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_image_metadata_project_id")
        ),
        sa.PrimaryKeyConstraint("image_id", "key", name=op.f("pk_image_metadata")),
    )
    with op.batch_alter_table("image_metadata", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_image_metadata_project_id_key_value_image_id"),
            ["project_id", "key", "value", "image_id"],
            unique=False,
        )

    op.create_table(
        "labels",
        sa.Column("image_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("origin", sa.String(length=20), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("answers", sa.Integer(), nullable=False),
        sa.Column("version_id", ID, nullable=False),
        sa.CheckConstraint("origin IN ('people', 'import')", name=op.f("ck_labels_origin")),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_labels_image_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_labels_project_id")),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_labels")),
    )
    with op.batch_alter_table("labels", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_labels_project_id_origin_image_id"),
            ["project_id", "origin", "image_id"],
            unique=False,
        )

    op.create_table(
        "predictions",
        sa.Column("image_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=False),
        sa.Column("class_id", ID, nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("margin", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["class_id"], ["classes.id"], name=op.f("fk_predictions_class_id")),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_predictions_image_id")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_predictions_project_id")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_predictions_run_id")),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_predictions")),
    )
    with op.batch_alter_table("predictions", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_predictions_project_id_class_id_confidence"),
            ["project_id", "class_id", "confidence"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_predictions_project_id_margin"), ["project_id", "margin"], unique=False
        )

    op.create_table(
        "remote_tasks",
        sa.Column("remote_project_id", ID, nullable=False),
        sa.Column("image_id", ID, nullable=False),
        sa.Column("task_id", ID, nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_remote_tasks_image_id")),
        sa.ForeignKeyConstraint(
            ["remote_project_id"],
            ["remote_projects.id"],
            name=op.f("fk_remote_tasks_remote_project_id"),
        ),
        sa.PrimaryKeyConstraint("remote_project_id", "image_id", name=op.f("pk_remote_tasks")),
        sa.UniqueConstraint(
            "remote_project_id", "task_id", name=op.f("uq_remote_tasks_remote_project_id_task_id")
        ),
    )
    op.create_table(
        "rounds",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.Column("finished_at", sa.DateTime(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(),
            server_default=sa.text("(CURRENT_TIMESTAMP)"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "state IN ('running', 'waiting', 'cancelled')", name=op.f("ck_rounds_state")
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_rounds_project_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_rounds_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rounds")),
        sa.UniqueConstraint("project_id", "number", name=op.f("uq_rounds_project_id_number")),
    )
    op.create_table(
        "annotation_versions",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("annotation_id", ID, nullable=False),
        sa.Column("image_id", ID, nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("classes", sa.JSON(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(),
            server_default=sa.text("(CURRENT_TIMESTAMP)"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["annotation_id"], ["annotations.id"], name=op.f("fk_annotation_versions_annotation_id")
        ),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_annotation_versions_image_id")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_annotation_versions_project_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotation_versions")),
    )
    with op.batch_alter_table("annotation_versions", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_annotation_versions_image_id_id"), ["image_id", "id"], unique=False
        )

    op.create_table(
        "label_classes",
        sa.Column("image_id", ID, nullable=False),
        sa.Column("class_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["class_id"], ["classes.id"], name=op.f("fk_label_classes_class_id")
        ),
        sa.ForeignKeyConstraint(
            ["image_id"],
            ["labels.image_id"],
            name=op.f("fk_label_classes_image_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_label_classes_project_id")
        ),
        sa.PrimaryKeyConstraint("image_id", "class_id", name=op.f("pk_label_classes")),
    )
    with op.batch_alter_table("label_classes", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_label_classes_project_id_class_id_image_id"),
            ["project_id", "class_id", "image_id"],
            unique=False,
        )

    op.create_table(
        "round_images",
        sa.Column("round_id", ID, nullable=False),
        sa.Column("image_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("queue", sa.String(length=20), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("probability", sa.Float(), nullable=True),
        sa.Column("prelabel_class_id", ID, nullable=True),
        sa.Column("prelabel_confidence", sa.Float(), nullable=True),
        sa.Column("pushed", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.CheckConstraint("queue IN ('batch', 'reserve')", name=op.f("ck_round_images_queue")),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_round_images_image_id")),
        sa.ForeignKeyConstraint(
            ["prelabel_class_id"], ["classes.id"], name=op.f("fk_round_images_prelabel_class_id")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_round_images_project_id")
        ),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name=op.f("fk_round_images_round_id")),
        sa.PrimaryKeyConstraint("round_id", "image_id", name=op.f("pk_round_images")),
    )
    with op.batch_alter_table("round_images", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_round_images_project_id_image_id"),
            ["project_id", "image_id"],
            unique=False,
        )

    op.create_table(
        "round_steps",
        sa.Column("round_id", ID, nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(),
            server_default=sa.text("(CURRENT_TIMESTAMP)"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name=op.f("fk_round_steps_round_id")),
        sa.PrimaryKeyConstraint("round_id", "name", name=op.f("pk_round_steps")),
    )


def downgrade() -> None:
    op.drop_table("round_steps")
    with op.batch_alter_table("round_images", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_round_images_project_id_image_id"))

    op.drop_table("round_images")
    with op.batch_alter_table("label_classes", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_label_classes_project_id_class_id_image_id"))

    op.drop_table("label_classes")
    with op.batch_alter_table("annotation_versions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_annotation_versions_image_id_id"))

    op.drop_table("annotation_versions")
    op.drop_table("rounds")
    op.drop_table("remote_tasks")
    with op.batch_alter_table("predictions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_predictions_project_id_margin"))
        batch_op.drop_index(batch_op.f("ix_predictions_project_id_class_id_confidence"))

    op.drop_table("predictions")
    with op.batch_alter_table("labels", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_labels_project_id_origin_image_id"))

    op.drop_table("labels")
    with op.batch_alter_table("image_metadata", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_image_metadata_project_id_key_value_image_id"))

    op.drop_table("image_metadata")
    with op.batch_alter_table("annotations", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_annotations_project_id_annotator_id"))
        batch_op.drop_index(batch_op.f("ix_annotations_image_id"))

    op.drop_table("annotations")
    op.drop_table("runs")
    with op.batch_alter_table("job_log", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_job_log_job_id_id"))

    op.drop_table("job_log")
    with op.batch_alter_table("images", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_images_project_id_state_id"))
        batch_op.drop_index(batch_op.f("ix_images_project_id_sha256"))
        batch_op.drop_index(batch_op.f("ix_images_project_id_reserve_draw"))
        batch_op.drop_index(batch_op.f("ix_images_group_id"))

    op.drop_table("images")
    op.drop_table("sources")
    op.drop_table("snapshots")
    op.drop_table("remote_projects")
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_jobs_state_id"))
        batch_op.drop_index(batch_op.f("ix_jobs_project_id_id"))

    op.drop_table("jobs")
    op.drop_table("groups")
    op.drop_table("classes")
    op.drop_table("audit")
    op.drop_table("annotators")
    op.drop_table("projects")
