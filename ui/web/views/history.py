"""All that is known about one image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from curation import weak_labels
from curation.catalog import acts, annotations, corrections, images, labels, rounds, runs
from curation.catalog.acts import Act
from curation.catalog.corrections import Doubt
from curation.errors import InputError
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
        doubts = corrections.of_image(connection, record.id)
        done = acts.of_image(connection, record.id)
        source_id = labels.source_of(connection, record.id)
        source = images.get(connection, source_id).name if source_id else ""
        metadata = images.metadata_of(connection, record.id)
    return History(
        record=record,
        picture=thumbnails.data_uris(project, [record], side=thumbnails.PICTURE_SIDE)[record.id],
        label=_label(project.record, label),
        prediction=_prediction(project.record, prediction),
        facts=(*_facts(record, label, source, prediction), *_ruled(project, record)),
        metadata=pd.DataFrame(sorted(metadata.items()), columns=["column", "value"]),
        events=_events(
            [
                *_sent(sent),
                *_answered(project.record, [one for one in answers if not _is_review(one)]),
                *_doubted(project.record, doubts),
                *_answered(project.record, [one for one in answers if _is_review(one)]),
                *_curated(record, done),
            ],
            now=now,
        ),
    )


def _label(project: ProjectRecord, label: LabelRow | None) -> str:
    if label is None:
        return "unlabeled"
    return _names(project, label.classes)


def _names(project: ProjectRecord, classes: Sequence[int]) -> str:
    return ", ".join(project.class_names(tuple(classes))) or "none of the classes"


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
    record: ImageRecord, label: LabelRow | None, source: str, prediction: dict[str, Any] | None
) -> tuple[tuple[str, str], ...]:
    facts = [("State", _STATES.get(record.state, record.state))]
    if record.reason:
        facts.append(("Reason", record.reason))
    if record.reserve:
        facts.append(("Reserve", f"{record.reserve} half: never chosen by a model"))
    if label:
        agree = f"people, {100 * label.confidence:.0f} % agree"
        origins = {
            "people": agree,
            "import": "the import",
            "propagated": f"its copy {source}",
            "machine": f"a machine, {100 * label.confidence:.0f} % sure, accepted in bulk",
        }
        facts.append(("Label from", origins[label.origin]))
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


def _ruled(project: Project, record: ImageRecord) -> Iterator[tuple[str, str]]:
    """What the rules in force say of an image."""
    with project.catalog.read() as connection:
        plan = weak_labels.in_force(connection, project)
    try:
        found = weak_labels.of_image(project, plan["folder"], record.id) if plan else None
    except InputError as error:
        yield "Rules", str(error)
        return
    if found is None or not found.votes:
        return
    likeliest = max(found.chances, key=lambda name: found.chances[name])
    said = ", ".join(f"{rule}: {name}" for rule, name in found.votes)
    yield "Rules", f"{said} (together {likeliest}, {100 * found.chances[likeliest]:.0f} %)"


_PRELABELS = {"accepted": "pre-label accepted", "corrected": "pre-label corrected", "none": ""}
_REVIEWS = {"accepted": "label accepted", "corrected": "label corrected", "none": ""}


Event = tuple[datetime, str, str, str]
"""When, what, who, details."""


def _events(found: list[Event], *, now: datetime) -> pd.DataFrame:
    """The newest first; of those of one second the last one of the list."""
    ordered = sorted(found, key=lambda event: event[0])
    return pd.DataFrame(
        [(wording.ago(when, now=now), *rest) for when, *rest in reversed(ordered)],
        columns=["when", "what", "who", "details"],
    )


def _answered(project: ProjectRecord, answers: list[dict[str, Any]]) -> Iterator[Event]:
    for answer in answers:
        details = [(_REVIEWS if _is_review(answer) else _PRELABELS)[answer["prelabel"]]]
        if answer["seconds"] is not None:
            details.append(f"{answer['seconds']:.1f} s")
        if answer["unsure"]:
            details.append("unsure: asks for a second opinion")
        said = _joined(", ".join(filter(None, details)), answer["comment"])
        yield answer["created_at"], _said(project, answer), answer["annotator"], said


def _sent(sent: list[dict[str, Any]]) -> Iterator[Event]:
    for row in sent:
        what = f"Sent to people by round {row['number']}"
        queue = "reserve" if row["queue"] == "reserve" else f"rank {row['rank'] + 1} of the batch"
        yield row["created_at"], what, "labelloop", _joined(queue, row["reason"])


def _doubted(project: ProjectRecord, doubts: list[tuple[Doubt, datetime]]) -> Iterator[Event]:
    for doubt, when in doubts:
        hint = ""
        if doubt.suggested_class_id is not None:
            hint = f"suggested {_names(project, [doubt.suggested_class_id])}"
        what = f"Sent to a reviewer, labeled {_names(project, doubt.classes)}"
        yield when, what, "labelloop", _joined(hint, doubt.reason)


def _curated(record: ImageRecord, done: list[Act]) -> Iterator[Event]:
    for act in done:
        if act.kind == "exclude":
            what = "Excluded"
            # Images can be brought back one by one, too.
            after = "brought back since" if act.undone or record.state != "excluded" else ""
        else:
            after = "taken back since" if act.undone else ""
            what = _GIVEN[act.kind]
        kinds = ", ".join(act.subject.get("kinds", ()))
        yield act.created_at, what, "curator", _joined(act.reason or kinds, after)


_GIVEN = {"propagate": "Given the label of a copy", "accept": "Given a machine's label"}


def _joined(*parts: str) -> str:
    return " · ".join(filter(None, parts))


def _is_review(answer: dict[str, Any]) -> bool:
    return bool(answer["queue"] == "correction")


def _said(project: ProjectRecord, answer: dict[str, Any]) -> str:
    """What a person did to their answer, in words."""
    names = _names(project, answer["classes"])
    if answer["state"] == "unsure":
        return "Could not say"
    if answer["state"] == "skipped":
        return "Passed on the label in doubt" if _is_review(answer) else "Skipped"
    if answer["state"] == "deleted":
        return f"Deleted the {'review' if _is_review(answer) else 'answer'}: {names}"
    if answer["state"] == "aside":
        return f"Set aside with its annotator: {names or 'no class'}"
    asked = "Reviewed" if _is_review(answer) else "Answered"
    return f"{OF_NOBODY.get(answer['annotator'], asked)}: {names}"


OF_NOBODY = {
    annotations.KNOWN: "Known answer of a gold question",
    annotations.IMPORT: "Imported label",
}
