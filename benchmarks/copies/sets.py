"""Folders of real images among which known copies hide.

Development and report never share an image: of Fashion-MNIST the train file and the t10k file, of
the textiles the odd and the even numbers, each with seeds of its own. Only `textile-whole`, which
is the set that others can make without knowing of odd and even, holds both halves.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from curation.copies import planting
from curation.images import inspect
from sample_data import sources

FASHION_SIDE = 112
FASHION_COUNT = 2_000
COPIES_PER_CHANGE = 50


@dataclass(frozen=True)
class Copies:
    """A folder of images and what is known of them.

    Attributes:
        name: of the set.
        paths: all images, in the order of their names, which tell nothing.
        originals: positions in `paths` of the images that are no copies.
        planted: by position of the copy, the position of its original.
        changes: by position of the copy, what was done.
        twins: by position of an original, the lowest position of an original of the same pixels;
            only of originals that have such a twin with a lower position.
    """

    name: str
    paths: tuple[Path, ...]
    originals: frozenset[int]
    planted: dict[int, int]
    changes: dict[int, str]
    twins: dict[int, int]


@dataclass(frozen=True)
class Recipe:
    """How a set is made.

    Attributes:
        write: puts the originals in a folder, under the names that it draws.
        seed: of the choice of images, of the names and of the copies.
        changes: keys of `planting.CHANGES`.
        each: copies by each change.
    """

    write: Callable[[Path, np.random.Generator], list[Path]]
    seed: int
    changes: tuple[str, ...] = planting.BENCHMARK
    each: int = COPIES_PER_CHANGE


def open_or_make(name: str, folder: Path) -> Copies:
    """Read the set in `folder/name`, made first where it is missing."""
    root = folder / name
    truth = root / "truth.json"
    if not truth.exists():
        make(RECIPES[name], root)
    return read(root)


def make(recipe: Recipe, root: Path) -> None:
    """Write `images/` and `truth.json`; what a broken attempt left is removed."""
    shutil.rmtree(root, ignore_errors=True)
    images = root / "images"
    images.mkdir(parents=True)
    rng = np.random.default_rng(recipe.seed)
    originals = recipe.write(images, rng)
    planted = planting.plant(originals, images, count=recipe.each, rng=rng, changes=recipe.changes)
    same: dict[str, list[str]] = {}
    for path in originals:
        same.setdefault(inspect(path).pixel_hash, []).append(path.name)
    truth = {
        "seed": recipe.seed,
        "originals": sorted(path.name for path in originals),
        "copies": [
            {"copy": one.copy.name, "original": one.original.name, "change": one.change}
            for one in planted
        ],
        "same_pixels": [names for names in same.values() if len(names) > 1],
    }
    (root / "truth.json").write_text(json.dumps(truth, indent=1))


def read(root: Path) -> Copies:
    """Read a set that `make` wrote."""
    truth = json.loads((root / "truth.json").read_text())
    paths = tuple(sorted((root / "images").iterdir()))
    at = {path.name: position for position, path in enumerate(paths)}
    copies = {at[row["copy"]]: row for row in truth["copies"]}
    twins: dict[int, int] = {}
    for names in truth["same_pixels"]:
        first, *others = sorted(at[name] for name in names)
        twins.update(dict.fromkeys(others, first))
    return Copies(
        name=root.name,
        paths=paths,
        originals=frozenset(at[name] for name in truth["originals"]),
        planted={position: at[row["original"]] for position, row in copies.items()},
        changes={position: row["change"] for position, row in copies.items()},
        twins=twins,
    )


def _names(rng: np.random.Generator, suffix: str) -> Iterator[str]:
    """Names such as `plant` draws; 40 random bits, so that none comes twice."""
    while True:
        yield f"{rng.bytes(5).hex()}{suffix}"


def _fashion(part: str, count: int) -> Callable[[Path, np.random.Generator], list[Path]]:
    def write(to: Path, rng: np.random.Generator) -> list[Path]:
        # As distributed, light products on black: `sources.read` turns them into photos on white.
        pixels = 255 - sources.read(sources.find_package(), part).pixels
        paths = []
        names = _names(rng, ".png")
        for index in rng.choice(len(pixels), count, replace=False):
            image = Image.fromarray(pixels[index])
            image = image.resize((FASHION_SIDE, FASHION_SIDE), Image.Resampling.BICUBIC)
            paths.append(to / next(names))
            image.save(paths[-1])
        return paths

    return write


def _textiles(rests: Sequence[int]) -> Callable[[Path, np.random.Generator], list[Path]]:
    """Textiles whose number leaves one of these rests when it is halved."""

    def write(to: Path, rng: np.random.Generator) -> list[Path]:
        # Only here, because it comes with the extra for development and other sets do not need it.
        import conformal_clip_data

        root = Path(conformal_clip_data.textile_simulated_root())
        found = [
            path for path in sorted(root.glob("*/textile_*.jpg")) if _number(path) % 2 in rests
        ]
        names = _names(rng, ".jpg")
        paths = [to / next(names) for _ in found]
        for source, path in zip(found, paths, strict=True):
            shutil.copyfile(source, path)
        return paths

    return write


def _number(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])


RECIPES = {
    "fashion": Recipe(_fashion("t10k", FASHION_COUNT), seed=2001),
    "textile": Recipe(_textiles([0]), seed=2002),
    "textile-whole": Recipe(_textiles([0, 1]), seed=2003),
    "dev-fashion": Recipe(_fashion("train", FASHION_COUNT), seed=1001),
    "dev-textile": Recipe(_textiles([1]), seed=1002),
    "dev-fashion-all": Recipe(
        _fashion("train", 1_000), seed=1003, changes=planting.CALIBRATION, each=20
    ),
    "dev-textile-all": Recipe(_textiles([1]), seed=1004, changes=planting.CALIBRATION, each=20),
}
REPORT = ("fashion", "textile", "textile-whole")
DEVELOPMENT = ("dev-fashion", "dev-textile", "dev-fashion-all", "dev-textile-all")
