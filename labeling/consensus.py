"""From several people's answers to one label, by the method that the project chose.

The method is the plan `consensus`; what it learned of people is kept beside that plan, so that new
answers are settled without learning again, and every image by the same rule whenever that happens.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from curation import snapshots
from curation.catalog import Connection, annotations, audit, audits, labels, plans
from curation.catalog.annotations import Given
from curation.catalog.bulk import batched
from curation.errors import InputError
from curation.progress import Report, silent
from curation.workspace import Project
from labeling import methods, votes
from labeling.crowdlab import Opinions
from labeling.methods import Rule, Votes
from labeling.votes import Agreed

PLAN = "consensus"
LEARNED = "consensus-learned"
FOLDER = "consensus"
"""Where the workspace keeps what a model said."""
EXAMPLES = 10
GROWN = 1.2
"""Times the answers that a method learned from, at which it learns anew."""

_log = logging.getLogger(__name__)

Ask = Callable[[Mapping[int, tuple[int, ...]]], Opinions]
"""What a model that never saw them says of images, taught by these classes of them."""


@dataclass(frozen=True)
class Relabeled:
    """One image whose label is another now."""

    image_id: int
    before: tuple[int, ...]
    after: Agreed


@dataclass
class Chosen:
    """What choosing a method did, or would do.

    Attributes:
        method: its name.
        images: how many have answers that a label follows from.
        changed: how many have other classes or boxes now.
        reweighed: how many have the same label, and another confidence.
        kept: how many have a label that somebody brought back from a snapshot, which stays.
        answers: how many it learned from.
        learned: what it learned, as plain values.
        plan: its id; none if nothing was written.
        examples: the first images that changed.
    """

    method: str
    images: int = 0
    changed: int = 0
    reweighed: int = 0
    kept: int = 0
    answers: int = 0
    learned: dict[str, Any] = field(default_factory=dict)
    plan: int | None = None
    examples: list[Relabeled] = field(default_factory=list)


def settle(connection: Connection, project: Project, image_ids: Sequence[int]) -> None:
    """Makes the labels of these images follow from the answers as they stand now.

    People outrank labels that came with an import, and a reviewer's answer in the correction queue
    outranks both, also those given later; an image without any answer is unlabeled, or keeps the
    label that was propagated to it or accepted from a machine, unless people skipped it.
    """
    if not image_ids:
        return
    answers = annotations.given(connection, image_ids)
    unsaid = labels.get(connection, [key for key in image_ids if key not in answers])
    labels.remove(
        connection, [key for key, label in unsaid.items() if label.origin not in labels.NOBODYS]
    )
    audits.drop_skipped(connection, list(unsaid))
    rule = in_force(connection, project)
    version = annotations.newest_version(connection, project.id)
    rows = [
        _row(image_id, given, _agree(rule, project, image_id, given), version)
        for image_id, given in answers.items()
    ]
    labels.put(connection, project.id, rows)


def _counted(given: Sequence[Given]) -> Sequence[Given]:
    """The answers that a label follows from, oldest first; a reviewer's by when they were said."""
    reviews = [one for one in given if one.review is not None]
    if reviews:
        return sorted(reviews, key=lambda one: one.review or 0)
    return [one for one in given if one.kind != "import"] or given


def _agree(rule: Rule, project: Project, image_id: int, given: Sequence[Given]) -> Agreed:
    counted = _counted(given)
    if counted[-1].review is None:
        nobody = all(one.kind == "import" for one in counted)
        return (_default(project) if nobody else rule)(image_id, counted)
    agreed = votes.decision([one.classes for one in counted])
    return Agreed(agreed.classes, agreed.confidence, counted[-1].boxes)


def _row(image_id: int, given: Sequence[Given], agreed: Agreed, version: int) -> dict[str, object]:
    return {
        "image_id": image_id,
        "classes": agreed.classes,
        "boxes": agreed.boxes,
        "origin": "people" if any(one.kind != "import" for one in given) else "import",
        "confidence": agreed.confidence,
        "answers": len(_counted(given)),
        "version_id": version,
    }


def in_force(connection: Connection, project: Project) -> Rule:
    """The rule by which this project's labels follow from answers."""
    record = project.record
    plan = plans.in_force(connection, project.id).get(PLAN)
    learned = plans.get(connection, project.id, plan["learned"]) if plan else None
    if plan is None or learned is None or plan["method"] not in methods.METHODS:
        return _default(project)
    opinions = _opinions(project, learned["opinions"]) if learned.get("opinions") else None
    return methods.METHODS[plan["method"]].rule(record, learned, opinions)


def _default(project: Project) -> Rule:
    return methods.METHODS[methods.DEFAULT].rule(project.record, {}, None)


def _opinions(project: Project, name: str) -> Opinions | None:
    path = project.workspace.path / FOLDER / name
    try:
        return Opinions.read(path)
    except (OSError, ValueError) as error:
        # No answer may be lost for this: people alone are weighed then.
        _log.warning(
            "What the model said is not in %s (%s), so labels follow from people alone. Run "
            "`labelloop label consensus --method crowdlab` to ask it again.",
            path,
            error,
        )
        return None


def method_of(connection: Connection, project: Project) -> str:
    """The name of the method in force."""
    plan = plans.in_force(connection, project.id).get(PLAN)
    return plan["method"] if plan else methods.DEFAULT


def choose(
    project: Project,
    method: str,
    *,
    ask: Ask | None = None,
    dry_run: bool = False,
    actor: str = "",
    report: Report = silent,
) -> Chosen:
    """Learns from all answers, makes this the project's method, and settles every image by it.

    One transaction and one entry of the audit log. Labels that do not follow from the answers by
    the method before, since they were brought back from a snapshot, stay.

    Args:
        project: whose answers they are.
        method: one of `METHODS`.
        ask: a model, for methods that need one.
        dry_run: only say what would be done.
        actor: who does it, for the audit log.
        report: told of the progress.

    Raises:
        InputError: there is no such method, or it cannot learn from these answers.
        Cancelled: asked to stop; nothing is changed then.
    """
    way = methods.find(method)
    with project.catalog.read() as connection:
        given = Votes.of(annotations.votes(connection, project.id))
    found = Chosen(method, answers=len(given.images))
    opinions = None
    if way.needs_model:
        if ask is None:
            raise InputError(f"{method} needs a model, and none can be asked here.")
        methods.check(project.record, given, method)
        opinions = ask(_by_majority(project, given)).rounded()
    learned = methods.fit(project.record, method, given, opinions=opinions, report=report)
    learned["answers"] = found.answers
    found.learned = learned
    rule = way.rule(project.record, learned, opinions)
    if dry_run:
        with project.catalog.read() as connection:
            _resettle(connection, project, rule, found, write=False, report=report)
        return found
    path: Path | None = None
    if opinions is not None:
        path = project.workspace.folder(FOLDER) / f"{project.id}-{uuid4().hex[:12]}.npy"
        opinions.write(path)
        learned = {**learned, "opinions": path.name}
    try:
        with project.catalog.write() as connection:
            _resettle(connection, project, rule, found, write=True, report=report)
            kept = plans.keep(connection, project.id, LEARNED, learned)
            found.plan = plans.put(
                connection, project.id, PLAN, {"method": method, "learned": kept}
            )
            subject = {
                key: getattr(found, key)
                for key in ("plan", "method", "images", "answers", "changed", "reweighed", "kept")
            }
            audit.append(connection, project.id, act="consensus", subject=subject, actor=actor)
    except BaseException:
        if path is not None:
            path.unlink(missing_ok=True)
        raise
    _tidy(project, keep=path)
    return found


def relearn_if_grown(
    project: Project, *, most: int | None = None, report: Report = silent
) -> Chosen | None:
    """Learns anew how people err, once there are a fifth more answers than it was learned from.

    What was learned of people weighs their later answers, too, and grows stale: somebody may have
    come since of whom nothing is known. A method that asks a model is left alone, since that takes
    minutes; `choose` learns it.

    Args:
        project: whose answers they are.
        most: answers above which nothing is done, where there is no time for it.
        report: told of the progress.

    Returns:
        What was done; none if nothing was due.
    """
    with project.catalog.read() as connection:
        plan = plans.in_force(connection, project.id).get(PLAN)
        if plan is None or methods.METHODS[plan["method"]].needs_model:
            return None
        learned = plans.get(connection, project.id, plan["learned"]) or {}
        if not learned.get("questions"):
            return None
        now = annotations.count_votes(connection, project.id)
    if now < GROWN * learned.get("answers", 0) or (most is not None and now > most):
        return None
    return choose(project, plan["method"], actor="", report=report)


def _tidy(project: Project, *, keep: Path | None) -> None:
    """Removes what models said for methods that were chosen before."""
    folder = project.workspace.path / FOLDER
    for path in folder.glob(f"{project.id}-*.npy") if folder.exists() else ():
        if path != keep:
            path.unlink(missing_ok=True)


def _by_majority(project: Project, given: Votes) -> dict[int, tuple[int, ...]]:
    """What most people say of each image."""
    said: dict[int, list[tuple[int, ...]]] = {}
    for image_id, classes in zip(given.images.tolist(), given.classes, strict=True):
        said.setdefault(image_id, []).append(classes)
    task = project.record.task
    return {key: votes.majority(answers, task=task).classes for key, answers in said.items()}


def _resettle(
    connection: Connection,
    project: Project,
    rule: Rule,
    found: Chosen,
    *,
    write: bool,
    report: Report,
) -> None:
    # Without a restored snapshot every label follows from the answers.
    restored = audit.has(connection, project.id, snapshots.RESTORED)
    former = in_force(connection, project) if restored else None
    version = annotations.newest_version(connection, project.id)
    ids = annotations.answered_images(connection, project.id)
    done = 0
    for batch in batched(ids):
        answers = annotations.given(connection, batch)
        before = labels.get(connection, batch)
        boxes = labels.boxes_of(connection, batch)
        rows = []
        for image_id, given in answers.items():
            label = before.get(image_id)
            if label is None or label.origin != "people":
                found.kept += 1
                continue
            if former and _agree(former, project, image_id, given).classes != label.classes:
                found.kept += 1
                continue
            found.images += 1
            agreed = _agree(rule, project, image_id, given)
            now = (label.classes, boxes.get(image_id, ()))
            if now != (agreed.classes, agreed.boxes):
                found.changed += 1
                if len(found.examples) < EXAMPLES:
                    found.examples.append(Relabeled(image_id, label.classes, agreed))
            elif label.confidence != agreed.confidence:
                found.reweighed += 1
            else:
                continue
            rows.append(_row(image_id, given, agreed, version))
        if write:
            labels.put(connection, project.id, rows)
        done += len(batch)
        report(done, len(ids), "settle")
