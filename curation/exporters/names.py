"""Where images lie below an export's folder: inside it, and no two in the same place.

Names that differ by case only, or by how accents are composed, are one file on many disks, so they
count as the same. Memory: 8 bytes for each image.
"""

import hashlib
import re
import unicodedata
from array import array

import numpy as np

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_SUFFIXED = re.compile(r"-[0-9a-f]{16}$")
_LONGEST = 220  # bytes of a name that still has room for a suffix


class Names:
    """The paths of an export: `add` them all, `settle`, then ask for the `final` ones.

    Args:
        stems: whether paths that differ in the ending alone clash too.
        reserved: paths that are taken.
    """

    def __init__(self, *, stems: bool = False, reserved: tuple[str, ...] = ()) -> None:
        self._stems = stems
        self._paths = array("Q")
        self._folders: set[int] = set()
        self._last_folder = ""
        self._taken = {self._key(path) for path in reserved}
        self._clashing: frozenset[int] = frozenset()

    def add(self, path: str) -> None:
        """Counts a path in."""
        self._paths.append(self._key(path))
        folder = path.rpartition("/")[0]
        if folder != self._last_folder:
            self._last_folder = folder
            while folder:
                self._folders.add(self._key(folder))
                folder = folder.rpartition("/")[0]

    def settle(self) -> None:
        """Finds the paths that clash; after this nothing can be added."""
        keys = np.sort(np.frombuffer(self._paths, dtype=np.uint64))
        clashing = set(keys[1:][keys[1:] == keys[:-1]].tolist())
        for taken in (self._folders, self._taken):
            wanted = np.fromiter(taken, dtype=np.uint64, count=len(taken))
            clashing |= set(np.intersect1d(keys, wanted).tolist())
        self._clashing = frozenset(clashing)
        self._paths = array("Q")
        self._folders = set()

    def final(self, path: str, name: str) -> str:
        """The path itself, or with a suffix made from the image's name where it clashes.

        Where anything clashes, what looks suffixed already gets a suffix too: so no path can be
        one that another path becomes.
        """
        if not self._clashing:
            return path
        folder, slash, last = path.rpartition("/")
        stem, dot, ending = last.rpartition(".") if "." in last[1:] else (last, "", "")
        if self._key(path) in self._clashing or _SUFFIXED.search(stem):
            stem += f"-{_digest(name)}"
        return f"{folder}{slash}{stem}{dot}{ending}"

    def _key(self, path: str) -> int:
        folder, slash, last = path.rpartition("/")
        if self._stems and "." in last[1:]:
            last = last.rpartition(".")[0]
        return _hash(f"{folder}{slash}{last}")


def safe(name: str) -> str:
    """An image's name as a path that stays below the folder it is joined to.

    >>> safe("/shop/../a.jpg"), safe("shelf 1/b.jpg")
    ('shop/__/a.jpg', 'shelf 1/b.jpg')
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    return "/".join(_component(part) for part in parts) or "image"


def _component(part: str) -> str:
    part = "__" if part == ".." else _CONTROL.sub("_", part)
    if len(part.encode()) <= _LONGEST:
        return part
    stem, dot, ending = part.rpartition(".")
    if not dot or len(ending.encode()) > 10:
        stem, dot, ending = part, "", ""
    short = stem.encode()[: _LONGEST - 40].decode(errors="ignore")
    return f"{short}-{_digest(part)}{dot}{ending}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _hash(path: str) -> int:
    key = unicodedata.normalize("NFC", path).casefold()
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")
