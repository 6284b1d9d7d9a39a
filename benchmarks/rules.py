"""Rules: which label model to take, and what few labels gain from rules beside them.

Fashion-MNIST, enlarged to 112 pixels, with the default backbone. Each seed draws a pool, a test
part and so many labels of the pool at random. Seven rules look at what the quality scan measures
(brightness, dark share, information, ...); whoever wrote them had looked at the train file, so they
stand for what a person knows. Two look at the nearest labeled images and know nothing else. The
figures are from the t10k file; rules, label model and weight were chosen on the train file.

Six more read a made-up metadata column that is right nine times in ten, as a supplier's might be.

Label models, judged on the pool's images with a vote: ours, the majority of the votes, crowd-kit's
Dawid-Skene on the votes and, if `--snorkel DIR` names a folder with the package, its LabelModel.
The last two learn from how rules agree, without a label. Then the head on the labels alone, and its
gain in balanced accuracy on the test part with our soft labels beside them: with rules that count
together as much as people's labels, and as `labelloop train --rules` has it, which measures on the
calibration half how much rules should count. Intervals are a bootstrap over seeds.

    python -m benchmarks.rules --labels 50 --seeds 20 --cache DIR --snorkel DIR --json
"""

import argparse
import importlib
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score

from benchmarks.outliers import cached, fashion, fashion_classes, figure
from curation import appearance
from labeling.rules import conditions, label_model
from labeling.rules.definitions import Condition, Rule
from labeling.rules.fields import Columns, Neighbours
from training import weighing
from training.heads.head import fit_head
from training.material.records import Weak
from training.settings import HeadSettings

Floats = NDArray[np.float64]
Votes = NDArray[np.int64]
Model = Callable[[Votes, Votes, NDArray[np.int64]], Floats]
"""From votes of the pool, votes of the labeled images and their classes to probabilities."""

NAMES = (
    "T-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
FILES = {"t10k": 10_000, "train": 6_000}
LEAST = 0.05
HEAD = HeadSettings(tolerance=1e-4)
"""The default head, fitted a little less closely: it moves accuracy by less than 0.0005."""


def rule(class_name: str, *asked: tuple[str, str, float | tuple[float, float]]) -> Rule:
    """A rule of the file format, as Python."""
    when = tuple(Condition(field, operator, value) for field, operator, value in asked)
    return Rule(f"{class_name}: {asked}", class_name, "", when)


LOOKS = (
    rule("sandal", ("dark-share", "above", 0.73)),
    rule(
        "trouser",
        ("dark-share", "above", 0.54),
        ("brightness", "above", 43),
        ("information", "above", 1.19),
        ("entropy", "below", 4.1),
    ),
    rule(
        "sneaker",
        ("dark-share", "between", (0.54, 0.74)),
        ("brightness", "below", 43),
        ("information", "below", 1.07),
    ),
    rule(
        "sandal",
        ("dark-share", "between", (0.54, 0.74)),
        ("brightness", "below", 43),
        ("information", "above", 1.07),
    ),
    rule(
        "dress",
        ("dark-share", "above", 0.54),
        ("brightness", "above", 58),
        ("information", "below", 1.19),
    ),
    rule("T-shirt", ("dark-share", "between", (0.374, 0.456)), ("information", "below", 1.31)),
    rule("pullover", ("dark-share", "below", 0.374), ("sharpness", "above", 0.943)),
)
NEAR = (
    Rule("near", "", "neighbour", (Condition("neighbour.agreement", "at-least", 0.8),)),
    Rule("nearish", "", "neighbour", (Condition("neighbour.agreement", "at-least", 0.6),)),
)
SUPPLIER = tuple(
    Rule(f"supplier {name}", name, "", (Condition("metadata.supplier", "is", name),))
    for name in NAMES[:6]
)
SETS = {"looks": LOOKS, "neighbours": NEAR, "supplier": SUPPLIER, "all": LOOKS + NEAR + SUPPLIER}
RIGHT = 0.9
"""Of the supplier's entries."""


def supplier(y: NDArray[np.int64], rng: np.random.Generator) -> NDArray[Any]:
    """A metadata column that names the class of nine images in ten, and of one another."""
    wrong = (y + rng.integers(1, len(NAMES), len(y))) % len(NAMES)
    said = np.where(rng.random(len(y)) < RIGHT, y, wrong)
    return np.asarray(np.array(NAMES, dtype=object)[said])


@dataclass(frozen=True, eq=False)
class Rows:
    """Embeddings by place, as a store gives them by id."""

    X: NDArray[np.float32]

    def ids(self) -> NDArray[np.int64]:
        """All places."""
        return np.arange(len(self.X))

    def read(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Unit rows."""
        found = self.X[ids].astype(np.float32)
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def looks(part: str, most: int, cache: Path) -> Columns:
    """What the scan would measure of each photo."""
    path = cache / f"looks-{part}.npy"
    if not path.exists():
        rows = np.array([appearance.measure(np.asarray(one)) for one in fashion(part, most)])
        np.save(path, rows)
    rows = np.load(path)
    return {
        "name": np.array([str(n) for n in range(len(rows))], dtype=object),
        "brightness": rows["mean"].astype(np.float64),
        "dark-share": rows["clipped_dark"].astype(np.float64),
        "information": rows["information"].astype(np.float64),
        "entropy": rows["entropy"].astype(np.float64),
        "sharpness": rows["sharpness"].astype(np.float64),
    }


def cast(rules: Sequence[Rule], columns: Columns) -> Votes:
    """(N, R) votes."""
    index = {name: number for number, name in enumerate(NAMES)}
    found = []
    for one in rules:
        held = conditions.holds(one, columns)
        said = (
            np.array([index.get(name, -1) for name in columns[one.class_from]])
            if one.class_from
            else np.full(len(held), index[one.class_name])
        )
        found.append(np.where(held, said, -1))
    return np.stack(found, axis=1)


def ours(votes: Votes, labeled: Votes, truth: NDArray[np.int64]) -> Floats:
    """The product's."""
    return label_model.fit(labeled, truth, classes=len(NAMES)).chances(votes)


def majority(votes: Votes, _labeled: Votes, _truth: NDArray[np.int64]) -> Floats:
    """Shares of the votes."""
    shares = np.zeros((len(votes), len(NAMES)))
    for column in votes.T:
        fired = column >= 0
        shares[fired, column[fired]] += 1
    return np.asarray(shares / np.maximum(shares.sum(axis=1, keepdims=True), 1))


def dawid_skene(votes: Votes, _labeled: Votes, _truth: NDArray[np.int64]) -> Floats:
    """crowd-kit's, with rules for people."""
    import pandas as pd
    from crowdkit.aggregation import DawidSkene

    task, worker = np.nonzero(votes >= 0)
    frame = pd.DataFrame({"task": task, "worker": worker, "label": votes[task, worker]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = DawidSkene(n_iter=100).fit_predict_proba(frame)
    found = np.full((len(votes), len(NAMES)), 1.0 / len(NAMES))
    found[said.index.to_numpy()] = said.reindex(columns=range(len(NAMES)), fill_value=0).to_numpy()
    return found


def snorkel(votes: Votes, _labeled: Votes, _truth: NDArray[np.int64]) -> Floats:
    """Its LabelModel with its defaults."""
    LabelModel = importlib.import_module("snorkel.labeling.model").LabelModel

    model = LabelModel(cardinality=len(NAMES), verbose=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(L_train=votes, seed=0, progress_bar=False)
        return np.asarray(model.predict_proba(votes))


def head_score(rows: weighing.Rows, test: tuple[NDArray[np.float32], NDArray[np.int64]]) -> float:
    """Balanced accuracy of the default head."""
    head = fit_head(rows.X, rows.y, classes=NAMES, sample_weight=rows.weight, settings=HEAD)
    return float(balanced_accuracy_score(test[1], head.probabilities(test[0]).argmax(axis=1)))


def soft_labels(ids: NDArray[np.int64], likely: Floats) -> Weak:
    """As training takes them from a plan of rules."""
    chances = np.where(likely < LEAST, 0.0, likely)
    chances /= np.maximum(chances.sum(axis=1, keepdims=True), 1e-12)
    places, classes = np.nonzero(chances)
    return Weak(
        ids[places],
        classes.astype(np.int64),
        ids[places],
        chances[places, classes],
        np.ones(len(places), dtype=bool),
        rules=len(ids),
        undecided=True,
    )


def trial(
    seed: int,
    data: tuple[NDArray[np.float32], NDArray[np.int64], Columns],
    models: dict[str, Model],
    *,
    labels: int,
    pool: int,
    judges: int,
) -> dict[str, float]:
    """One draw."""
    X, y, columns = data
    rng = np.random.default_rng(seed)
    given, judging, unlabeled, held = np.split(
        rng.permutation(len(y)), [labels, labels + judges, labels + judges + pool]
    )
    store = Rows(X)
    near = Neighbours(store, store.read(given), given, y[given], NAMES)  # type: ignore[arg-type]
    places = np.arange(len(y))
    every = {**columns, **near.look(places, places), "metadata.supplier": supplier(y, rng)}
    test = (store.read(held), y[held])
    few = weighing.Rows(store.read(given), y[given], np.ones(labels))
    judge = weighing.Rows(store.read(judging), y[judging], np.ones(judges))
    alone = head_score(few, test)
    found = {"labels alone": alone}
    for name, rules in SETS.items():
        votes = cast(rules, every)
        covered = unlabeled[(votes[unlabeled] >= 0).any(axis=1)]
        found[f"{name}/coverage"] = len(covered) / len(unlabeled)
        for title, model in models.items():
            if model is snorkel and len(rules) < 3:  # it refuses fewer
                continue
            begun = time.monotonic()
            likely = model(votes[covered], votes[given], y[given])
            found[f"{name}/{title}/seconds"] = time.monotonic() - begun
            found[f"{name}/{title}/accuracy"] = float((likely.argmax(axis=1) == y[covered]).mean())
            right = np.clip(likely[np.arange(len(covered)), y[covered]], 1e-3, 1)
            found[f"{name}/{title}/log-loss"] = float(-np.log(right).mean())
        soft = soft_labels(covered, ours(votes[covered], votes[given], y[given]))
        as_much = labels / soft.weights.sum()
        chosen = weighing.weigh(few, soft, judge, store, classes=NAMES)  # type: ignore[arg-type]
        for way, weak in (
            ("as much as people's", soft.weighed(as_much, "")),
            ("measured", chosen),
        ):
            rows = weighing.joined(few, weak, store)  # type: ignore[arg-type]
            found[f"{name}/head, {way}: gain"] = head_score(rows, test) - alone
        found[f"{name}/taken"] = float(chosen.rules > 0)
    return found


def main() -> None:
    """Run it and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--labels", type=int, default=50)
    parser.add_argument("--pool", type=int, default=1_000)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--part", default="t10k", choices=list(FILES))
    parser.add_argument("--judges", type=int, default=75, help="labels of the calibration half")
    parser.add_argument("--cache", type=Path, help="kept; a temporary one otherwise")
    parser.add_argument("--snorkel", type=Path, help="a folder that holds the package")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    models: dict[str, Model] = {"ours": ours, "majority": majority, "dawid-skene": dawid_skene}
    if options.snorkel:
        sys.path.append(str(options.snorkel))
        models["snorkel"] = snorkel
    with tempfile.TemporaryDirectory() as name:
        cache = options.cache or Path(name)
        part, most = options.part, FILES[options.part]
        data = (
            cached(f"fm-{part}", lambda: fashion(part, most), cache=cache),
            fashion_classes(part, most),
            looks(part, most, cache),
        )
        trials = [
            trial(
                seed,
                data,
                models,
                labels=options.labels,
                pool=options.pool,
                judges=options.judges,
            )
            for seed in range(options.seeds)
        ]
    report: dict[str, Any] = {key: getattr(options, key) for key in ("labels", "pool", "judges")}
    report |= {"part": part, "seeds": options.seeds}
    report |= {key: figure([one[key] for one in trials]) for key in trials[0]}
    print(json.dumps(report, indent=None if options.json else 1))


if __name__ == "__main__":
    main()
