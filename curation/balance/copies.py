"""Augmented copies that a plan asks for, as training on frozen embeddings needs them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curation import backbones, images, inference
from curation.augmentation import candidates, recipes
from curation.augmentation.pipeline import Pipeline, seed_of
from curation.balance.plan import MOST_COPIES
from curation.catalog import images as image_rows
from curation.errors import UnreadableImage
from curation.progress import Report, silent
from curation.records import LabelRow
from curation.workspace import Project

Settings = Mapping[str, Any]


def embed(
    project: Project,
    rows: Sequence[LabelRow],
    plan: Settings,
    *,
    backbone: str,
    report: Report = silent,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Makes the copies that a plan asks for and embeds them; files are read and none is written.

    Args:
        project: whose labels they are.
        rows: the labels that training sees.
        plan: settings of a `balance` plan.
        backbone: a timm name, of the project's embeddings.
        report: told of the progress.

    Returns:
        The row (M,) that each copy is of, and their unit-norm embeddings (M, d). Images that can no
        longer be read have none.
    """
    copies = [
        (n, number) for n, count in enumerate(_divided(project, rows, plan)) for number in count
    ]
    opened = backbones.open(backbone)
    engine = inference.open(opened, cache=project.workspace.folder("embeddings") / "engines")
    recipe = recipes.find(plan["recipe"], folder=project.workspace.path / "recipes")
    pipeline = Pipeline(recipe)
    # As small as an image may be read that is not augmented: photos are far larger than needed.
    shorter = round(opened.preprocessing.size / opened.preprocessing.crop_fraction)
    at_least = inference.DRAFT_FACTOR * shorter
    with project.catalog.read() as connection:
        places = image_rows.places(connection, sorted({rows[n].image_id for n, _ in copies}))
    of: list[int] = []
    vectors: list[NDArray[np.float32]] = [np.empty((0, engine.dimension), np.float32)]
    for start in range(0, len(copies), engine.batch):
        report(start, len(copies), "augment")
        batch = []
        for n, number in copies[start : start + engine.batch]:
            image_id = rows[n].image_id
            try:
                image = images.decode(Path(places[image_id].location), at_least=at_least)
            except UnreadableImage:
                continue
            seed = seed_of(project.record.seed, image_id, number)
            changed = Image.fromarray(pipeline.apply(np.asarray(image), seed=seed).pixels)
            batch.append(inference.fit(changed, opened.preprocessing))
            of.append(n)
        if batch:
            vectors.append(engine.embed(np.stack(batch)))
    found = np.concatenate(vectors)
    return np.array(of, np.int64), found / np.linalg.norm(found, axis=1, keepdims=True)


def _divided(project: Project, rows: Sequence[LabelRow], plan: Settings) -> list[range]:
    """The numbers (N,) of the copies of each image, the same that `labelloop augment` writes."""
    names = dict(zip(project.record.class_ids, project.record.classes, strict=True))
    asked = plan.get("augmentation", {})
    held = Counter(key for row in rows for key in row.classes)
    wanted = {
        key: min(asked[name], MOST_COPIES * held[key])  # labels may have gone since
        for key, name in names.items()
        if name in asked and held[key]
    }
    counts = candidates.by_class(rows, wanted, names=names, seed=project.record.seed)
    return [range(1, count + 1) for count in counts.tolist()]
