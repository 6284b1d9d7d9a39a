"""What can be done about imbalance: each remedy turns the counts of the labels into a plan.

A remedy touches nothing. What it returns is shown to the user and, once applied, followed by
training (`weigh`) and by rounds (`quotas`).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from curation.augmentation import recipes
from curation.balance import coverage
from curation.balance.plan import MOST_COPIES, Options, Plan, for_training, training_counts
from curation.balance.quotas import labeling_quota
from curation.catalog import counts, labels
from curation.catalog import images as image_rows
from curation.errors import InputError
from curation.progress import Report, silent
from curation.workspace import Project

RULES = ("inverse", "effective-number")

LEAST_KEPT_OF_SMALLEST = 10
"""Undersampling keeps by default so many times the labels of the smallest class."""


def class_weights(project: Project, options: Options, _report: Report) -> Plan:
    """Labels of rare classes count more.

    Inverse frequency, or the inverse of the effective number of samples (1 - beta^n) / (1 - beta)
    (Cui et al. 2019, arXiv 1901.05555). Scaled so that the mean weight of a label is 1.
    """
    if options.rule not in RULES:
        raise InputError(f"No rule {options.rule!r}. Choose from: {', '.join(RULES)}.")
    if not 0 <= options.beta < 1:
        raise InputError(f"--beta is {options.beta:g}; give 0 to below 1, such as 0.999.")
    now = training_counts(project)
    images = _labeled_images(project)
    single = project.record.task == "single-label"
    found = weigh(now, images, rule=options.rule, beta=options.beta, single_label=single)
    settings: dict[str, Any] = {"rule": options.rule, "class_weights": found}
    if options.rule == "effective-number":
        settings["beta"] = options.beta
    highest, lowest = max(found, key=_of(found)), min(found, key=_of(found))
    says = (
        f"In training a label of {highest} counts {found[highest] / found[lowest]:.1f} times as "
        f"much as one of {lowest}."
        if single
        else f"In training an image with {highest} counts {found[highest]:.1f} times as much as "
        f"one without, an image with {lowest} {found[lowest]:.1f} times.",
        "Replaces the weights that training chooses by itself (inverse, anew in each round). A "
        "class without labels now will count as the rarest.",
    )
    after = {name: n * found.get(name, 0) for name, n in now.items()}
    return for_training("class-weights", settings, now, after, says)


def oversampling(project: Project, options: Options, _report: Report) -> Plan:
    """Images of rare classes are repeated.

    An image counts max over its classes of max(1, sqrt(t / f)) times, f being the share of images
    that bear the class and t the threshold (Gupta et al. 2019, "LVIS", arXiv 1908.03195). A
    fraction is the share of the passes over the data that the image is in once more.
    """
    now = training_counts(project)
    images = _labeled_images(project)
    threshold = 1 / len(now) if options.threshold is None else options.threshold
    if not 0 < threshold <= 1:
        raise InputError(f"--threshold is {threshold:g}; give a share above 0, at most 1.")
    repeats = repeat(now, images, threshold=threshold)
    raised = [name for name, factor in repeats.items() if factor > 1]
    if not raised:
        least = min(n for n in now.values() if n)
        raise InputError(
            f"No class is rarer than --threshold {threshold:g} of the images; the rarest is "
            f"{least / images:.3f} of them. Give a higher threshold."
        )
    most = max(raised, key=_of(repeats))
    says = (
        f"Images of {len(raised)} classes rarer than {threshold:.1%} of all are repeated in "
        f"training, those of {most} {repeats[most]:.1f} times.",
        "Replaces the weights that training chooses by itself.",
    )
    after = {name: n * repeats.get(name, 1) for name, n in now.items()}
    return for_training(
        "oversampling", {"threshold": threshold, "class_repeats": repeats}, now, after, says
    )


def undersampling(project: Project, options: Options, report: Report) -> Plan:
    """Images of frequent classes are left out of training, the most redundant first.

    Near-duplicates go first; of the rest those stay that represent their class in embedding space:
    see `coverage.keep`. Nothing is excluded from the dataset.
    """
    _single_label(project, "undersampling", "an image that is left out takes all its classes along")
    now = training_counts(project)
    held = {name: n for name, n in now.items() if n}
    most = options.target
    if most is None:
        most = LEAST_KEPT_OF_SMALLEST * min(held.values())
    if most < 1:
        raise InputError(f"--target is {most}; keep at least 1 label of each class.")
    if most >= max(held.values()):
        raise InputError(
            f"No class has more than {most} labels (the largest has {max(held.values())}), so "
            "nothing is left out. Give a lower --target."
        )
    left = _left_out(project, most, report)
    out = {name: len(images) for name, images in left.items() if images}
    says = (
        f"{sum(out.values()):,} of {sum(now.values()):,} labels are left out of training, those "
        "that others of their class stand for best; at most "
        f"{most} of a class stay.",
        "They stay labeled, in figures and exports; labels given later count until the plan is "
        "made anew. What unevenness is left is weighed as training does by itself.",
    )
    settings = {
        "most": most,
        "left_out": sorted(name for images in left.values() for name in images),
        "left_out_by_class": out,
    }
    after = {name: n - out.get(name, 0) for name, n in now.items()}
    return for_training("undersampling", settings, now, after, says)


def augmentation(project: Project, options: Options, _report: Report) -> Plan:
    """Rare classes get augmented copies: how many each, by which recipe."""
    _single_label(project, "augmentation", "a copy of an image adds to all its classes")
    recipe = recipes.find(options.recipe, folder=project.workspace.path / "recipes")
    now = training_counts(project)
    held = {name: n for name, n in now.items() if n}
    target = max(held.values()) if options.target is None else options.target
    copies, short = fill(now, target=target)
    if not copies:
        raise InputError(
            f"Every class has {min(held.values())} labels or more, so filling up to {target} asks "
            "for no copies. Give a higher --target."
        )
    says = [
        f"{sum(copies.values()):,} augmented copies (recipe {options.recipe}) fill "
        f"{len(copies)} classes up to {target} labels."
    ]
    if short:
        named = ", ".join(f"{name} lacks {n:,}" for name, n in short.items())
        says.append(
            f"Not reached with at most {MOST_COPIES} copies of an image: {named}. More labels of "
            "these are needed: labelloop balance --remedy labeling-quota"
        )
    settings = {
        "recipe": options.recipe,
        "recipe_version": recipe.version,
        "target": target,
        "augmentation": copies,
        "short": short,
    }
    after = {name: n + copies.get(name, 0) for name, n in now.items()}
    return for_training("augmentation", settings, now, after, tuple(says))


REMEDIES: dict[str, Callable[[Project, Options, Report], Plan]] = {
    "class-weights": class_weights,
    "oversampling": oversampling,
    "undersampling": undersampling,
    "augmentation": augmentation,
    "labeling-quota": labeling_quota,
}

USES: dict[str, tuple[str, ...]] = {
    "class-weights": ("rule", "beta"),
    "oversampling": ("threshold",),
    "undersampling": ("target",),
    "augmentation": ("target", "recipe"),
    "labeling-quota": ("by", "share", "budget"),
}


def propose(
    project: Project, remedy: str, options: Options | None = None, *, report: Report = silent
) -> Plan:
    """Works a remedy out, and changes nothing.

    Raises:
        InputError: an unknown remedy, an option it does not use, or labels that allow no remedy.
    """
    if remedy not in REMEDIES:
        raise InputError(f"No remedy {remedy!r}. Choose from: {', '.join(REMEDIES)}.")
    options = options or Options()
    plain = asdict(Options())
    unused = [
        f"--{name}"
        for name, value in asdict(options).items()
        if value != plain[name] and name not in USES[remedy]
    ]
    if unused:
        uses = ", ".join(f"--{name}" for name in USES[remedy])
        raise InputError(f"{remedy} does not use {', '.join(unused)}; it takes {uses}.")
    return REMEDIES[remedy](project, options, report)


def weigh(
    now: Mapping[str, int], images: int, *, rule: str, beta: float, single_label: bool = True
) -> dict[str, float]:
    """Weight of each class that has labels: see `class_weights`.

    Args:
        now: labels by class.
        images: with a label.
        rule: inverse or effective-number.
        beta: of the effective number.
        single_label: whether classes exclude each other. Their weights are scaled to a mean of 1 a
            label then; else each class weighs the present against the absent of its own question.
    """

    def size(n: int) -> float:
        return n if rule == "inverse" else (1 - beta**n) / (1 - beta)

    found = {
        name: (1.0 if single_label else size(max(images - n, 1))) / size(n)
        for name, n in now.items()
        if n
    }
    scale = 1.0
    if single_label:
        scale = sum(now.values()) / sum(weight * now[name] for name, weight in found.items())
    return {name: round(weight * scale, 6) for name, weight in found.items()}


def repeat(now: Mapping[str, int], images: int, *, threshold: float) -> dict[str, float]:
    """How often an image of each class that has labels counts: see `oversampling`."""
    return {
        name: round(max(1.0, math.sqrt(threshold * images / n)), 6) for name, n in now.items() if n
    }


def fill(
    now: Mapping[str, int], *, target: int, most_each: int = MOST_COPIES
) -> tuple[dict[str, int], dict[str, int]]:
    """Copies that bring each class that has labels to the target, and what they fall short of it.

    Args:
        now: labels by class.
        target: labels and copies of a class together.
        most_each: copies of one image.
    """
    wanted = {name: target - n for name, n in now.items() if 0 < n < target}
    copies = {name: min(more, most_each * now[name]) for name, more in wanted.items()}
    return copies, {name: wanted[name] - n for name, n in copies.items() if n < wanted[name]}


def _of(values: Mapping[str, float]) -> Callable[[str], float]:
    return values.__getitem__


def _labeled_images(project: Project) -> int:
    with project.catalog.read() as connection:
        return sum(counts.in_slices(connection, project.id, column="").values())


def _single_label(project: Project, remedy: str, why: str) -> None:
    if project.record.task != "single-label":
        raise InputError(
            f"{remedy} cannot balance a {project.record.task} project: {why}. Use class-weights or "
            "oversampling."
        )


def _left_out(project: Project, most: int, report: Report) -> dict[str, list[str]]:
    """Names of the images that each class does without."""
    from curation import features
    from curation.embeddings import EmbeddingStore

    prepared = features.prepare(project, report=report)
    store = EmbeddingStore(prepared.folder, prepared.fingerprint)
    members: dict[int, list[tuple[int, int]]] = {}
    with project.catalog.read() as connection:
        for row in labels.for_training(connection, project.id):
            members.setdefault(row.classes[0], []).append((row.image_id, row.group_id))
    rng = np.random.default_rng(project.record.seed)
    found: dict[str, list[str]] = {}
    for class_id, name in zip(project.record.class_ids, project.record.classes, strict=True):
        theirs = np.array(members.get(class_id, []), np.int64).reshape(-1, 2)
        if len(theirs) <= most:
            continue
        ids, groups = theirs.T
        kept = coverage.keep(store, ids, groups, count=most, rng=rng, report=report)
        with project.catalog.read() as connection:
            named = image_rows.names_by_id(connection, np.setdiff1d(ids, kept).tolist())
        found[name] = sorted(named.values())
    return found
