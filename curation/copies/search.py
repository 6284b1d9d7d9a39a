"""All pairs of copies among many images: propose, compare thumbnails, look closely if in doubt."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from curation.copies import candidates, verification
from curation.copies.candidates import Candidates, Thumbs, fisher
from curation.copies.threads import one_thread_each
from curation.copies.verification import CLOSE, Setting, close_up
from curation.copies.views import VIEWS
from curation.errors import UnreadableImage
from curation.images import usable_cores
from curation.progress import Report, silent

NEIGHBOURS = 4
"""Candidates a picture asks for: planted copies are among the two nearest in 98 of 100 cases."""

AT_LEAST = 0.35
"""Similarity below which a pair is no candidate."""

THRESHOLD = 0.5
"""Probability from which on a pair counts as copies, unless the project was calibrated."""

DOUBT = 1.5
"""Log odds, for or against, below which the files are read again and compared more closely."""

LEAD = 0.15
"""How much more similar than look-alikes, on Fisher's scale, a pair must be to be registered."""

LEADS = 0.5
"""The same of similarity and agreement once registered, together, for a pair to be examined."""

BLOCK = 128

Files = Callable[[Sequence[int]], list[Path]]
"""Where the pictures of these rows lie."""


@dataclass(frozen=True)
class Pairs:
    """Every candidate pair, compared.

    Attributes:
        moving: (P,) row of the picture that was laid over the other.
        fixed: (P,) row of the other.
        probability: (P,) that they are copies; 0 where nothing speaks for it.
        warp: (P, 2, 3) from coordinates of the fixed picture to those of the moving one.
        close: (P,) whether the files were compared.
        seconds: by step.
    """

    moving: NDArray[np.int64]
    fixed: NDArray[np.int64]
    probability: NDArray[np.float64]
    warp: NDArray[np.float32]
    close: NDArray[np.bool_]
    seconds: dict[str, float]

    def copies(self, threshold: float = THRESHOLD) -> NDArray[np.int64]:
        """Positions of the pairs that count as copies, surest first."""
        found = np.flatnonzero(self.probability >= threshold)
        return found[np.argsort(-self.probability[found], kind="stable")]


def compare(
    thumbs: NDArray[np.uint8] | Thumbs,
    sizes: NDArray[np.int64],
    files: Files,
    *,
    report: Report = silent,
) -> Pairs:
    """Looks for copies among N pictures.

    Args:
        thumbs: (N, 64, 64) grey levels; an array, or what reads one row by row when indexed.
        sizes: (N, 2) width and height.
        files: read again for doubtful pairs only.
        report: told of the progress.

    Raises:
        Cancelled: asked to stop.
    """
    count = len(sizes)
    seconds: dict[str, float] = {}
    with _timed(seconds, "propose"):
        found = candidates.propose(
            thumbs,
            neighbours=NEIGHBOURS,
            progress=lambda done: report(done, count, "compare"),
        )
        found = found[worth_registering(found)]
    aspects = sizes[:, 0] / np.maximum(sizes[:, 1], 1)
    shapes = np.stack([aspects[found.moving], aspects[found.fixed]], axis=1)
    with _timed(seconds, "register"):
        coarse, warp = _coarsely(thumbs, found, report)
    setting = Setting(found.similarity, coarse, found.level)
    with _timed(seconds, "examine"):
        odds = _examine(thumbs, found, setting, shapes, warp, report)
    with _timed(seconds, "look closely"):
        doubtful = np.flatnonzero(np.abs(odds) < DOUBT)
        close = np.zeros(len(found), bool)
        close[doubtful] = True
        _look_closely(found, doubtful, setting, shapes, odds, warp, files, report)
    return Pairs(found.moving, found.fixed, expit(odds), warp, close, seconds)


def worth_registering(found: Candidates) -> NDArray[np.bool_]:
    """(P,) whether a pair is similar enough, and more so than look-alikes are."""
    return (found.similarity >= AT_LEAST) & (fisher(found.similarity) - found.level >= LEAD)


def worth_examining(setting: Setting) -> NDArray[np.bool_]:
    """(P,) whether a registered pair agrees enough, and more so than look-alikes do."""
    leads = fisher(setting.similarity) + fisher(setting.coarse) - 2 * setting.level
    return (setting.coarse >= verification.HOPELESS) & (leads >= LEADS)


def _coarsely(
    thumbs: NDArray[np.uint8] | Thumbs, found: Candidates, report: Report
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Agreement and warp of all candidates, on all cores."""
    guesses = np.stack([view.warp() for view in VIEWS])
    coarse = np.zeros(len(found), np.float32)
    warp = np.zeros((len(found), 2, 3), np.float32)

    def register(here: NDArray[np.int64]) -> None:
        coarse[here], warp[here] = verification.coarsely(
            thumbs[found.moving[here]], thumbs[found.fixed[here]], guesses[found.view[here]]
        )

    _in_blocks(register, np.arange(len(found)), BLOCK, report, "register")
    return coarse, warp


def _examine(
    thumbs: NDArray[np.uint8] | Thumbs,
    found: Candidates,
    setting: Setting,
    shapes: NDArray[np.float64],
    warp: NDArray[np.float32],
    report: Report,
) -> NDArray[np.float64]:
    """Log odds of each candidate by its thumbnails, lowest if hopeless; refines the warps."""
    odds = np.full(len(found), -verification.SURE)
    hopeful = np.flatnonzero(worth_examining(setting))

    def judge(here: NDArray[np.int64]) -> None:
        features, warp[here] = verification.examine(
            thumbs[found.moving[here]],
            thumbs[found.fixed[here]],
            warp[here],
            shapes[here],
            verification.THUMBNAIL,
        )
        weighed = verification.inputs(features, setting[here])
        odds[here] = verification.log_odds(weighed, "thumbnail")

    _in_blocks(judge, hopeful, BLOCK, report, "examine")
    return odds


def _look_closely(
    found: Candidates,
    doubtful: NDArray[np.int64],
    setting: Setting,
    shapes: NDArray[np.float64],
    odds: NDArray[np.float64],
    warp: NDArray[np.float32],
    files: Files,
    report: Report,
) -> None:
    """Compares the files of doubtful pairs; writes what it found into `odds` and `warp`."""

    def judge(here: NDArray[np.int64]) -> None:
        rows = np.unique(np.concatenate([found.moving[here], found.fixed[here]]))
        pictures = np.zeros((len(rows), CLOSE, CLOSE), np.uint8)
        readable = np.zeros(len(rows), bool)
        for number, path in enumerate(files(rows.tolist())):
            try:
                pictures[number] = close_up(path)
            except UnreadableImage:
                continue  # the thumbnails' verdict stands; who reads the file next says why
            readable[number] = True
        moving, fixed = (np.searchsorted(rows, side[here]) for side in (found.moving, found.fixed))
        both = readable[moving] & readable[fixed]
        moving, fixed, here = moving[both], fixed[both], here[both]
        if not len(here):
            return
        features, warp[here] = verification.examine(
            pictures[moving], pictures[fixed], warp[here], shapes[here], verification.CLOSELY
        )
        weighed = verification.inputs(features, setting[here])
        odds[here] = verification.log_odds(np.column_stack([weighed, odds[here]]), "close")

    _in_blocks(judge, doubtful, BLOCK // 4, report, "look closely")


def _in_blocks(
    work: Callable[[NDArray[np.int64]], None],
    rows: NDArray[np.int64],
    size: int,
    report: Report,
    says: str,
) -> None:
    """Works through the rows on all cores, a block at a time."""
    blocks = [rows[at : at + size] for at in range(0, len(rows), size)]
    done = 0
    with one_thread_each(), ThreadPoolExecutor(usable_cores()) as pool:
        try:
            for block, _ in zip(blocks, pool.map(work, blocks), strict=True):
                done += len(block)
                report(done, len(rows), says)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    seconds[step] = time.monotonic() - begun
