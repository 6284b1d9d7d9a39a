"""How the threads of a training should wait for each other, alone and beside busy programs.

torch's threads meet after each part of a step. Who is there first turns in a loop for a while and
then sleeps: a long loop answers at once, and holds the core that the awaited thread needs when
something else runs as well. The network is trained on one random batch, each time in a process of
its own, since the library reads its setting once; the ways take turns. The last way tells what
keeping freed memory saves.

    python -m benchmarks.threads --repeats 5 --json
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from training.finetuning import memory, network
from training.settings import FineTuneSettings

OURS = "10,000 turns"
WAYS = {
    "300,000 turns, the library's": {"GOMP_SPINCOUNT": "300000"},
    "20,000 turns": {"GOMP_SPINCOUNT": "20000"},
    OURS: {"GOMP_SPINCOUNT": "10000"},
    "5,000 turns": {"GOMP_SPINCOUNT": "5000"},
    "asleep": {"OMP_WAIT_POLICY": "PASSIVE"},
    f"{OURS}, freed memory given back": {"GOMP_SPINCOUNT": "10000"},
}
BATCH, SIZE, CLASSES = 64, 64, 10


def train(*, seconds: float, keeps: bool) -> float:
    """Images a second of the bare loop."""
    if keeps:
        memory.keep_freed()
    wanted = FineTuneSettings(input_size=SIZE, batch_size=BATCH, batch_norm="trained")
    module = network.build(wanted, CLASSES, seed=0)
    network.train_mode(module, wanted)
    optimizer = torch.optim.AdamW(network.parameter_groups(module, wanted), fused=True)
    images = torch.randn(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    truth = torch.arange(BATCH) % CLASSES

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(module(images), truth).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    step()
    begun, steps = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        step()
        steps += 1
    return steps * BATCH / (time.perf_counter() - begun)


def measure(way: str, *, beside: int, seconds: float) -> float:
    """The rate of a process of its own, beside so many busy programs."""
    quiet = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}
    given = {key: value for key, value in os.environ.items() if key not in quiet} | WAYS[way]
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(beside)]
    try:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "benchmarks.threads",
                "--program",
                way,
                "--seconds",
                f"{seconds}",
            ],
            cwd=Path(__file__).parents[1],
            env=given,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    finally:
        for one in busy:
            one.kill()
            one.wait()
    return float(done.stdout)


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--beside", default="0,3,7", help="how many busy programs run as well")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--program", choices=list(WAYS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.program:
        keeps = not options.program.endswith("given back")
        print(train(seconds=options.seconds, keeps=keeps))
        return
    report = _compare(options)
    if options.json:
        print(json.dumps(report))
        return
    print("| Threads wait | " + " | ".join(f"beside {beside}" for beside in report) + " |")
    print("|---" * (len(report) + 1) + "|")
    for way in WAYS:
        cells = [_cell(rows[way]) for rows in report.values()]
        print(f"| {way} | {' | '.join(cells)} |")


def _compare(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    from benchmarks.embedding import figure  # not at the top, which the programs import, too

    report: dict[str, dict[str, Any]] = {}
    for beside in map(int, options.beside.split(",")):
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(options.repeats):
            for way, rates in found.items():
                rates.append(measure(way, beside=beside, seconds=options.seconds))
                print(beside, way, round(rates[-1]), file=sys.stderr)
        ours = found[OURS]
        report[str(beside)] = {
            way: {
                "images_per_second": figure(rates),
                "ours_times": figure([a / b for a, b in zip(ours, rates, strict=True)]),
            }
            for way, rates in found.items()
        }
    return report


def _cell(found: dict[str, Any]) -> str:
    rate, times = found["images_per_second"], found["ours_times"]
    low, high = rate["ci"]
    return f"{rate['value']:.0f} ({low:.0f} to {high:.0f}), ours {times['value']:.2f} times"


if __name__ == "__main__":
    main()
