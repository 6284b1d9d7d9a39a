"""How fast images become embeddings, and how near that is to what the machine allows.

Everything is measured in one run, in turns, so that a change of the machine's load meets all
alike: our rate; a plain timm loop (fp32 torch, DataLoader with two workers, the same
preprocessing); the bare decode rate (decode and resize on all cores, no model); the bare forward
rate (the same engine on ready pixels). Decoding and inferring share the cores, so the limit is
1 / (1/decode + 1/forward).

Images: 500-pixel JPEGs from crops of scikit-learn's two photos, and 112-pixel PNGs enlarged from
Fashion-MNIST (Debian package dataset-fashion-mnist; without it, small crops of the photos).

    python -m benchmarks.embedding --images 600 --repeats 5 --json
"""

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import timm.data
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.utils.data import DataLoader, Dataset

from curation import backbones, embeddings, inference
from curation.backbones import Backbone, Preprocessing
from curation.images import inspect, usable_cores
from curation.inference import Engine

FASHION = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")
ROWS = {
    "ours": "ours, images a second",
    "decode": "bare decode and resize",
    "forward": "bare forward",
    "limit": "limit 1 / (1/decode + 1/forward)",
    "plain_timm": "plain timm loop, fp32",
    "share_of_limit": "our share of the limit",
    "times_plain_timm": "times the plain loop",
    "cosine": "cosine to fp32, least / median",
}
PLAIN_PART = 4
"""The plain loop runs on every fourth image, since it is slow."""


class Photos(Dataset[torch.Tensor]):
    """What a plain timm loop reads: PIL and timm's own evaluation transform."""

    def __init__(self, paths: list[Path], how: Preprocessing) -> None:
        self.paths = paths
        self.transform = timm.data.create_transform(
            how.size,
            interpolation=how.interpolation,
            mean=how.mean,
            std=how.std,
            crop_pct=how.crop_fraction,
        )

    def __len__(self) -> int:
        """Number of images."""
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        """One normalised image (3, size, size)."""
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB"))


def make_jpegs(folder: Path, count: int) -> list[Path]:
    """Crops of real photos, 500 x 500, quality 90."""
    rng = np.random.default_rng(0)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    paths = []
    for index in range(count):
        side = int(rng.integers(200, 427))
        left, top = int(rng.integers(0, 641 - side)), int(rng.integers(0, 428 - side))
        crop = photos[index % 2].crop((left, top, left + side, top + side))
        path = folder / f"{index:05d}.jpg"
        crop.resize((500, 500), Image.Resampling.BICUBIC).save(path, quality=90)
        paths.append(path)
    return paths


def make_pngs(folder: Path, count: int) -> list[Path]:
    """Product photos, 112 x 112."""
    if FASHION.exists():
        raw = np.frombuffer(gzip.decompress(FASHION.read_bytes()), np.uint8, offset=16)
        sources = [Image.fromarray(image) for image in raw.reshape(-1, 28, 28)[:count]]
    else:
        sources = [Image.fromarray(crop) for crop in inference.probe(112, count)]
    paths = []
    for index, source in enumerate(sources):
        path = folder / f"{index:05d}.png"
        source.resize((112, 112), Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    return paths


def timed(work: Callable[[], int]) -> float:
    """Images a second."""
    started = time.perf_counter()
    return work() / (time.perf_counter() - started)


def ours(paths: list[Path], engine: Engine, fingerprint: str) -> int:
    """The product's own loop, shards written to disk included."""
    with tempfile.TemporaryDirectory() as folder:
        store = embeddings.EmbeddingStore(Path(folder), fingerprint)
        return embeddings.embed(enumerate(paths), store, engine).embedded


def plain(paths: list[Path], model: torch.nn.Module, how: Preprocessing) -> int:
    """The loop that one would write first."""
    done = 0
    with torch.inference_mode():
        for batch in DataLoader(Photos(paths, how), batch_size=32, num_workers=2):
            done += len(model(batch))
    return done


def decode(paths: list[Path], how: Preprocessing) -> int:
    """Decode and resize only, on all cores, one batch a task as in the loop."""
    groups = [paths[at : at + 4] for at in range(0, len(paths), 4)]
    with ThreadPoolExecutor(usable_cores()) as pool:
        return sum(pool.map(lambda group: len([inference.prepare(p, how) for p in group]), groups))


def forward(pixels: np.ndarray[Any, np.dtype[np.uint8]], engine: Engine, times: int) -> int:
    """The engine only, called from as many threads as there are cores."""
    groups = [pixels[at : at + engine.batch] for at in range(0, len(pixels), engine.batch)]
    with ThreadPoolExecutor(usable_cores()) as pool:
        return sum(pool.map(lambda group: len(engine.embed(group)), groups * times))


def figure(values: list[float]) -> dict[str, Any]:
    """Median over repeats with a bootstrap 95 % interval."""
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(values, (2000, len(values))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return {"value": float(np.median(values)), "n": len(values), "ci": [float(low), float(high)]}


def agreement(paths: list[Path], engine: Engine, backbone: Backbone) -> dict[str, float]:
    """Cosine of our embeddings to those of the plain loop's fp32 torch and timm transform."""
    model = backbones.load_model(backbone.name)
    pixels = np.stack([inference.prepare(path, backbone.preprocessing) for path in paths])
    found = engine.embed(pixels)
    with torch.inference_mode():
        loader = DataLoader(Photos(paths, backbone.preprocessing), batch_size=32)
        wanted = torch.nn.functional.normalize(torch.cat([model(batch) for batch in loader]))
    cosine = (found * wanted.numpy()).sum(axis=1)
    return {"min": float(cosine.min()), "median": float(np.median(cosine)), "n": len(cosine)}


def measure(
    paths: list[Path], engine: Engine, backbone: Backbone, *, repeats: int
) -> dict[str, Any]:
    """All rates over some repeats, in turns."""
    how = backbone.preprocessing
    model = backbones.load_model(backbone.name)
    ready = np.stack([inference.prepare(path, how) for path in paths[:64]])
    times = max(1, len(paths) // len(ready))
    runs: dict[str, Callable[[], int]] = {
        "ours": lambda: ours(paths, engine, backbone.fingerprint),
        "decode": lambda: decode(paths, how),
        "forward": lambda: forward(ready, engine, times),
        "plain_timm": lambda: plain(paths[::PLAIN_PART], model, how),
    }
    forward(ready, engine, 1)
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, work in runs.items():
            rates[name].append(timed(work))
    rounds = list(zip(*rates.values(), strict=True))
    limits = [1 / (1 / decoded + 1 / inferred) for _, decoded, inferred, _ in rounds]
    shares = [row[0] / limit for row, limit in zip(rounds, limits, strict=True)]
    return {
        **{name: figure(values) for name, values in rates.items()},
        "limit": figure(limits),
        "share_of_limit": figure(shares),
        "times_plain_timm": figure([row[0] / row[3] for row in rounds]),
        "cosine": agreement(paths[:128], engine, backbone),
    }


def inspection_rates(paths: list[Path]) -> dict[str, float]:
    """Files a second through `inspect`: all cores by threads, and one after the other."""
    with ThreadPoolExecutor(usable_cores()) as pool:
        threads = timed(lambda: len(list(pool.map(inspect, paths))))
    return {"threads": threads, "one_after_the_other": timed(lambda: len([*map(inspect, paths)]))}


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    backbone = backbones.open()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine = inference.open(backbone, cache=folder / "engine")
        report: dict[str, Any] = {"engine": engine.name, "cores": usable_cores()}
        for kind, make in (("jpeg-500", make_jpegs), ("png-112", make_pngs)):
            (folder / kind).mkdir()
            paths = make(folder / kind, arguments.images)
            report[kind] = measure(paths, engine, backbone, repeats=arguments.repeats)
            report[kind]["inspect"] = inspection_rates(paths)
    if arguments.json:
        print(json.dumps(report))
        return
    print(f"Engine {report['engine']}, {report['cores']} cores\n")
    print("| | 500 px JPEG | 112 px PNG |\n|---|---|---|")
    for name, says in ROWS.items():
        cells = [_cell(name, report[kind][name]) for kind in ("jpeg-500", "png-112")]
        print(f"| {says} | {cells[0]} | {cells[1]} |")


def _cell(name: str, found: dict[str, Any]) -> str:
    if name == "cosine":
        return f"{found['min']:.4f} / {found['median']:.4f} (n = {found['n']})"
    digits = 2 if name == "share_of_limit" else 1 if name == "times_plain_timm" else 0
    low, high = found["ci"]
    return f"{found['value']:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


if __name__ == "__main__":
    main()
