"""On the sample: how much better are chosen labels than random ones from the same start?

    python -m benchmarks.sample_gain [--json] [--seeds 20] [--rounds 10] [--budget 30]

Prints a Markdown table: balanced accuracy on test.csv, mean over the rounds and at the end, and the
difference to random with a 95 % interval from paired seeds. Nothing is chosen by what it shows:
the defaults of strategies and head come from other data.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from training.rounds import curves as learning_curves
from training.rounds import simulate, truth
from ui.cli.simulate import default_cache

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
STRATEGIES = ("random", "margin", "max-herding", "uncertainty-herding", "auto")


def measure(plan: simulate.Plan, *, cache: Path) -> dict[str, Any]:
    """The curves' summary, what to know about them, and how long it took."""
    begun = time.monotonic()
    trial = truth.load(SAMPLE / "truth.csv", test=SAMPLE / "test.csv", cache=cache)
    loaded = time.monotonic()
    found = simulate.run(trial, plan)
    return {
        "seeds": plan.seeds,
        "rounds": plan.rounds,
        "budget": plan.budget,
        "labels": list(found[0].labels),
        "pool": len(trial.answers),
        "summary": learning_curves.summarise(found),
        "notes": simulate.notes(trial, plan, found),
        "seconds": {"load": loaded - begun, "simulate": time.monotonic() - loaded},
    }


def table(result: dict[str, Any]) -> list[str]:
    """The result as Markdown."""
    labels = result["labels"]
    lines = [
        f"Balanced accuracy on test.csv in %, {labels[0]} to {labels[-1]} labels in "
        f"{len(labels)} rounds, n = {result['seeds']} paired seeds, the same random start for all; "
        "95 % bootstrap intervals over seeds.",
        "",
        "| Strategy | n | Mean over rounds | Final | Mean, over random | Final, over random |",
        "|---|---:|---|---|---|---|",
    ]
    for row in result["summary"]:
        mean, final = row["mean_balanced_accuracy"], row["final_balanced_accuracy"]
        over = row["difference_to_random"]
        cells = [learning_curves.shown(mean), learning_curves.shown(final)]
        cells += [
            learning_curves.shown(over[key], signed=True) if over else ""
            for key in ("mean", "final")
        ]
        lines.append(f"| {row['strategy']} | {mean['n']} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--budget", type=int, default=30)
    parser.add_argument("--strategies", default=",".join(STRATEGIES))
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    plan = simulate.Plan(
        rounds=given.rounds,
        budget=given.budget,
        seeds=given.seeds,
        strategies=tuple(given.strategies.split(",")),
    )
    result = measure(plan, cache=given.cache or default_cache())
    if given.json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        print("\n".join(table(result)))


if __name__ == "__main__":
    main()
