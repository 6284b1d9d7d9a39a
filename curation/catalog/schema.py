"""The catalog's tables.

Ids are integers that only grow, so "newer" is a comparison of ids and never of clocks; times are
naive UTC and for people to read. JSON columns hold settings and results, by which nothing is
searched.
"""

from datetime import datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts up by itself only in a column declared INTEGER.
Id = BigInteger().with_variant(Integer, "sqlite")


def _id() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=True)


def _project(*, primary_key: bool = False) -> Column[int]:
    return Column(
        "project_id", Id, ForeignKey("projects.id"), primary_key=primary_key, nullable=False
    )


def _created() -> Column[datetime]:
    return Column("created_at", DateTime, nullable=False, server_default=text("CURRENT_TIMESTAMP"))


projects = Table(
    "projects",
    metadata,
    _id(),
    Column("name", String(200), nullable=False, unique=True),
    Column("task", String(20), nullable=False),
    Column("seed", BigInteger, nullable=False),  # of the reserve's draw and of every round
    Column("reserve_below", BigInteger),  # images whose draw is below it are the reserve
    Column("target_metric", String(40)),
    Column("target_value", Float),
    Column("seconds_per_label", Float, nullable=False),
    Column("guidelines", Text, nullable=False, server_default=""),
    Column("state", String(20), nullable=False, server_default="active"),
    Column("deleted_at", DateTime),
    _created(),
    CheckConstraint("task IN ('single-label', 'multi-label', 'boxes')", name="task"),
    CheckConstraint("state IN ('active', 'archived', 'deleted')", name="state"),
)

classes = Table(
    "classes",
    metadata,
    _id(),
    _project(),
    Column("name", String(200), nullable=False),
    Column("position", Integer, nullable=False),  # from 0; below 0 for a merged one
    Column("kind", String(20), nullable=False, server_default="class"),
    Column("merged_into_id", Id, ForeignKey("classes.id")),  # it is a class no more
    UniqueConstraint("project_id", "name"),
    UniqueConstraint("project_id", "position"),
    CheckConstraint("kind IN ('class', 'none')", name="kind"),
)

# Names that classes had, which older answers and snapshots bear.
class_aliases = Table(
    "class_aliases",
    metadata,
    Column("project_id", Id, ForeignKey("projects.id"), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("class_id", Id, ForeignKey("classes.id"), nullable=False),
)

sources = Table(
    "sources",
    metadata,
    _id(),
    _project(),
    Column("uri", Text, nullable=False),
    Column("license", Text, nullable=False, server_default=""),
    Column("origin", Text, nullable=False, server_default=""),
    _created(),
    UniqueConstraint("project_id", "uri"),
)

groups = Table(
    "groups",
    metadata,
    _id(),
    _project(),
    Column("key", String(80), nullable=False),  # pixel hash of the first member
    UniqueConstraint("project_id", "key"),
)

# Groups whose images belong to another group's, since they turned out to be copies of them; images
# that are added later with the pixels of such a group go where its images went.
group_merges = Table(
    "group_merges",
    metadata,
    Column("group_id", Id, ForeignKey("groups.id"), primary_key=True),
    _project(),
    Column("into_id", Id, ForeignKey("groups.id"), nullable=False),
    Index(None, "project_id"),
)

images = Table(
    "images",
    metadata,
    _id(),
    _project(),
    Column("source_id", Id, ForeignKey("sources.id"), nullable=False),
    Column("name", Text, nullable=False),  # path as imported, NFC, unique in the project
    Column("origin", Text, nullable=False),  # absolute path or URI it was imported from
    Column("location", Text, nullable=False),  # where it is read from: origin, or our own copy
    Column("state", String(20), nullable=False, server_default="ok"),
    Column("reason", Text, nullable=False, server_default=""),  # why it is not ok
    Column("sha256", String(64)),
    Column("pixel_hash", String(64)),
    Column("bytes", BigInteger),
    Column("modified_ns", BigInteger),
    Column("width", Integer),
    Column("height", Integer),
    Column("format", String(20)),
    Column("mode", String(20)),
    Column("frames", Integer),
    Column("orientation", Integer),  # of EXIF, 1 to 8
    Column("group_id", Id, ForeignKey("groups.id")),
    Column("draw", BigInteger),  # uniform by hash of the group: the reserve's fixed random order
    Column("reserve", String(20)),
    _created(),
    UniqueConstraint("project_id", "name"),
    UniqueConstraint("project_id", "origin"),
    CheckConstraint(
        "state IN ('ok', 'quarantined', 'excluded', 'missing', 'changed')", name="state"
    ),
    CheckConstraint("reserve IN ('calibration', 'holdout')", name="reserve"),
    Index(None, "project_id", "state", "id"),
    Index(None, "project_id", "reserve", "draw"),
    Index(None, "group_id"),
    Index(None, "project_id", "sha256"),
)

image_metadata = Table(
    "image_metadata",
    metadata,
    Column("image_id", Id, ForeignKey("images.id"), primary_key=True),
    Column("key", String(200), primary_key=True),
    _project(),
    Column("value", Text, nullable=False),
    Index(None, "project_id", "key", "value", "image_id"),
)

annotators = Table(
    "annotators",
    metadata,
    _id(),
    _project(),
    Column("name", String(200), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("remote_user_id", Id),
    Column("state", String(20), nullable=False, server_default="active"),
    # Answers to gold questions up to this annotation tell nothing of them any more.
    Column("judged_after", Id, nullable=False, server_default=text("0")),
    _created(),
    UniqueConstraint("project_id", "name"),
    UniqueConstraint("project_id", "remote_user_id"),
    CheckConstraint("kind IN ('person', 'import', 'oracle')", name="kind"),
    # Paused: what they answered is set aside, until they are active again.
    CheckConstraint("state IN ('active', 'disabled', 'paused')", name="state"),
)

# The current state of one person's answer. What it was before stands in annotation_versions.
annotations = Table(
    "annotations",
    metadata,
    _id(),
    _project(),
    Column("image_id", Id, ForeignKey("images.id"), nullable=False),
    Column("annotator_id", Id, ForeignKey("annotators.id"), nullable=False),
    Column("remote_id", Id),  # Label Studio's annotation id
    Column("queue", String(20)),  # that it was given in; none for imported labels
    Column("state", String(20), nullable=False),
    Column("classes", JSON, nullable=False),  # class ids
    Column("boxes", JSON),  # [class id, x, y, width, height] of each, in pixels
    Column("seconds", Float),
    Column("prelabel", String(20), nullable=False, server_default="none"),
    Column("model_version", String(80), nullable=False, server_default=""),
    Column("remote_updated_at", String(40), nullable=False, server_default=""),
    Column("unsure", Boolean, nullable=False, server_default=text("false")),
    Column("comment", Text, nullable=False, server_default=""),
    _created(),
    UniqueConstraint("project_id", "remote_id"),
    # Unsure: somebody looked and asks for a second opinion without an answer of their own.
    # Aside: it does not count while its annotator is paused; what it was is its version before.
    CheckConstraint("state IN ('answered', 'unsure', 'skipped', 'deleted', 'aside')", name="state"),
    CheckConstraint("prelabel IN ('none', 'accepted', 'corrected')", name="prelabel"),
    Index(None, "image_id"),
    Index(None, "project_id", "annotator_id"),
    Index(
        "ix_annotations_unsure",
        "project_id",
        "image_id",
        sqlite_where=text("unsure"),
        postgresql_where=text("unsure"),
    ),
)

annotation_versions = Table(
    "annotation_versions",
    metadata,
    _id(),
    _project(),
    Column("annotation_id", Id, ForeignKey("annotations.id"), nullable=False),
    Column("image_id", Id, ForeignKey("images.id"), nullable=False),
    Column("state", String(20), nullable=False),
    Column("classes", JSON, nullable=False),
    Column("boxes", JSON),
    Column("unsure", Boolean, nullable=False, server_default=text("false")),
    Column("comment", Text, nullable=False, server_default=""),
    _created(),
    Index(None, "image_id", "id"),
)

# What the annotations of one image agree on; no row: unlabeled.
labels = Table(
    "labels",
    metadata,
    Column("image_id", Id, ForeignKey("images.id"), primary_key=True),
    _project(),
    Column("origin", String(20), nullable=False),
    Column("confidence", Float, nullable=False),  # how likely it is right, by the consensus
    Column("answers", Integer, nullable=False),
    Column("version_id", Id, nullable=False),  # newest annotation version it rests on
    Column("source_id", Id, ForeignKey("images.id")),  # of a propagated label: the labeled copy
    CheckConstraint("origin IN ('people', 'import', 'propagated', 'machine')", name="origin"),
    CheckConstraint("(origin = 'propagated') = (source_id IS NOT NULL)", name="source"),
    Index(None, "project_id", "origin", "image_id"),
    Index(None, "source_id"),
)

label_classes = Table(
    "label_classes",
    metadata,
    Column("image_id", Id, ForeignKey("labels.image_id", ondelete="CASCADE"), primary_key=True),
    Column("class_id", Id, ForeignKey("classes.id"), primary_key=True),
    _project(),
    Index(None, "project_id", "class_id", "image_id"),
)

# In pixels of the upright image, from its top left corner; their classes are label_classes.
label_boxes = Table(
    "label_boxes",
    metadata,
    Column("image_id", Id, ForeignKey("labels.image_id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("class_id", Id, ForeignKey("classes.id"), nullable=False),
    Column("x", Float, nullable=False),
    Column("y", Float, nullable=False),
    Column("width", Float, nullable=False),
    Column("height", Float, nullable=False),
    CheckConstraint("width > 0 AND height > 0", name="size"),
)

# A division of the images into parts; an image that has a part keeps it.
splits = Table(
    "splits",
    metadata,
    _id(),
    _project(),
    Column("name", String(80), nullable=False),
    Column("settings", JSON, nullable=False),
    _created(),
    UniqueConstraint("project_id", "name"),
)

split_images = Table(
    "split_images",
    metadata,
    Column("split_id", Id, ForeignKey("splits.id"), primary_key=True),
    Column("image_id", Id, ForeignKey("images.id"), primary_key=True),
    Column("part", String(40), nullable=False),
    Index(None, "image_id"),
)

# What was decided about the dataset, such as a remedy for imbalance; the newest active one of a
# kind is in force.
plans = Table(
    "plans",
    metadata,
    _id(),
    _project(),
    Column("kind", String(40), nullable=False),
    Column("settings", JSON, nullable=False),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    _created(),
    Index(None, "project_id", "kind", "active", "id"),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("id", String(40), primary_key=True),
    _project(),
    Column("sequence", Integer, nullable=False),
    Column("header", JSON, nullable=False),
    _created(),
    UniqueConstraint("project_id", "sequence"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(40), primary_key=True),
    _project(),
    Column("sequence", Integer, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("snapshot_id", String(40), ForeignKey("snapshots.id")),
    Column("seed", BigInteger, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("about", JSON, nullable=False, server_default="{}"),
    Column("tags", JSON, nullable=False, server_default="[]"),
    Column("champion", Boolean, nullable=False, server_default=text("false")),
    _created(),
    UniqueConstraint("project_id", "sequence"),
)

# The newest model's answer for each image.
predictions = Table(
    "predictions",
    metadata,
    Column("image_id", Id, ForeignKey("images.id"), primary_key=True),
    _project(),
    Column("run_id", String(40), ForeignKey("runs.id"), nullable=False),
    Column("class_id", Id, ForeignKey("classes.id"), nullable=False),
    Column("confidence", Float, nullable=False),
    Column("margin", Float, nullable=False),
    Index(None, "project_id", "class_id", "confidence"),
    Index(None, "project_id", "margin"),
)

rounds = Table(
    "rounds",
    metadata,
    _id(),
    _project(),
    Column("number", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("settings", JSON, nullable=False),  # strategy asked for, budget, reserve, seed
    Column("record", JSON, nullable=False),  # what came of it: rule, metrics, counts, advice
    Column("run_id", String(40), ForeignKey("runs.id")),
    Column("finished_at", DateTime),
    _created(),
    UniqueConstraint("project_id", "number"),
    CheckConstraint("state IN ('running', 'waiting', 'cancelled')", name="state"),
)

round_steps = Table(
    "round_steps",
    metadata,
    Column("round_id", Id, ForeignKey("rounds.id"), primary_key=True),
    Column("name", String(40), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("result", JSON, nullable=False),
    _created(),
)

# The ledger: what a round sends to people, written before anything is pushed.
round_images = Table(
    "round_images",
    metadata,
    Column("round_id", Id, ForeignKey("rounds.id"), primary_key=True),
    Column("image_id", Id, ForeignKey("images.id"), primary_key=True),
    _project(),
    Column("queue", String(20), nullable=False),
    Column("rank", Integer, nullable=False),
    Column("score", Float),
    Column("reason", Text, nullable=False, server_default=""),
    Column("probability", Float),  # of this pick, for strategies that draw
    Column("prelabel_class_id", Id, ForeignKey("classes.id")),
    Column("prelabel_confidence", Float),
    Column("answers", Integer, nullable=False, server_default=text("1")),  # of several people
    Column("pushed", Boolean, nullable=False, server_default=text("false")),
    CheckConstraint("queue IN ('batch', 'reserve')", name="queue"),
    Index(None, "project_id", "image_id"),
)

# Which Label Studio project serves which queue, and how far its answers have been pulled.
remote_projects = Table(
    "remote_projects",
    metadata,
    _id(),
    _project(),
    Column("queue", String(20), nullable=False),
    Column("url", Text, nullable=False),
    Column("remote_id", Id, nullable=False),
    Column("cursor", String(40), nullable=False, server_default=""),
    Column("interface", Text, nullable=False),
    UniqueConstraint("project_id", "queue"),
    UniqueConstraint("url", "remote_id"),
)

remote_tasks = Table(
    "remote_tasks",
    metadata,
    Column("remote_project_id", Id, ForeignKey("remote_projects.id"), primary_key=True),
    Column("image_id", Id, ForeignKey("images.id"), primary_key=True),
    Column("task_id", Id, nullable=False),
    Column("overlap", Integer, nullable=False, server_default=text("1")),  # answers it is to get
    UniqueConstraint("remote_project_id", "task_id"),
)

# Images whose answer is known, with which annotators are judged; the annotation is the answer.
golds = Table(
    "golds",
    metadata,
    Column("image_id", Id, ForeignKey("images.id"), primary_key=True),
    _project(),
    Column("annotation_id", Id, ForeignKey("annotations.id"), nullable=False),
    Column("origin", String(20), nullable=False),  # who knows: a person, or people who agree
    _created(),
    CheckConstraint("origin IN ('person', 'people')", name="origin"),
    Index(None, "project_id"),
)

# Images of which somebody wants to hear more people, whatever those before said.
second_opinions = Table(
    "second_opinions",
    metadata,
    Column("image_id", Id, ForeignKey("images.id"), primary_key=True),
    _project(),
    Column("opinions", Integer, nullable=False),  # how many there are to be in all
    Column("place", Integer, nullable=False),  # in the order of asking
    _created(),
    Index(None, "project_id"),
)

jobs = Table(
    "jobs",
    metadata,
    _id(),
    Column("project_id", Id, ForeignKey("projects.id")),
    Column("kind", String(40), nullable=False),
    Column("arguments", JSON, nullable=False),
    Column("state", String(20), nullable=False, server_default="queued"),
    Column("cancel", Boolean, nullable=False, server_default=text("false")),
    Column("done", BigInteger, nullable=False, server_default="0"),
    Column("total", BigInteger, nullable=False, server_default="0"),
    Column("says", Text, nullable=False, server_default=""),
    Column("seconds_left", Float),
    Column("result", JSON),
    Column("worker", String(80), nullable=False, server_default=""),
    Column("heartbeat_at", DateTime),
    Column("started_at", DateTime),
    Column("finished_at", DateTime),
    _created(),
    CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="state"),
    Index(None, "state", "id"),
    Index(None, "project_id", "id"),
)

job_log = Table(
    "job_log",
    metadata,
    _id(),
    Column("job_id", Id, ForeignKey("jobs.id"), nullable=False),
    Column("line", Text, nullable=False),
    _created(),
    Index(None, "job_id", "id"),
)

# Append-only; `hash` covers the row and the hash of the row before, so a change to the past shows.
audit = Table(
    "audit",
    metadata,
    _id(),
    Column("project_id", Id, ForeignKey("projects.id")),
    Column("actor", String(200), nullable=False),
    Column("act", String(80), nullable=False),
    Column("subject", JSON, nullable=False),
    Column("at", String(40), nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index(None, "project_id", "act", "id"),
)

# What the detectors said at their last look; a row of an innocent image has is_issue false.
issues = Table(
    "issues",
    metadata,
    Column("image_id", Id, ForeignKey("images.id"), primary_key=True),
    Column("kind", String(40), primary_key=True),
    _project(),
    Column("score", Float, nullable=False),  # 0 to 1, higher is worse
    Column("is_issue", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("related", JSON, nullable=False),  # image ids
    Column("suggested_class_id", Id, ForeignKey("classes.id")),
    Index(None, "project_id", "kind", "is_issue", "score", "image_id"),
)

# Pairs of images of which one was made from the other, or that a person has told apart.
image_pairs = Table(
    "image_pairs",
    metadata,
    Column("first_id", Id, ForeignKey("images.id"), primary_key=True),
    Column("second_id", Id, ForeignKey("images.id"), primary_key=True),
    _project(),
    Column("score", Float, nullable=False),  # 0 to 1, how surely one is a copy of the other
    Column("change", Text, nullable=False, server_default=""),  # mirrored, cropped to 90 %
    Column("verdict", String(20), nullable=False),
    Column("origin", String(20), nullable=False),
    CheckConstraint("first_id < second_id", name="order"),
    CheckConstraint("verdict IN ('copy', 'not-copy')", name="verdict"),
    CheckConstraint("origin IN ('detector', 'person')", name="origin"),
    Index(None, "project_id", "first_id", "second_id"),
    Index(None, "second_id"),
)

# What was done to many images at once and can be undone.
acts = Table(
    "acts",
    metadata,
    _id(),
    _project(),
    Column("kind", String(20), nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("subject", JSON, nullable=False),  # what was asked for
    Column("undone", Boolean, nullable=False, server_default=text("false")),
    _created(),
    CheckConstraint("kind IN ('exclude', 'propagate', 'accept')", name="kind"),
    Index(None, "project_id", "id"),
)

act_images = Table(
    "act_images",
    metadata,
    Column("act_id", Id, ForeignKey("acts.id"), primary_key=True),
    Column("image_id", Id, ForeignKey("images.id"), primary_key=True),
    Column("before", JSON, nullable=False),  # what undoing brings back
    Index(None, "image_id", "act_id"),
)

# Labels put before reviewers, written before anything is pushed: one list for each offering, which
# also holds what still waited of the one before. The newest list is what is asked now.
corrections = Table(
    "corrections",
    metadata,
    _project(primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("image_id", Id, ForeignKey("images.id"), primary_key=True),
    Column("rank", Integer, nullable=False),
    Column("score", Float, nullable=False),
    Column("classes", JSON, nullable=False),  # the label in doubt: class ids
    Column("suggested_class_id", Id, ForeignKey("classes.id")),
    Column("reason", Text, nullable=False),
    Column("version_id", Id, nullable=False),  # newest annotation version then; reviews are newer
    Column("pushed", Boolean, nullable=False, server_default=text("false")),
    _created(),
    Index(None, "image_id"),
)
