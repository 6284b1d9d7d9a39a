"""How well copies are found, and how fast, beside imagededup and fastdup in the same run.

500 known copies (50 by each of 10 changes) hide in each of these sets of real images:

- `fashion`: 2,000 images of Fashion-MNIST's t10k file (Debian package dataset-fashion-mnist),
  enlarged to 112 pixels before they are copied;
- `textile`: 1,000 textiles of the package conformal-clip-data, which all look alike: those with an
  even number;
- `textile-whole`: all 2,000 of them. Half was seen in development, so it is the second row to read.

What we set by hand or learned was set on other images: Fashion-MNIST's train file and the textiles
with an odd number (`--development` makes those sets and measures on them). The peers are given what
they would not have in real work: the threshold that suits each set best, chosen on that very set
by the known copies. Ours runs at the threshold it comes with.

A pair of a copy and its original is right; a copy with another image is wrong. Pairs of two
originals count for neither: real sets hide copies nobody planted. Each peer runs in an environment
of its own (made where missing), from a folder of images to a list of pairs, imports not timed; all
take turns, so that a change of the machine's load meets all alike. Processor time stands beside
the clock's, since it says more on a busy machine.

    python -m benchmarks.duplicates --peers PEERS --sets SETS --repeats 3 --json OUT.json
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.copies import figures, sets
from benchmarks.copies.sets import Copies
from curation.errors import LabelloopError

PROGRAMS = Path(__file__).parent / "copies"

# The version measured, so that the table stays true to what it says.
REQUIREMENTS = {"imagededup": "imagededup==0.3.3.post2", "fastdup": "fastdup==2.54"}

# Wide enough to hold every threshold worth trying: 32 of 64 bits is what unrelated images differ
# in, and fastdup lists two neighbours of each image whatever their similarity.
WIDEST = {"imagededup": 32.0, "fastdup": 0.0}
USUAL = {"imagededup": 10.0, "fastdup": 0.9}


@dataclass(frozen=True)
class Found:
    """One pass over a folder.

    Attributes:
        pairs: (P, 2) positions in the set's paths, the lower first, each pair once.
        closeness: (P,) higher is more alike.
        seconds: from the folder to the pairs.
        cpu_seconds: of all processes that took part.
        notes: what only one of the methods tells.
    """

    pairs: NDArray[np.int64]
    closeness: NDArray[np.float64]
    seconds: float
    cpu_seconds: float
    notes: dict[str, Any]


def prepare_peer(name: str, folder: Path) -> Path:
    """The Python of the peer's environment, which is made where it is missing."""
    python = folder / name / "bin" / "python"
    if not python.exists():
        print(f"Making an environment for {name} in {folder / name}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder / name], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", REQUIREMENTS[name]], check=True)
    return python


def run_peer(name: str, python: Path, copies: Copies, threshold: float) -> Found:
    """Let the peer look for pairs at least as close as its threshold says.

    Raises:
        LabelloopError: it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "pairs.npz"
        number = str(int(threshold)) if name == "imagededup" else str(threshold)
        done = subprocess.run(
            [
                *(python, PROGRAMS / f"{name}_pairs.py", copies.paths[0].parent, out),
                *("--threshold", number),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
        )
        if done.returncode != 0 or not out.exists():
            raise LabelloopError(f"{name} failed on {copies.name}: {done.stderr[-2000:]}")
        told = np.load(out)
        at = {path.name: position for position, path in enumerate(copies.paths)}
        ends = [[at[str(x)] for x in told[side].tolist()] for side in ("one", "other")]
        pairs, closeness = _each_once(np.array(ends, np.int64).T, told["closeness"])
        return Found(pairs, closeness, float(told["seconds"]), float(told["cpu_seconds"]), {})


def run_ours(copies: Copies) -> Found:
    """What the product's own search finds in the same folder."""
    from curation.issues import duplicates

    started, cpu = time.perf_counter(), _cpu_seconds()
    result = duplicates.search(sorted(copies.paths[0].parent.iterdir()))
    seconds, used = time.perf_counter() - started, _cpu_seconds() - cpu
    ends = np.array([(one, other) for one, other, _ in result.pairs], np.int64).reshape(-1, 2)
    scores = np.array([score for *_, score in result.pairs], np.float64)
    pairs, closeness = _each_once(ends, scores)
    listed = np.array(list(result.candidates), np.int64).reshape(-1, 2)
    candidates, _ = _each_once(listed, np.zeros(len(listed)))
    proposed = figures.measure(copies, candidates)
    notes = {
        "candidates": len(candidates),
        "candidate_recall": proposed.recall.as_json(),
        "verifier_recall": figures.kept_by_verifier(copies, candidates, pairs).as_json(),
        "candidate_recall_per_change": {
            change: figure.as_json() for change, figure in proposed.per_change.items()
        },
        "stage_seconds": dict(result.seconds),
    }
    return Found(pairs, closeness, seconds, used, notes)


def measure(copies: Copies, pythons: dict[str, Path], *, ours: bool, repeats: int) -> list[Any]:
    """One row for each method: quality, and rates over some repeats in turns."""
    wide = {name: run_peer(name, python, copies, WIDEST[name]) for name, python in pythons.items()}
    best = {
        name: figures.best_threshold(copies, found.pairs, found.closeness)
        for name, found in wide.items()
    }
    # imagededup takes a distance, of which closeness is the negative.
    given = {name: -value if name == "imagededup" else value for name, value in best.items()}
    runs: dict[str, Callable[[], Found]] = {
        name: partial(run_peer, name, python, copies, given[name])
        for name, python in pythons.items()
    }
    if ours:
        runs = {"labelloop": partial(run_ours, copies), **runs}
    passes: dict[str, list[Found]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            passes[name].append(run())
    rows = []
    for name, repeated in passes.items():
        rows.append(_row(copies, name, repeated, given.get(name)))
        if name in wide:
            # At the threshold it comes with: read off the wide list, nothing to time again.
            usual = -USUAL[name] if name == "imagededup" else USUAL[name]
            kept = wide[name].pairs[wide[name].closeness >= usual]
            quality = figures.measure(copies, kept).as_json()
            rows.append({"method": name, "threshold": USUAL[name], "usual": True, **quality})
    return rows


def _row(copies: Copies, name: str, passes: list[Found], threshold: float | None) -> dict[str, Any]:
    rates = [len(copies.paths) / found.seconds for found in passes]
    cpu = [1000 * found.cpu_seconds / len(copies.paths) for found in passes]
    return {
        "method": name,
        "threshold": threshold,
        "usual": False,
        **figures.measure(copies, passes[-1].pairs).as_json(),
        "images_per_second": _median_and_range(rates),
        "cpu_ms_per_image": _median_and_range(cpu),
        **passes[-1].notes,
    }


def _median_and_range(values: list[float]) -> dict[str, Any]:
    return {
        "value": float(np.median(values)),
        "n": len(values),
        "range": [min(values), max(values)],
    }


def _each_once(
    pairs: NDArray[np.int64], closeness: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pairs with the lower end first, each once with its greatest closeness, none with itself."""
    apart = pairs[:, 0] != pairs[:, 1]
    pairs, closeness = np.sort(pairs[apart], axis=1), closeness[apart]
    order = np.argsort(-closeness, kind="stable")
    kept, first = np.unique(pairs[order], axis=0, return_index=True)
    return kept, closeness[order][first]


def _cpu_seconds() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)


def as_table(name: str, copies: Copies, rows: list[Any]) -> str:
    """Markdown: the figures of a set, and then recall by change."""
    lines = [
        f"\n{name}: {len(copies.originals):,} images and {len(copies.planted)} planted copies\n",
        "| method | threshold | precision | recall | F1 | images/s | CPU ms/image |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [_share(row[key]) for key in ("precision", "recall", "f1")]
        rates = [_rate(row.get(key)) for key in ("images_per_second", "cpu_ms_per_image")]
        lines.append(f"| {' | '.join([row['method'], _threshold(row), *cells, *rates])} |")
    changes = list(dict.fromkeys(copies.changes[copy] for copy in sorted(copies.planted)))
    timed = [row for row in rows if not row["usual"]]
    lines += [
        "",
        f"| recall of | n | {' | '.join(row['method'] for row in timed)} |",
        "|---" * (2 + len(timed)) + "|",
    ]
    for change in sorted(changes):
        cells = [f"{row['per_change'][change]['value']:.2f}" for row in timed]
        lines.append(f"| {change} | {timed[0]['per_change'][change]['n']} | {' | '.join(cells)} |")
    lines.append("")
    for row in timed:
        lines.append(f"{row['method']}: {row['pairs_of_originals']} pairs of two originals")
        if "candidates" in row:
            stages = ", ".join(
                f"{key} {value:.1f} s" for key, value in row["stage_seconds"].items()
            )
            lines.append(
                f"  candidates: {row['candidates']:,}, recall {_share(row['candidate_recall'])}; "
                f"verifier: precision {_share(row['precision'])}, "
                f"recall of what was proposed {_share(row['verifier_recall'])}; {stages}"
            )
    return "\n".join(lines)


def _threshold(row: dict[str, Any]) -> str:
    if row["threshold"] is None:
        return "its own"
    return f"{row['threshold']:g}, {'its own' if row['usual'] else 'the best'}"


def _share(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "none"
    low, high = figure["ci"]
    return f"{figure['value']:.3f} ({low:.3f} to {high:.3f}; n = {figure['n']})"


def _rate(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return ""
    low, high = figure["range"]
    return f"{figure['value']:,.1f} ({low:,.1f} to {high:,.1f})"


def main() -> None:
    """Print a table for each set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=Path, help="keep the sets here; else they are temporary")
    parser.add_argument("--peers", type=Path, help="keep the peers' environments here")
    parser.add_argument("--only", nargs="+", choices=[*sets.RECIPES], help="these sets")
    parser.add_argument("--development", action="store_true", help="measure on development's sets")
    parser.add_argument("--without-ours", action="store_true", help="the peers only")
    parser.add_argument("--without-peers", action="store_true", help="ours only")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    arguments = parser.parse_args()
    names = arguments.only or (sets.DEVELOPMENT if arguments.development else sets.REPORT)
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        peers = (arguments.peers or Path(temporary) / "peers").resolve()
        pythons = (
            {}
            if arguments.without_peers
            else {name: prepare_peer(name, peers) for name in REQUIREMENTS}
        )
        for name in names:
            copies = sets.open_or_make(name, arguments.sets or Path(temporary) / "sets")
            rows = measure(
                copies, pythons, ours=not arguments.without_ours, repeats=arguments.repeats
            )
            report[name] = rows
            print(as_table(name, copies, rows), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
