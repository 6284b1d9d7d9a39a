"""Answers of people who err in ways that are known, and the published anaesthetists."""

import numpy as np
from numpy.typing import NDArray

ANAESTHETISTS = """
111 1 1 1 1 | 333 4 3 3 4 | 112 2 1 2 2 | 222 3 1 2 1 | 222 3 2 2 2 | 222 3 3 2 2 | 122 2 1 1 1
333 3 4 3 3 | 222 2 2 2 3 | 232 2 2 2 3 | 444 4 4 4 4 | 222 3 3 4 3 | 111 1 1 1 1 | 222 3 2 1 2
121 1 1 1 1 | 111 2 1 1 1 | 111 1 1 1 1 | 111 1 1 1 1 | 222 2 2 2 1 | 222 1 3 2 2 | 222 2 2 2 2
222 2 2 2 1 | 222 3 2 2 2 | 221 2 2 2 2 | 111 1 1 1 1 | 111 1 1 1 1 | 232 2 2 2 2 | 111 1 1 1 1
111 1 1 1 1 | 112 1 1 2 1 | 111 1 1 1 1 | 333 3 2 3 3 | 111 1 1 1 1 | 222 2 2 2 2 | 222 3 2 3 2
433 4 3 4 3 | 221 2 2 3 2 | 232 3 2 3 3 | 333 3 4 3 2 | 111 1 1 1 1 | 111 1 1 1 1 | 121 2 1 1 1
232 2 2 2 2 | 121 1 1 1 1 | 222 2 2 2 2
"""
"""Dawid & Skene 1979, table 1: 45 patients, 5 observers of whom the first said it three times."""

Numbers = NDArray[np.int64]


def anaesthetists() -> tuple[Numbers, Numbers, Numbers]:
    """Patients, observers (from 1 on) and answers (1 to 4), one each."""
    rows = [
        (patient, observer, int(said))
        for patient, cells in enumerate(ANAESTHETISTS.replace("\n", "|").strip("|").split("|"))
        for observer, cell in enumerate(cells.split(), 1)
        for said in cell
    ]
    patients, observers, answers = np.array(rows, dtype=np.int64).T
    return patients, observers, answers


def crowd(
    *, images: int = 400, each: int = 3, classes: int = 3, seed: int = 0
) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Images, annotators, answers (0 to classes - 1), and the truth of every image.

    Of ten annotators, two are right nine times in ten; the others take each class for the next one
    as often as not.
    """
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, images)
    people = np.stack([rng.choice(10, each, replace=False) for _ in range(images)])
    right = rng.random(people.shape) < np.where(people < 2, 0.9, 0.5)
    said = np.where(right, truth[:, None], (truth[:, None] + 1) % classes)
    return np.repeat(np.arange(images), each), people.ravel() + 1, said.ravel(), truth
