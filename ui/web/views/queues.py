"""What people are asked to label, where, and how far they have come."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from curation.catalog import Connection, annotations, corrections, remote, rounds
from curation.catalog.remote import RemoteQueue
from curation.errors import LabelStudioUnreachable
from curation.records import Queue, RoundRecord
from curation.workspace import Project, refreshed
from ui import jobs as long_work
from ui.web.views import wording

TITLES: dict[Queue, str] = {
    "batch": "Batch",
    "reserve": "Reserve",
    "correction": "Corrections",
}
PURPOSES: dict[Queue, str] = {
    "batch": "Chosen by the strategy, most useful first, with the model's guess to accept. "
    "Images of the reserve among them carry none, on purpose.",
    "reserve": "Drawn at random and shown without a guess: the honest measure of every model.",
    "correction": "Labels that may be wrong, the most doubtful first, each with what speaks "
    "against it. Accept the label or choose the right one: the reviewer's answer decides.",
}
BUTTONS: dict[Queue, str] = {
    "batch": "Label the batch",
    "reserve": "Label the reserve",
    "correction": "Review the labels",
}

FRESH_SECONDS = 60  # the worker pulls every 10, and a cursor stays another 10 behind the pull


@dataclass(frozen=True)
class QueueStanding:
    """One queue of people's work.

    Attributes:
        sent, done: of the current round those sent and labeled; of the corrections those on the
            newest list, and those of them that nobody has to look at any more.
        waiting: in all, images that nobody has answered or skipped.
        says: sent and done in words; empty where nothing was sent.
    """

    queue: Queue
    sent: int
    done: int
    waiting: int
    says: str

    @property
    def title(self) -> str:
        """Its name."""
        return TITLES[self.queue]

    @property
    def purpose(self) -> str:
        """Why it exists."""
        return PURPOSES[self.queue]

    @property
    def button(self) -> str:
        """What its link does."""
        return BUTTONS[self.queue]


@dataclass(frozen=True)
class Work:
    """Everything the Label page shows.

    Attributes:
        choosing: whether a round is under way, whose images are still to come.
        pushed: whether Label Studio ever got anything.
        people: changes whenever what is told of annotators may have changed.
        guidelines: as HTML that cannot run anything; empty for none.
    """

    queues: tuple[QueueStanding, ...]
    choosing: bool
    pushed: bool
    people: tuple[int, int]
    pulled: str
    guidelines: str

    @property
    def waiting(self) -> int:
        """Images that wait for an answer, in all queues."""
        return sum(queue.waiting for queue in self.queues)


def work(project: Project, *, now: datetime) -> Work:
    """Where people's work stands, as far as it was pulled."""
    from labeling import guidelines

    with project.catalog.read() as connection:
        bound = remote.every(connection, project.id)
        pulled = _pulled(bound)
        latest = rounds.latest(connection, project.id)
        standing = tuple(
            _standing(connection, project, queue, latest)
            for queue in remote.in_use(connection, project.id)
        )
        people = (
            annotations.newest_version(connection, project.id),
            len(annotations.annotator_names(connection, project.id)),
        )
    return Work(
        queues=standing,
        choosing=bool(latest and latest.state == "running"),
        pushed=bool(bound),
        people=people,
        pulled=_told(
            pulled,
            by_itself=long_work.worker_runs(project.workspace),
            now=now,
        ),
        guidelines=guidelines.inline(refreshed(project)),
    )


def _standing(
    connection: Connection, project: Project, queue: Queue, latest: RoundRecord | None
) -> QueueStanding:
    waiting = remote.count_waiting(connection, project.id, queue)
    if queue == "correction":
        sent = len(corrections.newest(connection, project.id))
        done = sent - waiting
        says = f"{done:,} of {sent:,} reviewed" if sent else ""
    else:
        counts = rounds.progress(connection, latest.id).get(queue, {}) if latest else {}
        sent, done = counts.get("sent", 0), counts.get("labeled", 0)
        says = f"Round {latest.number}: {done:,} of {sent:,} labeled" if latest and sent else ""
    return QueueStanding(queue, sent=sent, done=done, waiting=waiting, says=says)


def doors(project: Project) -> dict[Queue, str]:
    """The addresses at which people answer each queue; asks whether Label Studio runs.

    Raises:
        LabelStudioUnreachable: it does not.
    """
    from labeling import transport
    from ui import wiring

    try:
        url = wiring.label_studio_of(project.workspace).url
    except LabelStudioUnreachable as error:
        raise LabelStudioUnreachable(
            "Label Studio is not running, so nobody can label now. Start it with `labelloop up`; "
            "no answer is lost meanwhile."
        ) from error
    if not transport.is_healthy(url):
        raise LabelStudioUnreachable(
            f"Label Studio does not answer at {url}. Start it with `labelloop up`; no answer is "
            "lost meanwhile."
        )
    return {door["queue"]: door["url"] for door in wiring.queue_links(project)}


COLUMNS = (
    "annotator",
    "answered",
    "skipped",
    "unsure",
    "reviews",
    "seconds each",
    "agrees with others",
    "accepts pre-labels",
    "right in gold questions",
    "access",
)


def annotators(project: Project) -> pd.DataFrame:
    """One row of `COLUMNS` per annotator, imports left out, busiest first."""
    from ui import people

    return pd.DataFrame(
        [
            (
                one["name"],
                *(one[count] for count in COLUMNS[1:5]),
                _seconds(one["seconds"]),
                _share(one["agreement"]),
                _share(one["acceptance"]),
                _gold(one),
                one["state"],
            )
            for one in people.list_people(project)["annotators"]
            if one["kind"] != "import"
        ],
        columns=list(COLUMNS),
    )


def _seconds(figure: dict[str, Any]) -> str:
    """The median with what it rests on."""
    if not figure["n"]:
        return "-"
    low, high = figure["ci"]
    between = "" if low is None else f"{low:.1f} to {high:.1f}, "
    return f"{figure['value']:.1f} ({between}n = {figure['n']:,})"


def _gold(one: dict[str, Any]) -> str:
    warned = one["gold_verdict"] in ("warned", "too low")
    return _share(one["gold"]) + (f", {one['gold_verdict']}" if warned else "")


def _share(figure: dict[str, Any]) -> str:
    if not figure["n"]:
        return "-"
    low, high = (100 * end for end in figure["ci"])
    return f"{100 * figure['value']:.0f} % ({low:.0f} to {high:.0f}, n = {figure['n']:,})"


def _told(pulled: datetime | None, *, by_itself: bool, now: datetime) -> str:
    if pulled is None:
        return "Answers come in by themselves." if by_itself else "Answers were never pulled."
    passed = (now - pulled).total_seconds()
    if by_itself and passed < FRESH_SECONDS:
        return "Answers come in by themselves, every few seconds."
    return f"Answers are in up to {wording.ago(pulled, now=now)}."


def _pulled(bound: list[RemoteQueue]) -> datetime | None:
    """The moment before which every answer has come in, of all queues."""
    moments = [datetime.fromisoformat(queue.cursor) for queue in bound if queue.cursor]
    return min(moments) if moments and len(moments) == len(bound) else None
