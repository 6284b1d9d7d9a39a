"""Whom to ask what: gold questions, second opinions, and the people who are asked.

Functions return what the command line prints with `--json`, as those of `ui/wiring.py` do.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation import tables
from curation.catalog import annotations, asking, golds, images
from curation.catalog.asking import Asking
from curation.errors import InputError, LabelStudioUnreachable, NotFound
from curation.intervals import Figure, unknown, wilson
from curation.progress import Report, silent
from curation.workspace import Project, refreshed

if TYPE_CHECKING:
    from labeling.connection import Connection

SHARES = ("confident", "gold_rate", "gold_limit")


def show_settings(project: Project) -> dict[str, Any]:
    """What the project asks of people; see `labelloop label settings`."""
    with project.catalog.read() as connection:
        return asking.settings(connection, project.id).as_json()


def change_settings(project: Project, **wanted: float | int | bool | None) -> dict[str, Any]:
    """Changes what is given and puts it in force at once.

    Raises:
        InputError: a value that cannot be.
    """
    given = {name: value for name, value in wanted.items() if value is not None}
    known = {field.name for field in fields(Asking)}
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        if name not in known:
            raise InputError(f"There is no setting {option}. There are: {', '.join(sorted(known))}")
        if name in SHARES and not 0 <= float(value) <= 1:
            raise InputError(f"{option} {value} must be from 0 to 1.")
        if name == "most" and not 1 <= int(value) <= MOST:
            raise InputError(f"{option} {value} must be from 1 to {MOST} people.")
    with project.catalog.write() as connection:
        before = asking.settings(connection, project.id)
        now = replace(before, **given)  # type: ignore[arg-type]
        if now != before:
            asking.put_settings(connection, project.id, now)
    return now.as_json()


MOST = 20


def add_golds(
    project: Project,
    names: Sequence[str] = (),
    *,
    answer: str = "",
    table: Path | None = None,
    from_agreed: int = 0,
    people: int = 3,
) -> dict[str, Any]:
    """Makes images gold questions: named ones, those of a table, or those people agree on.

    Raises:
        InputError: nothing of it, or more than one, is given, or it cannot be used.
        NotFound: an image that is none.
    """
    from labeling import golds as questions

    if sum(map(bool, (names, table, from_agreed))) != 1:
        raise InputError(
            "Give one of: IMAGE... with --answer CLASS, --from-csv FILE, --from-agreed N."
        )
    if from_agreed:
        if from_agreed < 1 or people < 2:
            raise InputError(
                f"--from-agreed {from_agreed} --people {people}: give 1 image and 2 people or more."
            )
        changed = questions.add_agreed(project, from_agreed, people=people)
    else:
        if names and not answer:
            raise InputError("Say what the images show: --answer CLASS.")
        if table is not None:
            known, where = questions.of_table(table.expanduser())
        else:
            known, where = dict.fromkeys(names, tuple(tables.split_labels(answer))), {}
        changed = questions.add(project, known, where=where)
    return {**list_golds(refreshed(project)), "added": len(changed)}


def list_golds(project: Project) -> dict[str, Any]:
    """Every gold question with its answer, and what people said to it."""
    with project.catalog.read() as connection:
        known = golds.every(connection, project.id)
        said = golds.answers(connection, project.id)
        names = images.names_by_id(connection, [gold.image_id for gold in known])
    out = golds.doubtful(known, said)
    right = {gold.image_id: [0, 0] for gold in known}
    truth = {gold.image_id: gold.classes for gold in known}
    for one in said:
        right[one.image_id][0] += one.classes == truth[one.image_id]
        right[one.image_id][1] += 1
    return {
        "golds": [
            {
                "image": names[gold.image_id],
                "answer": list(project.record.class_names(gold.classes)),
                "origin": gold.origin,
                "answered": right[gold.image_id][1],
                "right": right[gold.image_id][0],
                "in_use": gold.usable and not gold.overruled and gold.image_id not in out,
                "says": _why_not(project, gold, doubtful=gold.image_id in out),
            }
            for gold in known
        ]
    }


def _why_not(project: Project, gold: golds.Gold, *, doubtful: bool) -> str:
    if not gold.usable:
        return "the image cannot be shown any more"
    if gold.overruled:
        label = ", ".join(project.record.class_names(gold.label or ())) or "none"
        return f"the label was decided otherwise since: {label}"
    return "most people say otherwise; look whether the known answer is right" if doubtful else ""


def remove_golds(project: Project, names: Sequence[str]) -> dict[str, Any]:
    """Makes gold questions ordinary images again."""
    from labeling import golds as questions

    removed = questions.remove(project, list(names))
    return {"removed": len(removed), **list_golds(project)}


def gold_status(project: Project) -> dict[str, Any]:
    """How many gold questions there are, and how each annotator does in them."""
    found = list_golds(project)["golds"]
    with project.catalog.read() as connection:
        rules = asking.settings(connection, project.id)
    return {
        "golds": len(found),
        "in_use": sum(one["in_use"] for one in found),
        "rate": rules.gold_rate,
        "limit": rules.gold_limit,
        "annotators": judged(project),
    }


def judged(project: Project) -> list[dict[str, Any]]:
    """By annotator: the share of right answers to gold questions, and what that says of them."""
    from labeling import golds as questions

    found = questions.judged(project)
    return [
        {"name": name, "gold": figure(one.right, one.n), "gold_verdict": one.verdict}
        for name, one in sorted(found.items())
    ]


def figure(hits: int, n: int) -> dict[str, Any]:
    """A share with its 95 % interval."""
    found = Figure(hits / n, n, wilson(hits, n)) if n else unknown()
    return found.as_json()


def ask_again(
    project: Project,
    names: Sequence[str] = (),
    *,
    unsure: bool = False,
    disputed: bool = False,
    count: int | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """Has one person more look at images; see `labelloop label ask-again`.

    Raises:
        InputError: nothing is asked for, or nothing is like that.
        NotFound: an image that is none.
    """
    from labeling import opinions, overlap
    from ui import wiring

    if bool(names) + unsure + disputed != 1:
        raise InputError("Give IMAGE..., or --unsure, or --disputed.")
    if count is not None and count < 1:
        raise InputError(f"--count {count} must be at least 1.")
    ids = (
        opinions.named(project, names)
        if names
        else opinions.unsure(project)
        if unsure
        else opinions.disputed(project)
    )[:count]
    if not ids:
        what = "unsure of" if unsure else "disagrees on"
        raise InputError(f"There is no image that anybody is {what}; nothing is to be asked.")
    with wiring.people(project) as annotator:
        connection, shelf = annotator.connected()
        done = opinions.ask_again(project, connection, ids, shelf=shelf, report=report)
    return {**done, "second_opinions": overlap.standing(project)}


def disable(project: Project, name: str, *, set_aside: bool = False) -> dict[str, Any]:
    """Takes an annotator's access away; what they answered stays, or is set aside until `enable`.

    Raises:
        NotFound: nobody bears this name.
        LabelStudioError: the log-in could not be taken away; nothing is changed then.
    """
    from labeling import golds as questions
    from labeling import overlap

    person = _known(project, name)
    if person["kind"] != "person":
        with project.catalog.write() as writing:
            annotations.set_annotator_state(writing, project.id, name, "disabled")
        return {"annotator": name, "state": "disabled"}
    with _connection(project) as connection:
        if set_aside:
            changed = questions.pause(project, connection, name, reason="by hand")
            asked = overlap.bring_up_to_date(project, connection)
            return {
                "annotator": name,
                "state": "paused",
                "set_aside": len(changed),
                "asked_again": asked,
            }
        questions.take_access(project, connection, name)
    with project.catalog.write() as writing:
        annotations.set_annotator_state(writing, project.id, name, "disabled")
    return {"annotator": name, "state": "disabled"}


def enable(project: Project, name: str) -> dict[str, Any]:
    """Makes an annotator active again; answers that were set aside count again.

    Raises:
        NotFound: nobody bears this name.
        LabelStudioError: the log-in could not be given back; nothing is changed then.
    """
    from labeling import golds as questions
    from ui import wiring

    access = _known(project, name)["kind"] != "person"
    says = ""
    try:
        found = wiring.label_studio_of(project.workspace)
        with found.connect() as connection:
            access = access or questions.give_access_back(
                project, connection, name, server_folder=found.server_folder
            )
        if not access:
            says = (
                "Their log-in was taken away, and this Label Studio cannot be told to give it "
                "back: ask its administrator, or invite them under another e-mail address."
            )
    except LabelStudioUnreachable:
        says = (
            "Label Studio does not run, so nothing is known of their log-in. Run this again when "
            "it does."
        )
    changed = questions.enable(project, name)
    return {
        "annotator": name,
        "state": "active",
        "images": len(changed),
        "access": access,
        "says": says,
    }


def _known(project: Project, name: str) -> dict[str, Any]:
    with project.catalog.read() as reading:
        found = {row["name"]: row for row in annotations.accounts(reading, project.id)}
    found.pop(annotations.KNOWN, None)
    if name not in found:
        raise NotFound(f"No annotator {name!r}. There are: {', '.join(found) or 'none yet'}.")
    return found[name]


def _connection(project: Project) -> "Connection":
    from ui import wiring

    return wiring.label_studio_of(project.workspace).connect()
