"""Gold questions: choosing them, and judging annotators by what they say to them.

Whether somebody is good enough is told by intervals, which are wide while little is known, and not
by the share of right answers alone: after three questions nobody is paused for one mistake.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from curation import tables
from curation.catalog import annotations, asking, audit, golds
from curation.catalog import images as image_rows
from curation.errors import InputError, LabelStudioError, NotFound
from curation.intervals import wilson
from curation.workspace import Project, refreshed
from labeling import consensus, membership, people
from labeling.connection import Connection

logger = logging.getLogger(__name__)

Verdict = Literal["too few", "good", "warned", "too low"]

AT_LEAST = 5
"""Questions that somebody answered, below which nothing is said of them."""
WARNED_AT = 0.8
PAUSED_AT = 0.99
"""How sure an interval is whose upper end must lie below the limit. It is looked at after every
answer, and the more often one looks, the more often chance alone goes below: hence so sure."""


def verdict(right: int, n: int, *, limit: float) -> Verdict:
    """What so many right answers to gold questions say of an annotator.

    Too low where the upper end of the 99 % interval (Wilson 1927) lies below the limit, warned
    where that of the 80 % interval does.

    >>> verdict(1, 3, limit=0.7), verdict(18, 20, limit=0.7), verdict(0, 5, limit=0.7)
    ('too few', 'good', 'too low')
    """
    if n < AT_LEAST:
        return "too few"
    if wilson(right, n, level=PAUSED_AT)[1] < limit:
        return "too low"
    return "warned" if wilson(right, n, level=WARNED_AT)[1] < limit else "good"


def add(
    project: Project,
    known: Mapping[str, Sequence[str]],
    *,
    where: Mapping[str, str] | None = None,
    actor: str = "",
) -> set[int]:
    """Makes images gold questions, each with its known answer, which becomes their label.

    Args:
        project: whose images they are.
        known: names of classes by name of the image.
        where: what errors begin with, by name of the image.
        actor: who does it, for the audit log.

    Returns:
        The images whose known answer is new or another one.

    Raises:
        NotFound: there is no such image.
        InputError: an answer that cannot be one, or an image that cannot be asked; nothing is
            written then.
    """
    project = refreshed(project)
    with project.catalog.read() as reading:
        ids = image_rows.ids_by_name(reading, project.id, list(known))
        records = image_rows.get_many(reading, list(ids.values()))
    answers: dict[int, tuple[int, ...]] = {}
    for name, said in known.items():
        at = (where or {}).get(name, "")
        if name not in ids:
            raise NotFound(
                f"{at}No image {name!r} in {project.record.name!r}. Nothing was changed."
            )
        record = records[ids[name]]
        if record.state != "ok":
            raise InputError(f"{at}{name!r} is {record.state} and cannot be shown. Leave it out.")
        if record.reserve:
            raise InputError(
                f"{at}{name!r} is in the reserve, whose images judge models and are asked in an "
                "order of their own. Choose another image."
            )
        answers[record.id] = _classes(project, name, said, at)
    return put(project, answers, origin="person", actor=actor)


def put(
    project: Project,
    known: dict[int, tuple[int, ...]],
    *,
    origin: golds.Origin,
    actor: str = "",
) -> set[int]:
    """As `add`, with ids."""
    if project.record.task == "boxes":
        raise InputError(
            f"{project.record.name!r} holds boxes, and no drawing is the only right one. Gold "
            "questions need a project of classes."
        )
    with project.catalog.write() as writing:
        changed = golds.put(writing, project.id, known, origin=origin)
        consensus.settle(writing, project, sorted(changed))
        if changed:
            subject = {"images": len(changed), "origin": origin}
            audit.append(writing, project.id, act="gold", subject=subject, actor=actor)
    return changed


def _classes(project: Project, name: str, said: Sequence[str], at: str) -> tuple[int, ...]:
    record = project.record
    unknown = [one for one in said if one not in record.ids_by_name]
    if unknown or (record.task == "single-label" and len(said) != 1):
        wrong = unknown[0] if unknown else "|".join(said)
        raise InputError(
            f"{at}{wrong!r} is no answer to {name!r}. Classes are: {', '.join(record.classes)}."
        )
    return tuple(sorted(set(record.ids_of(tuple(said)))))


def of_table(path: Path) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """What a table of images and their classes knows, and where it says so, by the image's name.

    Raises:
        InputError: a row that cannot be used, or two that say different things.
    """
    known: dict[str, tuple[str, ...]] = {}
    where: dict[str, str] = {}
    for row in tables.open_table(path, need_labels=True).rows():
        if isinstance(row, tuple):
            raise InputError(f"{row[1]}. Mend it; nothing was changed.")
        at = f"{path.name}, line {row.line}: "
        if row.labels is None:
            raise InputError(f"{at}{row.image!r} has no answer. Nothing was changed.")
        if known.get(row.image, row.labels) != row.labels:
            raise InputError(f"{at}{row.image!r} stands above with another answer.")
        known[row.image], where[row.image] = row.labels, at
    if not known:
        raise InputError(f"{path} holds no row. Give each image a line: image,label")
    return known, where


def add_agreed(project: Project, count: int, *, people: int = 3, actor: str = "") -> set[int]:
    """Makes gold questions of images outside the reserve on which enough people agree.

    Args:
        project: whose images they are.
        count: how many at most; those that most people answered first.
        people: how many must have answered, all the same.
        actor: who does it, for the audit log.

    Raises:
        InputError: there is none.
    """
    with project.catalog.read() as reading:
        found = golds.agreed(reading, project.id, people=people)
    if not found:
        raise InputError(
            f"No image outside the reserve has the same answer of {people} people. Name images "
            "with `labelloop golds add IMAGE --answer CLASS`, or have more asked of several people "
            "(`labelloop round --answers 3`)."
        )
    return put(project, dict(found[:count]), origin="people", actor=actor)


def remove(project: Project, names: list[str], *, actor: str = "") -> set[int]:
    """Makes gold questions ordinary images again, whose label follows from what people said.

    Raises:
        NotFound: one of these images is none.
    """
    with project.catalog.write() as writing:
        ids = image_rows.ids_by_name(writing, project.id, names)
        known = {gold.image_id for gold in golds.every(writing, project.id, list(ids.values()))}
        for name in names:
            if ids.get(name) not in known:
                raise NotFound(
                    f"{name!r} is no gold question. `labelloop golds list` shows them all."
                )
        removed = golds.remove(writing, project.id, sorted(known))
        consensus.settle(writing, project, sorted(removed))
        subject = {"images": len(removed), "removed": True}
        audit.append(writing, project.id, act="gold", subject=subject, actor=actor)
    return removed


@dataclass(frozen=True)
class Judged:
    """What gold questions say of an annotator: right answers, of how many, and the verdict."""

    right: int
    n: int
    verdict: Verdict


def judged(project: Project) -> dict[str, Judged]:
    """By the name of everybody who answered a gold question."""
    with project.catalog.read() as reading:
        limit = asking.settings(reading, project.id).gold_limit
        found = golds.scores(reading, project.id)
    return {
        name: Judged(right, n, verdict(right, n, limit=limit)) for name, (right, n) in found.items()
    }


def under_asked(project: Project) -> set[int]:
    """Images of gold questions that more people are active by now than are asked them."""
    with project.catalog.read() as reading:
        people = len(asking.active(reading, project.id))
        return golds.under_asked(reading, project.id, people=people)


def pause_who_errs(project: Project, connection: Connection) -> dict[str, set[int]]:
    """Pauses active annotators whose answers to gold questions are too often wrong.

    Somebody always stays: the last active annotator is only warned. Where a log-in cannot be taken
    away, what its person answers is set aside all the same.

    Returns:
        By the names of those who were paused the images whose answers are set aside.
    """
    with project.catalog.read() as reading:
        pauses = asking.settings(reading, project.id).pause
        active = asking.active(reading, project.id)
    low = [name for name, one in judged(project).items() if one.verdict == "too low"]
    low = [name for name in active if name in low]
    paused: dict[str, set[int]] = {}
    for name in low:
        if not pauses or len(active) - len(paused) < 2:
            continue
        try:
            take_access(project, connection, name)
        except LabelStudioError as error:
            # Neither may this stop the answers of others from coming in.
            logger.warning("The log-in of %s could not be taken away: %s", name, error)
        paused[name] = _set_aside(project, name, "gold questions")
    return paused


def pause(project: Project, connection: Connection, name: str, *, reason: str = "") -> set[int]:
    """Takes an annotator's access away and sets their answers aside, until they are enabled again.

    Returns:
        The images whose answers changed.
    """
    take_access(project, connection, name)
    return _set_aside(project, name, reason)


def _set_aside(project: Project, name: str, reason: str) -> set[int]:
    with project.catalog.write() as writing:
        annotator_id = annotations.id_of(writing, project.id, name)
        annotations.set_annotator_state(writing, project.id, name, "paused")
        changed = annotations.set_aside(writing, annotator_id)
        consensus.settle(writing, project, sorted(changed))
        subject = {"annotator": name, "images": len(changed), "reason": reason}
        audit.append(writing, project.id, act="pause-annotator", subject=subject)
    logger.warning(
        "%s is paused, and %s answers are set aside; `labelloop annotators enable %s` brings them "
        "back.",
        name,
        f"{len(changed):,}",
        name,
    )
    return changed


def take_access(project: Project, connection: Connection, name: str) -> bool:
    """Takes a person's log-in away; false where they have none, or it is the administrator's."""
    user_ids = people.user_ids(project, connection, name)
    mine = connection.whoami().id
    for user_id in user_ids:
        if user_id != mine:
            connection.disable_annotator(user_id)
    if len(user_ids) == 1:
        # Without access, the account bears no name any more by which it could be found.
        with project.catalog.write() as writing:
            annotations.bind_user(writing, project.id, name, user_ids[0])
    return bool(set(user_ids) - {mine})


def give_access_back(
    project: Project, connection: Connection, name: str, *, server_folder: Path | None
) -> bool:
    """Makes a person's log-in work again; false where only an administrator could do so.

    Args:
        project: whose annotator it is.
        connection: where the log-in is.
        name: the annotator's.
        server_folder: data folder of our own server; none for an existing one, whose API can take
            access away and not give it back.

    Raises:
        LabelStudioError: our server did not do it.
    """
    locked = [
        user_id
        for user_id in people.user_ids(project, connection, name)
        if not connection.may_work(user_id)
    ]
    if locked and server_folder is not None:
        membership.give_back(server_folder, locked)
        return True
    return not locked


def enable(project: Project, name: str) -> set[int]:
    """Makes an annotator active again, and brings back what was set aside.

    Returns:
        The images whose answers changed.
    """
    with project.catalog.write() as writing:
        annotator_id = annotations.id_of(writing, project.id, name)
        annotations.set_annotator_state(writing, project.id, name, "active")
        changed = annotations.bring_back(writing, annotator_id)
        # Or they would be paused again at once.
        annotations.judge_anew(writing, annotator_id)
        consensus.settle(writing, project, sorted(changed))
        subject = {"annotator": name, "images": len(changed)}
        audit.append(writing, project.id, act="enable-annotator", subject=subject)
    return changed
