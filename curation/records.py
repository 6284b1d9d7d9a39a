"""The records that pass between the packages: what a row means, without how it is stored."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Task = Literal["single-label", "multi-label", "boxes"]
Queue = Literal["batch", "reserve", "correction"]
Reserve = Literal["calibration", "holdout"]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class Target:
    """What the user wants to reach, written down before the first label."""

    metric: str
    value: float


@dataclass(frozen=True)
class ProjectRecord:
    """One project of a workspace; `classes` in their fixed order, `class_ids` beside them.

    Attributes:
        none_of_these: id of the class that stands for none of the others, where there is one.
        former_names: names that classes had, each with the id of the class it means now.
        merged: (id, name) of classes that are part of another one now.
    """

    id: int
    name: str
    task: Task
    classes: tuple[str, ...]
    class_ids: tuple[int, ...]
    seed: int
    target: Target | None
    seconds_per_label: float
    guidelines: str
    state: str
    none_of_these: int | None = None
    former_names: tuple[tuple[str, int], ...] = ()
    merged: tuple[tuple[int, str], ...] = ()

    @property
    def ids_by_name(self) -> dict[str, int]:
        """Class ids by all names that mean one of the classes, former ones included."""
        return dict(self.former_names) | dict(zip(self.classes, self.class_ids, strict=True))

    def class_names(self, ids: list[int] | tuple[int, ...]) -> tuple[str, ...]:
        """The names of these class ids, in the order given; a merged class has its own yet."""
        names = dict(self.merged) | dict(zip(self.class_ids, self.classes, strict=True))
        return tuple(names[i] for i in ids)

    def ids_of(self, names: list[str] | tuple[str, ...]) -> tuple[int, ...]:
        """The ids of these class names, or former names, in the order given.

        Raises:
            KeyError: a name is none of the project's classes.
        """
        ids = self.ids_by_name
        return tuple(ids[name] for name in names)

    def current_names(self, names: list[str] | tuple[str, ...]) -> tuple[str, ...]:
        """What classes of these names are called now; unknown names stay as they are."""
        now = dict(zip(self.class_ids, self.classes, strict=True))
        ids = self.ids_by_name
        return tuple(now[ids[name]] if name in ids else name for name in names)

    def renamed(self, names: list[str] | tuple[str, ...]) -> tuple[str, ...]:
        """What a model's classes are called now; those that were merged since keep their names."""
        gone = {name for _, name in self.merged}
        now = tuple(name if name in gone else self.current_names((name,))[0] for name in names)
        return tuple(
            name if now.count(one) > 1 and name not in self.classes else one
            for name, one in zip(names, now, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle around one thing: pixels of the upright image, from its top left corner."""

    class_id: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class NewImage:
    """An image as the import found it; quarantined when `reason` is not empty."""

    name: str
    origin: str
    location: str
    reason: str = ""
    sha256: str | None = None
    pixel_hash: str | None = None
    bytes: int | None = None
    modified_ns: int | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    mode: str | None = None
    frames: int | None = None
    orientation: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True)
class ImageRecord:
    """One image of the catalog."""

    id: int
    name: str
    origin: str
    location: str
    state: str
    reason: str
    pixel_hash: str | None
    width: int | None
    height: int | None
    group_id: int | None
    reserve: Reserve | None


@dataclass(frozen=True)
class Place:
    """Where an image is read from: its file, and the folder that its import named."""

    name: str
    location: str
    source_id: int
    source: str


@dataclass(frozen=True)
class PoolRow:
    """One image that a strategy may choose, or a model may score."""

    id: int
    group_id: int
    location: str
    name: str


@dataclass(frozen=True)
class LabelRow:
    """One image with its label."""

    image_id: int
    group_id: int
    classes: tuple[int, ...]
    origin: str
    confidence: float


@dataclass(frozen=True)
class ReserveRow:
    """One image of the reserve, in its fixed random order.

    `settled`: people have answered or skipped it, so what lies before it in the order stays random.
    """

    image_id: int
    half: Reserve
    draw: int
    settled: bool
    offered: bool
    classes: tuple[int, ...] | None


@dataclass(frozen=True)
class ReserveProgress:
    """How many images the reserve holds, has sent to people and has answers of.

    `prefix`: how many of its order lie before the first one without an answer, which figures use.
    """

    images: int
    offered: int
    answered: int
    prefix: int


@dataclass(frozen=True)
class RemoteAnswer:
    """One annotation as it stands in Label Studio now, read into our words.

    Attributes:
        state: `unsure` asks for a second opinion and names no class; no label follows from it.
        queue: the one it was given in; an answer in the correction queue decides the label.
        boxes: what was drawn; None where the task is not `boxes`.
        unsure: a second opinion is asked for, whatever is answered.
    """

    remote_id: int
    image_id: int
    remote_user_id: int
    state: Literal["answered", "unsure", "skipped", "deleted"]
    classes: tuple[int, ...]
    seconds: float | None
    prelabel: Literal["none", "accepted", "corrected"]
    model_version: str
    updated_at: str
    queue: Queue | None = None
    boxes: tuple[Box, ...] | None = None
    unsure: bool = False
    comment: str = ""


@dataclass(frozen=True)
class RoundRecord:
    """One round: what was asked for, and what came of it."""

    id: int
    number: int
    state: str
    settings: dict[str, Any]
    record: dict[str, Any]
    run_id: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class LedgerRow:
    """One image that a round sends to people, at its rank in the queue.

    `answers`: how many people are to answer it.
    """

    image_id: int
    queue: Queue
    rank: int
    score: float | None = None
    reason: str = ""
    probability: float | None = None
    prelabel_class_id: int | None = None
    prelabel_confidence: float | None = None
    answers: int = 1
    pushed: bool = False


@dataclass(frozen=True)
class JobRecord:
    """A piece of long work, its progress and what came of it."""

    id: int
    project_id: int | None
    kind: str
    arguments: dict[str, Any]
    state: JobState
    cancel: bool
    done: int
    total: int
    says: str
    seconds_left: float | None
    result: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
