"""Real pictures: look-alike textiles, and garments that differ."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import conformal_clip_data  # type: ignore[import-untyped]
import numpy as np
import pytest
from numpy.typing import NDArray

from curation.copies import planting, search
from curation.images import inspect
from curation.scan import scan

SAMPLE = Path(__file__).parents[3] / "sample_data"


@pytest.fixture(scope="session")
def textiles() -> list[Path]:
    """2,000 pictures of one weave, no two of the same piece."""
    folder = Path(conformal_clip_data.__file__).parent / "data/textile_images"
    return sorted(folder.rglob("*.jpg"))


@pytest.fixture(scope="session")
def garments() -> list[Path]:
    """Pictures of the sample data of which nobody planted a copy or a defect."""
    with (SAMPLE / "truth.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    touched = {row["defect_of"] for row in rows}
    whole = [r["filename"] for r in rows if not r["defect"] and r["filename"] not in touched]
    return [SAMPLE / "images" / name for name in whole]


@dataclass(frozen=True)
class Compared:
    """Pictures and copies planted among them, compared.

    Attributes:
        pairs: of `search.compare`.
        originals: how many of the first rows are originals.
        roots: by row of a copy, the row of its original.
        changes: by row of a copy, what was done.
        sizes: (N, 2) width and height.
    """

    pairs: search.Pairs
    originals: int
    roots: dict[int, int]
    changes: dict[int, str]
    sizes: NDArray[np.int64]

    def found(self, threshold: float = search.THRESHOLD) -> set[tuple[int, int]]:
        """Pairs of rows that count as copies, the smaller row first."""
        moving, fixed = self.pairs.moving, self.pairs.fixed
        return {
            (min(a, b), max(a, b))
            for a, b in ((int(moving[at]), int(fixed[at])) for at in self.pairs.copies(threshold))
        }


def thumbs_of(paths: Sequence[Path]) -> NDArray[np.uint8]:
    """(N, 64, 64) grey levels."""
    return np.array([scan(path)["thumb"] for path in paths], np.uint8).reshape(-1, 64, 64)


def compare(paths: Sequence[Path]) -> tuple[search.Pairs, NDArray[np.int64]]:
    """The pairs among files, and (N, 2) the sizes of their pictures."""
    seen = [inspect(path) for path in paths]
    sizes = np.array([(one.width, one.height) for one in seen], np.int64).reshape(-1, 2)
    return search.compare(thumbs_of(paths), sizes, lambda rows: [paths[r] for r in rows]), sizes


@pytest.fixture
def plant_and_compare(tmp_path: Path) -> Callable[..., Compared]:
    """Plants copies of some pictures among all of them and compares the lot."""

    def run(paths: Sequence[Path], changes: Sequence[str], *, each: int = 2) -> Compared:
        planted = planting.plant(
            paths, tmp_path / "copies", count=each, rng=np.random.default_rng(0), changes=changes
        )
        row = {path: at for at, path in enumerate(paths)}
        pairs, sizes = compare([*paths, *(one.copy for one in planted)])
        numbered = list(enumerate(planted, start=len(paths)))
        return Compared(
            pairs=pairs,
            originals=len(paths),
            roots={at: row[one.original] for at, one in numbered},
            changes={at: one.change for at, one in numbered},
            sizes=sizes,
        )

    return run
