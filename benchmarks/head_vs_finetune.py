"""The head on frozen embeddings against fine-tuning the backbone, on the same labels.

    python -m benchmarks.head_vs_finetune --labels 300 --test 500 --seeds 1 --json

Both learn from the same images of the sample data (its truth file plays the annotators) and are
scored on the same images of `test/`. The interval of the difference is a bootstrap over test
images, paired, for each seed; with several seeds, over seeds as well.
"""

import argparse
import csv
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from curation import backbones, inference
from training import intervals
from training.evaluation import Metrics, evaluate
from training.finetuning import trainer
from training.finetuning.finetuned import FineTuned
from training.heads.head import fit_head
from training.settings import FineTuneSettings, HeadSettings

SAMPLE = Path(__file__).parents[1] / "sample_data"


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=SAMPLE)
    parser.add_argument("--labels", type=int, default=300)
    parser.add_argument("--test", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=FineTuneSettings().epochs)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    train = _clean(_read(options.data / "truth.csv"), options.data / "images")
    test = _read(options.data / "test.csv")
    classes = sorted({row["label"] for row in test})
    kept = np.random.default_rng(0).permutation(len(test))[: options.test]
    test_paths = [options.data / "test" / test[i]["filename"] for i in kept]
    truth = np.array([classes.index(test[i]["label"]) for i in kept])
    runs = [
        _one(seed, train, test_paths, truth, classes, labels=options.labels, epochs=options.epochs)
        for seed in range(options.seeds)
    ]
    report = {"labels": options.labels, "test": len(truth), "runs": runs, **_gain(runs, truth)}
    for run in runs:
        run.pop("right")
    if options.json:
        print(json.dumps(report))
    else:
        _show(report)


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _clean(rows: list[dict[str, str]], folder: Path) -> list[tuple[Path, str]]:
    """Files without a planted copy, bad picture or broken file; wrong labels are set right."""
    return [
        (folder / row["filename"], row["label"])
        for row in rows
        if row["defect"] == "" or row["defect"].startswith("wrong-label")
    ]


def _one(
    seed: int,
    train: list[tuple[Path, str]],
    test: list[Path],
    truth: NDArray[np.int64],
    classes: list[str],
    *,
    labels: int,
    epochs: int,
) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    chosen = [train[i] for i in rng.permutation(len(train))[:labels]]
    paths = [path for path, _ in chosen]
    y = np.array([classes.index(label) for _, label in chosen])
    begun = time.monotonic()
    trained, judged = _embed(paths), _embed(test)
    embedded = time.monotonic()
    head = fit_head(trained, y, classes=classes, settings=HeadSettings()).probabilities(judged)
    head_seconds = time.monotonic() - embedded
    started = time.monotonic()
    with TemporaryDirectory() as folder:
        for epoch in trainer.run(
            trainer.Rows(paths, y),
            None,
            classes=classes,
            task="single-label",
            settings=FineTuneSettings(epochs=epochs),
            seed=seed,
            folder=Path(folder),
        ):
            print(f"epoch {epoch.number}: loss {epoch.loss}", file=sys.stderr)
        tuned_seconds = time.monotonic() - started
        tuned = FineTuned.load(Path(folder) / trainer.MODEL).probabilities(test)
    return {
        "seed": seed,
        "embed_seconds": round(embedded - begun, 1),
        "head": _summary(evaluate(head, truth, classes, rng=rng), head_seconds),
        "fine-tune": _summary(evaluate(tuned, truth, classes, rng=rng), tuned_seconds),
        "right": (head.argmax(1) == truth, tuned.argmax(1) == truth),
    }


def _embed(paths: list[Path]) -> NDArray[np.float32]:
    """(N, d) unit-norm embeddings by the default backbone at its own input size."""
    engine = inference.open_torch(backbones.open())
    how = backbones.preprocessing(backbones.DEFAULT)
    return np.concatenate(
        [
            engine.embed(np.stack([inference.prepare(path, how) for path in paths[i : i + 32]]))
            for i in range(0, len(paths), 32)
        ]
    )


def _summary(metrics: Metrics, seconds: float) -> dict[str, object]:
    figures = {
        name: metrics.figures[name].as_json()
        for name in ("accuracy", "balanced_accuracy", "macro_f1")
    }
    return {**figures, "seconds": round(seconds, 2)}


def _gain(runs: list[dict[str, object]], truth: NDArray[np.int64]) -> dict[str, object]:
    """Balanced accuracy of fine-tuning minus that of the head."""
    rng = np.random.default_rng(0)
    classes = np.eye(truth.max() + 1, dtype=np.float64)[truth]
    gaps = []
    for run in runs:
        head, tuned = run["right"]  # type: ignore[misc]  # a pair of (N,) arrays, put there above
        gaps.append(tuned.astype(np.float64) - head)
    table = np.stack(gaps)

    def mean(weight: NDArray[np.floating], seeds: NDArray[np.int64]) -> NDArray[np.float64]:
        per_image = table[seeds].mean(axis=1) * weight
        return np.asarray(((per_image @ classes) / (weight @ classes)).mean(axis=1))

    draws = np.concatenate(
        [
            mean(block, rng.integers(0, len(runs), size=(len(block), len(runs))))
            for block in intervals.resampled_counts(len(truth), rng=rng)
        ]
    )
    value = mean(np.ones((1, len(truth))), np.arange(len(runs))[None])[0]
    figure = intervals.Figure(float(value), len(truth), intervals.percentile(draws))
    return {"gain_of_fine_tuning": figure.as_json()}


def _show(report: dict[str, object]) -> None:
    print(
        f"{report['labels']} labels, {report['test']} test images, "
        f"{torch.get_num_threads()} threads"
    )
    print(json.dumps({key: report[key] for key in ("runs", "gain_of_fine_tuning")}, indent=2))


if __name__ == "__main__":
    main()
