"""Sets of names too many to hold: 8 bytes for each."""

from array import array
from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import numpy.typing as npt


def key(name: str) -> int:
    """A number that stands for a name; two of a million names share one once in 40 million sets."""
    digest = blake2b(name.encode(errors="surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


class Names:
    """Names that were met: first add them all, then ask."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._met = array("Q", map(key, names))
        self._sorted: npt.NDArray[np.uint64] | None = None

    def add(self, name: str) -> None:
        """Counts a name in."""
        self._met.append(key(name))
        self._sorted = None

    def __contains__(self, name: str) -> bool:
        """Whether a name was met; sorts them all where some came since it was last asked."""
        if self._sorted is None:
            self._sorted = np.sort(np.frombuffer(self._met, np.uint64).copy())
        wanted = key(name)
        at = int(np.searchsorted(self._sorted, np.uint64(wanted)))
        return at < len(self._sorted) and int(self._sorted[at]) == wanted
