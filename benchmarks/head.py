"""The head on 50,000 embeddings against scikit-learn's search for the best C.

    OMP_NUM_THREADS=2 python -m benchmarks.head --cache FOLDER --json
    OMP_NUM_THREADS=2 python -m benchmarks.head --cache FOLDER --without-search

Fashion-MNIST's train file, enlarged to 112 pixels and embedded by the default backbone (1,280
columns, a few minutes, kept in the cache). Ours: `strength.choose`, then `fit_head` on all rows.
Theirs: `GridSearchCV` of `LogisticRegression` (lbfgs) over C, five folds, refitted on all rows.
Both are scored on the 10,000 photos of the other file, which neither has seen, and the interval of
the difference is paired. `--network` adds the small network on the same embeddings.
"""

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.outliers import cached, fashion, fashion_classes
from training.heads import strength
from training.heads.head import fit_head
from training.settings import HeadSettings, MlpSettings

ROWS, TEST = 50_000, 10_000
NAMES = [str(number) for number in range(10)]
GRID = (1.0, 10.0, 100.0, 1_000.0)
FOLDS = 5

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "head-cache")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--without-search", action="store_true", help="ours alone")
    parser.add_argument("--network", action="store_true", help="the small network as well")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    X = cached(f"fashion-train-{ROWS}", partial(fashion, "train", ROWS), cache=options.cache)
    test = cached("fashion-t10k", partial(fashion, "t10k", TEST), cache=options.cache)
    X, y = X[: options.rows], fashion_classes("train", options.rows)
    truth = fashion_classes("t10k", TEST)
    right: dict[str, NDArray[np.bool_]] = {}
    found: dict[str, Any] = {
        "rows": len(X),
        "columns": X.shape[1],
        "test": len(truth),
        "load": list(os.getloadavg()),
    }
    found["ours"], right["ours"] = ours(X, y, test, truth)
    print_unless(options.json, found["ours"])
    if options.network:
        found["network"], right["network"] = network(X, y, test, truth)
        print_unless(options.json, found["network"])
    if not options.without_search:
        found["search"], right["search"] = search(X, y, test, truth)
        found["times_faster"] = round(found["search"]["seconds"] / found["ours"]["seconds"], 1)
        found["ours_minus_search"] = difference(right["ours"], right["search"])
    print(json.dumps(found) if options.json else json.dumps(found, indent=2))


def print_unless(quiet: bool, one: dict[str, Any]) -> None:
    """A line of a part that is done."""
    if not quiet:
        print(json.dumps(one), flush=True)


def ours(X: Floats, y: Labels, test: Floats, truth: Labels) -> tuple[dict[str, Any], Any]:
    """The strength chosen from the data, and the head of all rows."""
    begun, processor = time.monotonic(), time.process_time()
    choice = strength.choose(X, y, classes=NAMES)
    chosen = time.monotonic()
    settings = replace(HeadSettings(), strength=choice.strength)
    head = fit_head(X, y, classes=NAMES, settings=settings, start=choice.head)
    done = time.monotonic()
    right = head.logits(test).argmax(axis=1) == truth
    return {
        "strength": choice.strength,
        "tried": [vars(one) for one in choice.tried],
        "seconds": round(done - begun, 2),
        "of_choosing": round(chosen - begun, 2),
        "processor_seconds": round(time.process_time() - processor, 2),
        "accuracy": float(right.mean()),
    }, right


def network(X: Floats, y: Labels, test: Floats, truth: Labels) -> tuple[dict[str, Any], Any]:
    """The small network with its default settings, steered by a tenth of the rows."""
    from training.heads.mlp_training import fit_mlp

    held = np.random.default_rng(0).permutation(len(X)) < len(X) // 10
    begun, processor = time.monotonic(), time.process_time()
    model, epochs = fit_mlp(
        X[~held],
        y[~held],
        classes=NAMES,
        settings=MlpSettings(),
        validation=(X[held], y[held]),
        seed=0,
    )
    seconds = time.monotonic() - begun
    right = model.logits(test).argmax(axis=1) == truth
    return {
        "epochs": len(epochs),
        "seconds": round(seconds, 2),
        "processor_seconds": round(time.process_time() - processor, 2),
        "accuracy": float(right.mean()),
    }, right


def search(X: Floats, y: Labels, test: Floats, truth: Labels) -> tuple[dict[str, Any], Any]:
    """What scikit-learn's users do."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    begun, processor = time.monotonic(), time.process_time()
    found = GridSearchCV(
        LogisticRegression(max_iter=1_000),
        {"C": list(GRID)},
        cv=StratifiedKFold(FOLDS, shuffle=True, random_state=0),
        error_score="raise",
    ).fit(X, y)
    seconds = time.monotonic() - begun
    right = found.predict(test) == truth
    table = found.cv_results_
    return {
        "C": found.best_params_["C"],
        "mean_accuracy_of_folds": dict(
            zip(map(str, GRID), table["mean_test_score"].round(4).tolist(), strict=True)
        ),
        "seconds": round(seconds, 1),
        "processor_seconds": round(time.process_time() - processor, 1),
        "accuracy": float(right.mean()),
    }, right


def difference(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> dict[str, Any]:
    """Points between two models on the same photos, with the normal interval of the mean."""
    gap = 100 * (one.astype(float) - other)
    error = 1.96 * gap.std(ddof=1) / np.sqrt(len(gap))
    middle = float(gap.mean())
    interval = [round(middle - error, 2), round(middle + error, 2)]
    return {"points": round(middle, 2), "n": len(gap), "ci": interval}


if __name__ == "__main__":
    main()
