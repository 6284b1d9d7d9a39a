"""Which images may be augmented, and how many copies of each are made.

Never one that a model is judged by, nor a copy of such an image: nothing of the reserve, and
nothing of the validation and test parts of a split, whether it was imported or drawn here.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curation import imported_split
from curation.catalog import images as image_rows
from curation.catalog import labels, splits
from curation.catalog.bulk import batched
from curation.errors import InputError
from curation.records import LabelRow
from curation.workspace import Project

Counts = npt.NDArray[np.int64]

JUDGING = frozenset({"val", "validation", "test", "dev", "eval", "holdout"})
"""Parts of imported splits and of our own that models are judged by."""
MOST_COPIES = 1_000
"""Of one image."""


@dataclass(frozen=True)
class Candidates:
    """The images that may be augmented.

    Attributes:
        rows: labeled ones, in the order of their ids.
        left_out: how many other labeled images there are, by reason.
    """

    rows: tuple[LabelRow, ...]
    left_out: dict[str, int]


def find(project: Project) -> Candidates:
    """Labeled images that no model is judged by.

    Raises:
        InputError: there are none.
    """
    with project.catalog.read() as connection:
        known = labels.every(connection, project.id)
        training = labels.for_training(connection, project.id)
    judged = _judged_groups(project, training)
    rows = tuple(row for row in training if row.group_id not in judged)
    usable = {row.image_id for row in training}
    left_out = Counter(
        "labeled as a copy of another image"
        if row.origin == labels.PROPAGATED
        else "labeled by a machine"
        if row.origin == labels.MACHINE
        else "in the reserve or held out by the split, or a copy of such an image"
        for row in known
        if row.image_id not in usable
    )
    left_out["in a validation or test part, or a copy of such an image"] = len(training) - len(rows)
    reasons = {reason: count for reason, count in left_out.items() if count}
    if not rows:
        why = "; ".join(f"{count:,} {reason}" for reason, count in reasons.items())
        raise InputError(
            "No labeled image may be augmented"
            + (f" (left out: {why})" if why else "")
            + ". Label or import some first."
        )
    return Candidates(rows, reasons)


def _judged_groups(project: Project, training: Sequence[LabelRow]) -> set[int]:
    """Groups with a member that a model is judged by, or that a split leaves out."""
    found: set[int] = set()
    for batch in batched(training, 10_000):
        with project.catalog.read() as connection:
            groups = splits.part_of_groups(connection, project.id, [row.group_id for row in batch])
            parts = splits.parts_of(connection, project.id, [row.image_id for row in batch])
        found.update(group for group, part in groups.items() if part in JUDGING)
        found.update(
            row.group_id for row in batch if parts.get(row.image_id) in (*JUDGING, splits.LEFT_OUT)
        )
    with project.catalog.read() as connection:
        ids = np.fromiter((key for key, _ in image_rows.usable(connection, project.id)), np.int64)
    codes, names = imported_split.read(project, ids)
    judged = [code for code, name in enumerate(names) if name in JUDGING]
    with project.catalog.read() as connection:
        found.update(
            image_rows.groups_of(connection, ids[np.isin(codes, judged)].tolist()).values()
        )
    return found


def per_image(rows: Sequence[LabelRow], count: int) -> Counts:
    """The same number (N,) of copies of every image.

    Raises:
        InputError: the number cannot be used.
    """
    if not 1 <= count <= MOST_COPIES:
        raise InputError(f"--per-image is {count}; give a number from 1 to {MOST_COPIES:,}.")
    return np.full(len(rows), count, dtype=np.int64)


def by_class(
    rows: Sequence[LabelRow], wanted: Mapping[int, int], *, names: Mapping[int, str], seed: int
) -> Counts:
    """How many copies (N,) of each image give every class at least what it wants.

    A class's copies are spread evenly over its images; chance decides which get one more. What an
    image with several classes gives to one of them counts for the others too.

    Args:
        rows: the images.
        wanted: copies by class id; other classes get none.
        names: of the classes, by id.
        seed: of that chance.

    Raises:
        InputError: a class has no image to copy, or would need too many copies of each.
    """
    counts = np.zeros(len(rows), dtype=np.int64)
    rng = np.random.default_rng(seed)
    for class_id in sorted(key for key, many in wanted.items() if many > 0):
        members = np.array(
            [place for place, row in enumerate(rows) if class_id in row.classes], dtype=np.int64
        )
        need = wanted[class_id] - int(counts[members].sum())
        if need <= 0:
            continue
        if not len(members) or need > MOST_COPIES * len(members):
            raise InputError(
                f"{names[class_id]!r} wants {wanted[class_id]:,} copies and has {len(members):,} "
                f"images to copy, at most {MOST_COPIES:,} times each. Label more of it first."
            )
        each, more = divmod(need, len(members))
        counts[members] += each
        counts[rng.permutation(members)[:more]] += 1
    return counts
