"""From several people's answers to one label."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from curation.catalog import Connection, annotations, labels
from curation.workspace import Project


@dataclass(frozen=True)
class Agreed:
    """What the answers agree on; `confidence` is the share of them that do, 0 to 1."""

    classes: tuple[int, ...]
    confidence: float


def majority(answers: Sequence[tuple[int, ...]], *, task: str) -> Agreed:
    """The answer most people gave; of answers given equally often the earliest.

    Multi-label: each class by itself, present where more than half say so, and the confidence is
    that of the least certain class that anybody named.

    Args:
        answers: class ids of each answer, oldest first; at least one.
        task: `single-label` or `multi-label`.

    >>> majority([(1,), (2,), (2,)], task="single-label")
    Agreed(classes=(2,), confidence=0.6666666666666666)
    >>> majority([(1,), (2,)], task="single-label")
    Agreed(classes=(1,), confidence=0.5)
    """
    if task == "single-label":
        classes, count = Counter(answers).most_common(1)[0]
        return Agreed(classes, count / len(answers))
    named = Counter(class_id for answer in answers for class_id in answer)
    shares = {class_id: count / len(answers) for class_id, count in named.items()}
    agreed = tuple(sorted(class_id for class_id, share in shares.items() if share > 0.5))
    return Agreed(agreed, min((max(share, 1 - share) for share in shares.values()), default=1.0))


def decision(reviews: Sequence[tuple[int, ...]]) -> Agreed:
    """What the reviewer said who was asked last; the confidence is the share that says the same.

    Args:
        reviews: class ids of each reviewer's answer, the last one given last; at least one.

    >>> decision([(1,), (2,)])
    Agreed(classes=(2,), confidence=0.5)
    """
    said = [tuple(sorted(classes)) for classes in reviews]
    return Agreed(said[-1], said.count(said[-1]) / len(said))


def settle(connection: Connection, project: Project, image_ids: Sequence[int]) -> None:
    """Makes the labels of these images follow from the answers as they stand now.

    People outrank labels that came with an import, and a reviewer's answer in the correction queue
    outranks both, also those given later; an image without any answer is unlabeled, or keeps the
    label that was propagated to it.
    """
    answers = annotations.live(connection, image_ids)
    reviews = annotations.reviews(connection, image_ids)
    version = annotations.newest_version(connection, project.id)
    unsaid = labels.get(connection, [key for key in image_ids if key not in answers])
    labels.remove(
        connection, [key for key, label in unsaid.items() if label.origin != labels.PROPAGATED]
    )
    rows: list[dict[str, object]] = []
    for image_id, given in answers.items():
        people = [classes for kind, classes in given if kind != "import"]
        reviewed = reviews.get(image_id, [])
        counted = reviewed or people or [classes for _, classes in given]
        agreed = decision(reviewed) if reviewed else majority(counted, task=project.record.task)
        rows.append(
            {
                "image_id": image_id,
                "classes": agreed.classes,
                "origin": "people" if people else "import",
                "confidence": agreed.confidence,
                "answers": len(counted),
                "version_id": version,
            }
        )
    labels.put(connection, project.id, rows)
