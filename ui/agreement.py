"""How far the people of a project agree, for the command line and the app.

Functions return what `labelloop label agreement --json` prints.
"""

from collections import Counter
from typing import Any, cast

from curation.catalog import annotations
from curation.catalog import images as image_rows
from curation.workspace import Project
from labeling import agreement
from labeling.agreement import Answers

MOST_PAIRS = 50
MOST_DISPUTES = 10
SHOWN = 5
"""Example images of a dispute."""


def agree(project: Project) -> dict[str, Any]:
    """Agreement of all, of pairs of annotators and of classes, and what is confused most."""
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
        "disputes": _disputes(project, answers),
    }


def _disputes(project: Project, answers: Answers) -> list[dict[str, Any]]:
    found = agreement.disputes(answers)[:MOST_DISPUTES]
    examples = [image for _, _, images in found for image in images[:SHOWN]]
    with project.catalog.read() as connection:
        names = image_rows.names_by_id(connection, examples)
    return [
        {
            "answers": [
                list(project.record.class_names(cast(tuple[int, ...], value)))
                for value in (one, other)
            ],
            "images": len(images),
            "examples": [names[image] for image in images[:SHOWN]],
        }
        for one, other, images in found
    ]
