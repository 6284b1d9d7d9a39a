"""How fast fine-tuning goes, against the same network on random tensors and timm's own script.

Each program is a process of its own, all in turns in one run, so that a change of the machine's
load meets all alike: our trainer on image files, with its decoding, augmentation and checkpoints;
a bare loop of the same network, batch size and optimizer on one random batch, which is what the
machine allows; and timm's train.py on the same files, with its cheapest usual augmentation (random
crop and mirroring). Rates are those of the last epoch's pass; seconds are of the whole program,
from its start to the model on disk.

Images: 28-pixel PNGs of Fashion-MNIST (Debian package dataset-fashion-mnist) trained at 64 pixels,
and 500-pixel JPEGs, crops of scikit-learn's two photos, trained at 128 pixels.

    python -m benchmarks.training --images 2000 --repeats 5 --timm train.py --json

timm's script is not part of its package: it is the file train.py of timm's repository, in the
version that is installed. Without it that row is left out.
"""

import argparse
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from curation.images import usable_cores
from training.finetuning import network, trainer
from training.settings import FineTuneSettings

FASHION = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")
CLASSES = 10
SETS: dict[str, tuple[Callable[[Path, int], list[Path]], int]]
"""Maker and input size of each set of images; below."""


def settings(size: int, options: argparse.Namespace) -> FineTuneSettings:
    """What all three programs do, as far as each can be told."""
    return FineTuneSettings(
        input_size=size,
        batch_size=options.batch_size,
        epochs=options.epochs,
        head_warmup="none",
        batch_norm="trained",
        label_smoothing=0.1,
        class_weight="none",
        augmentation=options.augmentation,
    )


def make_pngs(folder: Path, count: int) -> list[Path]:
    """Fashion-MNIST as it is."""
    raw = np.frombuffer(gzip.decompress(FASHION.read_bytes()), np.uint8, offset=16)
    paths = []
    for index, image in enumerate(raw.reshape(-1, 28, 28)[:count]):
        paths.append(folder / f"{index:05d}.png")
        Image.fromarray(image).save(paths[-1])
    return paths


def make_jpegs(folder: Path, count: int) -> list[Path]:
    """Photos, 500 x 500."""
    from benchmarks import embedding

    return embedding.make_jpegs(folder, count)


SETS = {"png-28": (make_pngs, 64), "jpeg-500": (make_jpegs, 128)}


def ours(folder: Path, size: int, options: argparse.Namespace) -> float:
    """Our trainer on all files of a folder; images a second of the last epoch."""
    paths = sorted(folder.glob("*/*"))
    targets = np.array([int(path.parent.name) for path in paths])
    with tempfile.TemporaryDirectory() as run:
        *_, last = trainer.run(
            trainer.Rows(paths, targets),
            None,
            classes=[str(number) for number in range(CLASSES)],
            task="single-label",
            settings=settings(size, options),
            seed=0,
            folder=Path(run),
        )
    return last.images_per_second


def tensors(folder: Path, size: int, options: argparse.Namespace) -> float:
    """The bare loop; as many steps an epoch as the files make."""
    wanted = settings(size, options)
    module = network.build(wanted, CLASSES, seed=0)
    network.train_mode(module, wanted)
    optimizer = torch.optim.AdamW(network.parameter_groups(module, wanted), fused=True)
    images = torch.randn(wanted.batch_size, 3, size, size)
    images = images.contiguous(memory_format=torch.channels_last)
    truth = torch.arange(wanted.batch_size) % CLASSES
    steps = -(-len(list(folder.glob("*/*"))) // wanted.batch_size)
    seconds = 0.0
    for _ in range(wanted.epochs):
        begun = time.perf_counter()
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            loss = torch.nn.functional.cross_entropy(module(images), truth, label_smoothing=0.1)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(module.parameters(), wanted.clip)
            optimizer.step()
        seconds = time.perf_counter() - begun
    return steps * wanted.batch_size / seconds


PROGRAMS = {"ours": ours, "tensors": tensors}


def measure(
    program: str, folder: Path, size: int, options: argparse.Namespace
) -> tuple[float, float]:
    """Images a second of the last epoch, and seconds of the whole program."""
    begun = time.perf_counter()
    if program == "timm":
        rate = _by_timm(folder, size, options)
    else:
        command = [sys.executable, "-m", "benchmarks.training", "--program", program]
        given = ("batch_size", "epochs", "augmentation")
        told = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in given]
        command += [*told, "--folder", str(folder), "--size", str(size)]
        rate = float(_output(command, cwd=Path(__file__).parents[1]))
    return rate, time.perf_counter() - begun


def _by_timm(folder: Path, size: int, options: argparse.Namespace) -> float:
    """timm's script; its log's average over the last epoch."""
    wanted = settings(size, options)
    cores = usable_cores()
    with tempfile.TemporaryDirectory() as run:
        text = _output(
            [
                *(sys.executable, str(options.timm.absolute()), "--data-dir", str(folder.parent)),
                *("--train-split", folder.name, "--val-split", "few", "--device", "cpu"),
                *("--model", wanted.backbone, "--num-classes", str(CLASSES), "--channels-last"),
                *(
                    "--input-size",
                    "3",
                    str(size),
                    str(size),
                    "--batch-size",
                    str(wanted.batch_size),
                ),
                *("--epochs", str(wanted.epochs), "--warmup-epochs", "0", "--opt", "adamw"),
                *("--lr", "0.0002", "--clip-grad", str(wanted.clip), "--smoothing", "0.1"),
                *("--scale", "0.8", "1.0", "--color-jitter", "0", "--workers", str(cores)),
                *("--log-interval", "1", "--checkpoint-hist", "1", "--output", run),
            ],
            cwd=Path(run),
        )
    rates = re.findall(r"\(\s*[\d.]+s,\s*([\d.]+)/s\)", text)
    if not rates:
        raise SystemExit(f"timm's script printed no rates:\n{text[-2000:]}")
    return float(rates[-1])


def _output(command: list[str], *, cwd: Path) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}")
    return done.stdout


def compare(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """All programs on one set, in turns."""
    from benchmarks.embedding import figure  # not at the top, which the programs import, too

    make, size = SETS[name]
    programs = ["ours", "tensors", *(["timm"] if options.timm else [])]
    found: dict[str, list[tuple[float, float]]] = {program: [] for program in programs}
    with tempfile.TemporaryDirectory() as home:
        folder, few = Path(home) / "train", Path(home) / "few"
        names = [str(number) for number in range(CLASSES)]
        for place in (folder, few):
            for label in names:
                (place / label).mkdir(parents=True)
        raw = Path(home) / "raw"
        raw.mkdir()
        for index, path in enumerate(make(raw, options.images)):
            label = names[index % CLASSES]
            if index < CLASSES:
                (few / label / path.name).write_bytes(path.read_bytes())
            path.rename(folder / label / path.name)
        for _ in range(options.repeats):
            for program in programs:
                found[program].append(measure(program, folder, size, options))
                print(name, program, found[program][-1], file=sys.stderr)
    report: dict[str, Any] = {
        program: {
            "images_per_second": figure([rate for rate, _ in pairs]),
            "seconds": figure([seconds for _, seconds in pairs]),
        }
        for program, pairs in found.items()
    }
    for other in programs[1:]:
        pairs = zip(found["ours"], found[other], strict=True)
        rates, wholes = zip(*[(a[0] / b[0], b[1] / a[1]) for a, b in pairs], strict=True)
        report[other] |= {"times_rate": figure(rates), "times_whole": figure(wholes)}
    return report


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--augmentation", default="light")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--timm", type=Path, help="timm's train.py")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--program", choices=list(PROGRAMS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.program:
        print(PROGRAMS[options.program](options.folder, options.size, options))
        return
    report = {name: compare(name, options) for name in options.sets.split(",")}
    if options.json:
        print(json.dumps(report))
        return
    print("| | | Images a second | Seconds in all | ours, times as fast: the epoch | in all |")
    print("|---|---|---|---|---|---|")
    for name, rows in report.items():
        for program in (known for known in ("ours", "tensors", "timm") if known in rows):
            cells = [_cell(rows[program][key]) for key in ("images_per_second", "seconds")]
            times = [rows[program].get(key) for key in ("times_rate", "times_whole")]
            cells += [_cell(found, digits=2) if found else "" for found in times]
            print(f"| {name} | {program} | {' | '.join(cells)} |")


def _cell(found: dict[str, Any], *, digits: int = 0) -> str:
    low, high = found["ci"]
    return f"{found['value']:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


if __name__ == "__main__":
    main()
