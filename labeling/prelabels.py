"""Pre-labels that are held back, so that what the others do for people can be measured.

A random share of the images that a model has an opinion about goes to people without it. Which ones
follows from the project's seed and the image's id, so it need not be written down, an image that
waits for several rounds stays on its side, and whoever computes it later finds the same.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curation.catalog.prelabels import Judged
from curation.intervals import (
    Figure,
    median_difference,
    median_of,
    rate_difference,
    unknown,
    wilson,
)
from curation.records import RoundRecord

SHARE = "unaided_share"
"""What the setting is called among those that a round was asked for with."""


def is_held_back(seed: int, image_id: int, *, share: float) -> bool:
    """Whether people are to see this image without its pre-label.

    Args:
        seed: of the project.
        image_id: of the image.
        share: of all images, 0 to 1; those of a smaller share are among those of a larger one.
    """
    told = hashlib.blake2b(f"{seed:x}-{image_id} unaided".encode(), digest_size=8).digest()
    return int.from_bytes(told) < share * 2**64


def share_of(round: RoundRecord) -> float:
    """The share that a round holds back; none of a round of before there was one."""
    return float(round.settings.get("asked", {}).get(SHARE, 0.0))


@dataclass
class _Arm:
    """Answers of one kind."""

    n: int = 0
    same: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(self, row: Judged) -> None:
        self.n += 1
        self.same += row.classes == (row.hint,)
        if row.seconds is not None and row.seconds > 0:
            self.seconds.append(row.seconds)

    def follows(self) -> Figure:
        return _share(self.same, self.n)


@dataclass
class Comparison:
    """Answers to images that were sent with a pre-label, and to those sent without theirs.

    Which side an image is on was drawn at random, so that nothing but the pre-label differs.
    """

    shown: _Arm = field(default_factory=_Arm)
    held_back: _Arm = field(default_factory=_Arm)
    started: int = 0
    accepted: int = 0

    def add(self, row: Judged, *, held_back: bool) -> None:
        """Counts one answer."""
        (self.held_back if held_back else self.shown).add(row)
        self.started += row.prelabel != "none"
        self.accepted += row.prelabel == "accepted"

    def as_json(self, rng: np.random.Generator) -> dict[str, Any]:
        """The figures; `saved` and `more` are undefined until both sides have answers."""
        one, other = self.held_back, self.shown
        slow, fast = np.sort(one.seconds), np.sort(other.seconds)
        saved = median_difference(slow, fast, rng=rng)
        more = rate_difference(other.same, other.n, one.same, one.n)
        return {
            "images": {"shown": other.n, "held_back": one.n},
            "seconds": {
                "shown": median_of(fast),
                "held_back": median_of(slow),
                "saved": saved,
            },
            "acceptance": _share(self.accepted, self.started).as_json(),
            "says_what_the_model_says": {
                "shown": other.follows().as_json(),
                "held_back": one.follows().as_json(),
                "more": more,
            },
        }


def compare(
    seed: int, held: Iterable[RoundRecord], rows: Iterable[Judged]
) -> tuple[Comparison, dict[int, Comparison]]:
    """All answers of rounds that held pre-labels back, together and by round number."""
    shares = {one.number: share_of(one) for one in held}
    together, by_round = Comparison(), {number: Comparison() for number in shares}
    for row in rows:
        share = shares.get(row.round, 0.0)
        if 0 < share < 1:
            held_back = is_held_back(seed, row.image_id, share=share)
            for found in (together, by_round[row.round]):
                found.add(row, held_back=held_back)
    return together, by_round


def _share(hits: int, n: int) -> Figure:
    return Figure(hits / n, n, wilson(hits, n)) if n else unknown()
