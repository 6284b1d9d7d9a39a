"""Bad images: how well planted ones are ranked and flagged, and how fast, beside cleanvision.

Six kinds of defects are planted in real images: dark, bright (by exposure, gamma or a veil), blurry
(Gaussian of 3 to 8 pixels in a picture 200 wide), low-information (bare backdrops, enlargements of
a few pixels), odd size and odd aspect. AUROC is that of a kind's planted images against the
untouched ones, with a bootstrap 95 % interval; the difference is paired. Flagged are the images
beyond either program's own default threshold.

Sets: Fashion-MNIST t10k enlarged to 112 pixels (Debian package dataset-fashion-mnist), textile
images of even number (package conformal-clip-data), colour crops of scikit-learn's two photos.
Thresholds were chosen on other images: Fashion-MNIST train, textiles of odd number, scikit-image's
photos.

Speed is from files on disk to the table of all kinds, on all cores, in turns; imports and the start
of a process are not counted. Processor time is given beside, which other load on the machine moves
less. Bare decoding of the same files by as many threads is the limit of what reads every picture.
cleanvision (AGPL) runs by command in a virtual environment of its own.

    python -m benchmarks.quality --peers DIR --json
"""

import argparse
import gzip
import importlib.util
import json
import math
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from sklearn.datasets import load_sample_images
from sklearn.metrics import roc_auc_score

from curation.appearance import APPEARANCE
from curation.errors import UnreadableImage
from curation.images import decode, usable_cores
from curation.issues import quality
from curation.issues.quality import Files
from curation.issues.table import Kind
from curation.scan import READ_AT, scan_many

FASHION = Path("/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")
PEER = "cleanvision"
LIMIT = "bare decoding"
PEER_NAMES: dict[Kind, str] = {
    "dark": "dark",
    "bright": "light",
    "blurry": "blurry",
    "low-information": "low_information",
    "odd-size": "odd_size",
    "odd-aspect": "odd_aspect_ratio",
}
PEER_PROGRAM = """
import json, os, sys, time
from pathlib import Path
from cleanvision import Imagelab
if __name__ == "__main__":
    names = sys.argv[2:]
    before = sum(os.times()[:4])
    start = time.perf_counter()
    lab = Imagelab(data_path=sys.argv[1], verbose=False)
    lab.find_issues(issue_types={name: {} for name in names}, verbose=False)
    seconds = time.perf_counter() - start
    busy = sum(os.times()[:4]) - before
    table = lab.issues
    table.index = [Path(path).name for path in table.index]
    found = {
        name: {"score": table[f"{name}_score"].to_dict(),
               "is_issue": {k: bool(v) for k, v in table[f"is_{name}_issue"].items()}}
        for name in names
    }
    Path("found.json").write_text(json.dumps({"seconds": seconds, "busy": busy, "found": found}))
"""

Pixels = NDArray[np.float64]
Found = dict[Kind, tuple[NDArray[np.float64], NDArray[np.bool_]]]
"""Badness and flags (N,) by kind."""


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock, and of all cores' work."""

    seconds: float
    busy: float


# Images -------------------------------------------------------------------------------------------


def fashion(count: int, rng: np.random.Generator) -> list[Image.Image]:
    """Product photos, 112 x 112, grey."""
    raw = np.frombuffer(gzip.decompress(FASHION.read_bytes()), np.uint8, offset=16)
    photos = 255 - raw.reshape(-1, 28, 28)
    chosen = rng.choice(len(photos), count, replace=False)
    return [Image.fromarray(photos[i]).resize((112, 112), Image.Resampling.BICUBIC) for i in chosen]


def textiles(count: int, rng: np.random.Generator) -> list[Image.Image]:
    """Woven cloth that all looks alike, 250 x 250."""
    package = importlib.util.find_spec("conformal_clip_data")
    if package is None or package.origin is None:
        raise SystemExit("The textile images are missing: pip install conformal-clip-data")
    folder = Path(package.origin).parent / "data" / "textile_images"
    paths = sorted(path for path in folder.rglob("*") if path.suffix in {".jpg", ".png"})[::2]
    return [Image.open(paths[i]).convert("L") for i in rng.permutation(len(paths))[:count]]


def crops(count: int, rng: np.random.Generator) -> list[Image.Image]:
    """Parts of two colour photos, 500 x 375."""
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    found = []
    for index in range(count):
        width = int(rng.integers(200, 500))
        height = width * 3 // 4
        left, top = int(rng.integers(0, 641 - width)), int(rng.integers(0, 428 - height))
        crop = photos[index % 2].crop((left, top, left + width, top + height))
        found.append(crop.resize((500, 375), Image.Resampling.BICUBIC))
    return found


SETS: dict[str, Callable[[int, np.random.Generator], list[Image.Image]]] = {
    "Fashion-MNIST": fashion,
    "textiles": textiles,
    "photo crops": crops,
}


# Defects ------------------------------------------------------------------------------------------


def _levels(photo: Image.Image) -> Pixels:
    return np.asarray(photo, np.float64)


def _photo(levels: Pixels) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def darken(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """At 5 to 25 % of its brightness, with a little noise."""
    levels = _levels(photo) * rng.uniform(0.05, 0.25)
    return _photo(levels + rng.normal(0, 1.5, levels.shape))


def brighten(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Overexposed, lifted by gamma, or behind a veil of light, one as often as another."""
    levels, way = _levels(photo), int(rng.integers(3))
    if way == 0:
        return _photo(levels * rng.uniform(2, 4) + rng.uniform(20, 80))
    if way == 1:
        return _photo(255 * (levels / 255) ** rng.uniform(0.1, 0.3))
    share = rng.uniform(0.1, 0.3)
    return _photo(levels * share + 250 * (1 - share))


def blur(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Out of focus, with a little noise."""
    radius = rng.uniform(3, 8) * math.sqrt(photo.width / 200)
    levels = _levels(photo.filter(ImageFilter.GaussianBlur(radius)))
    return _photo(levels + rng.normal(0, rng.uniform(0, 4), levels.shape))


def empty(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A bare backdrop in uneven light, or a dozen pixels enlarged."""
    if rng.random() < 0.5:
        left, top = (int(rng.integers(0, side - 12)) for side in photo.size)
        part = photo.crop((left, top, left + 12, top + 12))
        return part.resize(photo.size, Image.Resampling.BICUBIC)
    rows, columns = np.mgrid[-1 : 1 : photo.height * 1j, -1 : 1 : photo.width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    slope = (np.cos(angle) * columns + np.sin(angle) * rows) * rng.uniform(0, 15)
    levels = rng.uniform(60, 230) + slope + rng.normal(0, rng.uniform(0, 2), slope.shape)
    return _photo(levels).convert(photo.mode)


def resize(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A third to a half of its sides, or two to three times."""
    factor = rng.uniform(2, 3) ** rng.choice([-1, 1])
    size = (round(photo.width * factor), round(photo.height * factor))
    return photo.resize(size, Image.Resampling.BICUBIC)


def stretch(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A strip: one side cut to a third or a sixth of the other."""
    short = round(max(photo.size) / rng.uniform(3, 6))
    size = (photo.width, short) if rng.random() < 0.5 else (short, photo.height)
    return photo.crop((0, 0, *size))


DEFECTS: dict[Kind, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "dark": darken,
    "bright": brighten,
    "blurry": blur,
    "low-information": empty,
    "odd-size": resize,
    "odd-aspect": stretch,
}


def plant(
    photos: list[Image.Image], each: int, folder: Path, rng: np.random.Generator
) -> NDArray[np.str_]:
    """Writes JPEGs, of which the first ones have defects; what is wrong with each, (N,)."""
    planted = [kind for kind in DEFECTS for _ in range(each)]
    wrong = np.array(planted + [""] * (len(photos) - len(planted)), dtype="U20")
    for index, (photo, kind) in enumerate(zip(photos, wrong.tolist(), strict=True)):
        bad = DEFECTS[kind](photo, rng) if kind else photo
        bad.save(folder / f"{index:05d}.jpg", quality=92)
    return wrong


# The two programs ---------------------------------------------------------------------------------


def ours(folder: Path) -> tuple[Cost, Found]:
    """What it took from files to verdicts, and these."""
    before = time.process_time()
    start = time.perf_counter()
    paths = sorted(folder.iterdir())
    appearance = np.zeros(len(paths), APPEARANCE)
    for index, row in enumerate(scan_many(paths)):
        if isinstance(row, UnreadableImage):
            raise row
        for name in APPEARANCE.names or ():
            appearance[name][index] = row[name]
    verdicts = quality.judge(appearance, _files(paths))
    cost = Cost(time.perf_counter() - start, time.process_time() - before)
    return cost, {kind: (verdicts[kind].score, verdicts[kind].is_issue) for kind in DEFECTS}


def bare(folder: Path) -> Cost:
    """What it takes to decode the files as `scan_many` does, and nothing else."""
    before = time.process_time()
    start = time.perf_counter()
    paths = sorted(folder.iterdir())
    count = usable_cores()
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(_decode, [paths[at::count] for at in range(count)]))
    return Cost(time.perf_counter() - start, time.process_time() - before)


def _decode(paths: list[Path]) -> None:
    for path in paths:
        np.asarray(decode(path, at_least=READ_AT, keep_grey=True))


def _files(paths: list[Path]) -> Files:
    """What the catalog would know from the import."""
    sizes, modes = [], []
    for path in paths:
        with Image.open(path) as image:
            sizes.append(image.size)
            modes.append(image.mode)
    width, height = np.array(sizes, np.int64).T
    ones = np.ones_like(width)
    return Files(width, height, np.array(modes), frames=ones, orientation=ones)


def peer(folder: Path, python: Path) -> tuple[Cost, Found]:
    """The same by cleanvision; it scores good images high, so its scores are turned round."""
    with tempfile.TemporaryDirectory() as name:
        program = Path(name) / "peer.py"
        program.write_text(PEER_PROGRAM)
        command = [str(python), str(program), str(folder), *PEER_NAMES.values()]
        subprocess.run(command, cwd=name, check=True, capture_output=True)
        report = json.loads((Path(name) / "found.json").read_text())
    files = [path.name for path in sorted(folder.iterdir())]
    found: Found = {}
    for kind, theirs in PEER_NAMES.items():
        table = report["found"][theirs]
        found[kind] = (
            np.array([1 - table["score"][file] for file in files]),
            np.array([table["is_issue"][file] for file in files]),
        )
    return Cost(report["seconds"], report["busy"]), found


def install_peer(folder: Path) -> Path:
    """The Python of cleanvision's own virtual environment, made where it is missing."""
    home = folder / PEER
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", PEER], check=True)
    return python


# Figures ------------------------------------------------------------------------------------------


def compare(wrong: NDArray[np.str_], our: Found, their: Found) -> Iterator[dict[str, Any]]:
    """One row for each kind."""
    rng = np.random.default_rng(0)
    clean = np.flatnonzero(wrong == "")
    for kind in DEFECTS:
        bad = np.flatnonzero(wrong == kind)
        truth = np.repeat([0, 1], [len(clean), len(bad)])
        draws = [np.concatenate([clean, bad])] + [
            np.concatenate([rng.choice(clean, len(clean)), rng.choice(bad, len(bad))])
            for _ in range(400)
        ]
        areas = np.array(
            [[roc_auc_score(truth, found[kind][0][d]) for found in (our, their)] for d in draws]
        )
        low, high = np.quantile(areas[1:], [0.025, 0.975], axis=0)
        gain = areas[:, 0] - areas[:, 1]
        row: dict[str, Any] = {"kind": kind, "planted": len(bad), "clean": len(clean)}
        for at, (name, found) in enumerate((("ours", our), (PEER, their))):
            flags = found[kind][1]
            row[name] = {
                "auroc": float(areas[0, at]),
                "ci": [float(low[at]), float(high[at])],
                "recall": float(flags[bad].mean()),
                "false_alarms": float(flags[clean].mean()),
            }
        row["gain"] = float(gain[0])
        row["gain_ci"] = [float(value) for value in np.quantile(gain[1:], [0.025, 0.975])]
        yield row


def spread(values: list[float]) -> dict[str, Any]:
    """The median over the repeats, the least and the greatest."""
    return {
        "value": float(np.median(values)),
        "n": len(values),
        "range": [min(values), max(values)],
    }


def run(name: str, arguments: argparse.Namespace, python: Path, folder: Path) -> dict[str, Any]:
    """All figures of one set."""
    rng = np.random.default_rng([0, list(SETS).index(name)])
    count = arguments.clean + len(DEFECTS) * arguments.planted
    wrong = plant(SETS[name](count, rng), arguments.planted, folder, rng)
    costs: dict[str, list[Cost]] = {"ours": [], PEER: [], LIMIT: []}
    our: Found = {}
    their: Found = {}
    for _ in range(arguments.repeats):
        cost, our = ours(folder)
        costs["ours"].append(cost)
        cost, their = peer(folder, python)
        costs[PEER].append(cost)
        costs[LIMIT].append(bare(folder))
    pairs = list(zip(costs["ours"], costs[PEER], strict=True))
    return {
        "images": len(wrong),
        "kinds": list(compare(wrong, our, their)),
        "images_per_second": {
            key: spread([len(wrong) / cost.seconds for cost in found])
            for key, found in costs.items()
        },
        "processor_ms_per_image": {
            key: spread([1000 * cost.busy / len(wrong) for cost in found])
            for key, found in costs.items()
        },
        "times_as_fast": spread([b.seconds / a.seconds for a, b in pairs]),
        "times_less_processor": spread([b.busy / a.busy for a, b in pairs]),
    }


def main() -> None:
    """Print two tables, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, default=Path(tempfile.gettempdir()) / "peers")
    parser.add_argument("--clean", type=int, default=400, help="untouched images a set")
    parser.add_argument("--planted", type=int, default=60, help="bad images a kind")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    python = install_peer(arguments.peers)
    report = {}
    for name in SETS:
        with tempfile.TemporaryDirectory() as folder:
            report[name] = run(name, arguments, python, Path(folder))
    if arguments.json:
        json.dump(report, sys.stdout)
        return
    print(
        "| Set | Kind | n | AUROC ours | AUROC cleanvision | difference | flagged ours | theirs |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, found in report.items():
        for row in found["kinds"]:
            print(f"| {name} | " + " | ".join(_cells(row)) + " |")
    print(f"\nSpeed on {usable_cores()} cores, median of {arguments.repeats} (range)\n")
    print(f"| Set | | ours | {PEER} | ours better by | {LIMIT} |\n|---|---|---|---|---|---|")
    for name, found in report.items():
        for says, what, factor, digits in (
            ("images a second", "images_per_second", "times_as_fast", 0),
            ("processor ms an image", "processor_ms_per_image", "times_less_processor", 2),
        ):
            ours_at, peer_at, limit = (
                _ranged(found[what][key], digits) for key in ("ours", PEER, LIMIT)
            )
            better = _ranged(found[factor], 1)
            print(f"| {name} | {says} | {ours_at} | {peer_at} | {better} | {limit} |")


def _ranged(found: dict[str, Any], digits: int) -> str:
    low, high = found["range"]
    return f"{found['value']:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def _cells(row: dict[str, Any]) -> list[str]:
    both = [row["ours"], row[PEER]]
    areas = [f"{v['auroc']:.3f} ({v['ci'][0]:.3f} to {v['ci'][1]:.3f})" for v in both]
    flags = [f"{v['recall']:.0%}, false {v['false_alarms']:.1%}" for v in both]
    gain = f"{row['gain']:+.3f} ({row['gain_ci'][0]:+.3f} to {row['gain_ci'][1]:+.3f})"
    return [row["kind"], f"{row['planted']} / {row['clean']}", *areas, gain, *flags]


if __name__ == "__main__":
    main()
