"""Seconds and memory to choose a batch from pools of growing size, beside other libraries.

Each choice is a process of its own. The pool is made up: unit vectors in 200 clumps, kept as half
precision on disk and read from there; probabilities of a linear model over ten classes; a hundred
labels. What is timed is the choice alone, from the pool on disk to the ids; memory is the most that
the process held, and how much of it the choice added, with the pages of the file that lie in
memory. Other libraries are asked for the same with the same model, as far as they have a method of
that name, and are given up on after ten minutes.

    python -m benchmarks.selection --sizes 10000,100000,1000000 --count 1000 --json

scikit-activeml and modAL are not needed by labelloop: give a Python that has them as well with
--peers PYTHON. Without it those rows are left out.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLUMNS, CLASSES, CLUMPS, LABELED = 384, 10, 200, 100
BLOCK = 50_000
MOST_SECONDS = 600
PEERS = {
    "scikit-activeml": ("margin", "entropy", "k-center", "typiclust", "badge", "max-herding"),
    "modAL": ("margin", "entropy"),
}


def make(folder: Path, size: int) -> None:
    """A pool of that size, its labels and its model, as files."""
    rng = np.random.default_rng(size)
    middles = rng.normal(size=(CLUMPS, COLUMNS))
    weight = rng.normal(size=(COLUMNS, CLASSES)) * 4

    def points(count: int) -> NDArray[np.float32]:
        found = middles[rng.integers(0, CLUMPS, count)] + rng.normal(size=(count, COLUMNS))
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)

    pool = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
        folder / "pool.npy", mode="w+", dtype=np.float16, shape=(size, COLUMNS)
    )
    for start in range(0, size, BLOCK):
        pool[start : start + BLOCK] = points(min(BLOCK, size - start))
    pool.flush()
    labeled = points(LABELED)
    np.savez(
        folder / "model.npz",
        weight=weight,
        labeled=labeled,
        classes=(labeled @ weight).argmax(axis=1),
    )


def ours(name: str, folder: Path, count: int, seed: int) -> Callable[[], NDArray[Any]]:
    """Our strategy of that name."""
    from scipy.special import softmax

    from training.strategies import Pool, select

    model = np.load(folder / "model.npz")

    def predict(X: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(softmax(X @ model["weight"], axis=1))

    embeddings = np.load(folder / "pool.npy", mmap_mode="r")
    size = len(embeddings)
    probabilities = np.concatenate(
        [
            predict(embeddings[start : start + BLOCK].astype(np.float32)).astype(np.float32)
            for start in range(0, size, BLOCK)
        ]
    )
    pool = Pool(
        ids=np.arange(size),
        embeddings=embeddings,
        groups=np.arange(size),
        probabilities=probabilities,
        labeled_embeddings=model["labeled"],
        labeled_classes=model["classes"],
        predict=predict,
    )
    return lambda: select(name, pool, count, np.random.default_rng(seed)).ids


def theirs(library: str, name: str, folder: Path, count: int, seed: int) -> Callable[[], Any]:
    """Another library's method of that name, with a logistic regression on the same labels."""
    from sklearn.linear_model import LogisticRegression

    model = np.load(folder / "model.npz")
    X = np.load(folder / "pool.npy").astype(np.float32)
    known, classes = model["labeled"].astype(np.float32), model["classes"]
    if library == "modAL":
        from modAL.uncertainty import entropy_sampling, margin_sampling

        fitted = LogisticRegression().fit(known, classes)
        query = {"margin": margin_sampling, "entropy": entropy_sampling}[name]
        return lambda: query(fitted, X, n_instances=count)[0]
    from skactiveml import pool as methods
    from skactiveml.classifier import SklearnClassifier

    both = np.concatenate([known, X])
    y = np.concatenate([classes.astype(float), np.full(len(X), np.nan)])
    learner = SklearnClassifier(LogisticRegression(), classes=range(CLASSES))
    asked: dict[str, Callable[[], Any]] = {
        "margin": lambda: methods.UncertaintySampling(
            method="margin_sampling", random_state=seed
        ).query(both, y, clf=learner, batch_size=count),
        "entropy": lambda: methods.UncertaintySampling(method="entropy", random_state=seed).query(
            both, y, clf=learner, batch_size=count
        ),
        "badge": lambda: methods.Badge(random_state=seed).query(
            both, y, clf=learner, batch_size=count
        ),
        "k-center": lambda: methods.CoreSet(random_state=seed).query(both, y, batch_size=count),
        "typiclust": lambda: methods.TypiClust(random_state=seed).query(both, y, batch_size=count),
        "max-herding": lambda: methods.MaxHerding(random_state=seed).query(
            both, y, batch_size=count
        ),
    }
    return asked[name]


def choose(library: str, name: str, folder: Path, count: int, seed: int) -> dict[str, float]:
    """One choice in this process."""
    made = (
        ours(name, folder, count, seed)
        if library == "ours"
        else theirs(library, name, folder, count, seed)
    )
    before = _most_gib()
    begun = time.perf_counter()
    chosen = np.asarray(made())
    seconds = time.perf_counter() - begun
    if len(np.unique(chosen)) != count:
        raise SystemExit(f"{library} chose {len(np.unique(chosen))} different ones of {count}")
    most = _most_gib()
    return {"seconds": seconds, "gib": most, "added_gib": most - before}


def _most_gib() -> float:
    """The most memory that this process held at once; the system counts for programs on Linux."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 2**20 if found else 0.0


def measure(
    library: str, name: str, folder: Path, options: argparse.Namespace
) -> dict[str, Any] | None:
    """Median of the repeats; None where it fails or takes too long."""
    from benchmarks.embedding import figure  # not at the top, which the programs import, too

    found = []
    for seed in range(options.repeats):
        told = ["--program", library, "--strategy", name, "--folder", str(folder)]
        python = sys.executable if library == "ours" else options.peers
        try:
            done = subprocess.run(
                [
                    *(python, "-W", "ignore", "-m", "benchmarks.selection", *told),
                    *("--count", str(options.count), "--seed", str(seed)),
                ],
                cwd=Path(__file__).parents[1],
                stdout=subprocess.PIPE,
                timeout=MOST_SECONDS,
                check=True,
            )
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            print(f"{library} {name}: {error}", file=sys.stderr)
            return None
        found.append(json.loads(done.stdout))
    return {key: figure([one[key] for one in found]) for key in found[0]}


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--strategies", default="")
    parser.add_argument("--peers", help="a Python with scikit-activeml and modAL")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--program", help=argparse.SUPPRESS)
    parser.add_argument("--strategy", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.program:
        given = (options.strategy, options.folder, options.count, options.seed)
        print(json.dumps(choose(options.program, *given)))
        return
    report = _compare(options)
    if options.json:
        print(json.dumps(report))
        return
    print("| Pool | Strategy | Library | Seconds | Memory, GiB | of it added by the choice |")
    print("|---:|---|---|---|---|---|")
    for row in report:
        cells = (
            ["gave up", "", ""]
            if row["found"] is None
            else [f"{row['found'][key]['value']:.1f}" for key in ("seconds", "gib", "added_gib")]
        )
        line = [f"{row['pool']:,}", row["strategy"], row["library"], *cells]
        print(f"| {' | '.join(line)} |")


def _compare(options: argparse.Namespace) -> list[dict[str, Any]]:
    from training.strategies import STRATEGIES

    names = options.strategies.split(",") if options.strategies else list(STRATEGIES)
    report = []
    given_up: set[tuple[str, str]] = set()
    for size in map(int, options.sizes.split(",")):
        with tempfile.TemporaryDirectory() as home:
            make(Path(home), size)
            for name in names:
                for library in ("ours", *(PEERS if options.peers else ())):
                    if library != "ours" and name not in PEERS[library]:
                        continue
                    if (library, name) in given_up:
                        continue
                    found = measure(library, name, Path(home), options)
                    if found is None:
                        given_up.add((library, name))
                    row = {"pool": size, "strategy": name, "library": library, "found": found}
                    print(json.dumps(row), file=sys.stderr)
                    report.append(row)
    return report


if __name__ == "__main__":
    main()
