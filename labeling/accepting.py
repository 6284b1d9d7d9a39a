"""Believing a machine: its answers above a threshold become labels, in one act that can be undone.

Whoever accepts does not look at each image, so a random sample goes to people, who see no hint;
what they say is the error of the whole acceptance, with an interval. Nothing in the reserve or in a
part that is held out is accepted: models are judged by people's answers alone.
"""

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from curation import weak_labels
from curation.catalog import Connection, annotations, audit, audits, labels, rounds, runs
from curation.catalog import acts as act_rows
from curation.catalog import images as image_rows
from curation.catalog import pool as pool_rows
from curation.catalog.acts import Act
from curation.errors import InputError
from curation.intervals import Figure, unknown, wilson
from curation.workspace import Project

AUDIT = 50
"""Images of an acceptance that people are asked about, by default."""

MOST_AUDITED = 2_000

Verdict = Literal["no answer yet", "cannot tell yet", "holds", "exceeded", "no limit set"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a machine says of one image, and how sure it is: 0 to 1."""

    image_id: int
    class_id: int
    confidence: float


@dataclass(frozen=True)
class Accepted:
    """What an acceptance did, or would do.

    Attributes:
        count: images that have a machine's label now.
        act: by which it can be undone; none if nothing was done.
        by_class: how many by class id.
        audited: ids of the images that people will be asked about.
        passed_over: how many were left alone, by reason.
    """

    count: int
    act: int | None
    by_class: dict[int, int]
    audited: tuple[int, ...] = ()
    passed_over: dict[str, int] = field(default_factory=dict)


def accept(
    project: Project,
    rows: Iterable[Candidate],
    *,
    source: str,
    above: float,
    sample: int = AUDIT,
    risk: float | None = None,
    facts: dict[str, Any] | None = None,
    actor: str = "",
    dry_run: bool = False,
) -> Accepted:
    """Makes a machine's answers labels, and draws the sample that people audit it by.

    Only images of the pool are labeled: unlabeled ones, one of each group of near-duplicates,
    outside the reserve and held-out parts, and none that waits for people.

    Args:
        project: whose images they are; its task is `single-label`.
        rows: the machine's answers, in any number.
        source: who answered, such as `zero-shot`, `rules` or the id of a run.
        above: the least confidence that is accepted.
        sample: images to audit, drawn at random among the accepted ones; all of them if fewer.
        risk: share of wrong labels that is tolerated, for the verdict; none for no limit.
        facts: what else the act should remember of its source.
        actor: who does it, for the audit log.
        dry_run: only say what would be done.

    Raises:
        InputError: the task, the threshold, the sample or the risk cannot be used.
    """
    check(project, above=above, sample=sample, risk=risk)
    opened = project.catalog.read() if dry_run else project.catalog.write()
    with opened as connection:
        chosen, passed_over = _choose(connection, project, rows, above)
        counts = Counter(class_id for class_id, _ in chosen.values())
        by_class = {key: counts[key] for key in project.record.class_ids if counts[key]}
        if dry_run or not chosen:
            return Accepted(len(chosen), None, by_class, passed_over=passed_over)
        audited = _draw(connection, project, sorted(chosen), sample)
        version = annotations.newest_version(connection, project.id)
        labels.accept(connection, project.id, chosen, version=version)
        about = {"source": source, "above": above, "risk": risk, **(facts or {})}
        act = act_rows.add(
            connection,
            project.id,
            audits.ACCEPT,
            {
                key: {"label": None, "accepted": [class_id], "confidence": round(confidence, 6)}
                for key, (class_id, confidence) in chosen.items()
            },
            reason=f"{source}, at least {above:g} sure",
            subject={**about, "audit": list(audited)},
        )
        subject = {"act": act, "count": len(chosen), "audit": len(audited), **about}
        audit.append(connection, project.id, act=audits.ACCEPT, subject=subject, actor=actor)
    return Accepted(len(chosen), act, by_class, audited, passed_over)


def check(
    project: Project, *, above: float, sample: int = AUDIT, risk: float | None = None
) -> None:
    """Refuses what cannot be accepted, before anything is computed.

    Raises:
        InputError: the task, the threshold, the sample or the risk cannot be used.
    """
    if project.record.task != "single-label":
        raise InputError(
            f"{project.record.name!r} is a {project.record.task} project, and machines' labels are "
            "accepted of one class an image only. Use pre-labels there: `labelloop round`."
        )
    if not 0 < above <= 1:
        raise InputError(f"--above {above:g} must be above 0 and at most 1, as in --above 0.9.")
    if not 0 <= sample <= MOST_AUDITED:
        raise InputError(f"--audit {sample} must lie between 0 and {MOST_AUDITED:,} images.")
    if risk is not None and not 0 < risk < 1:
        raise InputError(f"--risk {risk:g} must lie between 0 and 1, as in --risk 0.05.")


def _choose(
    connection: Connection, project: Project, rows: Iterable[Candidate], above: float
) -> tuple[dict[int, tuple[int, float]], dict[str, int]]:
    """Class and confidence by image that may be labeled, and how many not, by reason."""
    sure = {row.image_id: (row.class_id, row.confidence) for row in rows if row.confidence >= above}
    waiting = set(rounds.waiting(connection, project.id))
    free = set(connection.scalars(pool_rows.ids(project.id)))
    left = Counter(
        "wait for people" if key in waiting else "labeled, held out, or a copy of another image"
        for key in sure
        if key in waiting or key not in free
    )
    chosen = {key: said for key, said in sure.items() if key in free and key not in waiting}
    return chosen, dict(left)


def _draw(connection: Connection, project: Project, ids: list[int], sample: int) -> tuple[int, ...]:
    """A random sample, another one at each acceptance."""
    before = len(audits.every(connection, project.id))
    rng = np.random.default_rng([project.record.seed, before, *b"audit"])
    drawn = rng.permutation(np.array(ids, dtype=np.int64))[:sample]
    return tuple(int(key) for key in drawn)


def of_predictions(project: Project) -> tuple[str, list[Candidate]]:
    """The id of the newest model, and its answers for the pool.

    Raises:
        InputError: no model has answered yet.
    """
    with project.catalog.read() as connection:
        run_id = runs.predicted_by(connection, project.id)
        if run_id is None:
            raise InputError("No model has answered yet. Train one: `labelloop round`.")
        ids = list(connection.scalars(pool_rows.ids(project.id)))
        found = runs.predictions_of(connection, ids)
    return run_id, [
        Candidate(key, said["class_id"], said["confidence"]) for key, said in found.items()
    ]


def of_rules(project: Project) -> tuple[str, list[Candidate]]:
    """What the rules in force make likeliest for each image of the pool.

    Raises:
        InputError: no rules are in force.
    """
    soft = weak_labels.soft(project, most=sys.maxsize)
    if soft is None:
        raise InputError("No rules are in force. Apply some: `labelloop rules apply FILE`.")
    best = soft.chances.argmax(axis=1)
    class_ids = project.record.class_ids
    sure = soft.chances[np.arange(len(best)), best]
    return f"rules (plan {soft.plan})", [
        Candidate(int(key), class_ids[number], float(p))
        for key, number, p in zip(soft.ids, best, sure, strict=True)
    ]


@dataclass(frozen=True)
class Audited:
    """How an acceptance stands.

    Attributes:
        act: that accepted.
        accepted: images that got a label then.
        standing: of them, those that bear a machine's label still.
        sampled: images drawn for people.
        answered: of these, those with people's label.
        skipped: of these, those that people could not judge.
        error: the share of people's labels that are another class.
        wrong: names of the images that people labeled otherwise.
        verdict: on the risk that was wanted.
    """

    act: Act
    accepted: int
    standing: int
    sampled: int
    answered: int
    skipped: int
    error: Figure
    wrong: tuple[str, ...]
    verdict: Verdict


def audited(project: Project) -> list[Audited]:
    """Every acceptance with what people say of its sample, newest first."""
    with project.catalog.read() as connection:
        return [_audited(connection, act) for act in audits.every(connection, project.id)]


def _audited(connection: Connection, act: Act) -> Audited:
    found = audits.judged(connection, act)
    answered = [row for row in found if row.answered is not None]
    wrong = [row.image_id for row in answered if row.answered != row.accepted]
    names = image_rows.names_by_id(connection, wrong)
    n = len(answered)
    error = Figure(len(wrong) / n, n, wilson(len(wrong), n)) if n else unknown()
    return Audited(
        act=act,
        accepted=act_rows.count(connection, act.id),
        standing=audits.count_standing(connection, act),
        sampled=len(act.subject.get("audit", ())),
        answered=n,
        skipped=len(found) - n,
        error=error,
        wrong=tuple(names[key] for key in wrong),
        verdict=_verdict(error, act.subject.get("risk")),
    )


def _verdict(error: Figure, risk: float | None) -> Verdict:
    if not error.n:
        return "no answer yet"
    if risk is None:
        return "no limit set"
    low, high = error.ci
    return "exceeded" if low > risk else "holds" if high <= risk else "cannot tell yet"
