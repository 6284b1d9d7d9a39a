"""Candidates for copies among a million pictures: time, memory, and recall of planted copies.

Pictures are drawn: each mixes two photos of Fashion-MNIST's t10k file (Debian package
dataset-fashion-mnist), each bent, moved and scaled by chance, at 112 pixels, with noise. They all
look alike, as in an industrial dataset. Copies of some are planted by every change that leaves
another thumbnail; copies with the same pixels are found by hash long before. Only thumbnails are
kept, in a file that the search reads as it reads a project's, a block at a time.

A planted pair counts as found where it is among the candidates. Beside the large set, a set just
small enough for the exact search is searched both ways: the share of copies found, and how far the
level of look-alikes, which the verifier weighs, is off. Settings were chosen on the train file.

Wall time is what the machine gave; processor time says what the work takes on a busy machine. Peak
memory is that of the whole process after the large search; the drawing runs in processes of its
own. Drawing a million pictures takes some minutes and 4 GB in the folder for temporary files.

    python -m benchmarks.duplicates_at_scale --images 1000000 --json FILE
"""

import argparse
import io
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curation.copies import candidates, hashing, search
from curation.copies.candidates import Candidates
from curation.copies.planting import CHANGES
from curation.images import usable_cores
from curation.scan import thumbnail_of
from sample_data.sources import find_package, read

SIDE = 112
THUMB = 64
BLOCK = 2_000
POOR_QUALITY = 30
PLANTED = tuple(
    name
    for name, change in CHANGES.items()
    if change.store in ("usual", "poor") and not change.colour_only
)


@dataclass(frozen=True)
class Plan:
    """Where pictures and copies go.

    Attributes:
        rows: (N - C,) of the pictures that are no copies, by number.
        copies: (C, 3) number of the original, row of the copy, position in `PLANTED`.
        seed: of the pictures.
    """

    rows: NDArray[np.int64]
    copies: NDArray[np.int64]
    seed: int


@dataclass(frozen=True)
class Timed:
    """One search.

    Attributes:
        seconds: by the clock.
        before_search: of these, until the first block of pictures was searched.
        processor: seconds of processor time of all threads.
    """

    seconds: float
    before_search: float
    processor: float


class Thumbnails:
    """Rows of a file, read when they are asked for; the file stays mapped for no longer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = len(np.load(path, mmap_mode="r"))

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        """(n, 64, 64) grey levels."""
        return np.array(np.load(self._path, mmap_mode="r")[rows])


def make_plan(count: int, *, each: int, seed: int) -> Plan:
    """A plan for `count` pictures, among them `each` copies by every change."""
    rng = np.random.default_rng(seed)
    copies = each * len(PLANTED)
    rows = rng.permutation(count)
    originals = rng.choice(count - copies, copies, replace=False)
    kinds = np.arange(copies) % len(PLANTED)
    return Plan(rows[copies:], np.stack([originals, rows[:copies], kinds], axis=1), seed)


def draw(path: Path, plan: Plan) -> None:
    """Write the thumbnails (N, 64, 64) of all pictures and copies."""
    shape = (len(plan.rows) + len(plan.copies), THUMB, THUMB)
    np.lib.format.open_memmap(path, "w+", np.uint8, shape)  # type: ignore[no-untyped-call]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(usable_cores(), mp_context=context) as pool:
        tasks = [
            pool.submit(_draw_block, path, plan.seed, first, plan.rows[first : first + BLOCK], here)
            for first in range(0, len(plan.rows), BLOCK)
            for here in [plan.copies[plan.copies[:, 0] // BLOCK == first // BLOCK]]
        ]
        for task in tasks:
            task.result()


def _draw_block(
    path: Path, seed: int, first: int, rows: NDArray[np.int64], copies: NDArray[np.int64]
) -> None:
    cv2.setNumThreads(1)
    rng = np.random.default_rng([seed, first])
    copied = {int(number): (int(row), PLANTED[kind]) for number, row, kind in copies}
    out = np.load(path, mmap_mode="r+")
    for number, row in enumerate(rows.tolist(), start=first):
        picture = _picture(rng)
        out[row] = _thumbnail(picture)
        if number in copied:
            to, change = copied[number]
            out[to] = _thumbnail(_copy(picture, change, rng))
    out.flush()


def _picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """(112, 112): two photos, bent and mixed."""
    photos = _photos()
    share = rng.uniform(0.5, 0.9)
    mixed = np.zeros((SIDE, SIDE), np.float32)
    for photo, weight in zip(rng.integers(0, len(photos), 2), (share, 1 - share), strict=True):
        bent = (np.eye(2) + rng.normal(0, 0.15, (2, 2))) * SIDE / 28
        to = (SIDE - 1) / 2 + rng.normal(0, 5, 2)
        warp = np.column_stack([bent, to - bent @ (13.5, 13.5)])
        mixed += weight * cv2.warpAffine(photos[photo], warp, (SIDE, SIDE))
    noise = rng.standard_normal((SIDE, SIDE), np.float32) * 2
    return np.clip(mixed + noise, 0, 255).astype(np.uint8)


def _copy(picture: NDArray[np.uint8], change: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    image = Image.fromarray(picture).convert("RGB")
    made = CHANGES[change].make(image, rng).convert("L")
    if CHANGES[change].store == "poor":
        stored = io.BytesIO()
        made.save(stored, "JPEG", quality=POOR_QUALITY)
        made = Image.open(stored)
    return np.asarray(made)


def _thumbnail(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return thumbnail_of(np.repeat(grey[:, :, None], 3, axis=2))


@lru_cache(maxsize=1)
def _photos() -> NDArray[np.uint8]:
    """All photos (N, 28, 28), white on black."""
    return np.asarray(255 - read(find_package(), "t10k").pixels)


def timed(work: Callable[..., Candidates], thumbs: Thumbnails) -> tuple[Candidates, Timed]:
    """The candidates, with as many neighbours as the search in a project asks for."""
    first: list[float] = []

    def told(done: int) -> None:
        if not first:
            first.append(time.monotonic())

    begun, processor = time.monotonic(), time.process_time()
    found = work(thumbs, neighbours=search.NEIGHBOURS, progress=told)
    ended = time.monotonic()
    return found, Timed(ended - begun, first[0] - begun, time.process_time() - processor)


def recall(found: Candidates, plan: Plan) -> dict[str, float]:
    """Share of the planted pairs that are among the candidates: of all, and by change."""
    count = len(plan.rows) + len(plan.copies)
    originals, copies = plan.rows[plan.copies[:, 0]], plan.copies[:, 1]
    hit = np.isin(_keys(originals, copies, count), _keys(found.moving, found.fixed, count))
    shares = {"all": float(hit.mean())}
    for kind, name in enumerate(PLANTED):
        shares[name] = float(hit[plan.copies[:, 2] == kind].mean())
    return shares


def _keys(a: NDArray[np.int64], b: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    keys: NDArray[np.int64] = np.minimum(a, b) * count + np.maximum(a, b)
    return keys


def level_error(found: Candidates, exact: Candidates, count: int) -> dict[str, float]:
    """How far the level of the pairs that both searches propose is off, on Fisher's scale."""
    ours, theirs = (_keys(pairs.moving, pairs.fixed, count) for pairs in (found, exact))
    _, here, there = np.intersect1d(ours, theirs, return_indices=True)
    apart = found.level[here] - exact.level[there]
    return {
        "mean": float(apart.mean()),
        "deviation": float(apart.std()),
        "deviation of levels": float(exact.level.std()),
        "shared pairs": len(here) / len(exact),
    }


def beside(folder: Path, count: int, *, each: int, seed: int) -> dict[str, Any]:
    """Both searches on one small set."""
    plan, path = make_plan(count, each=each, seed=seed), folder / "small.npy"
    draw(path, plan)
    thumbs = Thumbnails(path)
    hashed, by_hashes = timed(hashing.propose, thumbs)
    exact, exactly = timed(candidates.propose, thumbs)
    return {
        "images": count,
        "planted": len(plan.copies),
        "hashes": {**asdict(by_hashes), "recall": recall(hashed, plan)},
        "exact": {**asdict(exactly), "recall": recall(exact, plan)},
        "level": level_error(hashed, exact, count),
    }


def at_scale(folder: Path, count: int, *, each: int, seed: int) -> dict[str, Any]:
    """The search by hashes on the large set."""
    plan, path = make_plan(count, each=each, seed=seed), folder / "large.npy"
    begun = time.monotonic()
    draw(path, plan)
    drawn, load = time.monotonic() - begun, os.getloadavg()[1]
    found, took = timed(hashing.propose, Thumbnails(path))
    return {
        "images": count,
        "planted": len(plan.copies),
        "drawing": drawn,
        **asdict(took),
        "images a second": count / took.seconds,
        "candidates": len(found),
        "peak GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "cores": usable_cores(),
        "load before": load,
        "load after": os.getloadavg()[2],
        "recall": recall(found, plan),
    }


def main() -> None:
    """Print both tables; write all figures to a file where one is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument(
        "--beside",
        type=int,
        default=candidates.EXACT_BELOW - 1,
        help="pictures that are searched both ways; 0 for none",
    )
    parser.add_argument("--each", type=int, default=100, help="copies by each change")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    least = 2 * arguments.each * len(PLANTED)
    if arguments.images < least or 0 < arguments.beside < least:
        parser.error(f"{arguments.each} copies by each change need {least:,} pictures at least")
    if arguments.beside >= candidates.EXACT_BELOW:
        parser.error(f"the exact search takes fewer than {candidates.EXACT_BELOW:,} pictures")
    with tempfile.TemporaryDirectory() as name:
        large = at_scale(Path(name), arguments.images, each=arguments.each, seed=arguments.seed)
    _print_large(large)
    report = {"large": large}
    if arguments.beside:
        with tempfile.TemporaryDirectory() as name:
            small = beside(
                Path(name), arguments.beside, each=arguments.each, seed=arguments.seed + 1
            )
        _print_beside(small)
        report["beside"] = small
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


def _print_large(found: dict[str, Any]) -> None:
    print(f"{found['images']:,} pictures, {found['planted']:,} planted, {found['cores']} cores\n")
    print("| | |")
    print("|---|---|")
    print(f"| drawing, s | {found['drawing']:.0f} |")
    print(f"| hashes and inverted file, s | {found['before_search']:.0f} |")
    print(f"| search, s | {found['seconds'] - found['before_search']:.0f} |")
    print(f"| candidates in all, s | {found['seconds']:.0f} |")
    print(f"| processor time, s | {found['processor']:.0f} |")
    print(f"| pictures a second | {found['images a second']:.0f} |")
    print(f"| candidates | {found['candidates']:,} |")
    print(f"| peak memory, GB | {found['peak GB']:.2f} |")
    print(f"| load of the machine before / after | {_pair(found, 'load before', 'load after')} |")
    print(f"| recall of planted copies | {found['recall']['all']:.4f} |")
    for name in PLANTED:
        print(f"| - {name} | {found['recall'][name]:.3f} |")


def _pair(found: dict[str, Any], *names: str) -> str:
    return " / ".join(f"{found[name]:.1f}" for name in names)


def _print_beside(found: dict[str, Any]) -> None:
    ways = ("hashes", "exact")
    print(f"\n{found['images']:,} pictures, {found['planted']:,} planted\n")
    print(f"| | {' | '.join(ways)} |")
    print("|---|---|---|")
    for key in ("seconds", "processor"):
        print(f"| {key} | {' | '.join(f'{found[way][key]:.0f}' for way in ways)} |")
    for name in ("all", *PLANTED):
        cells = " | ".join(f"{found[way]['recall'][name]:.4f}" for way in ways)
        print(f"| recall, {name} | {cells} |")
    level = found["level"]
    print(
        f"\nLevel of look-alikes by hashes less the exact one: {level['mean']:+.3f} on average, "
        f"deviation {level['deviation']:.3f} (levels deviate by {level['deviation of levels']:.3f})"
        f"; {level['shared pairs']:.1%} of the exact candidates are found."
    )


if __name__ == "__main__":
    main()
