"""How far the people of a project agree, and how labels follow from what they say.

Functions return what the command line prints with `--json`, as those of `ui/wiring.py` do.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from curation.catalog import annotations, labels
from curation.catalog import images as image_rows
from curation.errors import InputError
from curation.intervals import Figure, wilson
from curation.progress import Report, silent
from curation.workspace import Project
from labeling import agreement, drawings
from labeling.agreement import Answers

if TYPE_CHECKING:
    from labeling.consensus import Chosen
    from labeling.crowdlab import Opinions

MOST_PAIRS = 50
MOST_DRAWN_PAIRS = 10
"""Pairs of people who draw boxes: comparing drawings takes longer."""
MOST_DISPUTES = 10
SHOWN = 5
"""Example images of a dispute."""
FEWEST_LABELS = 20
"""From so many labeled images on a model is worth asking."""


def agree(project: Project) -> dict[str, Any]:
    """Agreement of all, of pairs of annotators and of classes, and what is confused most."""
    if project.record.task == "boxes":
        return _agree_on_boxes(project)
    record = project.record
    with project.catalog.read() as connection:
        rows = annotations.said(connection, project.id)
    answers = Answers.of(rows)
    several = record.task == "multi-label"
    seed = record.seed
    answered = Counter(answers.images.tolist())
    return {
        "annotators": len(answers.by_annotator),
        "images": len(answered),
        "images_with_two": sum(count > 1 for count in answered.values()),
        "krippendorff_alpha": agreement.krippendorff_alpha(
            answers, distance=agreement.masi if several else None, seed=seed
        ).as_json(),
        "fleiss_kappa": agreement.fleiss_kappa(answers, seed=seed).as_json(),
        "cohen_kappa": {
            f"{first} / {second}": agreement.cohen_kappa(
                answers, first, second, seed=seed
            ).as_json()
            for first, second, _ in agreement.pairs(answers)[:MOST_PAIRS]
        },
        "per_class": {
            name: agreement.krippendorff_alpha(
                agreement.of_class(answers, class_id), seed=seed
            ).as_json()
            for class_id, name in zip(record.class_ids, record.classes, strict=True)
        },
        "disputes": _disputes(
            project,
            [
                (cast(tuple[int, ...], one), cast(tuple[int, ...], other), images)
                for one, other, images in agreement.disputes(answers)[:MOST_DISPUTES]
            ],
            shared=agreement.shared_images(answers),
        ),
    }


def _agree_on_boxes(project: Project) -> dict[str, Any]:
    """The same for drawings: alpha by overlap; kappas, which know no near, have no value."""
    record, seed = project.record, project.record.seed
    with project.catalog.read() as connection:
        drawn = drawings.gather(annotations.drawn(connection, project.id))
    none = Figure(None, 0, (-1.0, 1.0)).as_json()
    shared = drawings.shared_images(drawn)
    return {
        "annotators": len({who for rows in drawn.values() for who, _ in rows}),
        "images": len(drawn),
        "images_with_two": sum(len(rows) > 1 for rows in drawn.values()),
        "krippendorff_alpha": drawings.alpha(drawn, seed=seed).as_json(),
        "fleiss_kappa": none,
        "cohen_kappa": {},
        "alpha_of_pairs": {
            f"{first} / {second}": drawings.alpha(
                drawings.of_annotators(drawn, (first, second)), seed=seed
            ).as_json()
            for first, second, _ in drawings.pairs(drawn)[:MOST_DRAWN_PAIRS]
        },
        "per_class": {
            name: drawings.alpha(drawings.of_class(drawn, class_id), seed=seed).as_json()
            for class_id, name in zip(record.class_ids, record.classes, strict=True)
        },
        "disputes": _disputes(
            project,
            [((a,), (b,), images) for a, b, images in drawings.disputes(drawn)[:MOST_DISPUTES]],
            shared=shared,
        ),
    }


def _disputes(
    project: Project,
    found: Sequence[tuple[tuple[int, ...], tuple[int, ...], Sequence[int]]],
    *,
    shared: Mapping[int, frozenset[Any]],
) -> list[dict[str, Any]]:
    """Answers that the same image got, with images that show it.

    Args:
        project: whose images they are.
        found: two answers each and the images that got both.
        shared: what was said of each image that several people answered.
    """
    examples = [image for _, _, images in found for image in images[:SHOWN]]
    with project.catalog.read() as connection:
        names = image_rows.names_by_id(connection, examples)
    return [
        {
            "answers": [list(project.record.class_names(value)) for value in (one, other)],
            "images": len(images),
            "of": sum(one in said or other in said for said in shared.values()),
            "examples": [names[image] for image in images[:SHOWN]],
        }
        for one, other, images in found
    ]


def choose_consensus(
    project: Project, method: str = "", *, dry_run: bool = False, report: Report = silent
) -> dict[str, Any]:
    """Makes a method the project's, and settles every image by it.

    Args:
        project: whose answers they are.
        method: majority, dawid-skene or crowdlab; empty: the one in force learns anew.
        dry_run: only say what would change.
        report: told of the progress.
    """
    from labeling import consensus

    with project.catalog.read() as connection:
        before = consensus.method_of(connection, project)
        people = annotations.annotator_names(connection, project.id)
    done = consensus.choose(
        project,
        method or before,
        ask=lambda truth: _ask_model(project, truth, report),
        dry_run=dry_run,
        report=report,
    )
    with project.catalog.read() as connection:
        names = image_rows.names_by_id(connection, [one.image_id for one in done.examples])
    return {
        "method": done.method,
        "before": before,
        "answers": done.answers,
        "images": done.images,
        "changed": done.changed,
        "reweighed": done.reweighed,
        "kept": done.kept,
        "dry_run": dry_run,
        "plan": done.plan,
        "annotators": _trust(done, people),
        "examples": [
            {
                "image": names[one.image_id],
                "before": _names(project, one.before),
                "after": _names(project, one.after.classes),
                "confidence": round(one.after.confidence, 4),
            }
            for one in done.examples
        ],
    }


def _names(project: Project, class_ids: Sequence[int]) -> list[str]:
    names = dict(zip(project.record.class_ids, project.record.classes, strict=True))
    return [names.get(class_id, str(class_id)) for class_id in class_ids]


def _trust(done: "Chosen", people: Mapping[int, str]) -> list[dict[str, Any]]:
    """By annotator how often the answers were right, as far as the method can tell."""
    if done.method != "dawid-skene":
        return []
    from labeling.dawid_skene import Fitted

    totals: dict[int, tuple[float, float]] = {}
    for stored in done.learned["questions"].values():
        fitted = Fitted.of_json(stored)
        for annotator in fitted.counts:
            right, n = fitted.right(annotator)
            before = totals.get(annotator, (0.0, 0.0))
            totals[annotator] = before[0] + right, before[1] + n
    found = [
        {
            "name": people[annotator],
            "right": Figure(right / n, round(n), wilson(right, n)).as_json(),
        }
        for annotator, (right, n) in totals.items()
        if n
    ]
    return sorted(found, key=lambda row: (row["right"]["value"], row["name"]))


def _ask_model(
    project: Project, truth: Mapping[int, tuple[int, ...]], report: Report
) -> "Opinions":
    """What models say of images they never saw, taught by what most people said.

    Not of images in the reserve or held out by the split: a label that a model had a say in
    must not judge models.
    """
    import numpy as np

    from curation import features
    from curation.embeddings import EmbeddingStore
    from labeling.crowdlab import Opinions
    from training.heads import out_of_fold

    record = project.record
    single = record.task == "single-label"
    with project.catalog.read() as connection:
        rows = labels.for_training(connection, project.id)
    taught = {row.image_id: (row.group_id, truth.get(row.image_id, row.classes)) for row in rows}
    column = {class_id: at for at, class_id in enumerate(record.class_ids)}
    groups_of: dict[int, set[int]] = {}
    for group, classes in taught.values():
        for class_id in classes:
            groups_of.setdefault(class_id, set()).add(group)
    # A class of one group cannot be told apart by models that did not see that group.
    known = [class_id for class_id in column if len(groups_of.get(class_id, ())) > 1]
    if single:
        taught = {
            key: row for key, row in taught.items() if len(row[1]) == 1 and row[1][0] in known
        }
    if len(taught) < FEWEST_LABELS or len(known) < 2:
        raise InputError(
            f"crowdlab needs a model, and {len(taught):,} labeled images of {len(known)} classes "
            f"outside the reserve are too few to train one: it takes {FEWEST_LABELS} of two. "
            "Choose --method dawid-skene, or label more."
        )
    prepared = features.prepare(project, report=report)
    embedded = EmbeddingStore(prepared.folder, prepared.fingerprint)
    taught = {key: taught[key] for key in set(taught).intersection(embedded.ids().tolist())}
    ids = np.array(sorted(taught), dtype=np.int64)
    hot = np.zeros((len(ids), len(known)), dtype=np.int64)
    for at, key in enumerate(ids.tolist()):
        hot[at, [known.index(one) for one in taught[key][1] if one in known]] = 1
    groups = np.array([taught[key][0] for key in ids.tolist()], dtype=np.int64)
    report(0, len(ids), "ask models")
    said = out_of_fold.probabilities(
        embedded.read(ids), hot.argmax(axis=1) if single else hot, groups, classes=len(known)
    )
    report(len(ids), len(ids), "ask models")
    chances = np.zeros((len(ids), len(column)))
    chances[:, [column[class_id] for class_id in known]] = said
    return Opinions(ids, chances)


def import_answers(
    project: Project, table: Path, *, strict: bool = False, report: Report = silent
) -> dict[str, Any]:
    """Brings in answers that were collected elsewhere; see `labelloop label import`."""
    from labeling import collected

    return collected.as_json(
        collected.bring_in(project, table.expanduser(), strict=strict, report=report)
    )
