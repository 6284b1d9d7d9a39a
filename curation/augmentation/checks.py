"""What a recipe does to images and to their labels: how far they drift, and what a model says.

Each step is looked at on its own, applied to every image, and then the recipe as it is. One copy is
made of each image, and one image taken of each group, so that the rows of a test are independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curation import backbones, features, inference
from curation.augmentation import pipeline, verdicts
from curation.augmentation.looks import Labeled, Looker, Rows, Vectors, sample
from curation.augmentation.recipes import Recipe
from curation.augmentation.verdicts import SHOWS_FROM, SIGNIFICANT, Broken, Learn, Tests, Verdict
from curation.embeddings import EmbeddingStore
from curation.errors import InputError
from curation.intervals import Figure
from curation.progress import Report, silent
from curation.records import LabelRow
from curation.workspace import Project

IMAGES = 300
"""Images that are looked at unless more or fewer are asked for."""
_WHOLE = "recipe"


@dataclass(frozen=True)
class View:
    """One step, or the whole recipe.

    Attributes:
        name: the transform, or `recipe`.
        p: how probably the recipe applies it; it was applied to every image here.
        drift: median cosine distance of a copy from its original.
        to_same_class, to_other_class: median of that, divided by the distance from the original to
            its nearest other image of its class, and of another class.
        unchanged, agreement: how often the judge gives the label, of originals and of copies.
        difference: agreement minus unchanged.
        p_adjusted: two-sided sign test of the two (McNemar 1947), by Holm; 1 if nothing is known.
        broken: classes whose label does not survive, the worst first.
    """

    name: str
    p: float
    drift: Figure
    to_same_class: Figure
    to_other_class: Figure
    unchanged: Figure
    agreement: Figure
    difference: Figure
    p_adjusted: float
    broken: tuple[Broken, ...]


@dataclass(frozen=True)
class Checked:
    """What `check` found.

    Attributes:
        images: how many were looked at.
        views: the steps in their order, then the recipe.
        layout: whether the judge saw a thumbnail too. Embeddings hardly tell a picture from its
            mirror image; where a judge that sees the layout makes half the errors, it judges.
        says: in sentences, the most serious first.
        left_out: images that could not be looked at, by reason.
    """

    images: int
    views: tuple[View, ...]
    layout: bool
    says: tuple[str, ...]
    left_out: dict[str, int]


def check(
    project: Project,
    recipe: Recipe,
    *,
    rows: Sequence[LabelRow],
    learn: Learn | None,
    count: int = IMAGES,
    seed: int = 0,
    report: Report = silent,
) -> Checked:
    """Measures what a recipe does to labeled images.

    Args:
        project: whose images they are.
        recipe: what is done to them.
        rows: of `candidates.find`.
        learn: makes the judge; none to measure the drift alone.
        count: images to look at, of each class by turns.
        seed: of the choice and of the changes.
        report: told of the progress.

    Raises:
        InputError: no image can be looked at.
        BackboneError: the embeddings cannot be made.
    """
    if count < 1:
        raise InputError(f"--images is {count}; give 1 or more.")
    rng = np.random.default_rng(seed)
    prepared = features.prepare(project, report=report)
    store = EmbeddingStore(prepared.folder, prepared.fingerprint)
    labeled = Labeled.read(project, store, rows, rng=rng)
    recipes = [pipeline.alone(recipe, step) for step in recipe.steps] + [recipe]
    report(0, 0, "load backbone")
    engine = inference.open(
        backbones.open(prepared.backbone), cache=project.workspace.folder("embeddings") / "engines"
    )
    looker = Looker(project, recipes, engine, seed=seed)
    seen, X, left_out = looker.look(labeled, sample(labeled, count), report=report)
    if not len(seen):
        why = "; ".join(f"{n:,} {reason}" for reason, n in left_out.items())
        raise InputError(f"No labeled image can be looked at ({why}). Import images or mend them.")
    said, layout, trouble = verdicts.judged(labeled, seen, X, learn)
    names = [step.transform for step in recipe.steps] + [_WHOLE]
    chances = [step.p for step in recipe.steps] + [1.0]
    views = _views(labeled, seen, X[:, :, : labeled.X.shape[1]], said, names, chances)
    trouble = trouble or verdicts.blindness(labeled, seen, views[0].unchanged)
    return Checked(len(seen), views, layout, _sentences(views, trouble), left_out)


def _views(
    labeled: Labeled,
    seen: Rows,
    X: Vectors,
    said: Sequence[Verdict | None],
    names: Sequence[str],
    chances: Sequence[float],
) -> tuple[View, ...]:
    same, other = _nearest(labeled, seen, X[:, 0])
    drifts = [1.0 - np.einsum("ij,ij->i", X[:, at], X[:, 0]) for at in range(1, X.shape[1])]
    tests = [Tests.of(labeled, seen, said[0], verdict) for verdict in said[1:]]
    adjusted = iter(verdicts.holm([p for test in tests for p in test.ps]))
    found = []
    for name, chance, drift, verdict, test in zip(
        names, chances, drifts, said[1:], tests, strict=True
    ):
        overall = next(adjusted)
        found.append(
            View(
                name=name,
                p=chance,
                drift=verdicts.median(drift),
                to_same_class=verdicts.median(drift / same),
                to_other_class=verdicts.median(drift / other),
                unchanged=verdicts.rate(said[0]),
                agreement=verdicts.rate(verdict),
                difference=verdicts.difference(said[0], verdict),
                p_adjusted=overall,
                broken=test.broken(labeled, [next(adjusted) for _ in test.ps[1:]]),
            )
        )
    return tuple(found)


def _nearest(
    labeled: Labeled, seen: Rows, X: Vectors
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Cosine distance (M,) to the nearest image of the same and of another label; NaN for none."""
    same, other = np.full(len(seen), np.nan), np.full(len(seen), np.nan)
    for place, row in enumerate(seen):
        distance = 1.0 - labeled.X @ X[place]
        strange = labeled.groups != labeled.groups[row]
        alike = labeled.kinds == labeled.kinds[row]
        for target, which in ((same, strange & alike), (other, strange & ~alike)):
            if which.any():
                target[place] = max(float(distance[which].min()), 1e-6)
    return same, other


def _sentences(views: Sequence[View], trouble: str) -> tuple[str, ...]:
    """What a curator should know, the most serious first."""
    breaks = [(one.share.value or 0.0, view, one) for view in views for one in view.broken]
    says = [
        f"{_subject(view)} changes the predicted class of {100 * share:.0f} % of {one.name!r} "
        f"({one.changed} of {one.share.n} images; {one.restored} the other way)"
        + (f", mostly to {one.into!r}." if one.into else ".")
        for share, view, one in sorted(breaks, key=lambda found: -found[0])
    ]
    for view in views:
        drop = -(view.difference.value or 0.0)
        if view.p_adjusted < SIGNIFICANT and drop >= SHOWS_FROM and not view.broken:
            low, high = view.difference.ci
            says.append(
                f"{_subject(view)} lowers how often the model gives the label by "
                f"{100 * drop:.1f} points ({-100 * high:.1f} to {-100 * low:.1f})."
            )
        if (view.to_other_class.value or 0.0) >= 1.0:
            says.append(
                f"{_subject(view)} moves the middle image farther than its nearest image of "
                "another class lies."
            )
    if trouble:
        says.append(trouble)
    elif not says:
        says.append("No label-breaking step was found on these images.")
    return tuple(says)


def _subject(view: View) -> str:
    return "The whole recipe" if view.name == _WHOLE else view.name
