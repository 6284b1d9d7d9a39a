"""Finding the image that a file of labels names, without ever leaving the folder."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from curation import sources
from curation.sources import Candidate
from curation.tables import normal_name

MISSING = "no such image"
NOT_A_NAME = "not a file's name"


class Places:
    """The images of a folder by the names that files of labels give them.

    A name is looked up below the folder, then below each of `also`, and at last by its base name
    anywhere in the folder; the index that this needs is made when it is first asked for.
    """

    def __init__(self, root: Path, also: Sequence[str] = ()) -> None:
        self.root = root
        self._real_root = root.resolve()
        self._bases = (root, *(root / folder for folder in also if (root / folder).is_dir()))
        self._by_base: dict[str, Path | None] | None = None

    def find(self, *said: str) -> Candidate:
        """The image; its `reason` says why there is none that can be taken.

        Args:
            said: names that it may have, the likeliest first.
        """
        paths: list[Path] = []
        refused: Candidate | None = None
        for name in dict.fromkeys(one for text in said for one in (text, text.strip())):
            found = self._relative(normal_name(name))
            if isinstance(found, Candidate):
                refused = refused or found
                continue
            paths.append(found)
            for base in self._bases:
                if sources.is_file(base / found):
                    return sources.candidate(base / found, self.root, self._real_root)
        for path in paths:
            other = self._anywhere(path.name)
            if other is not None:
                return sources.candidate(other, self.root, self._real_root)
        if not paths:
            return refused or Candidate(self.root, "", NOT_A_NAME)
        path = paths[0]
        several = self._by_base is not None and path.name in self._by_base
        reason = "several images have this name; name the folder" if several else MISSING
        return Candidate(self.root / path, path.as_posix() if path.name else said[0], reason)

    def _relative(self, name: str) -> Path | Candidate:
        """A name as a path below the root, or why it is none."""
        if not name or any("\ud800" <= one <= "\udfff" or one == "\x00" for one in name):
            printable = name.encode("utf-8", errors="backslashreplace").decode().replace("\0", "?")
            return Candidate(self.root / "?", printable, NOT_A_NAME)
        if "://" in name:
            path = Path(PurePosixPath(unquote(path_of(name))).name)
        else:
            path = Path(name)
            if path.is_absolute() and path.is_relative_to(self.root):
                path = path.relative_to(self.root)
            if ".." in path.parts:
                path = Path(os.path.normpath(path))
        if path.is_absolute() or ".." in path.parts:
            return Candidate(self.root / path, name, "the path leaves the folder")
        return path

    def _anywhere(self, base: str) -> Path | None:
        if self._by_base is None:
            self._by_base = {}
            for one in sources.walk(self.root):
                if one is not None:
                    name = PurePosixPath(one.name).name
                    self._by_base[name] = None if name in self._by_base else one.path
        return self._by_base.get(base)


def path_of(address: str) -> str:
    """The path of an address, without host, query and fragment; empty where it is no address.

    >>> path_of("https://host/a/b%20c.jpg?d=1"), path_of("http://[x/a.jpg")
    ('/a/b%20c.jpg', '')
    """
    try:
        return urlsplit(address).path
    except ValueError:  # such as half an IPv6 host
        return ""


def files_below(folder: Path, suffix: str) -> Iterator[Path]:
    """Files with this name ending, in the order of their names; links are not followed."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in sorted(names):
            path = Path(parent, name)
            if name.lower().endswith(suffix) and not name.startswith(".") and not path.is_symlink():
                yield path
