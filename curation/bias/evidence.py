"""What an audit rests on: labels, groups, image properties, and a model's out-of-fold answers."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from curation import features, scan
from curation.catalog import images as image_rows
from curation.catalog import labels
from curation.catalog.bulk import batched
from curation.embeddings import EmbeddingStore
from curation.issues.evidence import OutOfFold
from curation.progress import Report, silent
from curation.workspace import Project

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]

FEWEST_LABELS = 20
"""With fewer, no model is judged."""

FEWEST_PER_CLASS = 2
"""Groups that a class must have: a model that never saw the class says nothing about slices."""

_THRESHOLD = 0.5
_BATCH = 10_000


@dataclass(frozen=True, eq=False)
class Evidence:
    """N usable images, n of them with a label of C classes.

    Attributes:
        classes: C names.
        single: whether every label is one class.
        ids: (N,) image ids.
        groups: (N,) of copies.
        labeled: (n,) rows of the labeled images.
        truth: (n, C) of 0 and 1.
        probabilities: (n, C) by models that never saw an image's group; none where there are too
            few labels for one.
        judged: (n,) labels that those models can be judged by.
        properties: by name (n,) what a look at the file without its content tells.
        X: (n, d) embeddings; none where there is no model.
    """

    classes: tuple[str, ...]
    single: bool
    ids: Ids
    groups: Ids
    labeled: Ids
    truth: NDArray[np.int64]
    probabilities: Floats | None = None
    judged: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    properties: dict[str, Floats] = field(default_factory=dict)
    X: NDArray[np.float32] | None = None

    @property
    def label_groups(self) -> Ids:
        """(n,) groups of the labeled images."""
        return self.groups[self.labeled]

    def strata(self) -> NDArray[np.int64]:
        """(n,) number of each label; sets of labels that only one image has are taken together."""
        if self.single:
            return np.asarray(self.truth.argmax(axis=1))
        _, kinds, counts = np.unique(self.truth, axis=0, return_inverse=True, return_counts=True)
        kinds = kinds.reshape(-1)
        lone = counts[kinds] == 1
        kinds[lone] = len(counts) + self.truth[lone].sum(axis=1)
        return np.asarray(np.unique(kinds, return_inverse=True)[1].reshape(-1))


@dataclass(frozen=True, eq=False)
class Answers:
    """What the model said of the m labels it can be judged by.

    Attributes:
        rows: (m,) places among the n labels.
        right: (m,) 0 or 1; in a multi-label task the share of the C decisions that were right.
        sure: (m,) the probability given to the label; in a multi-label task its mean over classes.
        truth: (m, C) of 0 and 1.
        predicted: (m, C) of 0 and 1.
        single: whether every label is one class.
    """

    rows: Ids
    right: Floats
    sure: Floats
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    single: bool


def answers(evidence: Evidence) -> Answers | None:
    """The model's answers, if there is a model."""
    if evidence.probabilities is None or not evidence.judged.any():
        return None
    rows = np.flatnonzero(evidence.judged)
    truth, given = evidence.truth[rows], evidence.probabilities[rows]
    if evidence.single:
        predicted = np.eye(given.shape[1], dtype=np.int64)[given.argmax(axis=1)]
        right = (truth * predicted).sum(axis=1).astype(np.float64)
        return Answers(rows, right, (truth * given).sum(axis=1), truth, predicted, single=True)
    predicted = (given >= _THRESHOLD).astype(np.int64)
    right = (truth == predicted).mean(axis=1)
    sure = np.where(truth == 1, given, 1 - given).mean(axis=1)
    return Answers(rows, right, sure, truth, predicted, single=False)


def gather(
    project: Project,
    *,
    out_of_fold: OutOfFold,
    training_only: bool = False,
    report: Report = silent,
) -> Evidence:
    """Reads what is needed, and trains the models that judge; embeds images where that is missing.

    Labels that were propagated from copies or given by machines are left out: one answer counts
    once.

    Args:
        project: whose images they are.
        out_of_fold: trains the models.
        training_only: leave out the labels of the reserve, which may report but must not steer.
        report: told of the progress.

    Raises:
        Cancelled: asked to stop; nothing was written but embeddings and scans.
    """
    with project.catalog.read() as connection:
        read = labels.for_training if training_only else labels.every
        rows = {
            row.image_id: row
            for row in read(connection, project.id)
            if row.origin not in labels.NOBODYS
        }
    modelled = len(rows) >= FEWEST_LABELS
    if modelled:
        scans, _ = scan.prepare(project, report=report)
        prepared = features.prepare(project, report=report)
        store = EmbeddingStore(prepared.folder, prepared.fingerprint)
    with project.catalog.read() as connection:
        ids = np.array([key for key, _ in image_rows.usable(connection, project.id)], np.int64)
        found = image_rows.groups_of(connection, ids.tolist())
        groups = np.array([found[key] for key in ids.tolist()], np.int64)
    labeled = np.flatnonzero(np.isin(ids, np.array(list(rows), np.int64)))
    if modelled:
        readable = np.isin(ids[labeled], store.ids()) & np.isin(ids[labeled], scans.ids())
        labeled = labeled[readable]
    columns = {key: at for at, key in enumerate(project.record.class_ids)}
    truth = np.zeros((len(labeled), len(columns)), np.int64)
    for at, key in enumerate(ids[labeled].tolist()):
        truth[at, [columns[class_id] for class_id in rows[key].classes]] = 1
    evidence = Evidence(
        classes=project.record.classes,
        single=project.record.task == "single-label",
        ids=ids,
        groups=groups,
        labeled=labeled,
        truth=truth,
        judged=np.zeros(len(labeled), bool),
    )
    if not modelled:
        return evidence
    report(0, 0, "properties")
    properties = _properties(project, scans, ids[labeled])
    report(0, 0, "models")
    return with_model(
        evidence, store.read(ids[labeled]), out_of_fold=out_of_fold, properties=properties
    )


def with_model(
    evidence: Evidence,
    X: NDArray[np.float32],
    *,
    out_of_fold: OutOfFold,
    properties: dict[str, Floats],
) -> Evidence:
    """The evidence with a model's answers, as far as the labels allow one.

    Args:
        evidence: without them.
        X: (n, d) embeddings of the labeled images.
        out_of_fold: trains the models.
        properties: by name (n,).
    """
    groups = evidence.label_groups
    known = np.array(
        [len(np.unique(groups[column == 1])) >= FEWEST_PER_CLASS for column in evidence.truth.T],
        bool,
    )
    judged = np.ones(len(groups), bool)
    if evidence.single:
        judged = evidence.truth[:, known].sum(axis=1) == 1
    probabilities: Floats | None = None
    if known.sum() >= 2 and judged.sum() >= FEWEST_LABELS:
        truth = evidence.truth[judged][:, known]
        y = truth.argmax(axis=1) if evidence.single else truth
        probabilities = np.zeros(evidence.truth.shape)
        given = out_of_fold(X[judged], y, groups[judged], classes=int(known.sum()))
        probabilities[np.ix_(judged, known)] = given
    return Evidence(
        classes=evidence.classes,
        single=evidence.single,
        ids=evidence.ids,
        groups=evidence.groups,
        labeled=evidence.labeled,
        truth=evidence.truth,
        probabilities=probabilities,
        judged=judged & (probabilities is not None),
        properties=properties,
        X=X,
    )


def _properties(project: Project, scans: scan.ScanStore, ids: Ids) -> dict[str, Floats]:
    """Brightness, sharpness and size (pixels) of these images, read batch by batch."""
    found: dict[str, Floats] = {
        name: np.zeros(len(ids)) for name in ("brightness", "sharpness", "size")
    }
    for start in range(0, len(ids), _BATCH):
        rows = scans.read(ids[start : start + _BATCH])
        found["brightness"][start : start + _BATCH] = rows["mean"]
        found["sharpness"][start : start + _BATCH] = rows["sharpness"]
    place = {key: at for at, key in enumerate(ids.tolist())}
    with project.catalog.read() as connection:
        for batch in batched(ids.tolist()):
            for image in image_rows.stored(connection, batch):
                found["size"][place[image.id]] = image.width * image.height
    return found
