"""What Label Studio says, as plain records: the only shapes of it that the rest of labelloop
sees."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

Sampling = Literal["uncertainty", "sequential", "uniform"]

SAMPLING: dict[Sampling, str] = {
    "uncertainty": "Uncertainty sampling",
    "sequential": "Sequential sampling",
    "uniform": "Uniform sampling",
}


@dataclass(frozen=True)
class RemoteUser:
    """A person with a log-in there."""

    id: int
    email: str
    name: str


@dataclass(frozen=True)
class RemoteProject:
    """One labeling project there.

    Attributes:
        model_version: the version whose predictions are shown and ordered by; empty for none.
        overlap_cohort_percentage: share of the tasks that get `maximum_annotations` answers, 0 to
            100.
        task_count, annotation_count, skipped_count: as the server counts them.
    """

    id: int
    title: str
    label_config: str
    instructions: str
    description: str
    sampling: str
    model_version: str
    maximum_annotations: int
    overlap_cohort_percentage: int
    show_predictions: bool
    task_count: int
    annotation_count: int
    skipped_count: int


@dataclass(frozen=True)
class RemoteAnnotation:
    """One person's answer as stored there.

    Attributes:
        user_id: who answered; None where the account was deleted.
        result: the regions and choices, in Label Studio's own form; see `labeling.tasks.answer`.
        was_cancelled: True where the person skipped.
        lead_time: seconds that the person spent, where known.
        parent_prediction: the prediction that it started from, where it did.
        origin: ``prediction`` for an accepted pre-label, ``prediction-changed`` for a corrected
            one, ``manual`` otherwise; empty where there is no result.
    """

    id: int
    task_id: int
    user_id: int | None
    result: tuple[Mapping[str, Any], ...]
    was_cancelled: bool
    ground_truth: bool
    lead_time: float | None
    created_at: datetime
    updated_at: datetime
    parent_prediction: int | None
    origin: str


@dataclass(frozen=True)
class RemoteTask:
    """One task there.

    Attributes:
        image_id: our image id from its data; None for a task that labelloop did not make.
        overlap: how many answers it is to get.
        annotations: all that exist now; one that is missing since the last look was deleted.
        predictions: stored pre-labels, in Label Studio's own form; empty where not asked for.
    """

    id: int
    image_id: str | None
    data: Mapping[str, Any]
    overlap: int
    is_labeled: bool
    updated_at: datetime
    annotations: tuple[RemoteAnnotation, ...] = ()
    predictions: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class RemoteWebhook:
    """An address that the server calls when something happens in a project.

    Attributes:
        url: may hold a secret, and so is never shown.
        actions: the events it is called at.
    """

    id: int
    url: str = field(repr=False)
    is_active: bool
    actions: tuple[str, ...]


@dataclass(frozen=True)
class RemoteBackend:
    """A machine-learning backend that a project asks for predictions.

    Attributes:
        url: may hold a secret, and so is never shown.
        title: a model version of the project is asked of the backend of this title.
    """

    id: int
    url: str = field(repr=False)
    title: str


@dataclass(frozen=True)
class Changes:
    """Tasks that changed since a moment, and where to go on from.

    Attributes:
        tasks: read page by page while being consumed; a task may come again at the next call.
        cursor: pass it as `since` next time, and store it only after `tasks` was consumed to the
            end.
    """

    tasks: Iterator[RemoteTask] = field(repr=False)
    cursor: datetime


def moment(text: str) -> datetime:
    """A time stamp of the server as an aware UTC datetime.

    >>> moment("2024-05-01T10:00:00.250000Z").isoformat()
    '2024-05-01T10:00:00.250000+00:00'
    """
    return datetime.fromisoformat(text).astimezone(UTC)


def _id_of(value: object) -> int | None:
    """A reference is a number in lists and an object in single reads."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return value if isinstance(value, int) else None


def annotation_from(said: Mapping[str, Any], *, task_id: int | None = None) -> RemoteAnnotation:
    """An annotation as the API writes it."""
    result: Sequence[Mapping[str, Any]] = said.get("result") or ()
    origins = {str(part["origin"]) for part in result if part.get("origin")}
    # One changed region makes the whole answer a changed one.
    origin = next((o for o in ("prediction-changed", "manual", "prediction") if o in origins), "")
    return RemoteAnnotation(
        id=int(said["id"]),
        task_id=_id_of(said.get("task")) or task_id or 0,
        user_id=_id_of(said.get("completed_by")),
        result=tuple(result),
        was_cancelled=bool(said.get("was_cancelled")),
        ground_truth=bool(said.get("ground_truth")),
        lead_time=None if said.get("lead_time") is None else float(said["lead_time"]),
        created_at=moment(said["created_at"]),
        updated_at=moment(said["updated_at"]),
        parent_prediction=_id_of(said.get("parent_prediction")),
        origin=origin,
    )


def task_from(said: Mapping[str, Any]) -> RemoteTask:
    """A task as the API writes it, with whatever annotations and predictions it carries."""
    number = int(said["id"])
    data: Mapping[str, Any] = said.get("data") or {}
    image_id = data.get("labelloop_image")
    return RemoteTask(
        id=number,
        image_id=None if image_id is None else str(image_id),
        data=data,
        overlap=int(said.get("overlap") or 1),
        is_labeled=bool(said.get("is_labeled")),
        updated_at=moment(said["updated_at"]),
        annotations=tuple(
            annotation_from(one, task_id=number)
            for one in said.get("annotations") or ()
            if isinstance(one, Mapping)
        ),
        predictions=tuple(one for one in said.get("predictions") or () if isinstance(one, Mapping)),
    )


def project_from(said: Mapping[str, Any]) -> RemoteProject:
    """A project as the API writes it."""
    return RemoteProject(
        id=int(said["id"]),
        title=str(said.get("title") or ""),
        label_config=str(said.get("label_config") or ""),
        instructions=str(said.get("expert_instruction") or ""),
        description=str(said.get("description") or ""),
        sampling=str(said.get("sampling") or ""),
        model_version=str(said.get("model_version") or ""),
        maximum_annotations=int(said.get("maximum_annotations") or 1),
        overlap_cohort_percentage=int(said.get("overlap_cohort_percentage") or 0),
        show_predictions=bool(said.get("show_collab_predictions")),
        task_count=int(said.get("task_number") or 0),
        annotation_count=int(said.get("total_annotations_number") or 0),
        skipped_count=int(said.get("skipped_annotations_number") or 0),
    )


def user_from(said: Mapping[str, Any]) -> RemoteUser:
    """A person as the API writes them."""
    names = (str(said.get("first_name") or ""), str(said.get("last_name") or ""))
    email = str(said.get("email") or "")
    return RemoteUser(id=int(said["id"]), email=email, name=" ".join(filter(None, names)) or email)


def webhook_from(said: Mapping[str, Any]) -> RemoteWebhook:
    """A webhook as the API writes it."""
    return RemoteWebhook(
        id=int(said["id"]),
        url=str(said.get("url") or ""),
        is_active=bool(said.get("is_active")),
        actions=tuple(map(str, said.get("actions") or ())),
    )
