"""How much worse a model is on studio c than on the other studios, class by class.

The proof that the planted bias of quality is one: default backbone, logistic regression, 300 clean
labels drawn from the whole catalogue, scored on the rest.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LABELS = 300
DRAWS = 20
RESAMPLES_PER_DRAW = 50
LEAST_GAP = 0.10


@dataclass(frozen=True)
class Gap:
    """Accuracy elsewhere minus accuracy on studio c, class-standardised; 95 % interval."""

    value: float
    low: float
    high: float
    accuracy_elsewhere: float
    accuracy_on_c: float

    @property
    def is_enough(self) -> bool:
        """Whether it is as large as promised and its interval excludes zero."""
        return self.value >= LEAST_GAP and self.low > 0


def of_folder(folder: Path, rng: np.random.Generator) -> Gap:
    """Return the gap in a built sample, over its photos that are neither copies nor bad."""
    with (folder / "truth.csv").open(newline="", encoding="utf-8") as file:
        truth = [
            row
            for row in csv.DictReader(file)
            if not row["defect"] or row["defect"].startswith("wrong-label")
        ]
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        studios = {row["filename"]: row["studio"] for row in csv.DictReader(file)}
    photos = []
    for row in truth:
        with Image.open(folder / "images" / row["filename"]) as photo:
            photos.append(photo.convert("RGB"))
    return measure(
        embed(photos),
        np.array([row["label"] for row in truth]),
        np.array([studios[row["filename"]] == "c" for row in truth]),
        rng,
    )


def embed(photos: Sequence[Image.Image]) -> NDArray[np.float32]:
    """Return unit-norm embeddings (N, d) by the product's default backbone, fp32 on the CPU."""
    import torch

    from curation import backbones

    model = backbones.load_model().to(memory_format=torch.channels_last)
    how = backbones.preprocessing(backbones.DEFAULT)
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    rows = []
    for start in range(0, len(photos), 32):
        batch = np.stack(
            [
                np.asarray(
                    photo.convert("RGB").resize((how.size, how.size), filters[how.interpolation]),
                    dtype=np.float32,
                )
                for photo in photos[start : start + 32]
            ]
        )
        inputs = (batch / 255 - np.asarray(how.mean, np.float32)) / np.asarray(how.std, np.float32)
        with torch.inference_mode():
            rows.append(model(torch.from_numpy(inputs.transpose(0, 3, 1, 2).copy())).numpy())
    features: NDArray[np.float32] = np.concatenate(rows)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features


def measure(
    features: NDArray[np.float32],
    labels: NDArray[np.str_],
    is_c: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Gap:
    """Return the gap over several draws of 300 labels, each scored on bootstrap resamples.

    Both accuracies are averaged over classes with the class shares of studio c, so that a
    difference in what the studios photograph does not count. The interval covers the choice of the
    labels as well as of the photos that are scored.

    Args:
        features: embeddings (N, d) of distinct, undamaged photos.
        labels: their true classes (N,).
        is_c: whether each was taken in studio c (N,).
        rng: draws labels and resamples.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    classes = np.unique(labels, return_inverse=True)[1]
    resampled, scores = [], []
    for _ in range(DRAWS):
        order = rng.permutation(len(classes))
        train, test = order[:LABELS], order[LABELS:]
        # On so few rows several threads mostly wait for each other.
        with threadpool_limits(1):
            head = LogisticRegression(C=100, max_iter=3000).fit(features[train], classes[train])
            right = head.predict(features[test]) == classes[test]
        scores.append(_standardised(right, classes[test], is_c[test]))
        for _ in range(RESAMPLES_PER_DRAW):
            rows = rng.integers(0, len(test), len(test))
            resampled.append(_standardised(right[rows], classes[test][rows], is_c[test][rows]))
    elsewhere, on_c = np.mean(scores, axis=0)
    gaps = np.array(resampled)
    low, high = np.percentile(gaps[:, 0] - gaps[:, 1], [2.5, 97.5])
    return Gap(float(elsewhere - on_c), float(low), float(high), float(elsewhere), float(on_c))


def _standardised(
    right: NDArray[np.bool_], classes: NDArray[np.int64], is_c: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the accuracies elsewhere and on c, over the classes that both of them hold."""
    weights, elsewhere, on_c = [], [], []
    for number in np.unique(classes):
        here, there = right[(classes == number) & is_c], right[(classes == number) & ~is_c]
        if len(here) and len(there):
            weights.append(len(here))
            on_c.append(here.mean())
            elsewhere.append(there.mean())
    return float(np.average(elsewhere, weights=weights)), float(np.average(on_c, weights=weights))
