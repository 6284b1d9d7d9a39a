"""Labels that come with an import, written into the catalog.

What a source says of nobody in particular is an answer of the annotator `imported labels`, and
gives way to people; what it says of annotators are their answers, and the label follows from them.
"""

from collections.abc import Callable, Mapping, Sequence

from curation.catalog import Connection, annotations, imported, labels
from curation.catalog import images as image_rows
from curation.importers.boxes import Answer
from curation.workspace import Project

Settle = Callable[[Connection, Project, Sequence[int]], None]
"""Makes the labels of images follow from what people answered."""


def put(
    connection: Connection,
    project: Project,
    given: Mapping[int, Sequence[Answer]],
    *,
    settle: Settle | None,
) -> tuple[int, int]:
    """Brings answers and labels to what a source says; the same call twice changes nothing.

    Args:
        connection: a writing one.
        project: of the images.
        given: the answers by image id; those to images that cannot be used are passed over.
        settle: agrees on the answers of several annotators; without it these make no label.

    Returns:
        How many images have a label now that had none, and how many have another one.
    """
    usable = image_rows.get_many(connection, list(given))
    by_annotator: dict[str, dict[int, Answer]] = {}
    for image_id, answers in given.items():
        if usable[image_id].state == "ok":
            for answer in answers:
                by_annotator.setdefault(answer.annotator, {})[image_id] = answer
    labeled, relabeled = _put_labels(connection, project, by_annotator.pop("", {}))
    touched: set[int] = set()
    for name, theirs in by_annotator.items():
        added, changed = imported.put(connection, project.id, _rows(theirs), annotator=name)
        touched |= added | changed
    if touched:
        more, other = _follow(connection, project, sorted(touched), settle)
        labeled, relabeled = labeled + more, relabeled + other
    return labeled, relabeled


def _rows(given: Mapping[int, Answer]) -> list[imported.Answer]:
    return [
        imported.Answer(image_id, answer.classes, answer.boxes, answer.skipped)
        for image_id, answer in given.items()
    ]


def _put_labels(
    connection: Connection, project: Project, given: Mapping[int, Answer]
) -> tuple[int, int]:
    """Labels of nobody in particular; where people have answered, theirs stand."""
    found = labels.get(connection, list(given))
    given = {
        key: answer
        for key, answer in given.items()
        if key not in found or found[key].origin != "people"
    }
    added, changed = imported.put(connection, project.id, _rows(given))
    # An image may have a label of an import whose answer is not kept as such.
    new = {key for key in added if key not in found or found[key].origin in labels.NOBODYS}
    other = {key for key in added - new if found[key].classes != given[key].classes} | changed
    version = annotations.newest_version(connection, project.id)
    rows: list[dict[str, object]] = [
        {
            "image_id": image_id,
            "classes": answer.classes,
            "boxes": answer.boxes or (),
            "origin": "import",
            "confidence": 1.0,
            "answers": 1,
            "version_id": version,
        }
        for image_id, answer in given.items()
        if image_id in new or image_id in other
    ]
    labels.put(connection, project.id, rows)
    return len(new), len(other)


def _follow(
    connection: Connection, project: Project, image_ids: Sequence[int], settle: Settle | None
) -> tuple[int, int]:
    """Makes labels follow from what people answered."""
    before = labels.get(connection, image_ids)
    if settle is not None:
        settle(connection, project, image_ids)
    after = labels.get(connection, image_ids)
    other = [k for k in before.keys() & after.keys() if before[k].classes != after[k].classes]
    return len(after.keys() - before.keys()), len(other)
