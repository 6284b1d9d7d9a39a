"""What `labelloop train` reaches on Fashion-MNIST with its default settings, as a user runs it.

    python -m benchmarks.fashion --json
    python -m benchmarks.fashion --labels 1000 --seeds 3 --json

The photos of the train file (all 60,000, or a random draw for each seed, as many of each class) are
imported with their labels, as are the 10,000 of the other file as the test part; then come
`labelloop split --from-imported`, `labelloop train` and `labelloop predict` of the test photos, all
as commands of their own. Nothing is chosen by the test part: `labelloop train` draws its validation
from what it learns from.

Beside it: scikit-learn's logistic regression on the raw pixels of the same labels, all of them, its
C by cross-validation over them (over 10,000 of them where they are more). The interval of the
difference is that of paired proportions, for each seed.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sample_data.sources import Photos, find_package, read
from training import intervals

NAMES = [
    "T-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
]  # fmt: skip
GRID = (0.01, 0.1, 1.0, 10.0)
"""Of C, for pixels from 0 to 1."""

SEARCHED = 10_000
"""Labels over which C is searched for; with all 60,000 that takes hours."""

WHOLE = 60_000


def main() -> None:
    """Run it and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--labels", type=int, default=WHOLE)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--kind", default="auto")
    parser.add_argument("--folder", type=Path, help="kept; a temporary one otherwise")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    package = find_package()
    train, test = read(package, "train"), read(package, "t10k")
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        report = {
            "labels": options.labels,
            "test": len(test.classes),
            "cores": len(os.sched_getaffinity(0)),
            "runs": [
                one(seed, options.labels, train, test, folder / f"seed-{seed}", kind=options.kind)
                for seed in range(options.seeds)
            ],
        }
    print(json.dumps(report, indent=None if options.json else 2))


def one(
    seed: int, labels: int, train: Photos, test: Photos, folder: Path, *, kind: str
) -> dict[str, Any]:
    """One draw of labels: the commands, then the baseline."""
    kept = draw(train.classes, labels, seed)
    photos = folder / "photos"
    write(train, kept, photos, "train")
    write(test, np.arange(len(test.classes)), photos, "test")
    home = folder / "workspace"
    labelloop(home, "init", "--classes", ",".join(NAMES))
    imported = timed(home, "import", str(photos))
    labelloop(home, "split", "--from-imported")
    trained = timed(home, "train", "--kind", kind, "--seed", str(seed))
    out = folder / "predictions.csv"
    run = trained["answer"]["run"]
    predicted = timed(home, "predict", str(photos / "test"), "--out", str(out), "--run", run)
    ours = answers(out, test)
    theirs, best = baseline(train, kept, test)
    won, lost = (int((a & ~b).sum()) for a, b in ((ours, theirs), (theirs, ours)))
    low, high = intervals.paired_difference(won, lost, len(ours))
    answer = trained["answer"]
    return {
        "seed": seed,
        "import_seconds": imported["seconds"],
        "train_seconds": trained["seconds"],
        "predict_seconds": predicted["seconds"],
        "kind": answer["kind"],
        "settings": answer["settings"],
        "accuracy": answer["metrics"]["accuracy"],
        "predicted_accuracy": float(ours.mean()),
        "raw_pixels_accuracy": float(theirs.mean()),
        "raw_pixels_C": best,
        "difference": {"value": (won - lost) / len(ours), "ci": [low, high]},
    }


def draw(classes: NDArray[np.uint8], count: int, seed: int) -> NDArray[np.int64]:
    """Places of so many photos, as many of each class as can be."""
    shuffled = np.random.default_rng(seed).permutation(len(classes))
    by_class = [shuffled[classes[shuffled] == number] for number in range(len(NAMES))]
    shares = [len(part) for part in np.array_split(np.arange(count), len(NAMES))]
    return np.concatenate([rows[:share] for rows, share in zip(by_class, shares, strict=True)])


def write(photos: Photos, places: NDArray[np.int64], folder: Path, part: str) -> None:
    """PNG files under `part/class/`."""
    for name in NAMES:
        (folder / part / name).mkdir(parents=True, exist_ok=True)
    for place in places:
        path = folder / part / NAMES[photos.classes[place]] / f"{place:05}.png"
        Image.fromarray(photos.pixels[place]).save(path)


def labelloop(home: Path, *words: str) -> dict[str, Any]:
    """What a command answers."""
    command = [sys.executable, "-c", "from ui.cli import main; main()", *words, "--json"]
    done = subprocess.run(
        command,
        env={**os.environ, "LABELLOOP_WORKSPACE": str(home)},
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def timed(home: Path, *words: str) -> dict[str, Any]:
    """The same, and how long it took."""
    begun = time.monotonic()
    answer = labelloop(home, *words)
    return {"answer": answer, "seconds": round(time.monotonic() - begun, 1)}


def answers(out: Path, test: Photos) -> NDArray[np.bool_]:
    """(N,) whether each test photo is right in a file of predictions."""
    right = np.zeros(len(test.classes), dtype=bool)
    with out.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            place = int(Path(row["image"]).stem)
            right[place] = row["prediction"] == NAMES[test.classes[place]]
    return right


def baseline(
    train: Photos, kept: NDArray[np.int64], test: Photos
) -> tuple[NDArray[np.bool_], float]:
    """(N,) whether logistic regression on pixels is right, and its C."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    if len(kept) > SEARCHED:
        rng = np.random.default_rng(0)
        searched = rng.choice(kept, SEARCHED, replace=False)
    else:
        searched = kept

    def pixels(photos: Photos, places: NDArray[np.int64]) -> NDArray[np.float32]:
        return photos.pixels[places].reshape(len(places), -1).astype(np.float32) / 255

    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    search = GridSearchCV(
        LogisticRegression(max_iter=1_000), {"C": GRID}, cv=folds, refit=False
    ).fit(pixels(train, searched), train.classes[searched])
    best = float(search.best_params_["C"])
    model = LogisticRegression(max_iter=1_000, C=best).fit(pixels(train, kept), train.classes[kept])
    everything = np.arange(len(test.classes))
    return model.predict(pixels(test, everything)) == test.classes, best


if __name__ == "__main__":
    main()
