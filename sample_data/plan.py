"""Which file of the sample shows what: its class, studio, season, label and planted defect.

The plan is drawn before any pixel is touched, so that each count that the README states holds by
construction. `draw` is the entry.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sample_data.photos import BAD, COPIES, UNDECODABLE

# Order of the class numbers in Fashion-MNIST.
CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle-boot",
)

CLASS_SIZES: Mapping[str, int] = {
    "t-shirt": 350,
    "sneaker": 250,
    "shirt": 170,
    "dress": 120,
    "pullover": 90,
    "trouser": 70,
    "coat": 55,
    "ankle-boot": 40,
    "bag": 35,
    "sandal": 20,
}

SEASONS = ("spring", "summer", "autumn", "winter")

STUDIO_B_SHARE_OF_LARGEST = 0.5
STUDIO_B_SHARE_OF_OTHERS = 0.12
STUDIO_C_IMAGES = 200
COPIES_PER_KIND = 10
BAD_IMAGES: Mapping[str, int] = {"dark": 8, "bright": 8, "blurry": 8, "low-information": 6}
LABELED = 300
WRONG_PER_KIND = 12

# Pairs that people and models do mix up; the first class is the true one.
CONFUSED: Mapping[str, tuple[str, ...]] = {
    "t-shirt": ("shirt",),
    "shirt": ("t-shirt", "pullover", "coat"),
    "pullover": ("coat", "shirt"),
    "coat": ("pullover", "shirt"),
    "sneaker": ("ankle-boot", "sandal"),
    "ankle-boot": ("sneaker",),
}

# A class of fewer files keeps all its labels right: a single error would be most of what is known.
SMALLEST_CLASS_WITH_ERRORS = 50


@dataclass(frozen=True)
class File:
    """One file of the catalogue: what it is, and what is known about it."""

    name: str
    label: str
    studio: str
    season: str
    given_label: str = ""
    defect: str = ""
    defect_of: str = ""
    # Counts the bad files of one kind, each of which is bad in its own degree or way.
    variant: int = 0

    @property
    def is_copy(self) -> bool:
        """Whether the file repeats another one."""
        return self.defect in COPIES

    @property
    def is_bad(self) -> bool:
        """Whether the photo is useless, or no photo at all."""
        return self.defect in BAD or self.defect == "undecodable"


def shares(sizes: Sequence[int], total: int) -> list[int]:
    """Return `total` split in proportion to `sizes`, by largest remainder.

    >>> shares([350, 250, 100], 10)
    [5, 4, 1]
    """
    exact = [size * total / sum(sizes) for size in sizes]
    parts = [int(value) for value in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda i: parts[i] - exact[i])
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts


def studio_sizes() -> dict[tuple[str, str], int]:
    """Return how many files each (class, studio) has."""
    largest = sorted(CLASS_SIZES, key=lambda label: -CLASS_SIZES[label])[:2]
    in_c = dict(zip(CLASS_SIZES, shares(list(CLASS_SIZES.values()), STUDIO_C_IMAGES), strict=True))
    sizes: dict[tuple[str, str], int] = {}
    for label, size in CLASS_SIZES.items():
        share = STUDIO_B_SHARE_OF_LARGEST if label in largest else STUDIO_B_SHARE_OF_OTHERS
        in_b = round(size * share)
        sizes[label, "a"] = size - in_b - in_c[label]
        sizes[label, "b"] = in_b
        sizes[label, "c"] = in_c[label]
    return sizes


def draw(rng: np.random.Generator) -> list[File]:
    """Return the plan of all files, in the order of their names."""
    files = _places(rng)
    files = _with_bad_images(files, rng)
    files = _with_copies(files, rng)
    files = _with_labels(files, rng)
    return _with_wrong_labels(files, rng)


def _places(rng: np.random.Generator) -> list[File]:
    """Return every file with class, studio and season, in an order that betrays nothing."""
    cells = [cell for cell, size in studio_sizes().items() for _ in range(size)]
    seasons = [SEASONS[i % len(SEASONS)] for i in range(len(cells))]
    cell_order, season_order = rng.permutation(len(cells)), rng.permutation(len(cells))
    return [
        File(f"item-{i + 1:04d}.jpg", cells[c][0], cells[c][1], seasons[s])
        for i, (c, s) in enumerate(zip(cell_order, season_order, strict=True))
    ]


def _with_bad_images(files: list[File], rng: np.random.Generator) -> list[File]:
    """Plant bad and undecodable files in studio a.

    Only there: half brightness would hide a blown-out photo, and studio c is bad in its own way.
    """
    files = list(files)
    counts = {**BAD_IMAGES, "undecodable": len(UNDECODABLE)}
    kinds = [(kind, variant) for kind, count in counts.items() for variant in range(count)]
    candidates = [i for i, file in enumerate(files) if file.studio == "a"]
    for i, (kind, variant) in zip(rng.permutation(candidates)[: len(kinds)], kinds, strict=True):
        files[i] = replace(files[i], defect=kind, variant=variant)
    return files


def _with_copies(files: list[File], rng: np.random.Generator) -> list[File]:
    """Let some files repeat another one of the same class and studio.

    Not in studio c, whose photos are damaged already: a copy there would be two defects in one.
    """
    files = list(files)
    kinds = [kind for kind in COPIES for _ in range(COPIES_PER_KIND)]
    free = [i for i in rng.permutation(len(files)) if _may_be_in_a_pair(files[i])]
    rng.shuffle(kinds)
    while kinds:
        copy = free.pop()
        same_cell = [
            i
            for i in free
            if (files[i].label, files[i].studio) == (files[copy].label, files[copy].studio)
        ]
        if not same_cell:
            continue
        original = same_cell[0]
        free.remove(original)
        files[copy] = replace(files[copy], defect=kinds.pop(), defect_of=files[original].name)
    return files


def _may_be_in_a_pair(file: File) -> bool:
    return file.studio != "c" and not file.is_bad


def _with_labels(files: list[File], rng: np.random.Generator) -> list[File]:
    """Give a random quarter of each class its true label; nobody labeled a bad image."""
    files = list(files)
    counts = zip(CLASS_SIZES, shares(list(CLASS_SIZES.values()), LABELED), strict=True)
    for label, count in counts:
        members = [i for i, f in enumerate(files) if f.label == label and not f.is_bad]
        for i in rng.permutation(members)[:count]:
            files[i] = replace(files[i], given_label=label)
    return files


def _with_wrong_labels(files: list[File], rng: np.random.Generator) -> list[File]:
    """Make some given labels wrong, never on a copy, the original of one, or a bad image."""
    files = list(files)
    originals = {file.defect_of for file in files if file.is_copy}
    candidates = [
        i
        for i, file in enumerate(files)
        if file.given_label
        and not file.defect
        and file.name not in originals
        and CLASS_SIZES[file.label] >= SMALLEST_CLASS_WITH_ERRORS
    ]
    order = [int(i) for i in rng.permutation(candidates)]
    confused = [i for i in order if files[i].label in CONFUSED][:WRONG_PER_KIND]
    uniform = [i for i in order if i not in confused][:WRONG_PER_KIND]
    for i in confused:
        wrong = str(rng.choice(CONFUSED[files[i].label]))
        files[i] = replace(files[i], given_label=wrong, defect="wrong-label-confused")
    for i in uniform:
        wrong = str(rng.choice([label for label in CLASSES if label != files[i].label]))
        files[i] = replace(files[i], given_label=wrong, defect="wrong-label-uniform")
    return files


def source_counts(files: Sequence[File]) -> Counter[str]:
    """Return how many different photos each class needs: every file but the copies."""
    return Counter(file.label for file in files if not file.is_copy)
