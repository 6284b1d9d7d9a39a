"""Outliers: 50 images of another dataset planted among photos of Fashion-MNIST.

AUROC of the planted images against the photos by our score and by cleanlab's OutOfDistribution on
the same embeddings: with its defaults (mean cosine distance to the 10 nearest), and with k = 100,
which nobody recommends, to tell what the size of the neighbourhood alone brings. Each seed draws
other photos and other planted images; the interval is a bootstrap over seeds. "Flagged" is the
share of the planted and of the photos beyond our threshold. `atypical` judges the same images when
the photos have their labels and the planted ones a random label each.

Foreign sets: textiles (package conformal-clip-data, images of even number), crops of scikit-learn's
two photos in colour and in grey, scikit-learn's digits enlarged, and one digit alone, a tight
cluster. All but the textiles are enlarged to 112 pixels, white on black as Fashion-MNIST stores
them. The figures are from the t10k file; everything was chosen on the train file, on textiles of
odd number and on other crops and digits.

    python -m benchmarks.outliers --seeds 10 --cache DIR
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from cleanlab.outlier import OutOfDistribution
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images
from sklearn.metrics import roc_auc_score

from curation import backbones, inference
from curation.images import usable_cores
from curation.issues import outliers
from sample_data.sources import find_package, read

Floats = NDArray[np.float32]
Source = Callable[[], Iterator[Image.Image]]

SIDE = 112
PLANTED = 50
METHODS = ("ours", "cleanlab", "cleanlab, k = 100")


def enlarge(pixels: NDArray[np.uint8]) -> Image.Image:
    """An image of 112 x 112 in RGB."""
    return Image.fromarray(pixels).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def fashion(part: str, most: int) -> Iterator[Image.Image]:
    """The first photos of a file, white on black."""
    return (enlarge(255 - pixels) for pixels in read(find_package(), part).pixels[:most])


def fashion_classes(part: str, most: int) -> NDArray[np.int64]:
    """Their class numbers (N,)."""
    return read(find_package(), part).classes[:most].astype(np.int64)


def textile_paths(*, remainder: int) -> list[list[Path]]:
    """Nominal, local and global; numbers that are even (0) or odd (1)."""
    import conformal_clip_data as data

    folders = (data.nominal_dir(), data.local_dir(), data.global_dir())
    return [
        [p for p in sorted(folder.glob("*.jpg")) if int(p.stem.split("_")[1]) % 2 == remainder]
        for folder in folders
    ]


def textiles(*, remainder: int = 0) -> Iterator[Image.Image]:
    """All textile images of even (0) or odd (1) number."""
    for paths in textile_paths(remainder=remainder):
        for path in paths:
            with Image.open(path) as image:
                yield image.convert("RGB")


def crops(*, mode: str) -> Iterator[Image.Image]:
    """200 crops of scikit-learn's photos."""
    rng = np.random.default_rng(1)
    photos = load_sample_images().images
    for index in range(200):
        side = int(rng.integers(60, 300))
        top, left = int(rng.integers(0, 427 - side)), int(rng.integers(0, 640 - side))
        crop = enlarge(photos[index % 2][top : top + side, left : left + side])
        yield crop.convert(mode).convert("RGB")


def digits(*, only: int | None = None) -> Iterator[Image.Image]:
    """Scikit-learn's digits of odd row: 500 of all, or all of one."""
    images, truth = load_digits(return_X_y=True)
    rows = np.arange(1, len(images), 2)
    rows = rows[:500] if only is None else rows[truth[rows] == only]
    for row in rows:
        yield enlarge((images[row].reshape(8, 8) * 15.9).astype(np.uint8))


FOREIGN: dict[str, Source] = {
    "textiles": textiles,
    "colour-crops": partial(crops, mode="RGB"),
    "grey-crops": partial(crops, mode="L"),
    "digits": digits,
    "digit-8": partial(digits, only=8),
}


def embed(images: Iterator[Image.Image], *, cache: Path) -> Floats:
    """(N, d) by the default backbone, unit norm, in the precision of the store."""
    backbone = backbones.open()
    engine = inference.open(backbone, cache=cache / "engines")

    def run(block: list[Image.Image]) -> Floats:
        pixels = [inference.fit(image, backbone.preprocessing) for image in block]
        found: Floats = engine.embed(np.stack(pixels)).astype(np.float16).astype(np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    parts = []
    with ThreadPoolExecutor(usable_cores()) as pool:
        while chunk := list(islice(images, 512)):
            blocks = [chunk[at : at + engine.batch] for at in range(0, len(chunk), engine.batch)]
            parts += list(pool.map(run, blocks))
    return np.concatenate(parts)


def cached(name: str, source: Source, *, cache: Path) -> Floats:
    """The embeddings of a source, kept in a file."""
    path = cache / f"embeddings-{name}.npy"
    if not path.exists():
        np.save(path, embed(source(), cache=cache))
    found: Floats = np.load(path)
    return found


def cleanlab_scores(X: Floats, *, nearest: int | None = None) -> NDArray[np.float64]:
    """Its score turned round: higher is stranger."""
    detector = OutOfDistribution({"k": nearest} if nearest else None)
    return 1.0 - np.asarray(detector.fit_score(features=X, verbose=False))


def atypical(X: Floats, y: NDArray[np.int64]) -> outliers.Verdict:
    """As `outliers.find` judges labeled images."""
    groups = np.arange(len(X))
    space = outliers.find_space(X[outliers.choose_reference(groups)])
    placed = space.place(X)
    members = [outliers.Members.of(placed[y == c], groups[y == c]) for c in range(y.max() + 1)]
    own = np.eye(len(members), dtype=bool)[y]
    return outliers.judge_classes(outliers.class_excess(placed, groups, members, own), members)


def trial(
    photos: Floats, classes: NDArray[np.int64], strange: Floats, *, count: int, seed: int
) -> dict[str, float]:
    """All figures of one seed."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(photos), count, replace=False)
    X = np.concatenate([photos[rows], strange[rng.choice(len(strange), PLANTED, replace=False)]])
    planted = np.arange(len(X)) >= count
    y = np.concatenate([classes[rows], rng.integers(0, classes.max() + 1, PLANTED)])
    ours, of_class = outliers.find_outliers(X, np.arange(len(X))), atypical(X, y)
    return {
        "ours": float(roc_auc_score(planted, ours.score)),
        "cleanlab": float(roc_auc_score(planted, cleanlab_scores(X))),
        "cleanlab, k = 100": float(roc_auc_score(planted, cleanlab_scores(X, nearest=100))),
        "atypical": float(roc_auc_score(planted, of_class.score)),
        "flagged planted": float(ours.is_issue[planted].mean()),
        "flagged photos": float(ours.is_issue[~planted].mean()),
        "atypical flagged planted": float(of_class.is_issue[planted].mean()),
        "atypical flagged photos": float(of_class.is_issue[~planted].mean()),
    }


def figure(values: list[float]) -> dict[str, Any]:
    """Mean over seeds, its bootstrap 95 % interval, and the least."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (5_000, len(values))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {
        "value": float(np.mean(values)),
        "ci": [float(low), float(high)],
        "least": min(values),
        "n": len(values),
    }


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--photos", type=int, default=2_000)
    parser.add_argument("--cache", type=Path, help="keep embeddings here between runs")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        cache = arguments.cache or Path(name)
        photos = cached("fashion-t10k", partial(fashion, "t10k", 10_000), cache=cache)
        classes = fashion_classes("t10k", 10_000)
        for kind, source in FOREIGN.items():
            strange = cached(f"{kind}-report", source, cache=cache)
            trials = [
                trial(photos, classes, strange, count=arguments.photos, seed=seed)
                for seed in range(arguments.seeds)
            ]
            report[kind] = {key: figure([one[key] for one in trials]) for key in trials[0]}
    if arguments.json:
        print(json.dumps(report))
        return
    print(f"AUROC, {PLANTED} planted in {arguments.photos:,}, {arguments.seeds} seeds\n")
    print(f"| Planted | {' | '.join(METHODS)} | atypical | flagged: planted / photos |")
    print("|---|" + "---|" * (len(METHODS) + 2))
    for kind, found in report.items():
        cells = [_cell(found[method]) for method in (*METHODS, "atypical")]
        flagged = [f"{found[f'flagged {who}']['value']:.2%}" for who in ("planted", "photos")]
        print(f"| {kind} | {' | '.join(cells)} | {' / '.join(flagged)} |")


def _cell(found: dict[str, Any]) -> str:
    low, high = found["ci"]
    return f"{found['value']:.4f} ({low:.4f} to {high:.4f}), least {found['least']:.4f}"


if __name__ == "__main__":
    main()
