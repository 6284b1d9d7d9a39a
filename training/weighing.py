"""How much labels of rules count beside people's: as much as is seen to help, or nothing.

Rules that are right less often than a model of a few labels make that model worse, however little
they count (benchmarks/rules.py), so nothing is learned from rules unless it is seen to help: on the
validation part, which no rule has looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curation.embeddings import EmbeddingStore
from curation.progress import Report, silent
from curation.workspace import Project
from training.calibration import fit_temperature, to_probabilities
from training.heads.head import fit_head
from training.material import weak as weak_rows
from training.material.records import Material, Weak
from training.settings import HeadSettings

if TYPE_CHECKING:
    from curation.features import Prepared

RATIOS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Of what all labels of rules count together to what people's do."""

FEWEST = 30
"""Labels that judge, below which nothing can be told."""

_TOLERANCE = 1e-4
_FLOOR = 1e-12


@dataclass(frozen=True, eq=False)
class Rows:
    """Embeddings (N, d), class indices (N,) and how much each counts (N,)."""

    X: NDArray[np.float32]
    y: NDArray[np.int64]
    weight: NDArray[np.float64]


def joined(rows: Rows, weak: Weak, store: EmbeddingStore) -> Rows:
    """The rows and what machines and rules say, as far as it is embedded."""
    if not len(weak):
        return rows
    held = np.isin(weak.ids, store.ids())
    return Rows(
        np.concatenate([rows.X, store.read(weak.ids[held])]),
        np.concatenate([rows.y, weak.targets[held]]),
        np.concatenate([rows.weight, weak.weights[held]]),
    )


def weigh(
    rows: Rows,
    weak: Weak,
    judges: Rows | None,
    store: EmbeddingStore,
    *,
    classes: Sequence[str],
    settings: HeadSettings | None = None,
    class_weight: NDArray[np.floating[Any]] | None = None,
    report: Report = silent,
) -> Weak:
    """Measures with a head on embeddings how much rules should count, where that is undecided.

    Of the ratios that lower the mean log-loss on the judges, after a temperature, by more than the
    standard error of the difference, the best is taken; without any, rules count nothing.

    Args:
        rows: labels of people.
        weak: of which those of rules are weighed.
        judges: labels that neither rules nor models have seen; none if there are none.
        store: of the embeddings.
        classes: C names.
        settings: of the head.
        class_weight: (C,) of the balance plan, or none.
        report: told of the progress.

    Raises:
        TrainingError: the labels allow no head.
        Cancelled: asked to stop.
    """
    if not weak.undecided:
        return weak
    n = 0 if judges is None else len(judges.y)
    if judges is None or n < FEWEST:
        return weak.weighed(
            0.0,
            f"Rules were not learned from: {n} labels are too few to tell whether they help; it "
            f"takes {FEWEST} in the validation part. `labelloop rules apply --weight` sets how "
            "much they count without asking.",
        )
    how = settings or HeadSettings()
    how = replace(how, tolerance=max(how.tolerance, _TOLERANCE))
    mass = float(rows.weight.sum()) / float(weak.weights[weak.of_rules].sum())

    def losses(found: Weak) -> NDArray[np.float64]:
        every = joined(rows, found, store)
        head = fit_head(
            every.X,
            every.y,
            classes=classes,
            settings=how,
            sample_weight=every.weight,
            class_weight=class_weight,
        )
        logits = head.logits(judges.X)
        fitted = fit_temperature(logits, judges.y)
        likely = to_probabilities(logits, task="single-label", temperature=fitted.temperature)
        return np.asarray(-np.log(np.maximum(likely[np.arange(n), judges.y], _FLOOR)))

    alone = losses(weak.weighed(0.0, ""))
    best, least = 0.0, float(alone.mean())
    for number, ratio in enumerate(RATIOS, start=1):
        report(number, len(RATIOS), "weigh the rules")
        weight = min(1.0, ratio * mass)
        found = losses(weak.weighed(weight, ""))
        gain = alone - found
        error = float(gain.std(ddof=1)) / np.sqrt(n)
        if gain.mean() > error and found.mean() < least:
            best, least = weight, float(found.mean())
    told = f"on {n:,} labels that judge, log-loss {alone.mean():.3f} without rules"
    if not best:
        return weak.weighed(0.0, f"Rules were not learned from: they do not help ({told}).")
    says = f"An image of rules counts {best:.2g} of one of people: {least:.3f} {told}."
    return weak.weighed(best, says)


def settle(
    project: Project,
    folder: Path,
    material: Material,
    prepared: "Prepared",
    *,
    report: Report = silent,
) -> Material:
    """The material of a run with rules that count what helps, written into the run's folder.

    Raises:
        TrainingError: the labels allow no head.
        Cancelled: asked to stop.
    """
    found = material.weak
    if found.undecided:
        store = EmbeddingStore(prepared.folder, prepared.fingerprint)

        def rows_of(name: str) -> Rows:
            part = material.part(name)
            return Rows(store.read(part.ids), part.targets, part.weights)

        found = weigh(
            rows_of("train"),
            found,
            rows_of("validation") if len(material.validation) else None,
            store,
            classes=material.classes,
            class_weight=material.class_weight,
            report=report,
        )
        weak_rows.write(folder / weak_rows.NAME, found)
    notes = (*material.notes, *weak_rows.says(found))
    return replace(material, weak=found, notes=notes)
