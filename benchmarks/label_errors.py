"""Wrong labels: 10 % of the labels changed, and found again.

Average precision of the changed labels by our score, beside cleanlab's Datalab on the same
embeddings in the ways its documentation shows: `features=` (neighbours), `features=` with
`pred_probs=` of a cross-validated logistic regression; and, which no documentation can know,
`pred_probs=` of our own out-of-fold head. Each seed draws other photos and other errors; all judge
the same labels; the difference is paired, with a bootstrap 95 % interval over seeds. Precision and
recall are those of the labels that a program flags.

Noise: `uniform` (any other class) and `class-dependent` (the class that is easily taken for it).
The labels of both sets were not checked: labels that were wrong or ambiguous from the start count
as false alarms for all alike. Sets: Fashion-MNIST's t10k file enlarged to 112 pixels, and textiles
of even number (package conformal-clip-data: nominal, local and global defects). Everything was
chosen on Fashion-MNIST's train file and textiles of odd number.

cleanlab's Datalab runs by command in a virtual environment of its own (it needs `datasets`).

    python -m benchmarks.label_errors --seeds 10 --peers DIR --cache DIR
"""

import argparse
import json
import subprocess
import tempfile
import venv
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_predict

from benchmarks.outliers import cached, fashion, fashion_classes, figure, textile_paths, textiles
from curation.issues import label_errors
from training.heads import out_of_fold

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

SHARE = 0.1
PEER = "cleanlab[datalab]==2.9.0"
PEER_PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
from cleanlab import Datalab

for path in sorted(Path(sys.argv[1]).glob("*.npz")):
    given = np.load(path)
    recipes = {
        "features": {"features": given["X"]},
        "features + logistic regression": {"features": given["X"], "pred_probs": given["plain"]},
        "features + our head": {"features": given["X"], "pred_probs": given["head"]},
    }
    found = {}
    for name, inputs in recipes.items():
        lab = Datalab(data={"y": given["y"].tolist()}, label_name="y", verbosity=0)
        lab.find_issues(issue_types={"label": {}}, **inputs)
        table = lab.get_issues("label")
        found[name] = {
            "score": (1 - table["label_score"]).tolist(),
            "is_issue": table["is_label_issue"].tolist(),
        }
    path.with_suffix(".json").write_text(json.dumps(found))
"""
EASILY_TAKEN_FOR = {
    "fashion": {0: 6, 6: 0, 2: 4, 4: 2, 5: 7, 7: 9, 9: 7, 1: 3, 3: 1, 8: 5},
    "textiles": {0: 1, 1: 0, 2: 0},
}


@dataclass(frozen=True, eq=False)
class Trial:
    """Labels of which some were changed.

    Attributes:
        X: (N, d) embeddings.
        y: (N,) labels as given.
        truth: (N,) labels as they were.
        head: (N, C) out-of-fold probabilities of our head.
        plain: (N, C) of a cross-validated logistic regression.
    """

    X: Floats
    y: Labels
    truth: Labels
    head: NDArray[np.float64]
    plain: NDArray[np.float64]


def spoil(truth: Labels, *, noise: str, mistaken: dict[int, int], seed: int) -> Labels:
    """The labels with a tenth of them changed."""
    rng = np.random.default_rng(seed)
    classes = int(truth.max()) + 1
    y = truth.copy()
    rows = rng.choice(len(y), round(SHARE * len(y)), replace=False)
    if noise == "uniform":
        y[rows] = (y[rows] + rng.integers(1, classes, len(rows))) % classes
    else:
        y[rows] = [mistaken[int(c)] for c in y[rows]]
    return y


def make_trial(
    X: Floats, truth: Labels, *, count: int, noise: str, mistaken: dict[int, int], seed: int
) -> Trial:
    """So many images with their labels spoilt, and the probabilities that judges start from."""
    rows = np.random.default_rng([seed, 1]).choice(len(X), min(count, len(X)), replace=False)
    X, truth = X[rows], truth[rows]
    y = spoil(truth, noise=noise, mistaken=mistaken, seed=seed)
    groups = np.arange(len(y))
    head = out_of_fold.probabilities(X, y, groups, classes=int(truth.max()) + 1)
    plain = cross_val_predict(LogisticRegression(max_iter=1_000), X, y, method="predict_proba")
    return Trial(X, y, truth, head, plain)


def install_peer(peers: Path) -> Path:
    """The interpreter of the peer's virtual environment, made where it is missing."""
    home = peers / "cleanlab"
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PEER], check=True)
    return python


def ask_peer(python: Path, trials: list[Trial]) -> list[dict[str, Any]]:
    """What each recipe of the peer finds in each trial."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, trial in enumerate(trials):
            values = {"X": trial.X, "y": trial.y, "head": trial.head, "plain": trial.plain}
            np.savez(folder / f"{number:04d}.npz", **values)
        subprocess.run([python, "-W", "ignore", "-c", PEER_PROGRAM, name], check=True)
        return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def ours(trial: Trial) -> tuple[dict[str, Any], float]:
    """What we find, and how often the suggestion is right for the labels that were changed."""
    truth = np.eye(trial.head.shape[1], dtype=np.int64)[trial.y]
    votes = label_errors.vote(trial.X, truth, np.arange(len(trial.y)))
    found = label_errors.judge(trial.y, label_errors.combine(trial.head, votes.shares))
    changed = trial.y != trial.truth
    right = float((found.suggested == trial.truth)[changed].mean())
    return {"score": found.score, "is_issue": found.is_issue}, right


def rate(found: dict[str, Any], changed: NDArray[np.bool_]) -> dict[str, float]:
    """Average precision, and precision and recall of what is flagged."""
    flagged = np.asarray(found["is_issue"], dtype=bool)
    hits = int((flagged & changed).sum())
    return {
        "ap": float(average_precision_score(changed, found["score"])),
        "precision": hits / max(int(flagged.sum()), 1),
        "recall": hits / int(changed.sum()),
    }


def measure(trials: list[Trial], python: Path) -> dict[str, Any]:
    """All figures of one set and noise."""
    rated: dict[str, list[dict[str, float]]] = {}
    suggestions = []
    for trial, peer in zip(trials, ask_peer(python, trials), strict=True):
        changed = trial.y != trial.truth
        mine, right = ours(trial)
        suggestions.append(right)
        for name, found in {"ours": mine, **peer}.items():
            rated.setdefault(name, []).append(rate(found, changed))
    report: dict[str, Any] = {
        name: {key: figure([one[key] for one in rates]) for key in rates[0]}
        for name, rates in rated.items()
    }
    for name, rates in rated.items():
        gains = [mine["ap"] - its["ap"] for mine, its in zip(rated["ours"], rates, strict=True)]
        report[name]["ours-less-this"] = figure(gains)
    report["ours"]["suggestion-right"] = figure(suggestions)
    return report


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--labels", type=int, default=2_000, help="at most, in one trial")
    parser.add_argument("--peers", type=Path, default=Path(tempfile.gettempdir()) / "peers")
    parser.add_argument("--cache", type=Path, help="keep embeddings here between runs")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    python = install_peer(arguments.peers)
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        cache = arguments.cache or Path(name)
        woven = [len(paths) for paths in textile_paths(remainder=0)]
        sets = {
            "fashion": (
                cached("fashion-t10k", partial(fashion, "t10k", 10_000), cache=cache),
                fashion_classes("t10k", 10_000),
            ),
            "textiles": (
                cached("textiles-report", textiles, cache=cache),
                np.repeat(np.arange(len(woven)), woven),
            ),
        }
        for kind, (X, truth) in sets.items():
            # Not all of a small set, so that seeds differ in images too.
            count = min(arguments.labels, round(0.8 * len(X)))
            for noise in ("uniform", "class-dependent"):
                trials = [
                    make_trial(
                        X, truth, count=count, noise=noise, mistaken=EASILY_TAKEN_FOR[kind], seed=s
                    )
                    for s in range(arguments.seeds)
                ]
                report[f"{kind}, {noise}"] = {"labels": count, **measure(trials, python)}
    if arguments.json:
        print(json.dumps(report))
        return
    print(f"{SHARE:.0%} of the labels changed, {arguments.seeds} seeds\n")
    print("| Set, noise, labels | Judge | average precision | ours less this | flagged: P / R |")
    print("|---|---|---|---|---|")
    for what, found in report.items():
        for judge in (key for key in found if key != "labels"):
            one = found[judge]
            flagged = f"{one['precision']['value']:.2f} / {one['recall']['value']:.2f}"
            gain = "" if judge == "ours" else _cell(one["ours-less-this"], sign="+")
            name = judge if judge == "ours" else f"Datalab, {judge}"
            cells = [f"{what}, {found['labels']:,}", name, _cell(one["ap"]), gain, flagged]
            print(f"| {' | '.join(cells)} |")
        right = _cell(found["ours"]["suggestion-right"])
        print(f"| | the class we suggest for a changed label is right | {right} | | |")


def _cell(found: dict[str, Any], *, sign: str = "") -> str:
    low, high = found["ci"]
    return f"{found['value']:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


if __name__ == "__main__":
    main()
