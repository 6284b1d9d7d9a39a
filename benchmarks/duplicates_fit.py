"""Fits the verifier of copies to planted ones and writes its coefficients.

Only development images are used (the train file of Fashion-MNIST, odd-numbered textiles, and photos
where scikit-image's are at hand), none of which `benchmarks/duplicates.py` reports on. Every
candidate pair of a copy with its original, or of two copies of one original, is a copy; every
candidate pair of a copy with anything else is not; pairs of two originals are left out, since real
sets hide copies that nobody planted. Each set counts the same.

    python -m benchmarks.duplicates_fit --sets FOLDER
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks.copies import sets
from curation.copies import candidates, search, verification
from curation.copies.views import VIEWS
from curation.scan import scan_many

SETS = ("dev-fashion-all", "dev-textile-all", "dev-fashion", "dev-textile")
ROUNDED = 4
LEARN_FROM = 6.0
"""The close look learns from pairs of so many log odds at most: twice what it is asked about."""


def main() -> None:
    """Collect features, fit, report how well each set is told apart, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sets", type=Path, required=True, help="folder of the planted sets")
    parser.add_argument("--also", nargs="*", default=[], help="more sets that lie there")
    parser.add_argument("--to", type=Path, default=verification.MODELS)
    arguments = parser.parse_args()
    names = (*SETS, *arguments.also)
    pairs = [collect(sets.open_or_make(name, arguments.sets)) for name in names]
    features = [examined(found, "thumbnail") for found in pairs]
    thumbnail = fit(features, [found.truth for found in pairs])
    report("thumbnail", names, thumbnail, features, pairs)
    doubtful = []
    for found, weighed in zip(pairs, features, strict=True):
        odds = np.clip(log_odds(thumbnail, weighed), -verification.SURE, verification.SURE)
        chosen = np.abs(odds) < LEARN_FROM
        found.near = found.near[chosen]
        doubtful.append(np.column_stack([examined(found, "close"), odds[chosen]]))
    close = fit(doubtful, [found.truth for found in pairs])
    report("close", names, close, doubtful, pairs)
    models = {"thumbnail": thumbnail, "close": close}
    arguments.to.write_text(json.dumps(models, indent=1) + "\n")


@dataclass
class Pairs:
    """The pairs of one set that are examined."""

    planted: sets.Copies
    thumbs: NDArray[np.uint8]
    found: candidates.Candidates
    setting: verification.Setting
    shapes: NDArray[np.float64]
    warp: NDArray[np.float32]
    near: NDArray[np.int64]
    copy: NDArray[np.bool_]

    @property
    def truth(self) -> NDArray[np.bool_]:
        """Whether each examined pair is one of copies."""
        return self.copy[self.near]


def report(
    model: str,
    names: tuple[str, ...],
    fitted: dict[str, object],
    features: list[NDArray[np.float64]],
    pairs: list[Pairs],
) -> None:
    """How well each set is told apart."""
    for name, x, found in zip(names, features, pairs, strict=True):
        says, truth = log_odds(fitted, x) > 0, found.truth
        right = int((says & truth).sum())
        print(
            f"{model:10} {name:18} pairs {len(truth):6} copies {int(truth.sum()):5} "
            f"precision {right / max(1, says.sum()):.4f} recall {right / max(1, truth.sum()):.4f}"
        )


def log_odds(fitted: dict[str, object], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """As `verification.log_odds`, of a model that is not written yet."""
    scaled = (x - np.asarray(fitted["mean"])) / np.asarray(fitted["scale"])
    return np.asarray(scaled @ np.asarray(fitted["weight"]) + np.asarray(fitted["bias"]))


def collect(planted: sets.Copies) -> Pairs:
    """The candidates of a set whose truth is known, coarsely registered."""
    thumbs = np.stack([row["thumb"] for row in scan_many(planted.paths)])
    sizes = np.array([size_of(path) for path in planted.paths])
    aspects = sizes[:, 0] / sizes[:, 1]
    found = candidates.propose(thumbs, neighbours=search.NEIGHBOURS)
    everything = truth_of(planted, found)
    near = search.worth_registering(found)
    found = found[near]
    shapes = np.stack([aspects[found.moving], aspects[found.fixed]], axis=1)
    guesses = np.stack([view.warp() for view in VIEWS])[found.view]
    known, copy = truth_of(planted, found)
    coarse, warp = verification.coarsely(thumbs[found.moving], thumbs[found.fixed], guesses)
    setting = verification.Setting(found.similarity, coarse, found.level)
    examined = search.worth_examining(setting)
    print(
        f"{planted.name}: {len(near)} pairs, {int(np.logical_and(*everything).sum())} of copies; "
        f"registered {near.mean():.2f} of them, {int((known & copy).sum())} of copies; "
        f"examined {examined.sum() / len(near):.2f}, {int((known & copy & examined).sum())}"
    )
    near = np.flatnonzero(known & examined)
    return Pairs(planted, thumbs, found, setting, shapes, warp, near, copy)


def examined(pairs: Pairs, model: str) -> NDArray[np.float64]:
    """What a regression weighs of these pairs."""
    effort = verification.THUMBNAIL if model == "thumbnail" else verification.CLOSELY
    parts = []
    for at in range(0, len(pairs.near), 64):
        here = pairs.near[at : at + 64]
        pictures = [
            pairs.thumbs[side[here]]
            if model == "thumbnail"
            else np.stack([verification.close_up(pairs.planted.paths[row]) for row in side[here]])
            for side in (pairs.found.moving, pairs.found.fixed)
        ]
        features, pairs.warp[here] = verification.examine(
            *pictures, pairs.warp[here], pairs.shapes[here], effort
        )
        parts.append(verification.inputs(features, pairs.setting[here]))
    return np.concatenate(parts)


def truth_of(
    planted: sets.Copies, found: candidates.Candidates
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of each pair, whether the truth is known, and whether it is one of copies."""
    root = np.array([planted.planted.get(row, row) for row in range(len(planted.paths))])
    root = np.array([planted.twins.get(row, row) for row in root.tolist()])
    is_copy = np.isin(np.arange(len(root)), list(planted.planted))
    known = is_copy[found.moving] | is_copy[found.fixed]
    return known, root[found.moving] == root[found.fixed]


def size_of(path: Path) -> tuple[int, int]:
    """Width and height."""
    from PIL import Image

    with Image.open(path) as image:
        return image.size


def fit(features: list[NDArray[np.float64]], truth: list[NDArray[np.bool_]]) -> dict[str, object]:
    """Standardise, then a logistic regression in which each set weighs the same."""
    x, y = np.concatenate(features), np.concatenate(truth)
    weight = np.concatenate([np.full(len(part), len(x) / len(part) / len(truth)) for part in truth])
    scaler = StandardScaler().fit(x, sample_weight=weight)
    model = LogisticRegression(C=1.0, max_iter=5000).fit(scaler.transform(x), y, weight)
    return {
        "mean": scaler.mean_.round(ROUNDED).tolist(),
        "scale": scaler.scale_.round(ROUNDED).tolist(),
        "weight": model.coef_[0].round(ROUNDED).tolist(),
        "bias": round(float(model.intercept_[0]), ROUNDED),
    }


if __name__ == "__main__":
    main()
