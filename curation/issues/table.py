"""The one table that every detector returns."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from curation.issues.evidence import Evidence

Kind = Literal[
    "exact-duplicate",
    "near-duplicate",
    "group-conflict",
    "dark",
    "bright",
    "low-contrast",
    "blurry",
    "low-information",
    "odd-size",
    "odd-aspect",
    "odd-colour",
    "odd-exif",
    "outlier",
    "atypical",
    "wrong-label",
    "leak",
]


@dataclass(frozen=True)
class Issue:
    """What one detector says of one image.

    Attributes:
        image_id: of the image.
        kind: what may be wrong with it.
        score: 0 to 1, higher is worse; comparable within a kind only.
        is_issue: whether the score is beyond what the detector holds for normal.
        reason: one clause for people, with the values.
        related: ids of images that the finding rests on: for duplicates, verified pairs only.
        suggested_class_id: what the label should be, for `wrong-label`.
    """

    image_id: int
    kind: Kind
    score: float
    is_issue: bool
    reason: str
    related: tuple[int, ...] = ()
    suggested_class_id: int | None = None


@dataclass(frozen=True)
class Detector:
    """One way to look for trouble.

    Attributes:
        kinds: what it can report.
        needs_embeddings: whether the project must be embedded first.
        find: judges the images of the evidence; rows in ascending order of image ids, one for each
            image and kind that it can judge, or, where a kind is about pairs, only what it found.
            Rows below `evidence.least_score` that are no issue may be left out.
        needs_copies: whether the groups of copies must be up to date first.
    """

    kinds: tuple[Kind, ...]
    needs_embeddings: bool
    find: Callable[[Evidence], Iterator[Issue]]
    needs_copies: bool = False
