"""Fashion-MNIST as Debian packages it, and the choice of photos that the sample is made of."""

import gzip
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curation.errors import InputError
from sample_data.plan import CLASSES

PACKAGE = "dataset-fashion-mnist"

# Two photos more alike than this (correlation of grey levels, also mirrored) may show one product.
MOST_ALIKE = 0.95
MOST_ALIKE_TO_TEST = 0.98

# A product that hardly differs from its white backdrop would pass for a blown-out photo.
LEAST_CONTRAST = 35
PALEST_DARK_PART = 150

# A photo whose label fewer of its 20 nearest neighbours share is probably mislabeled at the source.
NEIGHBOURS = 20
LEAST_AGREEING = 3
BLOCK = 128


@dataclass(frozen=True)
class Photos:
    """Photos (N, 28, 28), dark product on white as the shop took them, and class numbers (N,)."""

    pixels: NDArray[np.uint8]
    classes: NDArray[np.uint8]

    def image(self, index: int) -> Image.Image:
        """Return one photo, 28 x 28."""
        return Image.fromarray(self.pixels[index])


def find_package() -> Path:
    """Return the folder where the Debian package put its four files.

    Raises:
        InputError: it is not installed.
    """
    try:
        listed = subprocess.run(
            ["dpkg", "-L", PACKAGE], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(
            f"The Debian package {PACKAGE} is not installed. "
            f"Install it: sudo apt-get install {PACKAGE}"
        ) from error
    for line in listed.splitlines():
        if line.endswith("train-images-idx3-ubyte.gz"):
            return Path(line).parent
    raise InputError(
        f"The Debian package {PACKAGE} holds no train-images-idx3-ubyte.gz. "
        f"Install it again: sudo apt-get install --reinstall {PACKAGE}"
    )


def read(folder: Path, part: str) -> Photos:
    """Return the photos of `part`, `train` or `t10k`.

    Fashion-MNIST stores negatives; they are turned back into the white-backdrop photos they were.
    """
    pixels = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())[16:]
    classes = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())[8:]
    negatives = np.frombuffer(pixels, np.uint8).reshape(-1, 28, 28)
    return Photos(255 - negatives, np.frombuffer(classes, np.uint8))


def as_directions(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return photos as unit vectors (N, H W), whose products are correlations of grey levels."""
    flat = pixels.reshape(len(pixels), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    norms: NDArray[np.float32] = np.linalg.norm(flat, axis=1, keepdims=True)
    flat /= np.maximum(norms, 1e-6)
    return flat


def choose_catalogue(
    photos: Photos, counts: Mapping[str, int], rng: np.random.Generator
) -> dict[str, list[int]]:
    """Return for each class so many indices of photos of which no two are alike.

    Args:
        photos: to choose from.
        counts: how many of each class.
        rng: decides the order in which photos are considered.
    """
    everything = as_directions(photos.pixels)
    chosen: dict[str, list[int]] = {label: [] for label in counts}
    kept: NDArray[np.float32] = np.empty((0, everything.shape[1]), np.float32)
    for label, count in counts.items():
        members = rng.permutation(np.flatnonzero(photos.classes == CLASSES.index(label)))
        for i in _plausible(members, everything, photos.classes):
            if len(chosen[label]) == count:
                break
            if _is_legible(photos.pixels[i]) and _likeness(everything[i], kept) <= MOST_ALIKE:
                chosen[label].append(i)
                kept = np.concatenate([kept, everything[i : i + 1]])
    return chosen


def choose_test(
    photos: Photos, per_class: int, catalogue: NDArray[np.uint8], rng: np.random.Generator
) -> list[int]:
    """Return indices of so many photos of each class, in random order.

    No two repeat each other, and none a photo of the `catalogue` (N, 28, 28).
    """
    directions = as_directions(photos.pixels)
    kept = as_directions(catalogue)
    chosen: list[int] = []
    for number in range(len(CLASSES)):
        found = 0
        for i in rng.permutation(np.flatnonzero(photos.classes == number)):
            if found == per_class:
                break
            if _likeness(directions[i], kept) <= MOST_ALIKE_TO_TEST:
                chosen.append(int(i))
                kept = np.concatenate([kept, directions[i : i + 1]])
                found += 1
    return [chosen[i] for i in rng.permutation(len(chosen))]


def _is_legible(pixels: NDArray[np.uint8]) -> bool:
    dark_part = float(np.percentile(pixels, 5))
    return float(pixels.std()) >= LEAST_CONTRAST and dark_part <= PALEST_DARK_PART


def _likeness(direction: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """Return the greatest correlation of a photo, or of its mirror image, with the others."""
    if len(others) == 0:
        return -1.0
    mirrored = direction.reshape(28, 28)[:, ::-1].reshape(-1)
    return float(np.max(others @ np.stack([direction, mirrored], axis=1)))


def _plausible(
    members: NDArray[np.int64], directions: NDArray[np.float32], classes: NDArray[np.uint8]
) -> Iterator[int]:
    """Yield the members of one class whose label enough of their nearest neighbours share.

    In blocks, because most members are never asked for.
    """
    for start in range(0, len(members), BLOCK):
        block = members[start : start + BLOCK]
        likeness = directions[block] @ directions.T
        likeness[np.arange(len(block)), block] = -1
        nearest = np.argpartition(-likeness, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        agreeing = np.sum(classes[nearest] == classes[block][:, None], axis=1)
        yield from (int(i) for i in block[agreeing >= LEAST_AGREEING])
