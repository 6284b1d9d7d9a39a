"""What the detectors look at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from curation.embeddings import EmbeddingStore
from curation.progress import Report, silent
from curation.records import LabelRow
from curation.scan import ScanStore
from curation.workspace import Project

if TYPE_CHECKING:
    from curation.issues.duplicates import Looked


class OutOfFold(Protocol):
    """Probabilities of each row by a model that saw no row of its group."""

    def __call__(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.int64],
        groups: NDArray[np.int64],
        *,
        classes: int,
    ) -> NDArray[np.float64]:
        """(N, C) probabilities.

        Args:
            X: (N, d) unit-norm embeddings.
            y: (N,) class indices below `classes`, or (N, C) of 0 and 1 for multi-label.
            groups: (N,) rows with the same number stay in one fold.
            classes: C.
        """


@dataclass(frozen=True)
class Evidence:
    """All that is known of a project's usable images.

    Attributes:
        project: whose images they are.
        ids: (N,) image ids, ascending.
        groups: (N,) their groups.
        scans: what one decode of each image told.
        embeddings: none where no detector asked for needs them.
        labels: by image id, of the images that have one.
        out_of_fold: none where no model can be trained.
        copies: what looking for copies told; none where nobody looked.
        least_score: a detector may leave out rows with a lower score that are no issue.
        report: told of the progress.
    """

    project: Project
    ids: NDArray[np.int64]
    groups: NDArray[np.int64]
    scans: ScanStore
    embeddings: EmbeddingStore | None
    labels: Mapping[int, LabelRow]
    out_of_fold: OutOfFold | None
    copies: "Looked | None" = None
    least_score: float = 0.0
    report: Report = silent
