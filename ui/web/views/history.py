"""All that is known about one image."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from curation.catalog import annotations, images, labels, rounds, runs
from curation.records import ImageRecord, LabelRow, ProjectRecord
from curation.workspace import Project
from ui.web.views import thumbnails, wording


@dataclass(frozen=True)
class History:
    """One image with its past.

    Attributes:
        picture: a data URI; empty where the image cannot be shown.
        facts: (name, value) in the order to read them.
        events: columns when, what, who, details; newest first.
    """

    record: ImageRecord
    picture: str
    label: str
    prediction: str
    facts: tuple[tuple[str, str], ...]
    metadata: pd.DataFrame
    events: pd.DataFrame


def of(project: Project, name: str, *, now: datetime) -> History:
    """The history of the image of this name.

    Raises:
        NotFound: there is none.
    """
    with project.catalog.read() as connection:
        record = images.find(connection, project.id, name)
        label = labels.get(connection, [record.id]).get(record.id)
        prediction = runs.prediction_of(connection, record.id)
        answers = annotations.history(connection, record.id)
        sent = rounds.of_image(connection, record.id)
        metadata = images.metadata_of(connection, record.id)
    return History(
        record=record,
        picture=thumbnails.data_uris(project, [record], side=thumbnails.PICTURE_SIDE)[record.id],
        label=_label(project.record, label),
        prediction=_prediction(project.record, prediction),
        facts=_facts(record, label, prediction),
        metadata=pd.DataFrame(sorted(metadata.items()), columns=["column", "value"]),
        events=_events(project.record, answers, sent, now=now),
    )


def _label(project: ProjectRecord, label: LabelRow | None) -> str:
    if label is None:
        return "unlabeled"
    return ", ".join(project.class_names(label.classes)) or "none of the classes"


def _prediction(project: ProjectRecord, prediction: dict[str, Any] | None) -> str:
    return project.class_names((prediction["class_id"],))[0] if prediction else "none yet"


_STATES = {
    "ok": "usable",
    "quarantined": "set aside: it cannot be used",
    "excluded": "excluded",
    "missing": "the file is missing",
    "changed": "the file changed after the import",
}


def _facts(
    record: ImageRecord, label: LabelRow | None, prediction: dict[str, Any] | None
) -> tuple[tuple[str, str], ...]:
    facts = [("State", _STATES.get(record.state, record.state))]
    if record.reason:
        facts.append(("Reason", record.reason))
    if record.reserve:
        facts.append(("Reserve", f"{record.reserve} half: never chosen by a model"))
    if label:
        agree = f"people, {100 * label.confidence:.0f} % agree"
        facts.append(("Label from", {"people": agree, "import": "the import"}[label.origin]))
    if prediction:
        facts.append(
            (
                "Model is sure to",
                f"{100 * prediction['confidence']:.0f} %, ahead of the second class by "
                f"{100 * prediction['margin']:.0f} points",
            )
        )
    if record.width and record.height:
        facts.append(("Size", f"{record.width:,} x {record.height:,} pixels"))
    facts.append(("File", record.origin))
    return tuple(facts)


_PRELABELS = {"accepted": "pre-label accepted", "corrected": "pre-label corrected", "none": ""}


def _events(
    project: ProjectRecord,
    answers: list[dict[str, Any]],
    sent: list[dict[str, Any]],
    *,
    now: datetime,
) -> pd.DataFrame:
    found: list[tuple[datetime, str, str, str]] = []
    for answer in answers:
        names = ", ".join(project.class_names(tuple(answer["classes"])))
        answered = "Imported label" if answer["annotator"] == annotations.IMPORT else "Answered"
        what = {
            "answered": f"{answered}: {names}",
            "skipped": "Skipped",
            "deleted": f"Deleted the answer: {names}",
        }[answer["state"]]
        details = [_PRELABELS[answer["prelabel"]]]
        if answer["seconds"] is not None:
            details.append(f"{answer['seconds']:.1f} s")
        found.append(
            (answer["created_at"], what, answer["annotator"], ", ".join(filter(None, details)))
        )
    for row in sent:
        what = f"Sent to people by round {row['number']}"
        queue = "reserve" if row["queue"] == "reserve" else f"rank {row['rank'] + 1} of the batch"
        found.append(
            (
                row["created_at"],
                what,
                "labelloop",
                " · ".join(part for part in (queue, row["reason"]) if part),
            )
        )
    found.sort(key=lambda event: event[0], reverse=True)
    return pd.DataFrame(
        [(wording.ago(when, now=now), *rest) for when, *rest in found],
        columns=["when", "what", "who", "details"],
    )
