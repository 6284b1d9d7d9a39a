"""How many people are asked about each image: one more wherever those before leave it open.

A task is finished in Label Studio once as many people answered it as its overlap says, and goes to
nobody who has answered it. So an image that is open gets an overlap of one more than it has
answers, and the next person who asks for work is given it, in the order of its queue.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from curation.catalog import asking, looked, remote
from curation.catalog.asking import Asking
from curation.catalog.looked import Looked
from curation.catalog.remote import RemoteQueue
from curation.progress import Report, silent
from curation.workspace import Project
from labeling.connection import Connection

AT_ONCE = 20
"""Overlaps are noted in the catalog after so many, since each takes Label Studio a while."""


@dataclass(frozen=True)
class Open:
    """Images of a queue that wait for another opinion.

    Attributes:
        open: how many.
        nobody_left: how many of them every active annotator has looked at already.
    """

    open: int
    nobody_left: int


def further(one: Looked, rules: Asking) -> int:
    """How many people more are to look at an image.

    Args:
        one: what was said so far.
        rules: what the project asks for.
    """
    if one.gold:
        return one.left
    if one.reviewed or (one.skipped and not one.wanted):
        return 0
    most = max(rules.most, one.planned, one.wanted)
    undecided = int(is_open(one, rules))
    lacking = max(one.planned - one.answered, one.wanted - one.opinions, undecided)
    return max(0, min(lacking, most - one.opinions))


def is_open(one: Looked, rules: Asking) -> bool:
    """Whether those who looked leave it open: they disagree, or nobody is sure."""
    if not one.opinions:
        return False
    return one.sure == 0 or (not one.agree and one.confidence < rules.confident)


def bring_up_to_date(
    project: Project,
    connection: Connection,
    *,
    among: Iterable[int] | None = None,
    report: Report = silent,
) -> int:
    """Has images asked of more people where those before leave them open; twice is once.

    Args:
        project: whose images they are.
        connection: to where.
        among: only these images; all if none are given.
        report: told how many are done.

    Raises:
        LabelStudioError: something of it was refused; the next call goes on.

    Returns:
        How many tasks are to get more answers than before.
    """
    raised = 0
    for queue in _queues(project):
        with project.catalog.read() as reading:
            rules = asking.settings(reading, project.id)
            found = list(looked.find(reading, project.id, queue.id, queue.queue, among=among))
        wanted = {
            one.task_id: (one.image_id, one.there + more)
            for one in found
            if (more := further(one, rules)) and one.overlap < one.there + more
        }
        raised += put(project, connection, queue, wanted, report=report)
    return raised


def put(
    project: Project,
    connection: Connection,
    queue: RemoteQueue,
    wanted: dict[int, tuple[int, int]],
    *,
    report: Report = silent,
) -> int:
    """Tells Label Studio how many answers tasks are to get, and remembers it.

    Args:
        project: whose they are.
        connection: to where.
        queue: whose tasks.
        wanted: image id and number of answers, by task id.
        report: told how many are done.

    Returns:
        How many tasks that is.
    """
    done = 0
    by_answers: dict[int, list[int]] = {}
    for task_id, (_, answers) in wanted.items():
        by_answers.setdefault(answers, []).append(task_id)
    for answers, task_ids in by_answers.items():
        for part in _parts(task_ids):
            connection.set_overlap(part, answers=answers)
            with project.catalog.write() as writing:
                remote.set_overlap(writing, queue.id, [wanted[key][0] for key in part], answers)
            done += len(part)
            report(done, len(wanted), "ask more people")
    return done


def _parts(task_ids: list[int]) -> Iterable[list[int]]:
    return (task_ids[start : start + AT_ONCE] for start in range(0, len(task_ids), AT_ONCE))


def standing(project: Project) -> dict[str, Any]:
    """What waits for another opinion, as `labelloop label status --json` says it.

    Returns:
        open: how many images by queue; nobody_left: how many of them every active annotator has
        looked at; active: how many annotators are active; says: one line, empty if none is open.
    """
    waiting: dict[str, int] = {}
    nobody_left = 0
    with project.catalog.read() as reading:
        rules = asking.settings(reading, project.id)
        people = asking.active(reading, project.id)
        for queue in remote.every(reading, project.id):
            if queue.queue == "correction":
                continue
            found = [
                one
                for one in looked.find(reading, project.id, queue.id, queue.queue)
                if not one.gold and one.opinions and further(one, rules)
            ]
            waiting[queue.queue] = len(found)
            nobody_left += sum(not one.left for one in found)
    return {
        "open": waiting,
        "nobody_left": nobody_left,
        "active": len(people),
        "says": _says(sum(waiting.values()), nobody_left, len(people)),
    }


def _says(waiting: int, nobody_left: int, people: int) -> str:
    if not waiting:
        return ""
    images = "1 image waits" if waiting == 1 else f"{waiting:,} images wait"
    active = "1 annotator is active" if people == 1 else f"{people:,} annotators are active"
    line = f"{images} for a second opinion; {active}."
    if nobody_left:
        line += (
            f" {nobody_left:,} of them have been looked at by all, and hold nothing up: invite "
            "somebody with `labelloop annotators add NAME`, or send them to a reviewer."
        )
    return line


def _queues(project: Project) -> list[RemoteQueue]:
    with project.catalog.read() as reading:
        return [one for one in remote.every(reading, project.id) if one.queue != "correction"]
